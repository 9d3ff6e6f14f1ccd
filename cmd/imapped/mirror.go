package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"imapped/app/admin"
	"imapped/app/syncer"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/imapwire/server"
	"imapped/ports/upstream"
)

// mirrorFlags is what mirror and demo share.
type mirrorFlags struct {
	dataFlags
	passwordFlags
	Listen   string `help:"Where mail clients connect to." default:"127.0.0.1:1143" placeholder:"ADDRESS"`
	Insecure bool   `help:"Accept any certificate, and imap:// without STARTTLS. For tests and for this machine."`
}

type mirrorCmd struct {
	mirrorFlags
	syncFlags
	sweepFlags
	URL string `arg:"" name:"url" help:"The account: imaps://me@imap.example.org, or imap:// with STARTTLS."`
}

// Run sets the account up where it is new, and mirrors and serves it until it is told to stop.
func (c mirrorCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	t, err := parseTarget(c.URL, c.Insecure)
	if err != nil {
		return err
	}
	m := mirroring{conf: conf, flags: c.mirrorFlags, sweeps: c.sweepFlags, target: t, out: out}
	return m.run(ctx)
}

// mirroring is one run of mirror, or of demo's own.
type mirroring struct {
	conf     *config.Config
	flags    mirrorFlags
	sweeps   sweepFlags
	target   mirrorTarget
	password []byte // known already; nil: ask when it is needed
	out      output
}

func (m mirroring) run(ctx context.Context) (err error) {
	in, err := openServer(ctx, m.conf, logger(m.conf))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	a, err := m.account(ctx, in)
	if err != nil {
		return err
	}
	l, err := listen(ctx, m.flags.Listen)
	if err != nil {
		return err
	}
	s, err := newServing(in, m.sweeps, nil, false)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		m.show(ctx, s, a, l.Addr())
	}()
	err = s.run(ctx, []listener{{l, server.PlainMode}})
	stop()
	<-shown
	return err
}

// account returns the account of the target; when it is new, or a password is given, the upstream is asked first.
func (m mirroring) account(ctx context.Context, in *instance) (account.Account, error) {
	const op = "set up account"
	a, err := in.admin.Account(ctx, m.target.email())
	known := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return a, err
	}
	given := m.password != nil || m.flags.PasswordStdin || m.flags.PasswordFile != ""
	if known && !given {
		return a, nil
	}
	password := m.password
	if password == nil {
		password, err = m.flags.read(fmt.Sprintf("Password for %s at %s", m.target.User, m.target.Host), false)
		if err != nil {
			return a, err
		}
	}
	probing := ctx
	if known { // what is mirrored is to be served soon, whether the upstream answers or not
		var cancel context.CancelFunc
		probing, cancel = context.WithTimeout(ctx, probeKnown)
		defer cancel()
	}
	_, err = in.admin.Probe(probing, upstream.Target{Endpoint: m.target.Endpoint, Username: m.target.User, Password: password})
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case err == nil:
	case known && !fault.Is(err, fault.Denied):
		// The upstream is away; what is mirrored can be served all the same.
		return a, nil
	default:
		return a, fmt.Errorf("%s: %w", op, err)
	}
	if known {
		return m.refresh(ctx, in, a, password)
	}
	_, err = in.admin.CreateUser(ctx, m.target.User, password)
	if fault.Is(err, fault.Exists) {
		err = in.admin.SetPassword(ctx, m.target.User, password)
	}
	if err != nil {
		return a, err
	}
	return in.admin.AddAccount(ctx, admin.NewAccount{
		User: m.target.User, Email: m.target.email(), Endpoint: m.target.Endpoint, Username: m.target.User, Secret: password,
	})
}

// refresh takes over an address or a password that has changed since the last time.
func (m mirroring) refresh(ctx context.Context, in *instance, a account.Account, password []byte) (account.Account, error) {
	if err := in.admin.SetPassword(ctx, m.target.User, password); err != nil {
		return a, err
	}
	return in.admin.UpdateUpstream(ctx, a, m.target.Endpoint, password)
}

// show prints what to type into a client, then the progress of the first synchronisation.
func (m mirroring) show(ctx context.Context, s *serving, a account.Account, addr net.Addr) {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	fmt.Fprintf(m.out, "Mirroring %s into %s\n\nIn your mail client:\n  IMAP server  %s\n  Port         %s, no encryption (this machine only)\n"+
		"  User         %s\n  Password     the same as upstream\n\nStop with Ctrl-C; run the same command again to go on.\n\n",
		m.target.email(), m.conf.Data, host, port, m.target.User)
	b := newBar(os.Stderr)
	select {
	case <-s.manager.Ready():
	case <-ctx.Done():
		return
	}
	err = s.manager.Force(ctx, a.ID, func(p syncer.Progress) {
		b.show(time.Now(), progressOf(p), false)
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		fmt.Fprintf(os.Stderr, "The upstream cannot be mirrored now: %v. What is here is served; retrying.\n", err)
	default:
		if p, ok := s.manager.Status(a.ID); ok {
			c := progressOf(p)
			c.Text = "in step, waiting for news"
			b.show(time.Now(), c, true)
		}
	}
}

// probeKnown is how long the upstream of an account that is mirrored already may take to say whether the password is
// right.
const probeKnown = 5 * time.Second

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"imapped/app/deliver"
	"imapped/app/sample"
	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/imapwire/server"
	"imapped/ports/blob"
	"imapped/ports/clock"
)

// demoName is the user, and the password, of the demonstration on both sides.
const demoName = "demo"

type demoCmd struct {
	mirrorFlags
	syncFlags
	sweepFlags
	UpstreamListen string        `help:"Where the sample upstream listens." default:"127.0.0.1:2143" placeholder:"ADDRESS"`
	Every          time.Duration `help:"How often a new message arrives at the sample upstream." default:"30s"`
}

// Run starts the sample upstream and mirrors it.
func (c demoCmd) Run(ctx context.Context, conf *config.Config, out output) (err error) {
	up, err := openInstance(ctx, conf.In(filepath.Join(conf.Data, "demo-upstream")), logger(conf))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.close()) }()
	unlock, err := lockDir(up.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := up.checkBlobs(ctx); err != nil {
		return err
	}
	box, inbox, err := openSample(ctx, up)
	if err != nil {
		return err
	}
	l, err := listen(ctx, c.UpstreamListen)
	if err != nil {
		return err
	}
	s, err := up.newServer(nil, nil, false)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, server.PlainMode) }()
	delivered := make(chan error, 1)
	go func() { delivered <- c.keepDelivering(ctx, box, inbox) }()

	host, port, err := net.SplitHostPort(l.Addr().String())
	if err == nil {
		fmt.Fprintf(out, "Sample upstream on %s, user %s, password %s; a new message every %v.\n", l.Addr(), demoName, demoName, c.Every)
		var t mirrorTarget
		if t, err = parseTarget(fmt.Sprintf("imap://%s@%s", demoName, net.JoinHostPort(host, port)), true); err == nil {
			m := mirroring{
				conf: conf.In(filepath.Join(conf.Data, "demo")), flags: c.mirrorFlags, sweeps: c.sweepFlags, target: t,
				password: []byte(demoName), out: out,
			}
			err = m.run(ctx)
		}
	}
	stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, s.Shutdown(end), <-served, <-delivered, box.Close(end))
}

// openSample returns the sample account's delivery, filled on the first run.
func openSample(ctx context.Context, up *instance) (*deliver.Box, mailbox.ID, error) {
	users, err := up.admin.Users(ctx)
	if err != nil {
		return nil, 0, err
	}
	if len(users) == 0 {
		u, err := up.admin.CreateUser(ctx, demoName, []byte(demoName))
		if err != nil {
			return nil, 0, err
		}
		if _, err := up.admin.AddLocal(ctx, u, demoName+"@harbour.example"); err != nil {
			return nil, 0, err
		}
	}
	accounts, err := up.admin.Accounts(ctx, demoName)
	if err != nil {
		return nil, 0, err
	}
	if len(accounts) != 1 {
		return nil, 0, fault.New(fault.Conflict, "open sample", "the data directory holds something else than the sample")
	}
	box, err := deliver.New(ctx, deliver.Config{
		Mirror: up.store, Leases: up.store, Blobs: blob.Of(up.blobs, accounts[0].User), Bus: up.bus, Clock: clock.System{},
	}, accounts[0].ID, "demo")
	if err != nil {
		return nil, 0, err
	}
	inbox, err := sample.Fill(ctx, box)
	if err != nil {
		return nil, 0, errors.Join(err, box.Close(ctx))
	}
	return box, inbox, nil
}

// keepDelivering brings the sample account a new message now and then.
func (c demoCmd) keepDelivering(ctx context.Context, box *deliver.Box, inbox mailbox.ID) error {
	tick := time.NewTicker(max(c.Every, time.Second))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if _, err := box.Messages(ctx, inbox, sample.Next(n, now)); err != nil && ctx.Err() == nil {
				return fault.Wrap("deliver sample", err)
			}
		}
	}
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"imapped/adapters/control"
	"imapped/adapters/ops"
	"imapped/adapters/postgres"
	"imapped/app/session"
	"imapped/app/sweep"
	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/imapwire/server"
	"imapped/imapwire/syntax"
	"imapped/ports/clock"
)

// syncFlags are the settings of mirroring that have a flag.
type syncFlags struct {
	SyncConcurrency                   int           `setting:"SYNC_CONCURRENCY" help:"Accounts that are synchronised at the same time."`
	UpstreamConnectionLimitPerAccount int           `setting:"UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT" help:"Connections to one account's upstream at any time: one each for rounds, changes and bodies that clients wait for; the rest listens for news."`
	PeriodicSyncInterval              time.Duration `setting:"PERIODIC_SYNC_INTERVAL_SECONDS" help:"How often to look where the upstream does not push, as 5m."`
	KeepRemoved                       time.Duration `setting:"KEEP_REMOVED" help:"How long restore can put removed messages back; 0: not at all."`
}

// sweepFlags tunes cleaning up.
type sweepFlags struct {
	SweepInterval time.Duration `help:"How often what is not needed any more is deleted from the data directory." default:"1h" hidden:""`
}

// sweepDelay is how long after the start the first sweep comes: catching up with the upstream goes first.
const sweepDelay = 5 * time.Minute

// listener is one address that clients connect to.
type listener struct {
	net.Listener
	mode server.Mode
}

// serving is a running server: IMAP for clients, mirroring, the control socket.
type serving struct {
	in      *instance
	sweeps  sweepFlags
	manager *syncer.Manager
	server  *server.Server

	observed []observed
	stopping atomic.Bool
}

func newServing(in *instance, f sweepFlags, conf *tls.Config, plainAuth bool) (*serving, error) {
	if err := in.lock(); err != nil {
		return nil, err
	}
	m := in.newManager()
	s := &serving{in: in, sweeps: f, manager: m}
	var err error
	if s.server, err = in.newServer(m, conf, plainAuth); err == nil {
		err = s.observe(context.Background())
	}
	if err != nil {
		return nil, err
	}
	in.watch(s.server, m)
	return s, nil
}

// newServer returns an IMAP server over the instance. m gets bodies that are not here; nil: every body is here.
func (in *instance) newServer(m *syncer.Manager, conf *tls.Config, plainAuth bool) (*server.Server, error) {
	c := session.Config{
		Auth: in.auth, Accounts: in.store, Mailboxes: in.store, Messages: in.store, Edits: in.store, Folders: in.store,
		Upstreams: in.store, Blobs: in.blobs, Bus: in.bus, Clock: clock.System{}, Log: in.log,
		Quota: in.conf.AccountQuota,
	}
	if m != nil {
		c.Bodies, c.Drop, c.Watch, c.Changed = m, m.Drop, m.Watch, m.Changed
	}
	if in.audit != nil {
		c.Audit = in.audit
	}
	if in.metrics != nil {
		c.OnLookup = in.metrics.Lookup
	}
	sessions := session.New(c)
	before, after := syntax.PreAuth(), syntax.PostAuth()
	literal := in.conf.MaxLiteralSize
	for _, l := range []*syntax.Limits{&before, &after} {
		l.LiteralInline = min(l.LiteralInline, literal)
		l.LiteralNonSync = min(l.LiteralNonSync, literal)
	}
	o := server.Options{
		Sessions: sessions, TLS: conf, AllowPlainAuth: plainAuth, Logger: in.log,
		PreAuth: &before, PostAuth: &after, AppendLimit: in.conf.MaxMessageSize,
	}
	if in.conf.BaseURL != "" {
		o.ID = []string{"support-url", in.conf.BaseURL} // RFC 2971 section 3.3
	}
	in.instrument(&o)
	return server.New(o)
}

// run serves until ctx is done, then stops everything in order: first the clients, so that nothing is acknowledged any
// more; then the control socket, the sweep and mirroring, whose last change upstream is answered, or is found in the
// queue as one whose outcome the next run has to find out, and whose leases other nodes can have then; then the list of nodes
// is left. The caller closes the tie to the others and the stores afterwards.
func (s *serving) run(ctx context.Context, listeners []listener) error {
	sock, err := control.Listen(ctx, s.in.socket())
	if err != nil {
		return errors.Join(err, s.closeObserved())
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg, looks sync.WaitGroup
	failed := make(chan error, 5+len(listeners)+len(s.observed))
	start := func(wg *sync.WaitGroup, what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				failed <- fault.Wrap(what, err)
			}
		})
	}
	looking, stopLooking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLooking()
	for _, o := range s.observed {
		start(&looks, "serve HTTP", func() error { return ops.Serve(looking, o, o.mux, s.in.log) })
	}
	start(&wg, "mirror", func() error { return s.manager.Run(work) })
	start(&wg, "control", func() error { return control.Serve(work, sock, controller{s.in, s.manager}) })
	start(&wg, "sweep", func() error { return s.sweep(work) })
	wg.Go(func() { thrift(work) })
	if p := s.in.peers; p != nil {
		wg.Go(func() { p.poll(work) })
	}
	for _, l := range listeners {
		start(&wg, "serve "+l.Addr().String(), func() error { return s.server.Serve(work, l.Listener, l.mode) })
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	end, cancel := context.WithTimeout(work, 20*time.Second)
	defer cancel()
	err = errors.Join(err, s.server.Shutdown(end))
	stop()
	wg.Wait()
	if p := s.in.peers; p != nil {
		p.leave()
	}
	stopLooking()
	looks.Wait()
	return err
}

// sweep deletes now and then what is not needed any more, until ctx is done.
func (s *serving) sweep(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(sweepDelay):
	}
	c := s.in.swept()
	c.Every = s.sweeps.SweepInterval
	if !many(s.in.conf) {
		sweep.Run(ctx, c)
		return nil
	}
	// One node sweeps. Should a second one begin before the first has noticed that it lost its connection, the object store
	// lets one of them delete; what a directory deletes nothing names, whoever does it.
	return postgres.Sole(ctx, s.in.conf.DatabaseURL.Reveal(), sweepLock, soleEvery, func(ctx context.Context) { sweep.Run(ctx, c) })
}

// swept says what a sweep works on.
func (in *instance) swept() sweep.Config {
	keep := in.conf.KeepRemoved
	if keep <= 0 {
		keep = -1 // 0 would be the default
	}
	return sweep.Config{
		References: in.store, Undo: in.store, Blobs: in.sweeper, Areas: in.areas, Claimed: in.claimedBlobs, Clock: clock.System{},
		Log: in.log, Retention: keep,
	}
}

const (
	sweepLock = 0x696d6170737765 // of all advisory locks of the database
	soleEvery = time.Minute      // how often a node asks whether nobody sweeps
)

// controller lets the control socket reach the syncer and the sessions.
type controller struct {
	in *instance
	m  *syncer.Manager
}

// Reload implements control.Server.
func (c controller) Reload(ctx context.Context) error { return c.m.Reload(ctx) }

// Force implements control.Server.
func (c controller) Force(ctx context.Context, id account.ID, progress func(control.Progress)) error {
	return c.m.Force(ctx, id, func(p syncer.Progress) { progress(progressOf(p)) })
}

// Changed implements control.Server.
func (c controller) Changed(ctx context.Context, id account.ID) error {
	hints, err := c.in.changed(ctx, id)
	if err != nil {
		return err
	}
	for _, h := range hints {
		c.in.bus.Publish(h)
	}
	c.m.Changed(id)
	return nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.As(fault.Unavailable, "listen", fmt.Errorf("%s: %w", addr, err))
	}
	return l, nil
}

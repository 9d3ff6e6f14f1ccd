package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"imapped/app/session"
	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// clients is how many clients are logged in on our side.
const clients = 3

// world is what outlives processes.
type world struct {
	db     database
	user   account.UserID
	out    *outside
	disk   blob.Store
	clock  *simClock
	dialer upstream.Dialer
	log    *slog.Logger
	pace   int // how much slower the upstream and the store are than the quickest
	owners int // processes that had a name of their own
	last   leaving
}

// left notes what is in a mailbox that a client deleted just now.
func (w *world) left(ctx context.Context, acc account.ID, id mailbox.ID) error {
	l := leaving{id: id}
	boxes, err := w.db.Mirrored(ctx, acc)
	if err != nil {
		return err
	}
	for _, m := range boxes {
		if m.ID == id {
			l.validity = m.Upstream.UIDValidity
		}
	}
	err = w.db.UpstreamRows(ctx, acc, id, func(u metadata.UpstreamRow) error {
		if !u.Departed {
			l.rows = append(l.rows, u)
		}
		return nil
	})
	w.last = l
	if fault.Is(err, fault.NotFound) {
		return nil // replay was quicker
	}
	return err
}

// leaving is a mailbox at the moment of its deletion.
type leaving struct {
	id       mailbox.ID
	validity uint32
	rows     []metadata.UpstreamRow
}

// proc is one of our processes: a Manager and a session service.
type proc struct {
	*life
	w       *world
	owner   string
	push    bool
	manager *syncer.Manager
	bus     io.Closer // once
	clients [clients]*client
	ended   sync.WaitGroup
	failed  error // of Run
}

// client is a logged-in client with at most one mailbox open.
type client struct {
	session.Session
	open *view
}

// view is an open mailbox.
type view struct {
	session.Mailbox
	id   mailbox.ID
	name string
}

// span is how long something takes that the in-process upstream and the quickest store do in so many milliseconds.
func (w *world) span(ms int) time.Duration { return time.Duration(ms*w.pace) * time.Millisecond }

// knobs makes a Manager quick.
func (w *world) knobs(owner string, push bool) syncer.Config {
	c := syncer.Config{
		Owner: owner, Poll: time.Hour, Silence: w.span(60), Linger: w.span(20), LeaseTTL: leaseTTL,
		RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond, Delay: 500 * time.Microsecond, Grace: time.Millisecond,
		Connections: 3, // nothing listens
	}
	if push {
		c.Connections = 7
	}
	return c
}

// leaseTTL is long: leases end when the clock is put forward.
const leaseTTL = time.Hour

// start starts a process.
func (w *world) start(owner string, push bool) (*proc, error) {
	ctx, cancel := context.WithCancel(context.Background())
	bus, end, err := w.out.bus(w.log)
	if err != nil {
		cancel()
		return nil, err
	}
	p := &proc{life: newLife(cancel), w: w, owner: owner, push: push, bus: end}
	slow, free := lane{p.life, false}, lane{p.life, true}
	s, b := store{slow, w.db, nil}, blobs{slow, w.disk}
	p.manager = syncer.New(syncer.Ports{
		Accounts: s, Leases: s, Statuses: s, Mirror: s, Messages: s, Bodies: s, Queue: s, Edits: s, Blobs: blob.Shared{Store: b},
		Dialer: dialer{slow, w.dialer}, Secrets: plainSealer{}, Bus: bus, Clock: w.clock, Log: w.log.With("process", owner),
	}, w.knobs(owner, push))
	f := store{free, w.db, w.left}
	svc := session.New(session.Config{
		Auth: anybody{w.user}, Accounts: f, Mailboxes: f, Messages: f, Edits: f, Folders: f, Upstreams: f, Blobs: blob.Shared{Store: blobs{free, w.disk}}, Bus: bus,
		Bodies: p.manager, Drop: p.manager.Drop, Watch: p.manager.Watch, Changed: p.manager.Changed,
		Clock: w.clock, Log: w.log,
	})
	p.ended.Go(func() { p.failed = p.manager.Run(ctx) })
	select {
	case <-p.manager.Ready():
	case <-time.After(patience):
		return nil, fmt.Errorf("the process does not start")
	}
	for i := range p.clients {
		l, err := svc.Login(ctx, session.Credentials{User: "ann"})
		if err != nil {
			return nil, err
		}
		p.clients[i] = &client{Session: l}
	}
	return p, nil
}

// stop ends a process: in good order, or, if it was killed, whatever is left of it.
func (p *proc) stop() error {
	for _, c := range p.clients {
		c.leave()
	}
	p.disarm()
	p.resume()
	p.cancel()
	done := make(chan struct{})
	go func() {
		p.ended.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		return fmt.Errorf("the process does not stop:\n%s", goroutines())
	}
	err := p.bus.Close()
	p.bus = io.NopCloser(nil)
	if err != nil {
		return err
	}
	if p.failed != nil && !p.isDead() {
		return fmt.Errorf("the process failed: %w", p.failed)
	}
	return nil
}

// leave closes the client's mailbox.
func (c *client) leave() {
	if c.open != nil {
		c.open.Close()
		c.open = nil
	}
}

// goroutines is what all goroutines are doing.
func goroutines() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

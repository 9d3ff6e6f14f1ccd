package syncer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mirror"
	"imapped/ports/upstream"
)

// dialTimeout bounds connecting and logging in as a whole.
const dialTimeout = time.Minute

// link is a connection to the upstream with what the syncer must know about it. One goroutine at a time selects on it.
type link struct {
	upstream.Conn
	server   upstream.Server
	features mirror.Features
	silence  time.Duration
	arrived  atomic.Uint64 // counts what arrives, for the watchdogs

	// selected is the mailbox that the last SELECT sent was for, with that SELECT; nil before the first.
	selected *opening
	opened   bool // something may be selected, known or not

	place *place       // nil: whoever has the link sees to it
	end   func() error // closes Conn, and then leaves the place, once
	away  bool         // it was closed for somebody who needed its place
}

// opening is one SELECT of a mailbox, sent or about to be sent.
type opening struct {
	box *box
	upstream.Select
}

// errStale refuses an answer that came for another incarnation of a mailbox than the one that was asked.
var errStale = fault.New(fault.Conflict, "read from the upstream", "the mailbox was replaced meanwhile")

// dial waits for one of the places and opens a connection for the account there; tell is called when somebody waits for it.
func (r *runner) dial(ctx context.Context, from *places, tell func()) (*link, error) {
	place, err := from.take(ctx, tell)
	if err != nil {
		return nil, err
	}
	l, err := r.connect(ctx)
	if err != nil {
		place.leave()
		return nil, err
	}
	l.place = place
	l.end = sync.OnceValue(func() error {
		defer place.leave()
		return l.Conn.Close()
	})
	return l, nil
}

// Close ends the connection, and gives its place back. It may be called more than once, and by several.
func (l *link) Close() error { return l.end() }

// connect opens a connection for the account. The caller has a place for it.
func (r *runner) connect(ctx context.Context) (*link, error) {
	password, err := r.m.Secrets.Open(r.account.Secret, r.account.SecretContext())
	if err != nil {
		return nil, fault.As(fault.Denied, "open the stored password", err)
	}
	defer clear(password)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := r.m.Dialer.Dial(ctx, upstream.Target{
		Endpoint: r.account.Upstream,
		Auth:     r.account.Auth,
		Username: r.account.Username,
		Password: password,
	})
	if err != nil {
		return nil, fault.Wrap("connect", err)
	}
	s := conn.Server()
	l := &link{Conn: conn, server: s, silence: r.m.cfg.Silence, end: conn.Close}
	l.features = mirror.Features{CondStore: s.CondStore, QResync: s.QResync}
	for _, c := range s.Capabilities {
		// Gmail tells a HIGHESTMODSEQ before the change that caused it can be fetched.
		l.features.Lags = l.features.Lags || c == "X-GM-EXT-1"
	}
	return l, nil
}

// touch says that something arrived. Every callback calls it.
func (l *link) touch() { l.arrived.Add(1) }

// do is Conn.Do that gives up when nothing arrives for too long: a connection may be alive and yet never answer.
func (l *link) do(ctx context.Context, cmds ...upstream.Command) error {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		const looks = 4 // in the time of silence, which so lasts at most a quarter longer than it should
		tick := time.NewTicker(max(l.silence/looks, 1))
		defer tick.Stop()
		seen, quiet := l.arrived.Load(), 0
		for quiet < looks {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if now := l.arrived.Load(); now != seen {
				seen, quiet = now, 0
				continue
			}
			quiet++
		}
		cancel(upstream.ErrSilent)
	}()
	err := l.Conn.Do(ctx, cmds...)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, upstream.ErrSilent) {
		err = cause
	}
	close(stop)
	<-watched
	cancel(nil)
	return fault.Wrap("talk to the upstream", err)
}

// open returns the opening of the mailbox that commands behind it rely on, and the SELECT to send first: none when the
// mailbox is selected already, or will be by commands that were sent.
func (l *link) open(b *box) (*opening, []upstream.Command) {
	if l.selected != nil && l.selected.box == b {
		return l.selected, nil
	}
	o := l.reopen(b)
	return o, []upstream.Command{&o.Select}
}

// forget makes the next open select again; for when a selection turned out to be worthless.
func (l *link) forget() { l.selected = nil }

// reopen returns a new opening of the mailbox.
func (l *link) reopen(b *box) *opening {
	l.selected = &opening{box: b, Select: upstream.Select{Name: b.raw(), ReadOnly: true}}
	l.opened = true
	return l.selected
}

// trouble is what a failure means for an account.
type trouble struct {
	state account.State
	retry time.Duration // at least; 0: by back-off
}

// diagnose classifies a failure of the connection or of a command.
func diagnose(err error) trouble {
	var refusal *upstream.Refusal
	if errors.As(err, &refusal) && refusal.Retry > 0 {
		return trouble{account.StateThrottle, min(refusal.Retry, time.Hour)}
	}
	if fault.Is(err, fault.Denied) {
		return trouble{account.StateAuthFail, authRetry}
	}
	return trouble{state: account.StateBackoff}
}

// authRetry is how long refused credentials are left alone: people change passwords, but lockouts count attempts.
const authRetry = 15 * time.Minute

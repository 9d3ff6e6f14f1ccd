package syncer

import (
	"context"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/ports/clock"
	"imapped/ports/upstream"
)

// tenure is until when this process may take all its leases for its own without asking.
type tenure struct {
	ttl time.Duration

	mu sync.Mutex
	at time.Time // when the last call that renewed them was made; zero: none was
}

// renewed says that all leases that are not marked lost were renewed by a call that was made at the time.
func (t *tenure) renewed(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = at
}

// since is when renewed was called last for; zero: never.
func (t *tenure) since() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// holds says whether what was confirmed at a time may still be relied on: not in the last quarter of the leases' time, which
// is for what is on its way, for clocks that disagree, and for a process that is slow.
func (t *tenure) holds(at, now time.Time) bool {
	return !at.IsZero() && clock.Elapsed(at, now) < t.ttl-t.ttl/4
}

// lease is what is known of one account's lease besides the tenure of all.
type lease struct {
	mu   sync.Mutex
	at   time.Time // when the last call that confirmed it was made
	gone bool      // another has it, or may
}

func (l *lease) confirmed(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
}

func (l *lease) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
}

func (l *lease) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

func (l *lease) since() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

var (
	errLost = fault.New(fault.Conflict, "change the upstream", "the account has another owner now")
	errLate = fault.New(fault.Unavailable, "change the upstream", "the account's lease was not renewed in time; perhaps this process was paused")
)

// held says, without asking the store, why nothing may be sent upstream that changes something there; nil: it may.
func (o *owner) held() error {
	now := o.m.Clock.Now()
	switch {
	case o.lease.lost():
		return errLost
	case o.m.tenure.holds(o.m.tenure.since(), now), o.m.tenure.holds(o.lease.since(), now):
		return nil
	}
	return errLate
}

// confirm asks the store whether the lease is still held, and so renews it.
func (o *owner) confirm(ctx context.Context) error {
	at := o.m.Clock.Now()
	err := o.m.Leases.Renew(ctx, o.fence, at, o.m.cfg.LeaseTTL)
	if err == nil {
		o.lease.confirmed(at)
	}
	return err
}

// refuse is the outcome of commands that are not sent.
func refuse(err error, cmds []upstream.Command) error {
	for _, c := range cmds {
		*c.Result() = upstream.Outcome{Err: err}
	}
	return err
}

// guard looks whether the lease may be relied on before something is sent. When it may not, because it was not renewed in
// time or this process was paused, nothing is sent on this connection any more: what was on its way may be long over. The
// store is asked, so that the next attempt, on another connection, knows.
func (o *owner) guard(ctx context.Context) error {
	err := o.held()
	if !fault.Is(err, fault.Unavailable) {
		return err
	}
	o.log.Warn("the lease was not renewed in time: a connection is given up")
	if o.lostLease(ctx) {
		return errLost
	}
	return err
}

// pacer spreads events over time: so many at once, the others at intervals.
type pacer struct {
	every time.Duration
	burst int

	mu   sync.Mutex
	next time.Time // when the next would come if they had come at intervals
}

// wait waits for its turn.
func (p *pacer) wait(ctx context.Context, now time.Time) error {
	p.mu.Lock()
	if p.next.Before(now) {
		p.next = now
	}
	d := p.next.Sub(now) - time.Duration(p.burst-1)*p.every
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leaveTime bounds what a process does to leave in good order.
const leaveTime = 5 * time.Second

package postgres

import (
	"context"
	"sync"

	"imapped/domain/account"
)

// gates lets transactions of this process that want one account's lock ask the server for it one after the other. They would
// wait there all the same. But of a process that stands still each one that waits at the server would get the lock in its turn,
// and keep it until idleTimeout: one alone can.
type gates struct {
	mu sync.Mutex
	of map[account.ID]*gate
}

// gate is one account's; it is forgotten when nobody is at it.
type gate struct {
	turn  chan struct{} // has room for whoever has its turn
	users int           // who have their turn or wait; guarded by gates.mu
}

// enter waits for the turn, until ctx ends. leave gives it back.
func (g *gates) enter(ctx context.Context, acc account.ID) (leave func(), err error) {
	g.mu.Lock()
	a := g.of[acc]
	if a == nil {
		if g.of == nil {
			g.of = map[account.ID]*gate{}
		}
		a = &gate{turn: make(chan struct{}, 1)}
		g.of[acc] = a
	}
	a.users++
	g.mu.Unlock()
	gone := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if a.users--; a.users == 0 {
			delete(g.of, acc)
		}
	}
	select {
	case a.turn <- struct{}{}:
		return func() {
			<-a.turn
			gone()
		}, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}

// enter waits at the gate of the account whose lock is to be asked for by what is sent next, if there is one.
func (t *tx) enter(ctx context.Context) error {
	if t.wants == 0 {
		return nil
	}
	acc := t.wants
	t.wants = 0
	wait, cancel := context.WithTimeout(ctx, t.s.lockWait)
	defer cancel()
	leave, err := t.s.gates.enter(wait, acc)
	if err != nil {
		if ctx.Err() == nil {
			err = errBusy
		}
		return err
	}
	t.leave = leave
	return nil
}

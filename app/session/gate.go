package session

import (
	"context"
	"time"

	"imapped/domain/fault"
	"imapped/ports/clock"
)

// slice is how long a search computes before it lets others go first.
const slice = 20 * time.Millisecond

// gate lets a limited number of searches compute at a time, each for a slice, in the order in which they came.
type gate struct {
	clock clock.Clock
	slots chan struct{} // a send waits its turn: the runtime serves blocked senders first come, first served
}

func newGate(c clock.Clock, slots int) *gate {
	return &gate{clock: c, slots: make(chan struct{}, slots)}
}

// turn is one search's use of the gate. One goroutine uses it.
type turn struct {
	g     *gate
	inUse bool
	until time.Time
}

func (g *gate) enter(ctx context.Context) (*turn, error) {
	t := &turn{g: g}
	return t, t.enter(ctx)
}

// enter waits for a slot.
func (t *turn) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.As(fault.Canceled, "search", err)
	}
	select {
	case t.g.slots <- struct{}{}:
		t.inUse, t.until = true, t.g.clock.Now().Add(slice)
		return nil
	case <-ctx.Done():
		return fault.As(fault.Canceled, "search", ctx.Err())
	}
}

// leave gives the slot back; a turn that has none may leave too.
func (t *turn) leave() {
	if t.inUse {
		t.inUse = false
		<-t.g.slots
	}
}

// tick is called between pieces of work of well under a slice: when the slice is over it waits for the next one.
func (t *turn) tick(ctx context.Context) error {
	if t.g.clock.Now().Before(t.until) {
		if err := ctx.Err(); err != nil {
			return fault.As(fault.Canceled, "search", err)
		}
		return nil
	}
	t.leave()
	return t.enter(ctx)
}

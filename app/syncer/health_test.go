package syncer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"imapped/app/replay"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// TestHealth: an account that is owned is told of, with what waits for its upstream; one that is not, is not.
func TestHealth(t *testing.T) {
	w := newWorld()
	w.deliver("INBOX", mail(1, 100))
	r := newRig(t, w).quick()
	r.start()
	r.sync()
	h := r.m.Health()
	if len(h) != 1 || h[0].ID != r.acc.ID || h[0].State != account.StateIdle || time.Since(h[0].LastSync) > time.Minute || h[0].Backlog.Changes != 0 {
		t.Errorf("in step: %+v", h)
	}
	w.mu.Lock()
	w.down = fault.New(fault.Unavailable, "dial", "down")
	w.mu.Unlock()
	e := r.edits()
	began := time.Now()
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Flagged`)
	r.until("the change in the backlog", func() bool {
		h := r.m.Health()
		return len(h) == 1 && h[0].Backlog.Changes == 1 && !h[0].Backlog.Oldest.Before(began.Truncate(time.Second))
	})
	w.mu.Lock()
	w.down = nil
	w.mu.Unlock()
	r.until("an empty backlog", func() bool { h := r.m.Health(); return len(h) == 1 && h[0].Backlog.Changes == 0 })
	r.halt()
	if h := r.m.Health(); len(h) != 0 {
		t.Errorf("stopped: %+v", h)
	}
}

// TestHealthParked: what is parked waits for a person, not for the upstream, and does not make what waits look old.
func TestHealthParked(t *testing.T) {
	r := full(t, 3)
	var busy atomic.Bool
	busy.Store(true)
	r.refusing(func(cmd upstream.Command) error {
		switch cmd.(type) {
		case *upstream.Append:
			return no(fault.Limit, "OVERQUOTA", "mailbox is full")
		case *upstream.Store:
			if busy.Load() {
				return no(fault.Unavailable, "UNAVAILABLE", "not now")
			}
		}
		return nil
	})
	e := r.edits()
	e.append("Work", mail(50, 10))
	r.until("a parked change apart from what waits", func() bool {
		h := r.m.Health()
		return len(h) == 1 && h[0].Backlog == replay.Backlog{Parked: 1}
	})
	parked := r.queue()[0].Created
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Flagged`)
	r.until("a change that waits behind it", func() bool {
		h := r.m.Health()
		return len(h) == 1 && h[0].Backlog.Parked == 1 && h[0].Backlog.Changes == 1 && h[0].Backlog.Oldest.After(parked)
	})
	busy.Store(false)
	r.until("only the parked one", func() bool {
		h := r.m.Health()
		return len(h) == 1 && h[0].Backlog == replay.Backlog{Parked: 1}
	})
}

package syncer_test

import (
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
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

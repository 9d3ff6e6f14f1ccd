package syncer_test

import (
	"fmt"
	"slices"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// script is a history with every kind of change. Nobody else changes anything, so that what clients see after it is what
// must be there in the end, on both sides.
func script(e editor) {
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1, 2, 3), `\Seen`)
	e.flags("INBOX", metadata.ReplaceFlags, mailbox.SetOf[uint32](2), `\Flagged`, "$a")
	first := e.append("Work", mail(100, 50), `\Seen`)
	e.append("Work", mail(100, 50), `\Seen`) // the same again
	e.copy("INBOX", "Work", false, 1, 4)
	e.copy("INBOX", "Work", false, 1)
	e.copy("INBOX", "Work/Old", true, 5, 6)
	e.copy("Work", "Work", true, first)
	e.expunge("INBOX", 7, 8)
	e.create("New")
	e.append("New", mail(101, 2000), `\Flagged`)
	e.copy("INBOX", "New", true, 9)
	e.rename("Work", "Job")
	e.append("Job/Old", mail(102, 10))
	e.delete("Gone")
}

// stage is a mirrored account whose upstream cannot be reached for writing yet, with the script played.
func stage(t *testing.T, set func(*world)) *rig {
	w := newWorld()
	set(w)
	w.server.Idle = false
	for _, name := range []string{"Work", "Work/Old", "Gone"} {
		w.create(name, '/')
	}
	for i := range 10 {
		w.deliver("INBOX", mail(i, 100))
	}
	w.deliver("INBOX", mail(3, 100), `\Deleted`) // somebody else's mark
	w.deliver("Gone", mail(11, 10))
	r := newRig(t, w).quick()
	r.cfg.Connections = 3 // nothing listens
	r.start()
	r.sync()
	w.change(func() { w.down = fault.New(fault.Unavailable, "TCP", "connection refused") })
	script(r.edits())
	return r
}

// shown is what clients see: every message of every mailbox.
func (r *rig) shown() (out []string) {
	boxes, err := r.db.Mailboxes(r.t.Context(), r.acc.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range boxes {
		out = append(out, b.Name)
		for _, l := range r.local(b.ID) {
			out = append(out, fmt.Sprintf("%s %d %s %.60q", b.Name, l.uid, l.flags, l.raw))
		}
	}
	return out
}

// ends checks that both sides end as clients saw it before.
func (r *rig) ends(want []string) {
	r.t.Helper()
	r.converge()
	if got := r.shown(); !slices.Equal(got, want) {
		r.t.Errorf("clients see\n%v\nbefore it was\n%v", got, want)
	}
}

var upstreams = []struct {
	name string
	set  func(*world)
}{
	{"everything", func(*world) {}},
	{"no MOVE", func(w *world) { w.server.Move = false }},
	{"bare", func(w *world) { w.server = upstream.Server{} }},
}

// stride is how many moments are left out between two that are tried.
func stride() int {
	if testing.Short() {
		return 9
	}
	return 1
}

// TestEveryCut cuts replay's first connection after every number of events: before a command has its effect, after it,
// and in the middle of its data; what was sent behind it is carried out, or not.
func TestEveryCut(t *testing.T) {
	for _, u := range upstreams {
		for _, ghost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ghost %v", u.name, ghost), func(t *testing.T) {
				t.Parallel()
				for n, cut := 0, true; cut && !t.Failed(); n += stride() {
					r := stage(t, u.set)
					want := r.shown()
					dials := 0
					r.w.change(func() {
						r.w.down, r.w.ghost = nil, func() bool { return ghost }
						r.w.budget = func() int {
							if dials++; dials == 1 {
								return n
							}
							return -1
						}
					})
					r.m.Changed(r.acc.ID)
					r.ends(want)
					r.w.change(func() { cut = dials > 1 })
					r.halt()
					if t.Failed() {
						t.Logf("cut after %d events", n)
					}
					if !cut {
						t.Logf("%d events", n)
					}
				}
			})
		}
	}
}

// TestEveryDeath kills the process at every call of the store, before and after its effect.
func TestEveryDeath(t *testing.T) {
	for _, u := range upstreams {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s after %v", u.name, after), func(t *testing.T) {
				t.Parallel()
				for n, died := 1, true; died && !t.Failed(); n += stride() {
					r := stage(t, u.set)
					want := r.shown()
					r.halt()
					dies := &mortal{left: n, after: after}
					ports := r.ports
					r.ports.Queue, r.ports.Edits, r.ports.Mirror = mortalQueue{r.db, dies}, mortalEdits{r.db, dies}, mortalMirror{r.db, dies}
					r.w.change(func() { r.w.down = nil })
					r.start()
					r.until("it dies, or ends", func() bool { return dies.dead() || len(r.queue()) == 0 })
					died = dies.dead()
					r.halt()
					r.ports = ports
					r.start()
					r.ends(want)
					r.halt()
					if t.Failed() {
						t.Logf("died at call %d", n)
					}
					if !died {
						t.Logf("%d calls", n)
					}
				}
			})
		}
	}
}

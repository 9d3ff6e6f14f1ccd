package syncer_test

import (
	"fmt"
	"testing"

	"imapped/domain/mailbox"
)

func TestFirstMirror(t *testing.T) {
	for _, tc := range []struct {
		name                      string
		cond, qresync, liststatus bool
	}{
		{"qresync", true, true, true},
		{"condstore", true, false, true},
		{"plain", false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			w.server.CondStore, w.server.QResync, w.server.ListStatus = tc.cond, tc.qresync, tc.liststatus
			w.create("Work", '/')
			w.create("Work/Sub", '/')
			w.create("Empty", '/')
			for i := range 1200 {
				w.deliver("INBOX", mail(i, i%3000), `\Seen`)
			}
			w.deliver("INBOX", mail(5000, 3<<20))
			for i := range 30 {
				w.deliver("Work/Sub", mail(10000+i, 100), `\Flagged`, "$Work")
			}
			r := newRig(t, w)
			r.start()
			r.sync()
			r.compare()
			for i, l := range r.local(r.mirrored()["INBOX"].ID) {
				if l.uid != mailbox.UID(i+1) {
					t.Fatalf("message %d has UID %d: not in upstream order", i+1, l.uid)
				}
			}
			n, what := w.commands()
			t.Log(n, what)
			if n > 60 {
				t.Errorf("%d commands: %s", n, what)
			}
		})
	}
}

func TestCommandBudget(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	for i := range 19 {
		w.create(fmt.Sprintf("box%d", i), '/')
		for j := range 5 {
			w.deliver(fmt.Sprintf("box%d", i), mail(i*100+j, 10))
		}
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	w.commands()

	r.sync()
	if n, what := w.commands(); n != 1 {
		t.Errorf("nothing changed: %d commands %s, want 1", n, what)
	}
	for i := range 7 {
		w.deliver("box3", mail(90000+i, 10))
	}
	r.sync()
	if n, what := w.commands(); n > 4 {
		t.Errorf("7 new messages: %d commands %s, want at most 4", n, what)
	}
	r.compare()
	w.commands()
	w.setFlags("box4", 2, `\Seen`)
	r.sync()
	if n, what := w.commands(); n > 3 {
		t.Errorf("a flag: %d commands %s, want at most 3", n, what)
	}
	r.compare()
	w.commands()
	w.expunge("box5", 1, 3)
	r.sync()
	if n, what := w.commands(); n > 5 {
		t.Errorf("an expunge: %d commands %s", n, what)
	}
	r.compare()
	w.commands()
	r.sync()
	if n, what := w.commands(); n != 1 {
		t.Errorf("nothing changed any more: %d commands %s, want 1", n, what)
	}
}

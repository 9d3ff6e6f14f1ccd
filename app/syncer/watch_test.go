package syncer_test

import (
	"fmt"
	"testing"
)

// TestOpenMailboxesArePushed: news of a mailbox that a client has open comes without a poll, and a mailbox that is not
// open costs no connection.
func TestOpenMailboxesArePushed(t *testing.T) {
	w := newWorld()
	w.deliver("INBOX", mail(1, 10))
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		w.create(name, '/')
		w.deliver(name, mail(1, 10))
	}
	r := newRig(t, w)
	r.cfg.Push = 3
	r.start()
	r.sync()
	idling := func(n int) func() bool {
		return func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.idling == n }
	}
	r.until("INBOX alone is listened to", idling(1))
	stopA := r.m.Watch(r.acc.ID, r.mirrored()["A"].ID)
	r.until("A is listened to as well", idling(2))
	w.deliver("A", mail(2, 10))
	r.until("news of A", func() bool { return len(r.uids("A")) == 2 })
	stopB := r.m.Watch(r.acc.ID, r.mirrored()["B"].ID)
	r.until("B is listened to as well", idling(3))
	defer r.m.Watch(r.acc.ID, r.mirrored()["C"].ID)()
	stopA()
	stopA() // once is enough, twice no harm
	stopB()
	w.deliver("C", mail(2, 10))
	r.until("C takes the place of A or B", func() bool { return len(r.uids("C")) == 2 })
	r.until("no more than three", idling(3))
	r.until("all bodies", func() bool { return r.mirrored()["C"].Bodies == 2 })
	r.compare()
}

// TestDamagedNames: LIST gives a name another spelling each time. That is no rename and no removal.
func TestDamagedNames(t *testing.T) {
	w := newWorld()
	for i, name := range []string{"Full", "Empty", "Other"} {
		w.create(name, '/')
		for n := range 5 * (1 - i%2) {
			w.deliver(name, name+mail(n, 10))
		}
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	before := r.mirrored()
	for _, damaged := range []string{"Full", "Empty"} {
		n := 0
		w.change(func() {
			w.misname = func(name string) string {
				if name == damaged {
					n++
					return fmt.Sprint(name, n)
				}
				return name
			}
		})
		for range 3 {
			_ = r.try()
			after := r.mirrored()
			for name, m := range before {
				if got := after[name]; got.ID != m.ID || got.Messages != m.Messages {
					t.Fatalf("%s became %+v while LIST damaged %s, was %+v", name, got.Info, damaged, m.Info)
				}
			}
		}
	}
	w.change(func() { w.misname = nil })
	r.sync()
	r.compare()
	if after := r.mirrored(); len(after) != len(before) {
		t.Errorf("%d mailboxes, want %d", len(after), len(before))
	}
}

// TestPoisonousNews: the body of a new message breaks every connection on which it is asked for. All the rest arrives.
func TestPoisonousNews(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	w.deliver("INBOX", mail(1, 10))
	w.create("Other", '/')
	r := newRig(t, w)
	r.start()
	r.sync()
	bad := mail(666, 100)
	w.change(func() { w.poison = bad })
	w.deliver("INBOX", mail(2, 10))
	w.deliver("INBOX", bad)
	w.deliver("INBOX", mail(3, 10))
	w.deliver("Other", mail(4, 10))
	r.until("all but the poison is here", func() bool {
		_ = r.try()
		m := r.mirrored()
		return m["INBOX"].Messages == 4 && m["INBOX"].Bodies == 3 && m["Other"].Bodies == 1
	})
	w.change(func() { w.poison = "" })
	r.until("the poison is gone", func() bool { return r.try() == nil })
	r.compare()
}

package syncer_test

import "testing"

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
	r.compare()
}

package syncer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/ports/upstream"
)

func TestHealKeepsUIDsAndBodies(t *testing.T) {
	w := newWorld()
	for i := range 60 {
		w.deliver("INBOX", mail(i/2, 500)) // every message twice: identities alone do not tell them apart
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	before := r.uids("INBOX")
	w.change(func() { w.bodies = map[string]int{} })
	w.reset("INBOX", 700)
	w.setFlags("INBOX", 703, `\Flagged`)
	r.sync()
	r.compare()
	if got := r.uids("INBOX"); !slices.Equal(got, before) {
		t.Errorf("UIDs are %v, were %v", got, before)
	}
	w.change(func() {
		if len(w.bodies) != 0 {
			t.Errorf("%d bodies were fetched again", len(w.bodies))
		}
	})

	w.reset("INBOX", 5000)
	w.expunge("INBOX", 5000, 5001) // both copies of the first message
	fresh := mail(999, 10)
	w.deliver("INBOX", fresh)
	r.sync()
	r.compare()
	if got, want := r.uids("INBOX"), append(slices.Clone(before[2:]), 61); !slices.Equal(got, want) {
		t.Errorf("UIDs are %v, want %v", got, want)
	}
	w.change(func() {
		if len(w.bodies) != 1 || w.bodies[fresh] == 0 {
			t.Errorf("bodies fetched: %d", len(w.bodies))
		}
	})
}

func TestUnstableValidityIsCapped(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	for i := range 20 {
		w.deliver("INBOX", mail(i, 10))
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	before := r.uids("INBOX")
	w.commands()
	failed := 0
	for range 20 {
		w.reset("INBOX", 1)
		if err := r.try(); err != nil {
			failed++
			if !strings.Contains(err.Error(), "UIDVALIDITY") {
				t.Errorf("error is %v", err)
			}
		}
	}
	if failed == 0 {
		t.Error("healing goes on without end")
	}
	if n, what := w.commands(); n > 20+8*4 {
		t.Errorf("%d commands: %s", n, what)
	}
	if got := r.uids("INBOX"); !slices.Equal(got, before) {
		t.Errorf("UIDs are %v, were %v", got, before)
	}
	if s := r.stored(); !strings.Contains(s.Text, "UIDVALIDITY") {
		t.Errorf("status is %+v", s)
	}
}

func TestValidityZero(t *testing.T) {
	w := newWorld()
	w.server.CondStore, w.server.QResync = false, false
	w.change(func() { w.boxes["INBOX"].validity = 0 })
	for i := range 5 {
		w.deliver("INBOX", mail(i, 10))
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	r.compare()
	before := r.uids("INBOX")
	w.deliver("INBOX", mail(77, 10))
	r.sync()
	r.compare()
	if got := r.uids("INBOX"); !slices.Equal(got[:5], before) {
		t.Errorf("UIDs are %v, were %v", got, before)
	}
}

func TestRenames(t *testing.T) {
	w := newWorld()
	for _, name := range []string{"Archive", "work", "Work", "Swap1", "Swap2"} {
		w.create(name, '/')
		for i := range 4 {
			w.deliver(name, name+"-"+mail(i, 10))
		}
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	r.compare()
	before := r.mirrored()
	w.rename("Archive", "Archive-2025") // rotated
	w.create("Archive", '/')
	w.deliver("Archive", mail(500, 10))
	w.rename("Work", "Job/Work")
	w.rename("Swap1", "tmp")
	w.rename("Swap2", "Swap1")
	w.rename("tmp", "Swap2")
	w.change(func() { w.bodies = map[string]int{} })
	r.sync()
	r.compare()
	after := r.mirrored()
	for was, is := range map[string]string{
		"Archive": "Archive-2025", "Work": "Job/Work", "work": "work", "Swap1": "Swap2", "Swap2": "Swap1",
	} {
		if before[was].ID != after[is].ID || after[is].UIDValidity != before[was].UIDValidity {
			t.Errorf("%s is not %s any more: %+v, %+v", is, was, before[was].Info, after[is].Info)
		}
	}
	w.change(func() {
		if len(w.bodies) != 1 {
			t.Errorf("%d bodies fetched, want the new one alone", len(w.bodies))
		}
	})
}

func TestMailboxRemoval(t *testing.T) {
	w := newWorld()
	for i := range 10 {
		w.create(fmt.Sprintf("box%d", i), '/')
		w.deliver(fmt.Sprintf("box%d", i), mail(i, 10))
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	w.remove("box3")
	r.sync()
	r.compare()

	w.change(func() { w.listOnly = 1 }) // INBOX alone
	for range 3 {
		r.sync()
	}
	if n := len(r.mirrored()); n != 10 {
		t.Errorf("%d mailboxes are left after a listing that forgot most of them", n)
	}
	w.change(func() { w.listOnly = 0 })
	r.sync()
	r.compare()
}

func TestLyingCounts(t *testing.T) {
	for _, cond := range []bool{true, false} {
		w := newWorld()
		w.server.CondStore, w.server.QResync = cond, false
		for i := range 40 {
			w.deliver("INBOX", mail(i, 10))
		}
		r := newRig(t, w)
		r.start()
		r.sync()
		for _, lie := range []int{-30, 7} {
			w.change(func() { w.lieExists = func(string) int { return lie } })
			w.setFlags("INBOX", 3, fmt.Sprint("lie", lie+100))
			if err := r.try(); err == nil {
				t.Error("nothing was noticed")
			}
			if n := len(r.uids("INBOX")); n != 40 {
				t.Errorf("%d messages are left", n)
			}
		}
		if s := r.stored(); s.Text == "" {
			t.Error("the status says nothing")
		}
		w.change(func() { w.lieExists = nil })
		r.sync()
		r.compare()
		r.halt()
	}
}

func TestManyGoneNeedsASecondLook(t *testing.T) {
	w := newWorld()
	w.server.CondStore, w.server.QResync, w.server.Idle = false, false, false
	var uids []uint32
	for i := range 40 {
		uids = append(uids, w.deliver("INBOX", mail(i, 10)))
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	w.expunge("INBOX", uids[:35]...)
	w.commands()
	r.sync() // asked for: both looks at once
	r.compare()
	if n, what := w.commands(); n < 7 {
		t.Errorf("only %d commands: %s", n, what)
	}
}

func TestGapsAreRetried(t *testing.T) {
	w := newWorld()
	ghost := mail(1000, 10)
	w.deliver("INBOX", mail(1, 10))
	w.change(func() { w.noFetch[ghost] = true })
	w.deliver("INBOX", ghost)
	w.deliver("INBOX", mail(2, 10))
	r := newRig(t, w)
	r.start()
	if err := r.try(); err == nil || !strings.Contains(err.Error(), "does not give 1 message") {
		t.Errorf("error is %v", err)
	}
	if n := len(r.uids("INBOX")); n != 2 {
		t.Fatalf("%d messages are here", n)
	}
	w.change(func() { w.noFetch = map[string]bool{} })
	r.sync()
	r.compare()
}

func TestMissingBodiesAreRetried(t *testing.T) {
	w := newWorld()
	bad := mail(1000, 10)
	w.change(func() { w.noBody[bad] = true })
	for i := range 5 {
		w.deliver("INBOX", mail(i, 10))
	}
	w.deliver("INBOX", bad)
	r := newRig(t, w)
	r.start()
	if err := r.try(); err == nil || !strings.Contains(err.Error(), "no body") {
		t.Errorf("error is %v", err)
	}
	if m := r.mirrored()["INBOX"]; m.Messages != 6 || m.Bodies != 5 {
		t.Errorf("%d messages, %d bodies: the others were held up, or an empty body was stored", m.Messages, m.Bodies)
	}
	w.change(func() { w.noBody = map[string]bool{} })
	r.sync()
	r.compare()
}

func TestOneMailboxFails(t *testing.T) {
	w := newWorld()
	w.create("Bad", '/')
	w.create("Good", '/')
	for _, name := range []string{"INBOX", "Bad", "Good"} {
		w.deliver(name, mail(1, 10))
	}
	w.change(func() {
		w.refuse = func(cmd upstream.Command) error {
			if s, ok := cmd.(*upstream.Select); ok && s.Name == "Bad" {
				return &upstream.Refusal{Status: "NO", Code: "SERVERBUG", Text: "internal error"}
			}
			return nil
		}
	})
	r := newRig(t, w)
	r.start()
	if err := r.try(); err == nil || !strings.Contains(err.Error(), `"Bad": `) {
		t.Errorf("error is %v", err)
	}
	for _, name := range []string{"INBOX", "Good"} {
		if n := r.mirrored()[name].Bodies; n != 1 {
			t.Errorf("%s has %d bodies", name, n)
		}
	}
	if s := r.stored(); s.State != account.StateIdle || !strings.Contains(s.Text, "internal error") {
		t.Errorf("status is %+v", s)
	}
	w.change(func() { w.refuse = nil })
	r.sync()
	r.compare()
	if s := r.stored(); s.Text != "" {
		t.Errorf("status is %+v", s)
	}
}

func TestRefusedQResyncFallsBack(t *testing.T) {
	w := newWorld()
	w.deliver("INBOX", mail(1, 10))
	r := newRig(t, w)
	r.start()
	r.sync()
	w.change(func() {
		w.refuse = func(cmd upstream.Command) error {
			if s, ok := cmd.(*upstream.Select); ok && s.Resync != nil {
				return &upstream.Refusal{Status: "BAD", Text: "unknown parameter"}
			}
			return nil
		}
	})
	w.deliver("INBOX", mail(2, 10))
	w.setFlags("INBOX", 1, `\Seen`)
	r.sync()
	r.compare()
}

func TestStates(t *testing.T) {
	w := newWorld()
	w.deliver("INBOX", mail(1, 10))
	r := newRig(t, w)
	w.change(func() {
		w.down = &upstream.StepError{Step: upstream.StepTCP, Err: fmt.Errorf("connection refused")}
	})
	r.start()
	var s account.Status
	r.until("back-off", func() bool {
		s = r.stored()
		return s.State == account.StateBackoff && s.NextRetry.After(s.Since.Add(-1))
	})
	if !strings.Contains(s.Text, "TCP: connection refused") {
		t.Errorf("status is %+v", s)
	}
	w.change(func() { w.down = &upstream.Refusal{Status: "NO", Text: "throttled", Retry: 40 * time.Millisecond} })
	r.until("throttled", func() bool { return r.stored().State == account.StateThrottle })
	w.change(func() { w.down = nil })
	r.until("idle", func() bool { return r.stored().State == account.StateIdle })
	r.compare()

	if err := r.m.Pause(t.Context(), r.acc.ID); err != nil {
		t.Fatal(err)
	}
	if s := r.stored(); s.State != account.StatePaused {
		t.Errorf("status is %+v", s)
	}
	if err := r.try(); err == nil {
		t.Error("a paused account was synchronized")
	}
	if err := r.m.Fetch(t.Context(), r.acc.ID, 1, nil); err == nil {
		t.Error("a paused account gives bodies")
	}
	w.deliver("INBOX", mail(2, 10))
	if err := r.m.Resume(t.Context(), r.acc.ID); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.compare()
}

func TestWrongPassword(t *testing.T) {
	r := newRig(t, newWorld())
	r.acc.Secret.Sealed = []byte("wrong")
	if err := r.db.UpdateAccount(t.Context(), r.acc); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.until("auth", func() bool { return r.stored().State == account.StateAuthFail })
	w := r.w
	w.mu.Lock()
	dials := w.dials
	w.mu.Unlock()
	if dials > 1 {
		t.Errorf("%d attempts with refused credentials", dials)
	}
	r.acc.Secret.Sealed = []byte("secret")
	if err := r.db.UpdateAccount(t.Context(), r.acc); err != nil {
		t.Fatal(err)
	}
	if err := r.m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.compare()
}

func TestSilence(t *testing.T) {
	w := newWorld()
	w.deliver("INBOX", mail(1, 10))
	r := newRig(t, w)
	r.cfg.Silence = 20 * time.Millisecond
	r.start()
	r.sync()
	w.deliver("INBOX", mail(2, 10))
	hang := make(chan struct{})
	w.change(func() { w.hang = hang })
	if err := r.try(); err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("error is %v", err)
	}
	if n := len(r.uids("INBOX")); n < 1 {
		t.Error("something was removed")
	}
	w.change(func() { w.hang = nil })
	close(hang)
	r.settle()
	r.compare()
}

func TestPush(t *testing.T) {
	for _, cond := range []bool{true, false} {
		w := newWorld()
		w.server.CondStore, w.server.QResync = cond, false
		w.deliver("INBOX", mail(1, 10))
		r := newRig(t, w)
		r.start()
		r.sync()
		sub := r.ports.Bus.Subscribe(r.acc.ID, r.mirrored()["INBOX"].ID)
		r.until("the push connection idles", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.idling > 0 })
		w.commands()
		start := time.Now()
		for i := range 3 {
			w.deliver("INBOX", mail(10+i, 10))
		}
		<-sub.C()
		t.Logf("CONDSTORE %v: news after %v", cond, time.Since(start))
		r.until("bodies", func() bool { m := r.mirrored()["INBOX"]; return m.Messages == 4 && m.Bodies == 4 })
		r.compare()
		w.setFlags("INBOX", 1, `\Seen`)
		r.until("flags", func() bool { return r.local(r.mirrored()["INBOX"].ID)[0].flags == `\Seen` })
		w.expunge("INBOX", 2)
		r.until("expunge", func() bool { return len(r.uids("INBOX")) == 3 })
		r.compare()
		sub.Close()
		r.halt()
	}
}

func TestLeaseHasOneOwner(t *testing.T) {
	w := newWorld()
	w.deliver("INBOX", mail(1, 10))
	r := newRig(t, w)
	r.start()
	r.sync()
	other := *r
	other.cfg.Owner = "another process"
	other.m, other.stop = syncer.New(other.ports, other.cfg), nil
	other.start()
	w.mu.Lock()
	dials := w.dials
	w.mu.Unlock()
	w.deliver("INBOX", mail(2, 10))
	r.settle()
	w.mu.Lock()
	if w.dials != dials {
		t.Errorf("%d connections more", w.dials-dials)
	}
	w.mu.Unlock()
	other.halt()
	r.compare()
}

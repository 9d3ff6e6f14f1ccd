package syncer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// refusing makes the upstream refuse what fn says.
func (r *rig) refusing(fn func(cmd upstream.Command) error) {
	r.w.change(func() { r.w.refuse = fn })
}

func no(kind fault.Kind, code, text string) error {
	return fault.As(kind, "refused", &upstream.Refusal{Status: "NO", Code: code, Text: text})
}

func full(t *testing.T, n int) *rig {
	w := newWorld()
	w.server.Idle = false
	w.create("Work", '/')
	for i := range n {
		w.deliver("INBOX", mail(i, 100))
	}
	r := newRig(t, w).quick()
	r.start()
	r.sync()
	return r
}

// TestReplayParksWhatIsRefused: what the upstream refuses for good is parked with its text, and nothing else is: neither
// what goes with it in one command nor what comes behind it.
func TestReplayParksWhatIsRefused(t *testing.T) {
	r := full(t, 40)
	r.refusing(func(cmd upstream.Command) error {
		switch cmd := cmd.(type) {
		case *upstream.Copy:
			if cmd.UIDs.Contains(17) {
				return no(fault.Forbidden, "NOPERM", "not this one")
			}
		case *upstream.Append:
			return no(fault.Limit, "OVERQUOTA", "mailbox is full")
		}
		return nil
	})
	e := r.edits()
	var all []mailbox.UID
	for i := range 40 {
		all = append(all, mailbox.UID(i+1))
	}
	e.copy("INBOX", "Work", true, all...)
	e.append("Work", mail(100, 10))
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](17), `\Seen`) // it is gone
	e.create("Other")
	r.drained()
	want := []string{"append: NO [OVERQUOTA] mailbox is full", "move: NO [NOPERM] not this one"}
	got := r.parked()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("parked %q, want %q", got, want)
	}
	if n := len(r.w.boxes["Work"].msgs); n != 39 || r.w.boxes["Other"] == nil {
		t.Errorf("Work has %d messages", n)
	}
	r.settle()
	r.agree()
	r.refusing(nil)
	for _, q := range r.queue() {
		if err := r.db.Resolve(t.Context(), r.acc.ID, q.ID, true, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	r.m.Changed(r.acc.ID)
	r.converge()
}

// TestReplayRetries: what cannot be done now is done later, in order, and does not hold up the rest.
func TestReplayRetries(t *testing.T) {
	r := full(t, 3)
	refused := 0
	r.refusing(func(cmd upstream.Command) error {
		if a, ok := cmd.(*upstream.Append); ok && a.Name == "Work" {
			refused++
			return no(fault.Unavailable, "UNAVAILABLE", "try later")
		}
		return nil
	})
	e := r.edits()
	uid := e.append("Work", mail(50, 10))
	e.flags("Work", metadata.AddFlags, mailbox.SetOf(uid), `\Flagged`)
	e.append("INBOX", mail(51, 10))
	r.until("the other one is done", func() bool { r.w.mu.Lock(); defer r.w.mu.Unlock(); return len(r.w.boxes["INBOX"].msgs) == 4 })
	r.until("many attempts", func() bool { r.w.mu.Lock(); defer r.w.mu.Unlock(); return refused > 20 })
	if got := r.parked(); len(got) > 0 {
		t.Errorf("parked %q", got)
	}
	r.refusing(nil)
	r.converge()
}

// TestReplayThrottled: an upstream that asks to be left alone is.
func TestReplayThrottled(t *testing.T) {
	r := full(t, 3)
	asked := 0
	r.refusing(func(cmd upstream.Command) error {
		if isChange(cmd) {
			if asked++; asked == 1 {
				return fault.As(fault.Unavailable, "refused", &upstream.Refusal{Status: "NO", Text: "throttled", Retry: 50 * time.Millisecond})
			}
		}
		return nil
	})
	e := r.edits()
	start := time.Now()
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`)
	r.until("the first attempt", func() bool { r.w.mu.Lock(); defer r.w.mu.Unlock(); return asked > 0 })
	e.append("Work", mail(50, 10))
	r.drained()
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("it was asked again after %v", d)
	}
	r.converge()
}

// TestReplayKeywordsStayHere: flags that the upstream does not keep stay here, and say so.
func TestReplayKeywordsStayHere(t *testing.T) {
	w := newWorld()
	w.noKeywords = true
	w.deliver("INBOX", mail(1, 100))
	r := newRig(t, w).quick()
	r.start()
	r.sync()
	e := r.edits()
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`, "$Work")
	uid := e.append("INBOX", mail(2, 100), `\Flagged`, "$Home")
	r.drained()
	r.settle()
	r.drained()
	for _, text := range []string{"$Work", "$Home"} {
		if !slices.ContainsFunc(r.parked(), func(s string) bool { return strings.Contains(s, text) }) {
			t.Errorf("nothing says that %s is not kept: %q", text, r.parked())
		}
	}
	w.setFlags("INBOX", 1, `\Answered`) // somebody takes \Seen away, too
	r.settle()
	for _, l := range r.local(r.mirrored()["INBOX"].ID) {
		want := `\Answered $Work`
		if l.uid == uid {
			want = `\Flagged $Home`
		}
		if l.flags != want {
			t.Errorf("UID %d has flags %q, want %q", l.uid, l.flags, want)
		}
	}
}

// TestReplayAppendLimit: what the upstream does not take is not sent.
func TestReplayAppendLimit(t *testing.T) {
	r := full(t, 1)
	r.w.change(func() { r.w.server.AppendLimit = 1000 })
	e := r.edits()
	e.append("Work", mail(50, 5000))
	e.append("Work", mail(51, 10))
	r.drained()
	if got := r.parked(); len(got) != 1 || !strings.Contains(got[0], "larger") {
		t.Errorf("parked %q", got)
	}
	r.settle()
	r.agree()
}

// TestReplayOfflineDay: read, flag, move, delete and append while the upstream is down, with two restarts, then it is back.
func TestReplayOfflineDay(t *testing.T) {
	r := full(t, 300)
	r.w.change(func() {
		r.w.down = &upstream.StepError{Step: upstream.StepTCP, Err: fault.New(fault.Unavailable, "dial", "connection refused")}
		r.w.budget = nil
	})
	r.halt()
	r.start()
	e := r.edits()
	for i := range 500 {
		e.append("Work", mail(1000+i, 500))
		switch i {
		case 100:
			e.copy("INBOX", "Work", true, 1, 2, 3, 4, 5)
		case 200:
			r.halt()
			r.start()
			e = r.edits()
		case 300:
			e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](6, 7, 8), `\Seen`)
		case 400:
			e.expunge("INBOX", 10, 11, 12)
		}
	}
	r.w.commands()
	start := time.Now()
	r.w.change(func() { r.w.down = nil })
	r.drained()
	n, what := r.w.commands()
	t.Logf("%d commands after %v: %s", n, time.Since(start), what)
	r.converge()
	if n := len(r.w.boxes["Work"].msgs); n != 505 {
		t.Errorf("Work has %d messages", n)
	}
}

// TestReplaySetsMarksAside: without UIDPLUS, what others marked is neither expunged nor left unmarked, seen here or not.
func TestReplaySetsMarksAside(t *testing.T) {
	w := newWorld()
	w.server = upstream.Server{}
	for i := range 6 {
		w.deliver("INBOX", mail(i, 100))
	}
	r := newRig(t, w).quick()
	r.start()
	r.sync()
	w.setFlags("INBOX", 2, `\Deleted`)
	w.deliver("INBOX", mail(50, 10), `\Deleted`)
	e := r.edits()
	e.expunge("INBOX", 4, 5)
	r.converge()
	var left []uint32
	for _, m := range w.boxes["INBOX"].msgs {
		left = append(left, m.uid)
		if marked := m.flags.Has(flag.Deleted); marked != (m.uid == 2 || m.uid == 7) {
			t.Errorf("UID %d: marked %v", m.uid, marked)
		}
	}
	if !slices.Equal(left, []uint32{1, 2, 3, 6, 7}) {
		t.Errorf("left are %v", left)
	}
}

// TestReplayIsPrompt: a change is upstream within a second, and the connection is kept for a while, not for ever.
func TestReplayIsPrompt(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	w.deliver("INBOX", mail(1, 100))
	r := newRig(t, w)
	r.cfg.Linger = 20 * time.Millisecond
	r.start()
	r.sync()
	e := r.edits()
	start := time.Now()
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`)
	r.until("it is upstream", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.boxes["INBOX"].msgs[0].flags.Has(flag.Seen) })
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v", d)
	}
	r.until("the connection is given up", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.open == 1 })
}

// TestReplayDoesNotWaitForBodies: a round that fetches bodies for long keeps no change waiting.
func TestReplayDoesNotWaitForBodies(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	for i := range 60 {
		w.deliver("INBOX", mail(i, 1000))
	}
	slow := make(chan struct{})
	w.slow = slow
	r := newRig(t, w).quick()
	r.start()
	r.until("messages are here", func() bool { return len(r.mirrored()) == 1 && r.mirrored()["INBOX"].Messages == 60 })
	r.edits().flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`)
	r.drained()
	close(slow)
	r.converge()
}

// TestReplayDiscard: what is discarded here is as the upstream has it.
func TestReplayDiscard(t *testing.T) {
	r := full(t, 3)
	r.refusing(func(cmd upstream.Command) error {
		if isChange(cmd) {
			return no(fault.Forbidden, "NOPERM", "read-only")
		}
		return nil
	})
	e := r.edits()
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`)
	e.append("Work", mail(50, 10))
	e.expunge("INBOX", 2)
	e.create("New")
	e.copy("INBOX", "Work", true, 3)
	r.drained()
	if got := r.parked(); len(got) != 5 {
		t.Fatalf("parked %q", got)
	}
	for _, q := range r.queue() {
		if err := r.db.Resolve(t.Context(), r.acc.ID, q.ID, false, time.Now()); err != nil && !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
	}
	r.m.Changed(r.acc.ID)
	r.converge()
	if n := len(r.uids("INBOX")); n != 3 {
		t.Errorf("%d messages are here", n)
	}
}

// TestReplayGetsAConnection: an upstream that allows few connections gets changes all the same; listening gives way.
func TestReplayGetsAConnection(t *testing.T) {
	w := newWorld()
	w.most = 2
	w.deliver("INBOX", mail(1, 100))
	r := newRig(t, w).quick()
	r.cfg.Linger = 10 * time.Millisecond
	r.start()
	r.sync()
	idling := func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.idling > 0 }
	r.until("INBOX is listened to", idling)
	r.edits().flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`)
	r.drained()
	r.until("INBOX is listened to again", idling)
	r.converge()
}

// TestReplayParkedDeleteFollowsItsMailbox: a mailbox that came back because it could not be deleted holds the name that it
// has now, and not the one that it had.
func TestReplayParkedDeleteFollowsItsMailbox(t *testing.T) {
	r := full(t, 1)
	r.w.change(func() { r.w.down = fault.New(fault.Unavailable, "TCP", "connection refused") })
	e := r.edits()
	e.delete("Work")
	r.w.deliver("Work", mail(50, 10))
	r.w.change(func() { r.w.down = nil })
	r.m.Changed(r.acc.ID)
	r.until("the deletion is parked", func() bool { return len(r.parked()) == 1 })
	r.sync()
	e.rename("Work", "Kept")
	e.create("Work")
	uid := e.append("Work", mail(51, 10))
	r.converge()
	r.agree()
	boxes := r.mirrored()
	if b := boxes["Work"]; b.Upstream.Name != "Work" || len(r.local(b.ID)) != 1 || uid == 0 {
		t.Errorf("the new mailbox is %q upstream", b.Upstream.Name)
	}
	if b := boxes["Kept"]; b.Upstream.Name != "Kept" || len(r.local(b.ID)) != 1 {
		t.Errorf("the old mailbox is %q upstream", b.Upstream.Name)
	}
}

// TestExpungeBesideUnknownMarks: without UIDPLUS and CONDSTORE a mark that somebody else set, and of which no count tells, is
// found, and keeps its message.
func TestExpungeBesideUnknownMarks(t *testing.T) {
	r := full(t, 3)
	r.w.change(func() { r.w.server.UIDPlus, r.w.server.CondStore, r.w.server.QResync = false, false, false })
	r.sync()
	r.w.setFlags("INBOX", 3, `\Deleted`)
	r.edits().expunge("INBOX", 1)
	r.drained()
	r.settle()
	r.agree()
	if left := r.local(r.mirrored()["INBOX"].ID); len(left) != 2 || left[1].flags != `\Deleted` {
		t.Errorf("there is %v", left)
	}
}

// TestSubscribedAndRemade: a mailbox that the upstream lost, and that is made again because something was placed there, is not
// kept waiting by its subscription, which needs it.
func TestSubscribedAndRemade(t *testing.T) {
	r := full(t, 1)
	r.w.change(func() {
		r.w.down = fault.New(fault.Unavailable, "TCP", "connection refused")
		r.w.refuse = func(cmd upstream.Command) error {
			if s, ok := cmd.(*upstream.Subscribe); ok && !s.Off && r.w.boxes[s.Name] == nil {
				return noSuchMailbox()
			}
			return nil
		}
	})
	e := r.edits()
	for _, on := range []bool{false, true} {
		if err := r.db.Subscribe(t.Context(), r.acc.ID, e.id("Work"), on, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	uid := e.append("Work", mail(50, 10))
	r.w.remove("Work")
	r.sync()
	e.copy("Work", "INBOX", true, uid)
	r.w.change(func() { r.w.down = nil })
	r.m.Changed(r.acc.ID)
	r.converge()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if b := r.w.boxes["Work"]; b == nil || len(b.msgs) != 0 || !r.w.subscribed["Work"] {
		t.Errorf("it is %v, subscribed: %v", b, r.w.subscribed["Work"])
	}
}

// TestMadeAndRenamedThere: a mailbox that was made here, and that somebody renames upstream before the mirror has looked into it,
// is known again.
func TestMadeAndRenamedThere(t *testing.T) {
	r := full(t, 1)
	r.refusing(func(cmd upstream.Command) error { // the mirror comes too late
		if s, ok := cmd.(*upstream.Select); ok && s.Name == "Made" {
			return no(fault.Unavailable, "INUSE", "not now")
		}
		return nil
	})
	e := r.edits()
	e.create("Made")
	id := e.id("Made")
	r.drained()
	r.w.rename("Made", "Renamed")
	r.converge()
	r.agree()
	if boxes := r.mirrored(); boxes["Renamed"].ID != id {
		t.Errorf("it is not mailbox %d: %v", id, boxes)
	}
}

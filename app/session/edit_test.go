package session_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// kinds runs a test over an account without and one with an upstream: clients see no difference.
func kinds(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range []string{"local", "mirrored"} {
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

// woken fails the test unless Changed was called n times, and something is queued, for an account with an upstream, and
// never for a local one.
func (r *rig) woken(acc int, n int) {
	r.Helper()
	if r.accounts[acc].Local {
		n = 0
	}
	if got := r.wakes(acc); got != n {
		r.Errorf("account %d: woken %d times, want %d", acc, got, n)
	}
	if queued := r.queued(acc); n > 0 && queued == 0 || r.accounts[acc].Local && queued > 0 {
		r.Errorf("account %d: %d changes are queued", acc, queued)
	}
}

func TestStore(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		id := r.mirror(0, "Box", '/')
		r.deliver(0, id, true, rawMessage(1), rawMessage(2), rawMessage(3))
		a, b := r.selectBox(r.login(), "Box"), r.selectBox(r.login(), "Box")
		quiet(a, b)
		for _, step := range []struct {
			what    string
			r       session.StoreRequest
			changed string
			want    string // what both hear
		}{
			{"add", session.StoreRequest{UIDs: set(1, 2), Mode: session.StoreAdd, Flags: flags(`\Seen`, "$Work")}, "1:2",
				`f1(\Seen $Work) f2(\Seen $Work)`},
			{"add again", session.StoreRequest{UIDs: set(1, 2), Mode: session.StoreAdd, Flags: flags(`\Seen`)}, "", ""},
			{"add in another case", session.StoreRequest{UIDs: set(1), Mode: session.StoreAdd, Flags: flags("$WORK")}, "", ""},
			{"remove", session.StoreRequest{UIDs: set(2, 3), Mode: session.StoreRemove, Flags: flags("$work", `\Draft`)}, "2",
				`f2(\Seen)`},
			{"replace", session.StoreRequest{UIDs: set(1, 2, 3), Mode: session.StoreReplace, Flags: flags(`\Seen`)}, "1,3",
				`f1(\Seen) f3(\Seen)`},
			{"replace by nothing", session.StoreRequest{UIDs: set(3), Mode: session.StoreReplace}, "3", `f3()`},
			{"recent is no flag", session.StoreRequest{UIDs: set(3), Mode: session.StoreAdd, Flags: flags(`\Recent`)}, "", ""},
			{"those that do not exist", session.StoreRequest{UIDs: mailbox.Set{{First: 3, Last: 1<<32 - 1}},
				Flags: flags(`\Flagged`)}, "3", `f3(\Flagged)`},
		} {
			done, err := a.Store(t.Context(), step.r)
			r.check(err)
			if done.Changed.String() != step.changed || len(done.Modified) > 0 {
				t.Errorf("%s: changed %q, modified %q, want %q and none", step.what, done.Changed, done.Modified, step.changed)
			}
			hints, wakes := hinted(a) && hinted(b), 0
			if step.changed != "" {
				wakes = 1
			}
			if hints != (wakes > 0) {
				t.Errorf("%s: hints %v", step.what, hints)
			}
			r.woken(0, wakes)
			for _, m := range []session.Mailbox{a, b} {
				if got := r.advance(m); got != step.want {
					t.Errorf("%s: a session hears %q, want %q", step.what, got, step.want)
				}
				if m.View().HighestModSeq() != done.ModSeq {
					t.Errorf("%s: the view is at %d, the mailbox at %d", step.what, m.View().HighestModSeq(), done.ModSeq)
				}
			}
			for _, row := range done.Rows {
				if i := a.View().Seq(row.UID); a.View().At(i) != row {
					t.Errorf("%s: the answer has %+v, the view %+v", step.what, row, a.View().At(i))
				}
			}
			if len(done.Rows) != int(a.View().SeqsOfUIDs(step.r.UIDs).Len()) {
				t.Errorf("%s: %d rows", step.what, len(done.Rows))
			}
		}
	})
}

func TestStoreUnchangedSince(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		id := r.mirror(0, "Box", '/')
		r.deliver(0, id, true, rawMessage(1), rawMessage(2), rawMessage(3))
		a, b := r.selectBox(r.login(), "Box"), r.selectBox(r.login(), "Box")
		since := a.View().HighestModSeq()
		_, err := b.Store(t.Context(), session.StoreRequest{UIDs: set(2), Flags: flags(`\Seen`)})
		r.check(err)
		done, err := a.Store(t.Context(), session.StoreRequest{UIDs: set(1, 2, 3), Flags: flags(`\Flagged`), Unchanged: &since})
		r.check(err)
		if done.Modified.String() != "2" || done.Changed.String() != "1,3" || len(done.Rows) != 2 {
			t.Errorf("modified %q, changed %q, %d rows", done.Modified, done.Changed, len(done.Rows))
		}
		if got := r.advance(a); got != `f1(\Flagged) f2(\Seen) f3(\Flagged)` {
			t.Error(got)
		}
		// RFC 7162 section 3.1.3: 0 never passes.
		none := mailbox.ModSeq(0)
		done, err = a.Store(t.Context(), session.StoreRequest{UIDs: set(1), Flags: flags(`\Draft`), Unchanged: &none})
		if err != nil || done.Modified.String() != "1" || len(done.Changed) > 0 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

// TestOnlyWhatTheViewHas: a client changes no message that it has not been told of.
func TestOnlyWhatTheViewHas(t *testing.T) {
	r := newRig(t, "mirrored")
	id := r.mirror(0, "Box", '/')
	r.deliver(0, id, true, rawMessage(1), rawMessage(2))
	a, b := r.selectBox(r.login(), "Box"), r.selectBox(r.login(), "Box")
	r.deliver(0, id, true, rawMessage(3))
	r.advance(b)
	_, err := b.Store(t.Context(), session.StoreRequest{UIDs: set(1, 3), Flags: flags(`\Deleted`)})
	r.check(err)
	all := mailbox.Set{{First: 1, Last: 1<<32 - 1}}
	if done, err := a.Store(t.Context(), session.StoreRequest{UIDs: all, Flags: flags("x")}); err != nil || done.Changed.String() != "1:2" {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := a.Copy(t.Context(), all, "INBOX", false); err != nil || !slices.Equal(done.Source, []mailbox.UID{1, 2}) {
		t.Errorf("%+v, %v", done, err)
	}
	for _, uids := range []mailbox.Set{nil, all} {
		want := "1"
		if uids != nil {
			want = ""
		}
		if gone, err := a.Expunge(t.Context(), uids); err != nil || gone.String() != want {
			t.Errorf("expunged %q, %v, want %q", gone, err, want)
		}
	}
	r.advance(a)
	if gone, err := a.Expunge(t.Context(), nil); err != nil || gone.String() != "3" {
		t.Errorf("expunged %q, %v", gone, err)
	}
}

func TestExpunge(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		id := r.mirror(0, "Box", '/')
		for n := range 5 {
			r.deliver(0, id, true, rawMessage(n))
		}
		a, b := r.selectBox(r.login(), "Box"), r.selectBox(r.login(), "Box")
		quiet(a, b)
		if gone, err := a.Expunge(t.Context(), nil); err != nil || len(gone) > 0 || hinted(b) {
			t.Errorf("nothing is marked, yet %q went, %v", gone, err)
		}
		r.woken(0, 0)
		_, err := a.Store(t.Context(), session.StoreRequest{UIDs: set(1, 3, 5), Flags: flags(`\Deleted`)})
		r.check(err)
		r.advance(a)
		r.advance(b)
		quiet(a, b)
		r.wakes(0)
		if gone, err := a.Expunge(t.Context(), set(2, 3)); err != nil || gone.String() != "3" {
			t.Errorf("UID EXPUNGE 2:3: %q, %v", gone, err)
		}
		if !hinted(a) || !hinted(b) {
			t.Error("no hint")
		}
		r.woken(0, 1)
		if gone, err := b.Expunge(t.Context(), nil); err != nil || gone.String() != "1,5" {
			t.Errorf("EXPUNGE: %q, %v", gone, err)
		}
		if x, y := r.advance(a), r.advance(b); x != "x5 x3 x1" || y != x {
			t.Errorf("%q, %q", x, y)
		}
		if gone, err := a.Vanished(t.Context(), 1, nil); err != nil || gone.String() != "1,3,5" {
			t.Errorf("vanished %q, %v", gone, err)
		}
		if gone, err := a.Expunge(t.Context(), mailbox.Set{}); err != nil || len(gone) > 0 {
			t.Errorf("of no messages %q went, %v", gone, err)
		}
	})
}

func TestReadOnly(t *testing.T) {
	r := newRig(t, "mirrored")
	id := r.mirror(0, "Box", '/')
	r.deliver(0, id, true, rawMessage(1))
	s := r.login()
	m, err := s.Open(t.Context(), "Box", session.OpenOptions{ReadOnly: true})
	r.check(err)
	defer m.Close()
	_, err = m.Store(t.Context(), session.StoreRequest{UIDs: set(1), Flags: flags(`\Seen`)})
	isFault(t, "store", err, fault.Forbidden)
	_, err = m.Expunge(t.Context(), nil)
	isFault(t, "expunge", err, fault.Forbidden)
	_, err = m.Copy(t.Context(), set(1), "INBOX", true)
	isFault(t, "move", err, fault.Forbidden)
	ap, err := s.Append(t.Context(), "INBOX")
	r.check(err)
	defer ap.Close()
	r.check(ap.Add(t.Context(), bytes.NewReader(rawMessage(2)), int64(len(rawMessage(2))), flags(), testTime))
	_, err = ap.Commit(t.Context(), m, 1)
	isFault(t, "replace", err, fault.Forbidden)
	if _, err := m.Copy(t.Context(), set(1), "INBOX", false); err != nil {
		t.Errorf("a copy changes the other mailbox only: %v", err)
	}
	if n := len(r.shown("INBOX")); n != 1 {
		t.Errorf("%d messages in INBOX, want the copy", n)
	}
}

func TestCopyAndMove(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		id := r.mirror(0, "Box", '/')
		other := r.mirror(0, "Other", '/')
		r.deliver(0, other, true, rawMessage(100))
		r.deliver(0, id, true, rawMessage(1), rawMessage(2), rawMessage(3), rawMessage(4))
		s := r.login()
		a, b, o := r.selectBox(s, "Box"), r.selectBox(r.login(), "Box"), r.selectBox(r.login(), "Other")
		_, err := a.Store(t.Context(), session.StoreRequest{UIDs: set(2), Flags: flags(`\Answered`, "k")})
		r.check(err)
		r.advance(a)
		r.advance(b)
		before := r.shown("Box")
		identity := func(m session.Mailbox) map[mailbox.UID]string {
			ids := map[mailbox.UID]string{}
			r.check(m.Fetch(t.Context(), m.View().All(), session.NeedIdentity, func(msg *session.Message) error {
				ids[msg.UID] = msg.EmailID + msg.ThreadID
				return nil
			}))
			return ids
		}
		ids := identity(a)
		quiet(a, b, o)
		r.wakes(0)

		done, err := a.Copy(t.Context(), set(2, 3, 9), "Other", false)
		r.check(err)
		if !slices.Equal(done.Source, []mailbox.UID{2, 3}) || !slices.Equal(done.Target, []mailbox.UID{2, 3}) || done.UIDValidity != o.UIDValidity() {
			t.Errorf("copied %+v", done)
		}
		if !hinted(o) || hinted(a) || hinted(b) {
			t.Error("a copy is to be hinted to those who have the target open")
		}
		r.woken(0, 1)
		if got := r.advance(o); got != "+3" {
			t.Errorf("Other hears %q", got)
		}
		if now := identity(o); now[2] != ids[2] || now[3] != ids[3] {
			t.Error("copies have other EMAILIDs or THREADIDs")
		}
		if got := r.shown("Other")[1:]; !slices.Equal(got, before[1:3]) {
			t.Errorf("copied %q, want %q", got, before[1:3])
		}

		done, err = a.Copy(t.Context(), set(1, 2), "Other", true)
		r.check(err)
		if !slices.Equal(done.Source, []mailbox.UID{1, 2}) || !slices.Equal(done.Target, []mailbox.UID{4, 5}) {
			t.Errorf("moved %+v", done)
		}
		if !hinted(o) || !hinted(a) || !hinted(b) {
			t.Error("a move is to be hinted to all")
		}
		r.woken(0, 1)
		if x, y := r.advance(a), r.advance(b); x != "x2 x1" || y != x {
			t.Errorf("Box hears %q, %q", x, y)
		}
		if got := r.advance(o); got != "+5" {
			t.Errorf("Other hears %q", got)
		}

		// Into itself: new UIDs (RFC 6851 section 3.3).
		done, err = a.Copy(t.Context(), set(3), "Box", true)
		r.check(err)
		if !slices.Equal(done.Target, []mailbox.UID{5}) || r.advance(a) != "x1 +2" {
			t.Errorf("moved into itself: %+v", done)
		}
		r.wakes(0)
		done, err = a.Copy(t.Context(), set(77), "Other", true)
		if err != nil || len(done.Source)+len(done.Target) > 0 {
			t.Errorf("of nothing: %+v, %v", done, err)
		}
		r.woken(0, 0)
		_, err = a.Copy(t.Context(), set(4), "Nowhere", false)
		isFault(t, "to nowhere", err, fault.NotFound)

		boxBefore, otherBefore := r.shown("Box"), r.shown("Other")
		r.reopen()
		if !slices.Equal(r.shown("Box"), boxBefore) || !slices.Equal(r.shown("Other"), otherBefore) {
			t.Error("it is not the same after a restart")
		}
	})
}

func TestCopyAcrossAccounts(t *testing.T) {
	r := newRig(t, "mirrored", "local")
	id := r.mirror(0, "Box", '/')
	bare := []byte("\r\nno header at all\r\n")
	r.deliver(0, id, true, rawMessage(1), bare)
	missing := r.deliver(0, id, false, rawMessage(3), rawMessage(4))
	a, there := r.selectBox(r.login(), "Box"), r.selectBox(r.login(), "Acc2/INBOX")
	_, err := a.Store(t.Context(), session.StoreRequest{UIDs: set(1, 3), Flags: flags(`\Flagged`, "k")})
	r.check(err)
	r.advance(a)
	quiet(a, there)
	r.wakes(0)

	done, err := a.Copy(t.Context(), set(1, 2, 3), "Acc2/inbox", false)
	r.check(err)
	if !slices.Equal(done.Source, []mailbox.UID{1, 2, 3}) || !slices.Equal(done.Target, []mailbox.UID{1, 2, 3}) || done.UIDValidity != there.UIDValidity() {
		t.Errorf("%+v", done)
	}
	if !slices.Equal(r.fetched, missing[:1]) {
		t.Errorf("fetched %v, want %v", r.fetched, missing[:1])
	}
	r.woken(0, 0)
	r.woken(1, 1)
	if !hinted(there) || r.advance(there) != "+3" {
		t.Error("the other account's session hears nothing")
	}
	// The upstream has no body of 4: nothing of the move happens.
	delete(r.bodies, missing[1])
	_, err = a.Copy(t.Context(), set(1, 4), "Acc2/INBOX", true)
	isFault(t, "a missing body", err, fault.Unavailable)
	r.bodies[missing[1]] = nil
	_, err = a.Copy(t.Context(), set(1, 4), "Acc2/INBOX", true)
	isFault(t, "a body that does not come", err, fault.Unavailable)
	if got := r.advance(a) + r.advance(there); got != "" {
		t.Errorf("after a failed move a session hears %q", got)
	}
	r.bodies[missing[1]] = rawMessage(4)
	here := r.shown("Box")
	if got := r.shown("Acc2/INBOX"); !slices.Equal(got, here[:3]) {
		t.Errorf("copied %q, want %q", got, here[:3])
	}
	done, err = a.Copy(t.Context(), set(1, 4), "Acc2/INBOX", true)
	if err != nil || !slices.Equal(done.Source, []mailbox.UID{1, 4}) || !slices.Equal(done.Target, []mailbox.UID{4, 5}) {
		t.Errorf("%+v, %v", done, err)
	}
	r.woken(0, 1)
	if x, y := r.advance(a), r.advance(there); x != "x4 x1" || y != "+5" {
		t.Errorf("%q, %q", x, y)
	}
	if got := r.shown("Acc2/INBOX"); got[3][2:] != here[0][2:] {
		t.Errorf("moved %q, want %q", got[3], here[0])
	}
}

// TestManyMessages moves more messages than a batch has, twice: between accounts and back.
func TestManyMessages(t *testing.T) {
	r := newRig(t, "local", "local")
	var raws [][]byte
	for n := range 700 {
		raws = append(raws, rawMessage(n))
	}
	box := r.mirror(0, "Box", '/')
	r.deliver(0, box, true, raws...)
	before := r.shown("Box")
	m := r.selectBox(r.login(), "Box")
	done, err := m.Copy(t.Context(), mailbox.Set{{First: 1, Last: 1000}}, "Acc2/INBOX", true)
	if err != nil || len(done.Source) != 700 || len(done.Target) != 700 || r.advance(m) == "" || m.View().Len() != 0 {
		t.Fatalf("%d of 700, %v", len(done.Source), err)
	}
	m = r.selectBox(r.login(), "Acc2/INBOX")
	if _, err = m.Copy(t.Context(), mailbox.Set{{First: 1, Last: 1000}}, "INBOX", true); err != nil {
		t.Fatal(err)
	}
	if got := r.shown("INBOX"); !slices.Equal(got, before) {
		t.Error("they are not the same after two moves")
	}
}

// TestGoneMailbox: what is done in a mailbox that another session deleted fails as its Advance does.
func TestGoneMailbox(t *testing.T) {
	r := newRig(t, "mirrored")
	id := r.mirror(0, "Box", '/')
	r.deliver(0, id, true, rawMessage(1))
	m := r.selectBox(r.login(), "Box")
	r.check(r.login().Delete(t.Context(), "Box"))
	_, err := m.Store(t.Context(), session.StoreRequest{UIDs: set(1), Flags: flag.Make(flag.Seen)})
	isFault(t, "store", err, fault.NotFound)
	_, err = m.Expunge(t.Context(), nil)
	isFault(t, "expunge", err, fault.NotFound)
	_, err = m.Copy(t.Context(), set(1), "INBOX", true)
	isFault(t, "move", err, fault.NotFound)
	_, err = m.Advance(t.Context(), true)
	isFault(t, "advance", err, fault.NotFound)
	if fmt.Sprint(r.shown("INBOX")) != "[]" {
		t.Error("the message was moved out of a deleted mailbox")
	}
}

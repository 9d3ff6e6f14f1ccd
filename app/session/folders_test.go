package session_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"imapped/app/session"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

func TestCreate(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind, "local")
		s := r.login()
		for _, c := range []struct {
			name string
			kind fault.Kind
		}{
			{"Work", 0}, {"Work", fault.Exists}, {"Work/", fault.Exists}, {"Work/2026/March/", 0}, {"work", 0},
			{"Отчёты", 0}, {"inbox/Sub", 0}, {"INBOX/Sub", fault.Exists}, {"Acc2/inbox/Sub", 0}, {"Acc2/Work", 0},
			{"inBox", fault.Exists}, {"INBOX/", fault.Exists}, {"acc2", 0}, {"Acc2", fault.Exists}, {"Acc2/", fault.Exists},
			{"Acc2/Inbox", fault.Exists}, {"", fault.Invalid}, {"/", fault.Invalid}, {"/x", fault.Invalid}, {"x//y", fault.Invalid},
			{"x//", fault.Invalid}, {"a\tb", fault.Invalid}, {"a\x7f", fault.Invalid}, {"a\u0085b", fault.Invalid},
			{"\xff", fault.Invalid}, {strings.Repeat("n", 1001), fault.Invalid}, {strings.Repeat("n", 1000), 0},
			{"Acc2//x", fault.Invalid}, {"50% * off", 0}, {"a=b", 0}, {"a&b", 0},
		} {
			id, err := s.Create(t.Context(), c.name, 0)
			if fault.KindOf(err) != c.kind || (err == nil) != (c.kind == 0) {
				t.Errorf("CREATE %.40q: %v, want %v", c.name, err, c.kind)
			}
			if st, e := s.Status(t.Context(), strings.TrimSuffix(c.name, "/")); err == nil && (e != nil || st.MailboxID != id) {
				t.Errorf("CREATE %.40q: id %q, status %+v, %v", c.name, id, st, e)
			}
		}
		r.woken(0, 10)
		want := "50% * off Acc2/INBOX Acc2/INBOX/Sub Acc2/Work INBOX INBOX/Sub Work Work/2026/March a&b a=b acc2 " +
			strings.Repeat("n", 1000) + " work Отчёты"
		if got := r.names(s); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		r.reopen()
		if got := r.names(r.login()); got != want {
			t.Errorf("after a restart %s", got)
		}
	})
}

func TestCreateSpecialUse(t *testing.T) {
	r := newRig(t, "mirrored")
	s := r.login()
	_, err := s.Create(t.Context(), "Gone", mailbox.Trash|mailbox.NoSelect)
	r.check(err)
	all, err := s.List(t.Context(), session.ListRequest{Patterns: []string{"*"}, SpecialUse: true})
	if err != nil || len(all) != 1 || all[0].Name != "Gone" || all[0].Attrs != mailbox.Trash || !all[0].Subscribed {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestUpstreamNames: a name that the upstream cannot have is refused here.
func TestUpstreamNames(t *testing.T) {
	r := newRig(t, "mirrored", "mirrored", "mirrored")
	r.mirror(0, "Some/Thing", '.')
	flat := r.mirror(1, "Flat", 0)
	// The INBOX of account 1 has "/" from newRig; without it all is flat.
	boxes, err := r.db.Mirrored(t.Context(), r.accounts[1].ID)
	r.check(err)
	for _, b := range boxes {
		if b.ID != flat {
			b.Upstream.Delimiter = 0
			_, err = r.db.SaveMailbox(t.Context(), r.fences[1], b)
			r.check(err)
		}
	}
	s := r.login()
	for _, c := range []struct {
		name string
		kind fault.Kind
	}{
		{"Some/a.b", fault.Invalid}, {"Some/ab", 0}, {"Other.b", 0}, {"Some/a=2Fb", 0}, {"Some/a=41b", fault.Invalid},
		{"Some/a=~2", fault.Invalid}, {"Some/=-", 0},
		{"Acc2/a/b", fault.Invalid}, {"Acc2/a.b", 0}, {"Acc2/a=2Fb", 0},
		{"Acc3/a/b", 0}, {"Acc3/a.b", 0}, {"Acc3/a=2Fb", fault.Invalid},
	} {
		if _, err := s.Create(t.Context(), c.name, 0); fault.KindOf(err) != c.kind || (err == nil) != (c.kind == 0) {
			t.Errorf("CREATE %q: %v, want %v", c.name, err, c.kind)
		}
	}
	isFault(t, "rename", s.Rename(t.Context(), "Some", "a.b"), 0)
	isFault(t, "rename below", s.Rename(t.Context(), "Acc2/Flat", "Acc2/a/c"), fault.Invalid)
}

func TestDelete(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind, kind)
		work := r.mirror(0, "Work", '/')
		r.mirror(0, "Work/Sub", '/')
		r.mirror(0, "Only/Parent", '/')
		r.deliver(0, work, true, rawMessage(1))
		s := r.login()
		open := r.selectBox(r.login(), "Work")
		quiet(open)
		for _, c := range []struct {
			name string
			kind fault.Kind
		}{
			{"inbox", fault.Forbidden}, {"Acc2/INBOX", fault.Forbidden}, {"Acc2", fault.Forbidden}, {"Nowhere", fault.NotFound},
			{"Only", fault.Invalid}, {"Acc2/Nowhere", fault.NotFound}, {"", fault.NotFound},
		} {
			isFault(t, "DELETE "+c.name, s.Delete(t.Context(), c.name), c.kind)
		}
		r.woken(0, 0)
		old := open.ID()
		r.check(s.Delete(t.Context(), "Work"))
		r.woken(0, 1)
		if got := r.names(s); got != "Acc2/INBOX INBOX Only/Parent Work/Sub" {
			t.Error(got)
		}
		if !hinted(open) {
			t.Error("whoever has it open hears nothing")
		}
		_, err := open.Advance(t.Context(), false)
		isFault(t, "advance", err, fault.NotFound)
		isFault(t, "again", s.Delete(t.Context(), "Work"), fault.Invalid)
		// The name is free, and stands for another mailbox.
		id, err := s.Create(t.Context(), "Work", 0)
		if err != nil || id == old || len(r.shown("Work")) > 0 {
			t.Errorf("made again: %q, was %q: %v", id, old, err)
		}
		_, err = open.Advance(t.Context(), false)
		isFault(t, "advance", err, fault.NotFound)
		r.check(s.Delete(t.Context(), "Work/Sub"))
		r.check(s.Delete(t.Context(), "Work"))
		isFault(t, "again", s.Delete(t.Context(), "Work"), fault.NotFound)
		r.reopen()
		if got := r.names(r.login()); got != "Acc2/INBOX INBOX Only/Parent" {
			t.Error(got)
		}
	})
}

func TestRename(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind, kind)
		for _, name := range strings.Fields("a a-b a/x a/x/y ab p/q p/q-r p/q/s z") {
			r.deliver(0, r.mirror(0, name, '/'), true, rawMessage(len(name)))
		}
		s := r.login()
		m := r.selectBox(r.login(), "a/x")
		for _, c := range []struct {
			from, to string
			kind     fault.Kind
		}{
			{"nowhere", "b", fault.NotFound}, {"", "b", fault.NotFound}, {"a", "ab", fault.Exists}, {"a", "a", fault.Exists},
			{"a", "INBOX", fault.Exists}, {"a", "inbox", fault.Exists}, {"a", "a/b", fault.Invalid}, {"a", "Acc2", fault.Exists},
			{"a", "Acc2/a", fault.Invalid}, {"Acc2", "b", fault.Forbidden}, {"Acc2/INBOX", "b", fault.Invalid}, {"a", "b//c", fault.Invalid},
			{"a/x", strings.Repeat("n", 999), fault.Invalid}, {"p", "a", fault.Exists}, {"a", "", fault.Invalid},
		} {
			isFault(t, fmt.Sprintf("RENAME %q %.20q", c.from, c.to), s.Rename(t.Context(), c.from, c.to), c.kind)
		}
		r.woken(0, 0)
		x, id := r.shown("a/x"), m.ID()
		r.check(s.Rename(t.Context(), "a", "n/m/"))
		r.woken(0, 1)
		if got := r.names(s); got != "Acc2/INBOX INBOX a-b ab n/m n/m/x n/m/x/y p/q p/q-r p/q/s z" {
			t.Error(got)
		}
		if got := r.shown("n/m/x"); !slices.Equal(got, x) {
			t.Errorf("%q, want %q", got, x)
		}
		if m2 := r.selectBox(s, "n/m/x"); m2.ID() != id || m2.UIDValidity() != m.UIDValidity() {
			t.Error("a renamed mailbox is another one")
		}
		if _, err := m.Store(t.Context(), session.StoreRequest{UIDs: set(1), Flags: flags(`\Seen`)}); err != nil || r.advance(m) != `f1(\Seen)` {
			t.Errorf("a session that had it open cannot go on: %v", err)
		}
		// A name that only holds others.
		r.wakes(0)
		r.check(s.Rename(t.Context(), "p", "o"))
		r.woken(0, 2) // one for each that has none above it
		if got := r.names(s); got != "Acc2/INBOX INBOX a-b ab n/m n/m/x n/m/x/y o/q o/q-r o/q/s z" {
			t.Error(got)
		}
		isFault(t, "to where only others are", s.Rename(t.Context(), "z", "o"), 0)
		r.check(s.Rename(t.Context(), "ab", "a"))
		r.reopen()
		if got := r.names(r.login()); got != "Acc2/INBOX INBOX a a-b n/m n/m/x n/m/x/y o o/q o/q-r o/q/s" {
			t.Error(got)
		}
	})
}

// TestRenameInto: the name of a child is taken; nothing is renamed.
func TestRenameInto(t *testing.T) {
	r := newRig(t, "mirrored")
	for _, name := range strings.Fields("a a/x b/x") {
		r.mirror(0, name, '/')
	}
	s := r.login()
	isFault(t, "rename", s.Rename(t.Context(), "a", "b"), fault.Exists)
	if got := r.names(s); got != "INBOX a a/x b/x" || r.queued(0) != 0 {
		t.Error(got, r.queued(0))
	}
}

func TestRenameInbox(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		in, err := r.login().Open(t.Context(), "INBOX", session.OpenOptions{})
		r.check(err)
		in.Close()
		boxes, err := r.db.Mailboxes(t.Context(), r.accounts[0].ID)
		r.check(err)
		r.deliver(0, boxes[0].ID, true, rawMessage(1), rawMessage(2))
		r.mirror(0, "INBOX/Sub", '/')
		s, before := r.login(), r.shown("INBOX")
		open := r.selectBox(r.login(), "INBOX")
		quiet(open)
		isFault(t, "to itself", s.Rename(t.Context(), "INBOX", "inbox"), fault.Exists)
		r.check(s.Rename(t.Context(), "inbox", "INBOX/Old"))
		if got := r.names(s); got != "INBOX INBOX/Old INBOX/Sub" {
			t.Error(got)
		}
		if got := r.shown("INBOX/Old"); !slices.Equal(got, before) || len(r.shown("INBOX")) > 0 {
			t.Errorf("%q, want %q", got, before)
		}
		if !hinted(open) || r.advance(open) != "x2 x1" {
			t.Error("a session that has INBOX open hears nothing")
		}
		r.woken(0, 1)
	})
}

// brokenCopy is a store whose copies fail.
type brokenCopy struct{ metadata.Edits }

func (brokenCopy) CopyMessages(context.Context, account.ID, metadata.CopyEdit) (metadata.Copied, error) {
	return metadata.Copied{}, fault.New(fault.Unavailable, "copy", "the disk is full")
}

// TestRenameInboxFails: when the messages cannot be moved, there is no new mailbox either.
func TestRenameInboxFails(t *testing.T) {
	r := newRig(t, "mirrored")
	svc := session.New(session.Config{
		Auth: anybody{}, Accounts: r.db, Mailboxes: r.db, Messages: r.db, Edits: brokenCopy{r.db}, Folders: r.db, Blobs: blob.Shared{Store: r.blobs},
		Bus: r.bus, Clock: clock.System{},
	})
	s, err := svc.Login(t.Context(), session.Credentials{User: "ann"})
	r.check(err)
	isFault(t, "rename", s.Rename(t.Context(), "INBOX", "Old"), fault.Unavailable)
	if got := r.names(s); got != "INBOX" || r.queued(0) != 0 {
		t.Errorf("there is %s, and %d changes are queued", got, r.queued(0))
	}
}

func TestSubscribe(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind, "local")
		r.mirror(0, "Work", '/')
		s := r.login()
		subscribed := func() string {
			all, err := s.List(t.Context(), session.ListRequest{Patterns: []string{"*"}, Subscribed: true})
			r.check(err)
			var names []string
			for _, l := range all {
				names = append(names, l.Name)
			}
			return strings.Join(names, " ")
		}
		r.check(s.Subscribe(t.Context(), "Work", false))
		r.woken(0, 1)
		if got := subscribed(); got != "Acc2/INBOX INBOX" {
			t.Error(got)
		}
		r.check(s.Subscribe(t.Context(), "Work", false))
		r.woken(0, 0)
		r.check(s.Subscribe(t.Context(), "Work", true))
		if got := subscribed(); got != "Acc2/INBOX INBOX Work" {
			t.Error(got)
		}
		isFault(t, "nowhere", s.Subscribe(t.Context(), "Nowhere", true), fault.NotFound)
		isFault(t, "an account", s.Subscribe(t.Context(), "Acc2", true), fault.NotFound)
	})
}

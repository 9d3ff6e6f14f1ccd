package session

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/events"
)

func inboxWorld(t testing.TB, messages int) (*world, *box) {
	w := newWorld(t)
	b := w.box(w.account("Home", "ann@example.org"), "INBOX", 0, true)
	w.add(b, messages, true)
	return w, b
}

func advance(t *testing.T, m Mailbox, expunge bool) mailbox.Changes {
	t.Helper()
	ch, err := m.Advance(t.Context(), expunge)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestOpenedMailbox(t *testing.T) {
	w, b := inboxWorld(t, 5)
	w.expunge(b, 2)
	s := w.login(t, w.service(), "ann")
	m := open(t, s, "inbox", OpenOptions{})
	v := m.View()
	if m.Name() != "INBOX" || m.ID() == "" || m.UIDValidity() != 7 || m.ReadOnly() || v.Len() != 4 || v.UID(2) != 3 ||
		v.Recent() != 4 || v.HighestModSeq() != b.info.HighestModSeq || v.UIDNext() != 6 {
		t.Errorf("%+v, view of %d", m, v.Len())
	}
	w.flags(b, 3, flag.Make(flag.Seen))
	if m.View() != v || v.At(2).Flags.Has(flag.Seen) {
		t.Error("the view moved by itself")
	}
	ch := advance(t, m, false)
	if ch.Flags.String() != "2" || !m.View().At(2).Flags.Has(flag.Seen) || ch.ModSeq != b.info.HighestModSeq {
		t.Errorf("%+v", ch)
	}
	w.add(b, 1, true)
	w.expunge(b, 1)
	if ch = advance(t, m, false); !ch.Empty() || m.View().Len() != 4 {
		t.Errorf("the view moved past an expunge: %+v", ch)
	}
	ch = advance(t, m, true)
	if len(ch.Expunged) != 1 || ch.Expunged[0] != 1 || ch.Vanished.String() != "1" || !ch.Grew || ch.Exists != 4 || ch.Recent != 4 {
		t.Errorf("%+v", ch)
	}
	delete(w.boxes, b.info.ID)
	if _, err := m.Advance(t.Context(), true); !fault.Is(err, fault.NotFound) {
		t.Errorf("a removed mailbox: %v", err)
	}
}

func TestRecentBelongsToOneSession(t *testing.T) {
	w, b := inboxWorld(t, 3)
	svc := w.service()
	look := open(t, w.login(t, svc, "ann"), "INBOX", OpenOptions{ReadOnly: true})
	first := open(t, w.login(t, svc, "ann"), "INBOX", OpenOptions{})
	second := open(t, w.login(t, svc, "ann"), "INBOX", OpenOptions{})
	if l, f, s := look.View().Recent(), first.View().Recent(), second.View().Recent(); l != 3 || f != 3 || s != 0 {
		t.Errorf("recent: %d %d %d", l, f, s)
	}
	st, err := w.login(t, svc, "ann").Status(t.Context(), "INBOX")
	if err != nil || st.Recent != 0 {
		t.Errorf("status %+v %v", st, err)
	}
	w.add(b, 2, true)
	if st, _ = w.login(t, svc, "ann").Status(t.Context(), "INBOX"); st.Recent != 2 {
		t.Errorf("status %+v", st)
	}
	if ch := advance(t, second, false); ch.Recent != 2 || !second.View().IsRecent(4) {
		t.Errorf("%+v", ch)
	}
	if ch := advance(t, first, false); ch.Recent != 3 || first.View().IsRecent(4) {
		t.Errorf("%+v", ch)
	}
	// Another process claims what comes next.
	other := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	w.add(b, 1, true)
	if ch := advance(t, other, false); ch.Recent != 1 {
		t.Errorf("%+v", ch)
	}
	if ch := advance(t, first, false); ch.Recent != 3 {
		t.Errorf("%+v", ch)
	}
}

func TestWarmOpenReadsNoMessages(t *testing.T) {
	w, _ := inboxWorld(t, 1000)
	svc := w.service()
	s := w.login(t, svc, "ann")
	open(t, s, "INBOX", OpenOptions{})
	points, changes, claims := w.points, w.changes, w.claims
	for range 10 {
		open(t, s, "INBOX", OpenOptions{})
	}
	if w.changes != changes || w.claims != claims || w.points-points != 10 {
		t.Errorf("10 warm opens: %d deltas, %d claims, %d point reads", w.changes-changes, w.claims-claims, w.points-points)
	}
	m := open(t, s, "INBOX", OpenOptions{})
	advance(t, m, true)
	if w.changes != changes {
		t.Error("nothing new, and changes were read")
	}
}

func TestClosedMailboxesAreKeptWithinTheBudget(t *testing.T) {
	w := newWorld(t)
	acc := w.account("Home", "ann@example.org")
	for _, name := range []string{"a", "b", "c"} {
		w.add(w.box(acc, name, 0, true), 1000, true)
	}
	svc := w.service(func(c *Config) { c.Memory = 90_000 }) // about two of the three
	s := w.login(t, svc, "ann")
	use := func(name string) (loaded bool) {
		before := w.changes
		m, err := s.Open(t.Context(), name, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		m.Close()
		return w.changes > before
	}
	held := open(t, s, "c", OpenOptions{})
	for i, step := range []struct {
		name   string
		loaded bool
	}{{"a", true}, {"a", false}, {"b", true}, {"b", false}, {"a", true}, {"c", false}} {
		if got := use(step.name); got != step.loaded {
			t.Errorf("step %d, %s: loaded %v", i, step.name, got)
		}
	}
	if held.View().Len() != 1000 {
		t.Error("the open one suffered")
	}
	if svc.snapshots.bytes > 90_000 {
		t.Errorf("%d bytes kept", svc.snapshots.bytes)
	}
}

func TestRemovedMailboxLeavesNothingBehind(t *testing.T) {
	w, b := inboxWorld(t, 10)
	svc := w.service()
	m := open(t, w.login(t, svc, "ann"), "INBOX", OpenOptions{})
	delete(w.boxes, b.info.ID)
	_, _ = m.Advance(t.Context(), true)
	m.Close()
	if len(svc.snapshots.entries) != 0 || svc.snapshots.bytes != 0 {
		t.Errorf("%d entries, %d bytes", len(svc.snapshots.entries), svc.snapshots.bytes)
	}
}

func TestManySessionsReadAChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := inboxWorld(t, 2000)
		svc := w.service()
		s := w.login(t, svc, "ann")
		var sessions []Mailbox
		for range 200 {
			m, err := s.Open(t.Context(), "INBOX", OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			sessions = append(sessions, m)
		}
		changes, points, claims := w.changes, w.points, w.claims
		w.add(b, 1, true)
		release := make(chan struct{})
		w.onChanges = func() { <-release } // the first reading takes as long as it takes the others to come
		var wg sync.WaitGroup
		for _, m := range sessions {
			wg.Go(func() {
				<-m.Hint()
				ch, err := m.Advance(t.Context(), false)
				if err != nil || ch.Exists != 2001 || !ch.Grew {
					t.Errorf("%+v %v", ch, err)
				}
			})
		}
		w.Publish(events.Hint{})
		synctest.Wait()
		close(release)
		wg.Wait()
		if w.changes-changes != 1 || w.points-points > 2 || w.claims-claims > 3 {
			t.Errorf("%d deltas, %d point reads, %d claims", w.changes-changes, w.points-points, w.claims-claims)
		}
	})
}

func TestReaderThatGoesAwayTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := inboxWorld(t, 10)
		svc := w.service()
		s := w.login(t, svc, "ann")
		first, _ := s.Open(t.Context(), "INBOX", OpenOptions{})
		second, _ := s.Open(t.Context(), "INBOX", OpenOptions{})
		defer first.Close()
		defer second.Close()
		w.add(b, 1, true)
		ctx, cancel := context.WithCancel(t.Context())
		entered, release := make(chan struct{}, 4), make(chan struct{})
		w.onChanges = func() { entered <- struct{}{}; <-release }
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := first.Advance(ctx, false); !fault.Is(err, fault.Canceled) {
				t.Errorf("the one that went away: %v", err)
			}
		})
		<-entered
		wg.Go(func() {
			if ch, err := second.Advance(t.Context(), false); err != nil || ch.Exists != 11 {
				t.Errorf("the one that stays: %+v %v", ch, err)
			}
		})
		synctest.Wait()
		cancel()
		close(release)
		wg.Wait()
	})
}

func TestRefreshSeesWhatWasWrittenBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := inboxWorld(t, 10)
		s := w.login(t, w.service(), "ann")
		first, _ := s.Open(t.Context(), "INBOX", OpenOptions{})
		second, _ := s.Open(t.Context(), "INBOX", OpenOptions{})
		defer first.Close()
		defer second.Close()
		w.add(b, 1, true)
		entered, release := make(chan struct{}, 4), make(chan struct{})
		var once sync.Once
		w.onChanges = func() { once.Do(func() { entered <- struct{}{}; <-release }) }
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = first.Advance(t.Context(), false) })
		<-entered
		w.add(b, 1, true) // while the first one is reading
		wg.Go(func() {
			if ch, err := second.Advance(t.Context(), false); err != nil || ch.Exists != 12 {
				t.Errorf("%+v %v", ch, err)
			}
		})
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

func TestVanished(t *testing.T) {
	w, b := inboxWorld(t, 10) // modseq 2
	w.expunge(b, 2, 3)        // 3
	w.expunge(b, 7)           // 4
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	w.expunge(b, 10) // 5: still in the view
	for _, tt := range []struct {
		since mailbox.ModSeq
		known mailbox.Set
		want  string
	}{
		{2, nil, "2:3,7"}, {3, nil, "7"}, {4, nil, ""}, {99, nil, ""},
		{2, mailbox.SetOf[uint32](1, 3, 7, 10), "3,7"}, {2, mailbox.Set{{First: 1, Last: ^uint32(0)}}, "2:3,7"},
		{0, nil, "2:3,7"}, {0, mailbox.SetOf[uint32](3, 4, 99), "3"},
	} {
		got, err := m.Vanished(t.Context(), tt.since, tt.known)
		if err != nil || got.String() != tt.want {
			t.Errorf("since %d of %v: %q %v, want %q", tt.since, tt.known, got, err, tt.want)
		}
	}
}

func TestLogin(t *testing.T) {
	w, _ := inboxWorld(t, 1)
	svc := w.service()
	if _, err := svc.Login(t.Context(), Credentials{User: "ann", Password: "wrong"}); !fault.Is(err, fault.Denied) {
		t.Errorf("wrong password: %v", err)
	}
	if s := w.login(t, svc, "ann"); s.User() != "ann" {
		t.Errorf("user %q", s.User())
	}
	w.accounts = []account.Account{}
	if l, err := w.login(t, svc, "ann").List(t.Context(), ListRequest{Patterns: []string{"*"}}); err != nil || len(l) != 0 {
		t.Errorf("a user without accounts: %v %v", l, err)
	}
}

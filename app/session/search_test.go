package session

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/search"
)

func TestSearch(t *testing.T) {
	w, b := inboxWorld(t, 600)
	w.expunge(b, 2)
	w.flags(b, 10, flag.Make(flag.Seen, "work"))
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	w.flags(b, 11, flag.Make(flag.Seen)) // after the view
	for _, tt := range []struct {
		what string
		q    search.Query
		want string
		mod  mailbox.ModSeq
	}{
		{"all", search.Query{Op: search.And}, "1:599", 4},
		{"seen", search.Query{Op: search.SysFlags, Flags: flag.Seen}, "9", 4},
		{"uid", search.Query{Op: search.UIDs, Set: mailbox.Set{{First: 1, Last: 3}}}, "1:2", 2},
		{"recent", search.Query{Op: search.Recent}, "1:599", 4},
		{"subject", search.Query{Op: search.Subject, Text: "MESSAGE 60"}, "59,599", 2},
		{"body", search.Query{Op: search.Body, Text: "of 33"}, "32,329:338", 2},
		{"text", search.Query{Op: search.Text, Text: "message 599"}, "598", 2},
		{"none", search.Query{Op: search.Text, Text: "absent"}, "", 0},
		{"email id", search.Query{Op: search.EmailID, Object: mailbox.ObjectID{1, 0, 12}}, "11", 2},
		{"not", search.Query{Op: search.Not, Kids: []search.Query{{Op: search.Body, Text: "of"}}}, "", 0},
		{"or", search.Query{Op: search.Or, Kids: []search.Query{
			{Op: search.Body, Text: "of 300"}, {Op: search.SysFlags, Flags: flag.Seen}}}, "9,299", 4},
	} {
		got, mod, err := m.Search(t.Context(), &tt.q)
		if err != nil || got.String() != tt.want || mod != tt.mod {
			t.Errorf("%s: %q %d %v, want %q %d", tt.what, got, mod, err, tt.want, tt.mod)
		}
	}
	contents := w.contents
	if _, _, err := m.Search(t.Context(), &search.Query{Op: search.SysFlags, Flags: flag.Seen}); err != nil || w.contents != contents {
		t.Errorf("flags alone: %v, %d queries for contents", err, w.contents-contents)
	}
}

func TestSearchFetchesWhatItMustLookAt(t *testing.T) {
	w, b := inboxWorld(t, 100)
	w.add(b, 300, false)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	w.expunge(b, 150) // gone, and its body was never here
	body := search.Query{Op: search.Body, Text: "of 1"}
	few := search.Query{Op: search.And, Kids: []search.Query{body, {Op: search.UIDs, Set: mailbox.SetOf[uint32](1, 150, 199, 250)}}}
	got, _, err := m.Search(t.Context(), &few)
	if err != nil || got.String() != "1,199" || len(w.asked) != 2 {
		t.Errorf("%q %v, bodies asked for: %v", got, err, w.asked)
	}
	got, _, err = m.Search(t.Context(), &body)
	if err != nil || got.String() != "1,10:19,100:149,151:199" || len(w.asked) != 299 {
		t.Errorf("%q %v, %d bodies asked for", got, err, len(w.asked))
	}
	w.mu.Lock()
	delete(b.content, 399)
	delete(w.upstream, 399)
	w.mu.Unlock()
	if _, _, err = m.Search(t.Context(), &body); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a body that cannot be had: %v", err)
	}
	if got, _, err = m.Search(t.Context(), &few); err != nil || got.String() != "1,199" {
		t.Errorf("a search that need not look at it: %q %v", got, err)
	}
}

func TestSearchReadsPastDamage(t *testing.T) {
	w, b := inboxWorld(t, 3)
	w.corrupt[b.content[2].Blob] = true
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	q := search.Query{Op: search.Body, Text: "of 2"}
	if got, _, err := m.Search(t.Context(), &q); err != nil || got.String() != "2" || w.drops != 1 {
		t.Errorf("%q %v, %d drops", got, err, w.drops)
	}
	w.corrupt[b.content[2].Blob], w.down = true, true
	if _, _, err := m.Search(t.Context(), &q); !fault.Is(err, fault.Unavailable) {
		t.Errorf("with the upstream down: %v", err)
	}
}

func TestSearchEndsWithItsContext(t *testing.T) {
	w, _ := inboxWorld(t, 2000)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, q := range []search.Query{{Op: search.And}, {Op: search.Body, Text: "x"}} {
		if _, _, err := m.Search(ctx, &q); !fault.Is(err, fault.Canceled) {
			t.Errorf("%v", err)
		}
	}
	if _, _, err := m.Search(t.Context(), &search.Query{Op: search.And}); err != nil {
		t.Errorf("the next search: %v", err)
	}
}

// slowClock makes every look at the clock cost a millisecond, so that work takes time in a bubble.
type slowClock struct{}

func (slowClock) Now() time.Time {
	time.Sleep(time.Millisecond)
	return time.Now()
}

func TestLongSearchLetsAShortOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := inboxWorld(t, 3000)
		svc := w.service(func(c *Config) { c.Clock, c.Searches = slowClock{}, 1 })
		s := w.login(t, svc, "ann")
		m, err := s.Open(t.Context(), "INBOX", OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		start := time.Now()
		var wg sync.WaitGroup
		var long, short time.Duration
		wg.Go(func() {
			if _, _, err := m.Search(t.Context(), &search.Query{Op: search.Body, Text: "absent"}); err != nil {
				t.Error(err)
			}
			long = time.Since(start)
		})
		wg.Go(func() {
			time.Sleep(100 * time.Millisecond)
			if _, _, err := m.Search(t.Context(), &search.Query{Op: search.SysFlags, Flags: flag.Seen}); err != nil {
				t.Error(err)
			}
			short = time.Since(start)
		})
		wg.Wait()
		if short > 200*time.Millisecond || long < time.Second {
			t.Errorf("the long search took %v, the short one came back after %v", long, short)
		}
	})
}

func BenchmarkSearchText3000(b *testing.B) {
	w, _ := inboxWorld(b, 3000)
	m := open(b, w.login(b, w.service(), "ann"), "INBOX", OpenOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Search(b.Context(), &search.Query{Op: search.Text, Text: "absent"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearchFlags100k(b *testing.B) {
	w, _ := inboxWorld(b, 100_000)
	m := open(b, w.login(b, w.service(), "ann"), "INBOX", OpenOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.Search(b.Context(), &search.Query{Op: search.SysFlags, Flags: flag.Seen}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFetchAndSearchMayRunTogether(t *testing.T) {
	w, b := inboxWorld(t, 300)
	w.add(b, 300, false)
	svc := w.service()
	s := w.login(t, svc, "ann")
	m, other := open(t, s, "INBOX", OpenOptions{}), open(t, s, "INBOX", OpenOptions{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			n := 0
			err := m.Fetch(t.Context(), m.View().All(), NeedEnvelope|NeedBytes, func(msg *Message) error {
				n++
				if string(msg.Envelope) != fmt.Sprintf("(envelope %d)", msg.UID) {
					return fault.Newf(fault.Internal, "fetch", "message %d has %q", msg.UID, msg.Envelope)
				}
				body, err := msg.Open(t.Context())
				if err != nil {
					return err
				}
				return body.Close()
			})
			if err != nil || n != 600 {
				t.Errorf("%d messages, %v", n, err)
			}
		})
		wg.Go(func() {
			got, _, err := m.Search(t.Context(), &search.Query{Op: search.Body, Text: "of 59"})
			if err != nil || got.String() != "59,590:599" {
				t.Errorf("%q %v", got, err)
			}
		})
		wg.Go(func() {
			for i := range 20 {
				w.flags(b, mailbox.UID(1+i), flag.Make(flag.Seen))
			}
		})
	}
	for range 20 {
		if _, err := other.Advance(t.Context(), true); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

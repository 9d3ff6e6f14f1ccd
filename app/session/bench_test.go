package session

import (
	"testing"

	"imapped/domain/flag"
)

func BenchmarkWarmOpen100k(b *testing.B) {
	w, _ := inboxWorld(b, 100_000)
	s := w.login(b, w.service(), "ann")
	open(b, s, "INBOX", OpenOptions{})
	b.ReportAllocs()
	for b.Loop() {
		m, err := s.Open(b.Context(), "INBOX", OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}

func BenchmarkAdvanceNothingNew100k(b *testing.B) {
	w, _ := inboxWorld(b, 100_000)
	m := open(b, w.login(b, w.service(), "ann"), "INBOX", OpenOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Advance(b.Context(), true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFetchFlags6000(b *testing.B) {
	w, _ := inboxWorld(b, 6000)
	m := open(b, w.login(b, w.service(), "ann"), "INBOX", OpenOptions{})
	all := m.View().All()
	b.ReportAllocs()
	for b.Loop() {
		_ = m.Fetch(b.Context(), all, 0, func(*Message) error { return nil })
	}
}

func BenchmarkStatus(b *testing.B) {
	w, _ := inboxWorld(b, 6000)
	s := w.login(b, w.service(), "ann")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Status(b.Context(), "INBOX"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPattern(b *testing.B) {
	p := newPattern("*a*b%c*")
	for b.Loop() {
		p.match("some/mailbox/name/with/abc/in/it", -1)
	}
}

// BenchmarkFlagChange2000Sessions is one flag change that 2,000 sessions on a mailbox of 30,000 messages hear of.
func BenchmarkFlagChange2000Sessions(b *testing.B) {
	w, box := inboxWorld(b, 30_000)
	s := w.login(b, w.service(), "ann")
	var sessions []Mailbox
	for range 2000 {
		sessions = append(sessions, open(b, s, "INBOX", OpenOptions{}))
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer() // the model store is slow at listing changes
		w.flags(box, 15_000, flag.Make(flag.System(i%16)))
		_, _ = sessions[0].Advance(b.Context(), false)
		b.StartTimer()
		for _, m := range sessions[1:] {
			if _, err := m.Advance(b.Context(), false); err != nil {
				b.Fatal(err)
			}
		}
	}
}

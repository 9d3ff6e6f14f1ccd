package session

import (
	"testing"
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

package mailbox

import (
	"math/rand/v2"
	"testing"

	"imapped/domain/flag"
)

func BenchmarkNewSnapshot100k(b *testing.B) {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	w.add(100_000)
	d := w.delta(0)
	b.ReportAllocs()
	for b.Loop() {
		NewSnapshot(d)
	}
}

// flagChange returns a delta that changes the flags of one message in the middle of s.
func flagChange(s *Snapshot) Delta {
	row := s.At(s.Len() / 2)
	row.Flags, row.ModSeq = row.Flags.Union(flag.Make(flag.Flagged, "changed")), s.ModSeq()+1
	return Delta{ModSeq: s.ModSeq() + 1, UIDNext: s.UIDNext(), Rows: []Row{row}}
}

func BenchmarkApplyOneFlag100k(b *testing.B) {
	s := big(100_000)
	d := flagChange(s)
	b.ReportAllocs()
	for b.Loop() {
		s.Apply(d)
	}
}

func BenchmarkApplyOneNew100k(b *testing.B) {
	s := big(100_000)
	d := Delta{ModSeq: s.ModSeq() + 1, UIDNext: s.UIDNext() + 1, Rows: []Row{{UID: s.UIDNext(), ModSeq: s.ModSeq() + 1}}}
	b.ReportAllocs()
	for b.Loop() {
		s.Apply(d)
	}
}

func BenchmarkDiffOneFlag100k(b *testing.B) {
	s := big(100_000)
	now := s.Apply(flagChange(s))
	b.ReportAllocs()
	for b.Loop() {
		Diff(s, now)
	}
}

func BenchmarkDiffNothingShared100k(b *testing.B) {
	s, now := big(100_000), big(100_000)
	b.ReportAllocs()
	for b.Loop() {
		Diff(s, now)
	}
}

func BenchmarkAdvanceNothingNew(b *testing.B) {
	v := NewView(big(100_000), 1, 1)
	b.ReportAllocs()
	for b.Loop() {
		v.Advance(v.Snapshot(), true)
	}
}

func BenchmarkRows100k(b *testing.B) {
	v := NewView(big(100_000), 1, 1)
	b.ReportAllocs()
	for b.Loop() {
		var size int64
		for _, row := range v.Rows(v.All()) {
			size += row.Size
		}
	}
}

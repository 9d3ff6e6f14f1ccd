package sqlite_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"imapped/adapters/sqlite"
	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// bench is a store with one account and one mailbox.
type bench struct {
	*sqlite.Store
	fence metadata.Fence
	box   mailbox.ID
}

func openBench(b *testing.B) *bench {
	b.Helper()
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(b.TempDir(), "meta.db"), Migrate: true})
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	u, err := s.CreateUser(ctx, account.User{Name: "ann"})
	must(b, err)
	a, err := s.CreateAccount(ctx, account.Account{User: u.ID, Email: "ann@example.org"})
	must(b, err)
	f, err := s.Acquire(ctx, a.ID, "bench", time.Unix(1, 0), time.Hour)
	must(b, err)
	m, err := s.SaveMailbox(ctx, f, metadata.Mirrored{Info: mailbox.Info{Name: "INBOX"}})
	must(b, err)
	return &bench{Store: s, fence: f, box: m.ID}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// objectID returns a well-spread id for n.
func objectID(n int) (id mailbox.ObjectID) {
	x := uint64(n+1) * 0x9E3779B97F4A7C15
	binary.BigEndian.PutUint64(id[:], x^x>>29)
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// newMessages returns n messages with upstream UIDs from first on: threads of four messages that refer to each other.
func newMessages(first, n int) []metadata.NewMessage {
	out := make([]metadata.NewMessage, n)
	for i := range out {
		k := first + i
		m := &out[i]
		*m = metadata.NewMessage{
			Upstream: uint32(k), Size: 5000, Date: int64(1_000_000_000 + k),
			Identity: message.Identity{Email: objectID(3 * k), MessageID: objectID(3*k + 1)},
		}
		if k%3 != 0 {
			m.Flags = flag.Make(flag.Seen)
		}
		for ref := k - k%4; ref < k; ref++ {
			m.Identity.Refs = append(m.Identity.Refs, objectID(3*ref+1))
		}
	}
	return out
}

func (s *bench) fill(b *testing.B, n int) {
	b.Helper()
	for first := 1; first <= n; first += 5000 {
		_, err := s.Apply(context.Background(), s.fence, metadata.Update{
			Mailbox: s.box, Now: time.Unix(2, 0), New: newMessages(first, min(5000, n-first+1)),
		})
		must(b, err)
	}
}

// BenchmarkApplyNew adds messages without bodies, 500 at a time, until there are 100,000.
func BenchmarkApplyNew(b *testing.B) {
	for _, batch := range []int{1, 100, 500, 2000} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			s := openBench(b)
			next := 1
			for b.Loop() {
				msgs := newMessages(next, batch)
				next += batch
				_, err := s.Apply(context.Background(), s.fence, metadata.Update{Mailbox: s.box, Now: time.Unix(2, 0), New: msgs})
				must(b, err)
			}
			b.ReportMetric(float64(next-1)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func contents(box mailbox.ID, first, n int) []metadata.Content {
	out := make([]metadata.Content, n)
	for i := range out {
		out[i] = metadata.Content{
			Mailbox: box, UID: mailbox.UID(first + i), Blob: blob.Key{byte(i), byte(i >> 8), byte(i >> 16)}, Size: 5000,
			Fragments: message.Fragments{
				Envelope: make([]byte, 350), Body: make([]byte, 90), BodyStructure: make([]byte, 120),
				Headers: make([]byte, 400), Preview: make([]byte, 150), Parts: make([]byte, 20),
			},
		}
	}
	return out
}

// BenchmarkStoreContents stores the bodies of 20,000 messages, newest first, in pieces.
func BenchmarkStoreContents(b *testing.B) {
	for _, batch := range []int{16, 64, 500} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			const n = 20_000
			stored := 0
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				s := openBench(b)
				s.fill(b, n)
				b.StartTimer()
				start := time.Now()
				for first := n - batch + 1; first > 0; first -= batch {
					must(b, s.StoreContents(context.Background(), s.fence, contents(s.box, first, batch)))
					stored += batch
				}
				spent += time.Since(start)
			}
			b.ReportMetric(float64(stored)/spent.Seconds(), "rows/s")
		})
	}
}

// BenchmarkChanges reads a mailbox of 100,000 messages: all of it, nothing new, one change.
func BenchmarkChanges(b *testing.B) {
	s := openBench(b)
	ctx := context.Background()
	s.fill(b, 100_000)
	done, err := s.Apply(ctx, s.fence, metadata.Update{Mailbox: s.box, Flags: []metadata.FlagChange{
		{UID: 77_777, Flags: flag.Make(flag.Flagged, "$Work")},
	}})
	must(b, err)
	for _, c := range []struct {
		name  string
		since mailbox.ModSeq
		rows  int
	}{{"all", 0, 100_000}, {"none", done.ModSeq, 0}, {"one", done.ModSeq - 1, 1}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, err := s.Changes(ctx, s.fence.Account, s.box, c.since)
				must(b, err)
				if len(d.Rows) != c.rows {
					b.Fatalf("%d rows, want %d", len(d.Rows), c.rows)
				}
			}
		})
	}
	b.Run("mailbox", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Mailbox(ctx, s.fence.Account, s.box)
			must(b, err)
		}
	})
	b.Run("upstream rows", func(b *testing.B) {
		for b.Loop() {
			must(b, s.UpstreamRows(ctx, s.fence.Account, s.box, func(metadata.UpstreamRow) error { return nil }))
		}
	})
	b.Run("pending", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Pending(ctx, s.fence.Account, s.box, time.Unix(3, 0))
			must(b, err)
		}
	})
	b.Run("identities", func(b *testing.B) {
		for b.Loop() {
			must(b, s.Identities(ctx, s.fence.Account, s.box, mailbox.Set{{First: 1, Last: 100_000}},
				func(metadata.Identity) error { return nil }))
		}
	})
	b.Run("flags of all", func(b *testing.B) {
		changes := make([]metadata.FlagChange, 100_000)
		on := false
		for b.Loop() {
			on = !on
			for i := range changes {
				changes[i] = metadata.FlagChange{UID: mailbox.UID(i + 1)}
				if on {
					changes[i].Flags = flag.Make(flag.Deleted)
				}
			}
			_, err := s.Apply(ctx, s.fence, metadata.Update{Mailbox: s.box, Flags: changes})
			must(b, err)
		}
	})
	b.Run("one flag", func(b *testing.B) {
		on := false
		for b.Loop() {
			on = !on
			set := flag.Make(flag.Seen)
			if on {
				set = flag.Make(flag.Seen, "$X")
			}
			_, err := s.Apply(ctx, s.fence, metadata.Update{Mailbox: s.box, Flags: []metadata.FlagChange{{UID: 5, Flags: set}}})
			must(b, err)
		}
	})
}

// BenchmarkContents reads the envelopes of 10,000 messages.
func BenchmarkContents(b *testing.B) {
	s := openBench(b)
	ctx := context.Background()
	s.fill(b, 10_000)
	for first := 1; first < 10_000; first += 500 {
		must(b, s.StoreContents(ctx, s.fence, contents(s.box, first, 500)))
	}
	for _, c := range []struct {
		name string
		uids mailbox.Set
	}{{"10000", mailbox.Set{{First: 1, Last: 10_000}}}, {"1", mailbox.Set{{First: 5000, Last: 5000}}}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				must(b, s.Contents(ctx, s.fence.Account, s.box, c.uids, metadata.WantEnvelope,
					func(*metadata.Content) error { return nil }))
			}
		})
	}
}

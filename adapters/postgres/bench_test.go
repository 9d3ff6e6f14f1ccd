package postgres_test

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"imapped/adapters/postgres"
	"imapped/adapters/postgres/pgtest"
	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// durable is a server whose commits wait for the disk.
var durable = pgtest.Server{Durable: true}

// bench is a store with one account and one mailbox.
type bench struct {
	*postgres.Store
	url   string
	fence metadata.Fence
	box   mailbox.ID
}

func openBench(b *testing.B) *bench {
	b.Helper()
	url := durable.URL(b)
	must(b, postgres.Migrate(b.Context(), url))
	return fixture(b, url)
}

// fixture makes an account with one mailbox.
func fixture(tb testing.TB, url string) *bench {
	tb.Helper()
	ctx := tb.Context()
	s := open(tb, url)
	u, err := s.CreateUser(ctx, account.User{Name: "ann"})
	must(tb, err)
	a, err := s.CreateAccount(ctx, account.Account{User: u.ID, Email: "ann@example.org"})
	must(tb, err)
	f, err := s.Acquire(ctx, a.ID, "bench", time.Unix(1, 0), time.Hour)
	must(tb, err)
	m, err := s.SaveMailbox(ctx, f, metadata.Mirrored{Info: mailbox.Info{Name: "INBOX"}, Upstream: metadata.Upstream{Name: "INBOX"}})
	must(tb, err)
	return &bench{Store: s, url: url, fence: f, box: m.ID}
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

func (s *bench) fill(tb testing.TB, n int) {
	tb.Helper()
	for first := 1; first <= n; first += 5000 {
		_, err := s.Apply(tb.Context(), s.fence, metadata.Update{
			Mailbox: s.box, Now: time.Unix(2, 0), New: newMessages(first, min(5000, n-first+1)),
		})
		must(tb, err)
	}
}

// median returns the middle of times, in microseconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Nanoseconds()) / 1000
}

// BenchmarkStoreOne compares, taking turns, the durable STORE of one message with an UPDATE of one row that commits: as
// one statement (bare), and as BEGIN, UPDATE and COMMIT sent one after the other (bare-tx).
func BenchmarkStoreOne(b *testing.B) {
	const n = 10_000
	s := openBench(b)
	s.fill(b, n)
	for first := 1; first < n; first += 500 {
		must(b, s.StoreContents(b.Context(), s.fence, contents(s.box, first, 500)))
	}
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.url)
	must(b, err)
	defer func() { must(b, c.Close(ctx)) }()
	_, err = c.Exec(ctx, `CREATE TABLE bare (id bigint PRIMARY KEY, n bigint NOT NULL)`)
	must(b, err)
	_, err = c.Exec(ctx, `INSERT INTO bare SELECT *, 0 FROM generate_series(1, 10000)`)
	must(b, err)
	const update = `UPDATE bare SET n = n + 1 WHERE id = $1`
	var times [6][]time.Duration
	k := 0
	for b.Loop() {
		uid := k*7919%n + 1
		on := k/n%2 == 0
		k++
		for i, run := range []func() error{
			func() error {
				_, err := c.Exec(ctx, update, uid)
				return err
			},
			func() error {
				return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, update, uid)
					return err
				})
			},
			func() error {
				_, err := s.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf(uint32(uid)), on))
				return err
			},
			func() error { // what the lock and the round trip take
				_, err := s.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf[uint32](n+1), true))
				return err
			},
			func() error {
				e := toggle(s.box, mailbox.SetOf(uint32(uid%n+1)), on)
				e.Flags = flag.Make(0, "$Label")
				_, err := s.EditFlags(ctx, s.fence.Account, e)
				return err
			},
			func() error { // any STORE: one that is asked of one message more, which does not exist
				_, err := s.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf(uint32((uid+1)%n+1), n+2), on))
				return err
			},
		} {
			start := time.Now()
			must(b, run())
			times[i] = append(times[i], time.Since(start))
		}
	}
	bare, tx := median(times[0]), median(times[1])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bare, "bare-us")
	b.ReportMetric(tx, "bare-tx-us")
	b.ReportMetric(median(times[2]), "store-us")
	b.ReportMetric(median(times[3]), "store-nothing-us")
	b.ReportMetric(median(times[4]), "store-keyword-us")
	b.ReportMetric(median(times[5]), "store-any-us")
	b.ReportMetric(median(times[2])/bare, "ratio")
	b.ReportMetric(median(times[2])/tx, "ratio-tx")
}

// toggle is a FlagEdit that changes something each time.
func toggle(box mailbox.ID, uids mailbox.Set, on bool) metadata.FlagEdit {
	e := metadata.FlagEdit{Mailbox: box, UIDs: uids, Flags: flag.Make(flag.Flagged), Now: time.Unix(5, 0)}
	if !on {
		e.Mode = metadata.RemoveFlags
	}
	return e
}

// BenchmarkApplyNew adds messages without bodies.
func BenchmarkApplyNew(b *testing.B) {
	for _, batch := range []int{1, 500} {
		b.Run(map[int]string{1: "1", 500: "500"}[batch], func(b *testing.B) {
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

// BenchmarkAppend adds single messages with bodies, as APPEND does, taking turns: as one statement, and as any number of
// messages is added.
func BenchmarkAppend(b *testing.B) {
	s := openBench(b)
	var times [2][]time.Duration
	k := 0
	for b.Loop() {
		for i := range times {
			k++
			m := newMessages(k, 1)
			m[0].Upstream = 0
			m[0].Content = &contents(s.box, k, 1)[0]
			e := metadata.AddEdit{Mailbox: s.box, Messages: m, Now: time.Unix(5, 0)}
			if i > 0 {
				e.Replaces.Mailbox = s.box // it names no message; but it is not simple any more
			}
			start := time.Now()
			_, err := s.AddMessages(context.Background(), s.fence.Account, e)
			must(b, err)
			times[i] = append(times[i], time.Since(start))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(times[0]), "append-us")
	b.ReportMetric(median(times[1]), "append-any-us")
}

// BenchmarkStoreContents stores bodies, 64 at a time.
func BenchmarkStoreContents(b *testing.B) {
	const n, batch = 20_000, 64
	s := openBench(b)
	s.fill(b, n)
	stored := 0
	for b.Loop() {
		first := n - batch - stored%(n-2*batch)
		must(b, s.StoreContents(context.Background(), s.fence, contents(s.box, first, batch)))
		stored += batch
	}
	b.ReportMetric(float64(stored)/b.Elapsed().Seconds(), "rows/s")
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
	b.Run("identities", func(b *testing.B) {
		for b.Loop() {
			must(b, s.Identities(ctx, s.fence.Account, s.box, mailbox.Set{{First: 1, Last: 100_000}},
				func(metadata.Identity) error { return nil }))
		}
	})
	b.Run("flags of all", func(b *testing.B) {
		on := false
		for b.Loop() {
			on = !on
			_, err := s.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.Set{{First: 1, Last: 100_000}}, on))
			must(b, err)
		}
	})
	b.Run("all, after every row was written again", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Changes(ctx, s.fence.Account, s.box, 0)
			must(b, err)
		}
	})
}

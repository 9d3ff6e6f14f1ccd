package sqlite_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// toggle is a FlagEdit that changes something each time.
func toggle(box mailbox.ID, uids mailbox.Set, on bool) metadata.FlagEdit {
	e := metadata.FlagEdit{Mailbox: box, UIDs: uids, Flags: flag.Make(flag.Flagged), Now: time.Unix(5, 0)}
	if !on {
		e.Mode = metadata.RemoveFlags
	}
	return e
}

// BenchmarkEditFlags changes flags of single messages, one call after the other and by eight callers at once, and of
// 10,000 messages in one call.
func BenchmarkEditFlags(b *testing.B) {
	const n = 10_000
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprintf("one message, %d callers", callers), func(b *testing.B) {
			s := openBench(b)
			s.fill(b, n)
			var next atomic.Int64
			b.ResetTimer()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for {
						k := next.Add(1)
						if k > int64(b.N) {
							return
						}
						uid := uint32(k*7919%n) + 1
						_, err := s.EditFlags(context.Background(), s.fence.Account,
							toggle(s.box, mailbox.SetOf(uid), k/n%2 == 0))
						must(b, err)
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
	b.Run("10000 messages", func(b *testing.B) {
		s := openBench(b)
		s.fill(b, n)
		on := false
		for b.Loop() {
			on = !on
			done, err := s.EditFlags(context.Background(), s.fence.Account, toggle(s.box, mailbox.Set{{First: 1, Last: n}}, on))
			must(b, err)
			if done.Changed.Len() != n {
				b.Fatalf("%d changed", done.Changed.Len())
			}
		}
	})
}

// BenchmarkEditMessages moves 10,000 messages with bodies to another mailbox and expunges them there.
func BenchmarkEditMessages(b *testing.B) {
	const n = 10_000
	ctx := context.Background()
	everything := mailbox.Set{{First: 1, Last: 1<<32 - 1}}
	times := map[string]time.Duration{}
	timed := func(name string, fn func() error) {
		start := time.Now()
		must(b, fn())
		times[name] += time.Since(start)
	}
	for b.Loop() {
		b.StopTimer()
		s := openBench(b)
		s.fill(b, n)
		for first := 1; first < n; first += 500 {
			must(b, s.StoreContents(ctx, s.fence, contents(s.box, first, 500)))
		}
		to, err := s.CreateMailbox(ctx, s.fence.Account, "To", 0, time.Unix(5, 0))
		must(b, err)
		b.StartTimer()
		timed("copy", func() error {
			_, err := s.CopyMessages(ctx, s.fence.Account, metadata.CopyEdit{From: s.box, To: to.ID, UIDs: everything})
			return err
		})
		timed("expunge-placing", func() error {
			_, err := s.RemoveMessages(ctx, s.fence.Account, metadata.RemoveEdit{Mailbox: to.ID})
			return err
		})
		timed("move", func() error {
			_, err := s.CopyMessages(ctx, s.fence.Account, metadata.CopyEdit{From: s.box, To: to.ID, UIDs: everything, Move: true})
			return err
		})
		timed("queue", func() error {
			_, err := s.Mutations(ctx, s.fence.Account, 0, 1000)
			return err
		})
		timed("expunge-moved", func() error {
			_, err := s.RemoveMessages(ctx, s.fence.Account, metadata.RemoveEdit{Mailbox: to.ID})
			return err
		})
		must(b, s.Close())
	}
	for name, t := range times {
		b.ReportMetric(float64(t.Milliseconds())/float64(b.N), name+"-ms")
	}
}

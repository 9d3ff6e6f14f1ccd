package metadatatest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

func testCanceled(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1)
	before := f.everything()
	live := f.ctx
	ctx, cancel := context.WithCancel(live)
	cancel()
	f.ctx = ctx
	_, err := f.Apply(ctx, f.fence, metadata.Update{Mailbox: f.inbox, New: []metadata.NewMessage{sample(2)}})
	f.fails(err, fault.Canceled)
	_, err = f.Changes(ctx, f.acc.ID, f.inbox, 0)
	f.fails(err, fault.Canceled)
	f.fails(f.StoreContents(ctx, f.fence, []metadata.Content{body(f.inbox, 1, 1, 1)}), fault.Canceled)
	f.ctx = live
	equal(t, "what the store holds", f.everything(), before)
}

// testNestedCalls calls the store from within its own callbacks, from many goroutines: a session does so while it
// answers a FETCH, and more sessions do than a store has connections.
func testNestedCalls(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2, 3)
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 1, 1001, 1), body(f.inbox, 3, 1003, 3)}))
	var all sync.WaitGroup
	var together sync.WaitGroup // every goroutine is within its callback at the same time
	const n = 20
	together.Add(n)
	for range n {
		all.Go(func() {
			first := true
			err := f.Contents(f.ctx, f.acc.ID, f.inbox, everyUID, metadata.WantAll, func(v *metadata.Content) error {
				if first {
					first = false
					together.Done()
					together.Wait()
				}
				return f.Identities(f.ctx, f.acc.ID, f.inbox, mailbox.SetOf(v.UID), func(metadata.Identity) error {
					_, err := f.Changes(f.ctx, f.acc.ID, f.inbox, 0)
					return err
				})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// testConcurrent has readers follow a mailbox while a writer changes every message of it in each update: what a reader
// sees is always one update's work, whole.
func testConcurrent(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2, 3)
	const rounds = 60
	done := make(chan struct{})
	errs := make(chan error, 8)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			if err := f.follow(done); err != nil {
				errs <- err
			}
		})
	}
	live := mailbox.Set{{First: 1, Last: 3}}
	next := uint32(4)
	for round := range rounds {
		set := flag.Make(0, fmt.Sprintf("round%d", round))
		u := metadata.Update{Mailbox: f.inbox, Now: now}
		for uid := range live.All {
			u.Flags = append(u.Flags, metadata.FlagChange{UID: mailbox.UID(uid), Flags: set})
		}
		for range 3 {
			msg := sample(next)
			msg.Flags = set
			u.New = append(u.New, msg)
			live = live.Union(mailbox.SetOf(next))
			next++
		}
		u.Expunge = mailbox.SetOf(live[0].First)
		live = live.Minus(u.Expunge)
		if _, err := f.Apply(f.ctx, f.fence, u); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	readers.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// follow reads changes until done is closed, and once more.
func (f *fixture) follow(done <-chan struct{}) error {
	rows := map[mailbox.UID]mailbox.Row{}
	var at mailbox.ModSeq
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		d, err := f.Changes(f.ctx, f.acc.ID, f.inbox, at)
		if err != nil {
			return err
		}
		if d.ModSeq < at {
			return fmt.Errorf("HIGHESTMODSEQ went from %d to %d", at, d.ModSeq)
		}
		if d.ModSeq == at && len(d.Rows)+len(d.Expunged) > 0 {
			return errors.New("changes without a higher mod-sequence")
		}
		at = d.ModSeq
		for uid := range d.Expunged.All {
			delete(rows, mailbox.UID(uid))
		}
		for _, r := range d.Rows {
			rows[r.UID] = r
		}
		var flags flag.Set
		for _, r := range rows {
			if flags.Empty() {
				flags = r.Flags
			}
			if !r.Flags.Equal(flags) || r.UID >= d.UIDNext || r.ModSeq > d.ModSeq {
				return fmt.Errorf("half an update is visible at %d: %+v among %v", at, r, flags)
			}
		}
		info, err := f.Mailbox(f.ctx, f.acc.ID, f.inbox)
		if err != nil {
			return err
		}
		if info.HighestModSeq == at && int(info.Messages) != len(rows) {
			return fmt.Errorf("at %d: %d messages counted, %d seen", at, info.Messages, len(rows))
		}
	}
	return nil
}

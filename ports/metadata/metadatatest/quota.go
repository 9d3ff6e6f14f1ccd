package metadatatest

import (
	"math"
	"sync"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// used is the account's Usage.
func (f *fixture) used() int64 {
	f.t.Helper()
	n, err := f.Usage(f.ctx, f.acc.ID)
	f.ok(err)
	return n
}

// testQuota grows an account up to its quota, by one octet more, and where it holds too much already. letters(n) is of 50,
// 51 and so on octets; sample(n) of 1000+n.
func testQuota(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := f.create("Other")
	add := func(quota int64, e metadata.AddEdit) error {
		e.Quota, e.Now = quota, later
		_, err := f.AddMessages(f.ctx, f.acc.ID, e)
		return err
	}
	copyTo := func(quota int64, e metadata.CopyEdit) (metadata.Copied, error) {
		e.Quota, e.Now = quota, later
		return f.CopyMessages(f.ctx, f.acc.ID, e)
	}
	refused := func(err error, before everything) {
		t.Helper()
		f.fails(err, fault.OverQuota)
		equal(t, "what the store holds", f.everything(), before)
	}
	equal(t, "the usage of nothing", f.used(), int64(0))
	f.add(f.inbox, 1)
	f.add(other, 2)
	equal(t, "usage", f.used(), int64(1001+1002))

	before := f.everything()
	two := metadata.AddEdit{Mailbox: f.inbox, Messages: letters(2)}
	refused(add(2003+100, two), before)
	f.ok(add(2003+101, two)) // INBOX 2 and 3
	equal(t, "usage", f.used(), int64(2104))
	f.ok(add(0, metadata.AddEdit{Mailbox: f.inbox, Messages: letters(1)})) // 4, without a quota
	equal(t, "usage", f.used(), int64(2154))

	// A copy grows the account; a move, and a copy of what is not there, does not.
	before = f.everything()
	_, err := copyTo(2154+100, metadata.CopyEdit{From: f.inbox, To: other, UIDs: mailbox.SetOf[uint32](2, 3)})
	refused(err, before)
	done, err := copyTo(2154+101, metadata.CopyEdit{From: f.inbox, To: other, UIDs: mailbox.SetOf[uint32](2, 3)})
	f.ok(err)
	equal(t, "copied", done.Source, []mailbox.UID{2, 3})
	equal(t, "usage", f.used(), int64(2255))
	for _, e := range []metadata.CopyEdit{
		{From: f.inbox, To: other, UIDs: mailbox.SetOf[uint32](2), Move: true},
		{From: other, To: other, UIDs: mailbox.SetOf[uint32](1), Move: true},
		{From: f.inbox, To: other, UIDs: mailbox.SetOf[uint32](99)},
	} {
		_, err = copyTo(1, e)
		f.ok(err)
	}
	equal(t, "usage", f.used(), int64(2255))

	// Of a replacement the difference counts, and one that makes the account smaller comes in when it holds too much.
	before = f.everything()
	replace := func(quota int64, r mutation.Ref, n int) error {
		return add(quota, metadata.AddEdit{Mailbox: other, Messages: letters(n), Replaces: r})
	}
	refused(replace(2255+49, ref(f.inbox, 3), 2), before) // 101 octets for 51
	f.ok(replace(2255+50, ref(f.inbox, 3), 2))
	equal(t, "usage", f.used(), int64(2305))
	f.ok(replace(1, ref(f.inbox, 1), 1))
	equal(t, "usage", f.used(), int64(2305-1001+50))
	f.fails(replace(1<<40, ref(f.inbox, 1), 1), fault.NotFound)

	// What comes back from the undo list stays on it when there is no room.
	list := f.retained("", now)
	msgs := letters(1)
	restore := metadata.AddEdit{Mailbox: f.inbox, Messages: msgs, Restores: []int64{list[0].ID}}
	before = f.everything()
	refused(add(1354, restore), before)
	f.ok(add(1354+50, restore))

	// The upstream's mail comes in all the same, and what it leaves no room for is refused until there is some.
	f.add(f.inbox, 50)
	over := f.used()
	before = f.everything()
	one := metadata.AddEdit{Mailbox: f.inbox, Messages: letters(1)}
	refused(add(over-1, one), before)
	f.expunge(f.inbox, 4)
	equal(t, "usage", f.used(), over-50)
	f.ok(add(over, one))

	// What a client deleted with its mailbox does not count, although the upstream has it still.
	size := f.info(other).Size
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, other, later))
	equal(t, "usage", f.used(), over-size)
}

// testQuotaConcurrent adds and copies from many goroutines, in several mailboxes, with room for some.
func testQuotaConcurrent(t *testing.T, h Harness) {
	f := newFixture(t, h)
	boxes := []mailbox.ID{f.inbox, f.create("B"), f.create("C")}
	f.deliver(f.inbox, 1) // 50 octets, as each of the others
	const n, room = 24, 7
	var all sync.WaitGroup
	results := make([]error, n)
	for i := range n {
		all.Go(func() {
			to := boxes[i%len(boxes)]
			if i%2 == 0 {
				_, results[i] = f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{
					Mailbox: to, Messages: letters(1), Quota: 50 * (room + 1), Now: later,
				})
				return
			}
			_, results[i] = f.CopyMessages(f.ctx, f.acc.ID, metadata.CopyEdit{
				From: f.inbox, To: to, UIDs: mailbox.SetOf[uint32](1), Quota: 50 * (room + 1), Now: later,
			})
		})
	}
	all.Wait()
	taken := 0
	for _, err := range results {
		if err == nil {
			taken++
			continue
		}
		f.fails(err, fault.OverQuota)
	}
	equal(t, "edits that found room", taken, room)
	equal(t, "usage", f.used(), int64(50*(room+1)))
}

// testAbsurdUsage: an upstream may claim any size.
func testAbsurdUsage(t *testing.T, h Harness) {
	f := newFixture(t, h)
	for _, id := range []mailbox.ID{f.inbox, f.create("B"), f.create("C")} {
		n := sample(1)
		n.Size, n.Flags = math.MaxInt64, flag.Make(flag.Deleted)
		f.apply(id, metadata.Update{New: []metadata.NewMessage{n}})
		equal(t, "DeletedSize", f.info(id).DeletedSize, int64(math.MaxInt64))
	}
	if n := f.used(); n < 1<<62 {
		t.Errorf("usage %d", n)
	}
	_, err := f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{Mailbox: f.inbox, Messages: letters(1), Quota: 1 << 60, Now: later})
	f.fails(err, fault.OverQuota)
}

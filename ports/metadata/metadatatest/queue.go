package metadatatest

import (
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

func testIntend(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	boxes := []any{f.inbox, b}
	f.add(f.inbox, 10, 20)
	f.deliver(f.inbox, 2)
	f.copy(f.inbox, b, true, 1)
	f.store(f.inbox, metadata.AddFlags, seen, 2)
	var ids []mutation.ID
	for _, q := range f.queue() {
		ids = append(ids, q.ID)
	}
	equal(t, "uncertain", []bool{f.mirrored(f.inbox).Uncertain, f.mirrored(b).Uncertain}, []bool{false, false})
	f.expunge(f.inbox, 4) // taken back
	f.settle(metadata.Outcome{ID: ids[2], Verdict: metadata.Park})
	// What is repeatable is not marked; what was taken back or is parked is not to be sent.
	f.intend([]mutation.ID{ids[0], ids[3]}, ids[0], ids[1], ids[2], ids[3], 9999)
	f.queued(boxes, "append! #1.3", "move? #2.1<#1.1", `flags #1.2 +(\Seen) -()`)
	q := f.queue()[0]
	equal(t, "the intent", q.Intent, mutation.Intent{UIDValidity: 7, UIDNext: 70})
	equal(t, "what the mailbox is known by", f.mirrored(f.inbox).Upstream.Checkpoint, metadata.Checkpoint{UIDValidity: 7})
	equal(t, "uncertain", []bool{f.mirrored(f.inbox).Uncertain, f.mirrored(b).Uncertain}, []bool{true, false})
	// The first intent is what counts.
	got, err := f.Intend(f.ctx, f.fence, []metadata.Intended{{ID: ids[0], Intent: mutation.Intent{UIDValidity: 9, UIDNext: 900}}})
	f.ok(err)
	equal(t, "may be sent", got, []mutation.ID{ids[0]})
	equal(t, "the intent", f.queue()[0].Intent, q.Intent)
	got, err = f.Intend(f.ctx, f.fence, nil)
	f.ok(err)
	equal(t, "nothing", len(got), 0)
	if h.Reopen != nil {
		before := f.queue()
		f.Store = h.Reopen(t)
		equal(t, "the queue after a restart", f.queue(), before)
	}
}

func testSettle(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	boxes := []any{f.inbox, b}
	f.add(f.inbox, 10, 20, 30)
	f.store(f.inbox, metadata.AddFlags, seen, 1, 2)
	qs := f.queue()

	// The version of one rose while it was carried out.
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Flagged), 2)
	applied, err := f.Settle(f.ctx, f.fence, later, []metadata.Outcome{
		{ID: qs[0].ID, Version: 0}, {ID: qs[1].ID, Version: 0}, {ID: 9999},
	})
	f.ok(err)
	equal(t, "what clients see", len(applied), 0)
	f.queued(boxes, `flags #1.2 +(\Flagged \Seen) -() v1`)
	// Not parked either, and what was refused of it before is no matter.
	_, err = f.Settle(f.ctx, f.fence, later, []metadata.Outcome{
		{ID: qs[1].ID, Version: 0, Verdict: metadata.Park, Rest: flag.Op{Add: seen}, Reason: "no"},
	})
	f.ok(err)
	f.queued(boxes, `flags #1.2 +(\Flagged \Seen) -() v1`)

	next := later.Add(time.Minute)
	f.settle(metadata.Outcome{ID: qs[1].ID, Verdict: metadata.Again, Reason: "busy", Next: next})
	q := f.queue()[0]
	equal(t, "attempts", []any{q.Attempts, q.Reason, q.Next.Equal(next)}, []any{2, "busy", true})
	// A part is refused: only that stays, and goes on to hold here.
	f.store(f.inbox, metadata.AddFlags, flag.Make(0, "$Work"), 2)
	f.settle(metadata.Outcome{ID: qs[1].ID, Verdict: metadata.Park, Rest: flag.Op{Add: flag.Make(0, "$Work")}, Reason: "no keywords"})
	f.queued(boxes, `flags? #1.2 +($Work) -() v2`)
	f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: 2, Flags: seen}}})
	equal(t, "flags", f.flagsOf(f.inbox, 2), `\Seen $Work`)
	equal(t, "reason", f.queue()[0].Reason, "no keywords")
	f.settle(metadata.Outcome{ID: qs[1].ID})

	// Copy and Move.
	seq := [2]mailbox.ModSeq{f.info(f.inbox).HighestModSeq, f.info(b).HighestModSeq}
	f.copy(f.inbox, b, false, 1)
	f.copy(f.inbox, b, true, 2)
	f.send(ref(b, 1), ref(b, 2))
	qs = f.queue()
	f.settle(metadata.Outcome{ID: qs[0].ID, Upstream: 5}, metadata.Outcome{ID: qs[1].ID, Upstream: 6})
	f.queued(boxes)
	equal(t, "rows", f.rows(f.inbox)+", "+f.rows(b), "1=10 3=30, 1=5 2=6")
	equal(t, "bound", []uint32{f.mirrored(f.inbox).Bound, f.mirrored(b).Bound}, []uint32{2, 2})
	equal(t, "mod-sequences", []mailbox.ModSeq{f.info(f.inbox).HighestModSeq, f.info(b).HighestModSeq},
		[]mailbox.ModSeq{seq[0] + 1, seq[1] + 2})
	// Done, and nobody knows under which UID: the next look binds it.
	f.deliver(b, 1)
	f.settle(metadata.Outcome{ID: f.last()})
	equal(t, "rows", f.rows(b), "1=5 2=6 3=0")
	// Expunged then, it may be there.
	f.expunge(b, 3)
	equal(t, "rows", f.rows(b), "1=5 2=6 3=0-")
	f.apply(b, metadata.Update{Rebind: []metadata.Rebind{{UID: 3, Upstream: 8}}})
	equal(t, "bound", f.queue()[0].Upstream, uint32(8))
	f.settle(metadata.Outcome{ID: f.last()})
	equal(t, "rows", f.rows(b), "1=5 2=6")
	equal(t, "bound", f.mirrored(b).Bound, uint32(2))

	// The mirror had taken the message in as a new one: there is one message all the same.
	uid := f.deliver(b, 1)[0]
	dup := f.add(b, 9)[0]
	f.store(b, metadata.AddFlags, seen, uint32(dup))
	done := f.settle(metadata.Outcome{ID: f.queue()[0].ID, Upstream: 9})
	equal(t, "what clients see", done, []metadata.Applied{{Mailbox: b, ModSeq: f.info(b).HighestModSeq, Changed: true}})
	equal(t, "messages", len(f.changes(b, 0).Rows), 3)
	equal(t, "bound", f.upstreamRows(b)[2], metadata.UpstreamRow{UID: uid, Upstream: 9, Email: oid("email", 900), HasBody: true})
	f.queued(boxes)
	equal(t, "bound", f.mirrored(b).Bound, uint32(3))
}

// testIDsRise: an id is never used again, also when the queue was empty meanwhile.
func testIDsRise(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10)
	last := mutation.ID(0)
	for i := range 6 {
		f.store(f.inbox, metadata.FlagMode(i%2), seen, 1)
		if id := f.last(); id <= last {
			t.Fatalf("id %d after %d", id, last)
		}
		last = f.last()
		f.settle(metadata.Outcome{ID: last})
		if h.Reopen != nil && i == 3 {
			f.Store = h.Reopen(t)
		}
	}
	sum, err := f.QueueSummary(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "an empty queue", sum, metadata.QueueSummary{})
	f.deliver(f.inbox, 3)
	qs := f.queue()
	f.send(ref(f.inbox, 3))
	f.settle(metadata.Outcome{ID: qs[0].ID, Verdict: metadata.Park})
	sum, err = f.QueueSummary(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "a queue", sum, metadata.QueueSummary{Waiting: 1, Sent: 1, Parked: 1, Oldest: later})
	_, err = f.QueueSummary(f.ctx, 999)
	f.fails(err, fault.NotFound)
	_, err = f.Mutations(f.ctx, 999, 0, 1)
	f.fails(err, fault.NotFound)
	page, err := f.Mutations(f.ctx, f.acc.ID, qs[0].ID, 1)
	f.ok(err)
	equal(t, "a page", []any{len(page), page[0].ID}, []any{1, qs[1].ID})
}

// testRebase applies what the upstream says under what clients changed.
func testRebase(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	f.add(f.inbox, 10, 20, 30, 40)
	upstream := func(uid mailbox.UID, flags flag.Set) bool {
		t.Helper()
		return f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: uid, Flags: flags}}}).Changed
	}
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Seen, "a"), 1)
	f.copy(f.inbox, b, false, 1) // so that there are two changes
	f.store(f.inbox, metadata.RemoveFlags, flag.Make(flag.Seen|flag.Draft), 1)
	equal(t, "changed", upstream(1, flag.Make(flag.Seen|flag.Flagged|flag.Draft)), true)
	// The second change removes what it changed: \Seen, not \Draft, which was not set when it was made.
	equal(t, "flags", f.flagsOf(f.inbox, 1), `\Flagged \Draft a`)
	equal(t, "changed", upstream(1, flag.Make(flag.Draft|flag.Flagged, "A")), false)
	equal(t, "changed by nobody", upstream(2, seen), true)

	// Departed messages: their flags are nobody's, their UIDs are known, and they are forgotten when the upstream has lost
	// them.
	f.expunge(f.inbox, 2)
	f.copy(f.inbox, b, true, 3)
	seq := f.info(f.inbox).HighestModSeq
	done := f.apply(f.inbox, metadata.Update{
		Flags: []metadata.FlagChange{{UID: 2, Flags: work}, {UID: 3, Flags: work}},
		New:   []metadata.NewMessage{sample(20), sample(30), sample(50)},
	})
	equal(t, "UIDs", done.UIDs, []mailbox.UID{0, 0, 5})
	equal(t, "rows", f.rows(f.inbox), "1=10 2=20- 3=30- 4=40 5=50")
	equal(t, "emails", f.upstreamRows(f.inbox)[1].Email, oid("email", 20))
	done = f.apply(f.inbox, metadata.Update{Expunge: mailbox.SetOf[uint32](1, 2, 3)})
	equal(t, "changed", done.Changed, true)
	equal(t, "rows", f.rows(f.inbox), "4=40 5=50")
	equal(t, "tombstones", f.changes(f.inbox, seq).Expunged.String(), "1")
	equal(t, "bound", f.mirrored(f.inbox).Bound, uint32(2))
	// Its changes of flags are gone, the Expunge is done, copies and moves stay and have no source.
	f.queued([]any{f.inbox, b}, "copy #2.1<#1.1", "move #2.2<#1.3")
	for _, q := range f.queue() {
		equal(t, "the source upstream", q.SourceUpstream, uint32(0))
	}
	// Only departed ones: nobody sees that.
	f.expunge(f.inbox, 4)
	seq = f.info(f.inbox).HighestModSeq
	done = f.apply(f.inbox, metadata.Update{Expunge: mailbox.SetOf[uint32](4)})
	equal(t, "Applied", done, metadata.Applied{Mailbox: f.inbox, ModSeq: seq})
	equal(t, "UIDs", f.add(f.inbox, 40), []mailbox.UID{6}) // the upstream may use the UID again
}

// testRebindDeparted heals a mailbox with departed messages and ones that are being placed.
func testRebindDeparted(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	f.expunge(f.inbox, 2)
	f.deliver(f.inbox, 1)
	f.apply(f.inbox, metadata.Update{Reset: true})
	equal(t, "rows", f.rows(f.inbox), "1=0 2=0- 3=0 4=0~")
	equal(t, "bound", f.mirrored(f.inbox).Bound, uint32(0))
	// What is being placed cannot be lost, whatever is said of it.
	f.apply(f.inbox, metadata.Update{
		Rebind: []metadata.Rebind{{UID: 1, Upstream: 2}, {UID: 2, Upstream: 1}}, Expunge: mailbox.Set{{First: 3, Last: 9}},
	})
	equal(t, "rows", f.rows(f.inbox), "1=2 2=1- 4=0~")
	equal(t, "bound", f.mirrored(f.inbox).Bound, uint32(2))
	equal(t, "UIDs", f.apply(f.inbox, metadata.Update{New: []metadata.NewMessage{sample(1), sample(2)}}).UIDs, make([]mailbox.UID, 2))
	f.apply(f.inbox, metadata.Update{Rebind: []metadata.Rebind{{UID: 2, Upstream: 2}, {UID: 1, Upstream: 1}}})
	equal(t, "rows", f.rows(f.inbox), "1=1 2=2- 4=0~")
	before := f.everything()
	_, err := f.Apply(f.ctx, f.fence, metadata.Update{Mailbox: f.inbox, Rebind: []metadata.Rebind{{UID: 2, Upstream: 1}}})
	f.fails(err, fault.Invalid)
	equal(t, "what the store holds", f.everything(), before)

	// Departed while its placement was under way, and both are told of at once.
	f.send(ref(f.inbox, 4))
	f.expunge(f.inbox, 4)
	f.apply(f.inbox, metadata.Update{Expunge: everyUID})
	equal(t, "rows", f.rows(f.inbox), "4=0-~")
	f.queued([]any{f.inbox}, "append! #1.4", "expunge #1.4")
}

package metadatatest

import (
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// discard discards the queue's mutation of the index.
func (f *fixture) discard(i int) {
	f.t.Helper()
	f.ok(f.Resolve(f.ctx, f.acc.ID, f.queue()[i].ID, false, later))
}

func testRetry(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.deliver(f.inbox, 3)
	qs := f.queue()
	f.send(ref(f.inbox, 3))
	f.settle(metadata.Outcome{ID: qs[0].ID, Verdict: metadata.Park, Reason: "too big"},
		metadata.Outcome{ID: qs[1].ID, Verdict: metadata.Again, Next: later.Add(time.Hour)})
	for _, q := range qs[:2] {
		f.ok(f.Resolve(f.ctx, f.acc.ID, q.ID, true, later))
	}
	f.queued([]any{f.inbox}, "append #1.1", "append #1.2", "append! #1.3")
	for _, q := range f.queue() {
		equal(t, "not before", q.Next, time.Time{})
	}
	for _, retry := range []bool{true, false} {
		f.fails(f.Resolve(f.ctx, f.acc.ID, qs[2].ID, retry, later), fault.Conflict)
		f.fails(f.Resolve(f.ctx, f.acc.ID, 9999, retry, later), fault.NotFound)
		f.fails(f.Resolve(f.ctx, 999, qs[0].ID, retry, later), fault.NotFound)
	}
}

func testDiscard(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	boxes := []any{f.inbox, b}
	f.add(f.inbox, 10, 20, 30, 40)
	f.bodies(f.inbox)
	synced := func(ids ...mailbox.ID) {
		t.Helper()
		for _, id := range ids {
			f.apply(id, metadata.Update{Checkpoint: &metadata.Checkpoint{UIDValidity: 1, UIDNext: 50, ModSeq: 4, Synced: now}})
		}
	}
	unsynced := func(id mailbox.ID) {
		t.Helper()
		want := metadata.Checkpoint{UIDValidity: 1, UIDNext: 50, ModSeq: 4}
		equal(t, "the checkpoint", f.mirrored(id).Upstream.Checkpoint, want)
		synced(id)
	}
	synced(f.inbox, b)

	f.store(f.inbox, metadata.AddFlags, seen, 1)
	f.discard(0)
	f.queued(boxes)
	unsynced(f.inbox)
	f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: 1}}})
	equal(t, "flags", f.flagsOf(f.inbox, 1), "")

	// An expunged message comes back as a new one.
	f.expunge(f.inbox, 1)
	f.discard(0)
	unsynced(f.inbox)
	equal(t, "rows", f.rows(f.inbox), "2=20 3=30 4=40")
	equal(t, "bound", f.mirrored(f.inbox).Bound, uint32(3))
	equal(t, "UIDs", f.add(f.inbox, 10), []mailbox.UID{5})

	// A placed one goes, with what followed it, into the undo list.
	f.retainedGone(later.Add(1))
	f.deliver(b, 1)
	f.store(b, metadata.AddFlags, seen, 1)
	f.copy(f.inbox, b, false, 2)
	f.copy(b, f.inbox, false, 1)
	f.discard(0)
	f.queued(boxes, "copy #2.2<#1.2", "append #1.6")
	f.discard(0)
	equal(t, "rows", f.rows(b)+", "+f.rows(f.inbox), ", 2=20 3=30 4=40 5=10 6=0~")
	equal(t, "undo list", len(f.retained("B", now)), 2)
	equal(t, "mailbox", []any{f.info(b).Messages, f.info(b).Unseen, f.mirrored(b).Bodies}, []any{uint32(0), uint32(0), uint32(0)})
	f.discard(0)

	// The source of a move comes back as a new message.
	f.copy(f.inbox, b, true, 3)
	f.discard(0)
	f.queued(boxes)
	unsynced(f.inbox)
	equal(t, "rows", f.rows(b)+", "+f.rows(f.inbox), ", 2=20 4=40 5=10")
	equal(t, "UIDs", f.add(f.inbox, 30), []mailbox.UID{7})

	// Also when that had been moved there, and is not upstream either: once it is there, it comes back.
	f.copy(f.inbox, b, true, 4)
	f.send(ref(b, 4))
	f.copy(b, f.inbox, true, 4)
	f.queued(boxes, "move! #2.4<#1.4", "move #1.8<#2.4")
	f.discard(1)
	equal(t, "rows", f.rows(b)+", "+f.rows(f.inbox), "4=0-~, 2=20 4=40- 5=10 7=30")
	f.settle(metadata.Outcome{ID: f.last(), Upstream: 60})
	equal(t, "rows", f.rows(b)+", "+f.rows(f.inbox), ", 2=20 5=10 7=30")
	unsynced(b)
	equal(t, "UIDs", f.add(b, 60), []mailbox.UID{5})

	// An Expunge whose message is on its way: it comes back when it is there.
	f.deliver(b, 1)
	f.send(ref(b, 6))
	f.expunge(b, 6)
	f.discard(1)
	equal(t, "rows", f.rows(b), "5=60 6=0-~")
	f.settle(metadata.Outcome{ID: f.last(), Upstream: 61})
	equal(t, "rows", f.rows(b), "5=60")
	unsynced(b)
	f.queued(boxes)
}

// retainedGone forgets the undo list.
func (f *fixture) retainedGone(before time.Time) {
	f.t.Helper()
	_, err := f.PurgeRetained(f.ctx, before)
	f.ok(err)
}

func testDiscardMailboxes(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20)
	f.apply(f.inbox, metadata.Update{Checkpoint: &metadata.Checkpoint{Synced: now}})
	// A created mailbox that the upstream does not have goes, and what was moved into it comes back.
	b := f.made("B", 0)
	f.copy(f.inbox, b.ID, true, 1)
	f.discard(0)
	f.queued(nil)
	equal(t, "names", f.names(), []string{"INBOX"})
	equal(t, "rows", f.rows(f.inbox), "2=20")
	equal(t, "synced", f.mirrored(f.inbox).Upstream.Synced, time.Time{})
	// One that it has, stays.
	c := f.create("C")
	f.ok(f.Subscribe(f.ctx, f.acc.ID, c, true, later))
	f.discard(0)
	equal(t, "subscribed", f.info(c).Subscribed, false)
	// A deleted one comes back.
	f.add(c, 1)
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, c, later))
	f.discard(0)
	equal(t, "names", f.names(), []string{"C", "INBOX"})
	equal(t, "messages", len(f.changes(c, 0).Rows), 1)
	// A renamed one gets its name back, with what is below it.
	d := f.create("C/d")
	rename := func(id mailbox.ID, name string, below ...metadata.Rename) {
		t.Helper()
		f.ok(f.RenameMailboxes(f.ctx, f.acc.ID, append([]metadata.Rename{{ID: id, Name: name}}, below...), later))
	}
	rename(c, "E", metadata.Rename{ID: d, Name: "E/d"})
	f.create("C")
	f.discard(0)
	if f.info(d).Name != "C/d" || f.info(c).Name == "C" || f.info(c).Name == "E" {
		t.Fatalf("names %q", f.names())
	}
	f.queued(nil)
	// One that was renamed again keeps its name, and the upstream is told of it in one step.
	rename(d, "X")
	rename(d, "Y")
	f.discard(0)
	f.queued([]any{d}, "rename #1 C/d>Y")
	equal(t, "name", f.info(d).Name, "Y")
	equal(t, "kind", f.queue()[0].Kind, mutation.Rename)
}

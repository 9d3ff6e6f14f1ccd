package metadatatest

import (
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

func testAddMessages(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10)
	seq := f.info(f.inbox).HighestModSeq
	msgs := letters(2)
	msgs[0].Flags = work
	done, err := f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{Mailbox: f.inbox, Messages: msgs, Now: later})
	f.ok(err)
	equal(t, "Added", done, metadata.Added{
		UIDValidity: f.info(f.inbox).UIDValidity, UIDs: []mailbox.UID{2, 3}, ModSeq: seq + 1,
	})
	equal(t, "flags", f.flagsOf(f.inbox, 2), work.String())
	ids := f.identities(f.inbox, mailbox.SetOf[uint32](2))
	if len(ids) != 1 || !ids[0].Saved.Equal(later) || ids[0].EmailID != oid("email", 900) || ids[0].ThreadID != oid("msgid", 900) {
		t.Fatalf("identities %+v", ids)
	}
	equal(t, "rows", f.rows(f.inbox), "1=10 2=0~ 3=0~")
	f.queued([]any{f.inbox}, "append #1.2", "append #1.3")
	q := f.queue()[0]
	equal(t, "the row to upload", q.Row, byUID(f.changes(f.inbox, 0).Rows)[2])
	equal(t, "the body to upload", []any{q.Content.Blob, q.Content.Size}, []any{msgs[0].Content.Blob, msgs[0].Content.Size})
	m := f.mirrored(f.inbox)
	equal(t, "bound and uncertain", []any{m.Bound, m.Uncertain, m.Bodies}, []any{uint32(1), false, uint32(2)})

	// REPLACE, within the mailbox and from another.
	other := f.create("Other")
	f.add(other, 5)
	for _, id := range []mailbox.ID{f.inbox, other} {
		_, err = f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{
			Mailbox: f.inbox, Messages: letters(1), Replaces: ref(id, 1), Now: later,
		})
		f.ok(err)
	}
	f.queued([]any{f.inbox, other}, "append #1.2", "append #1.3", "append #1.4", "expunge #1.1", "append #1.5",
		"expunge #2.1")
	equal(t, "rows", f.rows(f.inbox)+" "+f.rows(other), "1=10- 2=0~ 3=0~ 4=0~ 5=0~ 1=5-")

	before := f.everything()
	_, err = f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{
		Mailbox: f.inbox, Messages: letters(1), Replaces: ref(f.inbox, 1), Now: later,
	})
	f.fails(err, fault.NotFound)
	_, err = f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{Mailbox: 999, Messages: letters(1)})
	f.fails(err, fault.NotFound)
	for _, change := range []func(*metadata.NewMessage){
		func(n *metadata.NewMessage) { n.Content = nil }, func(n *metadata.NewMessage) { n.Upstream = 5 },
	} {
		bad := letters(2)
		change(&bad[1])
		_, err = f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{Mailbox: f.inbox, Messages: bad})
		f.fails(err, fault.Invalid)
	}
	equal(t, "what the store holds", f.everything(), before)
	equal(t, "the next UID", f.deliver(f.inbox, 1), []mailbox.UID{6})
}

func testCopyMessages(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := f.create("Other")
	boxes := []any{f.inbox, other}
	f.add(other, 1, 2)
	f.add(f.inbox, 10, 20, 30)
	f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: 3, Flags: work}}})
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 3, 77, 3)}))
	seqs := [2]mailbox.ModSeq{f.info(f.inbox).HighestModSeq, f.info(other).HighestModSeq}

	done := f.copy(f.inbox, other, false, 1, 3, 8)
	equal(t, "Copied", done, metadata.Copied{
		UIDValidity: f.info(other).UIDValidity, Source: []mailbox.UID{1, 3}, Target: []mailbox.UID{3, 4},
		FromModSeq: seqs[0], ToModSeq: seqs[1] + 1,
	})
	was, is := byUID(f.changes(f.inbox, 0).Rows)[3], byUID(f.changes(other, 0).Rows)[4]
	was.UID, was.ModSeq = is.UID, is.ModSeq
	equal(t, "the copy", is, was)
	wasID, isID := f.identities(f.inbox, mailbox.SetOf[uint32](3))[0], f.identities(other, mailbox.SetOf[uint32](4))[0]
	wasID.UID, wasID.Saved = 4, later
	equal(t, "the copy's names", isID, wasID)
	c := body(other, 4, 77, 3)
	equal(t, "the copy's body", f.contents(other), []metadata.Content{c})
	f.queued(boxes, "copy #2.3<#1.1", "copy #2.4<#1.3")
	q := f.queue()[1]
	equal(t, "the source upstream", []uint32{q.SourceUpstream, q.Upstream}, []uint32{30, 0})
	equal(t, "the row, to be uploaded when the source is gone", q.Row, is)
	equal(t, "its body", q.Content.Blob, c.Blob)
	if f.queue()[0].Content != nil {
		t.Fatal("a body that is not here")
	}
	info := f.info(other)
	equal(t, "counters", []any{info.Messages, info.Unseen, info.Deleted}, []any{uint32(4), uint32(3), uint32(1)})

	// Within one mailbox.
	done = f.copy(f.inbox, f.inbox, false, 1)
	equal(t, "Target", []any{done.Target, done.FromModSeq, done.ToModSeq}, []any{[]mailbox.UID{4}, seqs[0] + 1, seqs[0] + 1})
	done = f.copy(f.inbox, f.inbox, true, 1)
	equal(t, "Target", done.Target, []mailbox.UID{5})
	equal(t, "rows", f.rows(f.inbox), "1=10- 2=20 3=30 4=0~ 5=0~")
	equal(t, "nothing", f.copy(f.inbox, other, true, 1, 99), metadata.Copied{
		UIDValidity: info.UIDValidity, FromModSeq: seqs[0] + 2, ToModSeq: seqs[1] + 1,
	})
	for _, e := range []metadata.CopyEdit{{From: f.inbox, To: 999}, {From: 999, To: f.inbox}} {
		e.UIDs = everyUID
		_, err := f.CopyMessages(f.ctx, f.acc.ID, e)
		f.fails(err, fault.NotFound)
	}
}

func testMoveMessages(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := f.create("Other")
	boxes := []any{f.inbox, other}
	f.add(f.inbox, 10, 20, 30)
	f.bodies(f.inbox)
	f.store(f.inbox, metadata.AddFlags, seen, 2)
	seq := f.info(f.inbox).HighestModSeq
	names := f.identities(f.inbox, mailbox.SetOf[uint32](2))[0]

	done := f.copy(f.inbox, other, true, 2, 3)
	equal(t, "Copied", []any{done.Source, done.Target, done.FromModSeq}, []any{[]mailbox.UID{2, 3}, []mailbox.UID{1, 2}, seq + 1})
	equal(t, "expunged", f.changes(f.inbox, seq).Expunged.String(), "2:3")
	equal(t, "flags", f.flagsOf(other, 1), `\Seen`)
	equal(t, "EMAILID", f.identities(other, mailbox.SetOf[uint32](1))[0].EmailID, names.EmailID)
	equal(t, "rows", f.rows(f.inbox)+", "+f.rows(other), "1=10 2=20- 3=30-, 1=0~ 2=0~")
	equal(t, "contents", []int{len(f.contents(f.inbox)), len(f.contents(other))}, []int{1, 2})
	equal(t, "bound", f.mirrored(f.inbox).Bound, uint32(3))
	// The change of the flags comes before: upstream the message is still the one in INBOX.
	f.queued(boxes, `flags #1.2 +(\Seen) -()`, "move #2.1<#1.2", "move #2.2<#1.3")
	q := f.queue()
	equal(t, "flags of what departed", []any{q[0].Upstream, q[0].Departed, q[0].Email}, []any{uint32(20), true, names.EmailID})
	equal(t, "source", q[1].SourceUpstream, uint32(20))
	equal(t, "undo list", len(f.retained("", now)), 0) // it is the same message

	// What was moved and is expunged before the upstream heard of it: its source is to go.
	f.expunge(other, 1)
	f.queued(boxes, `flags #1.2 +(\Seen) -()`, "move #2.2<#1.3", "expunge #1.2")
	equal(t, "rows", f.rows(f.inbox)+", "+f.rows(other), "1=10 2=20- 3=30-, 2=0~")
	equal(t, "undo list", len(f.retained("Other", now)), 1)
}

func testRemoveMessages(t *testing.T, h Harness) {
	f := newFixture(t, h)
	boxes := []any{f.inbox}
	f.add(f.inbox, 10, 20, 30, 40, 50)
	f.bodies(f.inbox)
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Deleted), 1, 3, 4)
	seq := f.info(f.inbox).HighestModSeq
	remove := func(marked bool, uids mailbox.Set) string {
		t.Helper()
		done, err := f.RemoveMessages(f.ctx, f.acc.ID, metadata.RemoveEdit{
			Mailbox: f.inbox, UIDs: uids, Marked: marked, Now: later,
		})
		f.ok(err)
		equal(t, "HIGHESTMODSEQ", done.ModSeq, f.info(f.inbox).HighestModSeq)
		return done.UIDs.String()
	}
	equal(t, "of some, the marked ones", remove(true, mailbox.Set{{First: 2, Last: 3}, {First: 9, Last: 1<<32 - 1}}), "3")
	equal(t, "nothing", remove(true, mailbox.SetOf[uint32](2, 3)), "")
	equal(t, "an empty set is not all", remove(false, mailbox.Set{}), "")
	equal(t, "HIGHESTMODSEQ", f.info(f.inbox).HighestModSeq, seq+1)
	equal(t, "all marked ones", remove(true, nil), "1,4")
	equal(t, "expunged", f.changes(f.inbox, seq).Expunged.String(), "1,3:4")
	equal(t, "rows", f.rows(f.inbox), "1=10- 2=20 3=30- 4=40- 5=50")
	// Their changes of flags are of no use any more.
	f.queued(boxes, "expunge #1.3", "expunge #1.1", "expunge #1.4")
	m := f.mirrored(f.inbox)
	equal(t, "counters", []any{m.Messages, m.Unseen, m.Deleted, m.Bodies, m.Bound},
		[]any{uint32(2), uint32(2), uint32(0), uint32(2), uint32(5)})
	equal(t, "all", remove(false, nil), "2,5")
	equal(t, "contents", len(f.contents(f.inbox)), 0)
	equal(t, "identities", len(f.identities(f.inbox, everyUID)), 0)
	equal(t, "the next UID", f.add(f.inbox, 60), []mailbox.UID{6})
	_, err := f.RemoveMessages(f.ctx, f.acc.ID, metadata.RemoveEdit{Mailbox: 999})
	f.fails(err, fault.NotFound)

	// Flags that a copy is to have upstream stay in the queue.
	g := f.create("G")
	f.add(g, 1, 2)
	f.store(g, metadata.AddFlags, seen, 1, 2)
	f.copy(g, f.inbox, false, 1)
	f.expunge(g, 1, 2)
	qs := f.queue()
	f.queued([]any{f.inbox, g}, append([]string{"expunge #1.3", "expunge #1.1", "expunge #1.4", "expunge #1.2", "expunge #1.5"},
		`flags #2.1 +(\Seen) -()`, "copy #1.7<#2.1", "expunge #2.1", "expunge #2.2")...)
	equal(t, "the source departed", qs[6].SourceUpstream, uint32(1))
}

// testCancelPlacement removes messages that the upstream has not got yet.
func testCancelPlacement(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b, c := f.create("B"), f.create("C")
	boxes := []any{f.inbox, b, c}
	// Delivered here and not sent: nobody needs to hear of it.
	f.deliver(f.inbox, 2)
	f.store(f.inbox, metadata.AddFlags, seen, 1)
	f.expunge(f.inbox, 1)
	f.queued(boxes, "append #1.2")
	equal(t, "rows", f.rows(f.inbox), "2=0~")
	// Moved before it was sent: it is uploaded to where it is now.
	f.store(f.inbox, metadata.AddFlags, seen, 2)
	f.copy(f.inbox, b, true, 2)
	f.queued(boxes, "append #2.1")
	equal(t, "rows", f.rows(f.inbox)+f.rows(b), "1=0~")
	equal(t, "what is to be uploaded", f.queue()[0].Row.Flags, seen)
	// A copy of what was never sent is uploaded, too: it must not have the flags that its source gets later.
	f.copy(b, c, false, 1)
	f.store(b, metadata.AddFlags, flag.Make(flag.Flagged), 1)
	f.queued(boxes, "append #2.1", "append #3.1", `flags #2.1 +(\Flagged) -()`)
	equal(t, "what is to be uploaded", f.queue()[1].Row.Flags, seen)
	f.expunge(b, 1)
	f.queued(boxes, "append #3.1")
	f.expunge(c, 1)
	f.queued(boxes)

	// A copy that was not made yet is just forgotten; a copied message that is gone is so by its own Expunge.
	f.add(f.inbox, 10, 20)
	f.copy(f.inbox, b, false, 3)
	f.expunge(f.inbox, 3)
	f.expunge(b, 2)
	f.queued(boxes, "expunge #1.3")

	// Moved on before the first move was made, or when it was refused: it is moved to where it is now.
	f.copy(f.inbox, b, true, 4)
	f.store(b, metadata.AddFlags, seen, 3)
	f.settle(metadata.Outcome{ID: f.queue()[1].ID, Verdict: metadata.Park, Reason: "over quota"})
	f.queued(boxes, "expunge #1.3", "move? #2.3<#1.4", `flags #2.3 +(\Seen) -()`)
	f.copy(b, c, true, 3)
	f.queued(boxes, "expunge #1.3", "move #3.2<#1.4", `flags #3.2 +(\Seen) -()`)
	equal(t, "rows", f.rows(f.inbox)+", "+f.rows(b)+", "+f.rows(c), "3=10- 4=20-, , 2=0~")
	// Expunged at the end: only the first source is left of it all.
	f.expunge(c, 2)
	f.queued(boxes, "expunge #1.3", "expunge #1.4")
	equal(t, "rows", f.rows(f.inbox)+f.rows(b)+f.rows(c), "3=10- 4=20-")

	// Sent: it may be there, so what follows is to be done there.
	f.deliver(c, 1)
	f.send(ref(c, 3))
	f.store(c, metadata.AddFlags, seen, 3)
	equal(t, "uncertain", f.mirrored(c).Uncertain, true)
	f.expunge(c, 3)
	f.queued(boxes, "expunge #1.3", "expunge #1.4", "append! #3.3", "expunge #3.3")
	equal(t, "rows", f.rows(c), "3=0-~")
	f.settle(metadata.Outcome{ID: f.queue()[2].ID, Upstream: 77})
	equal(t, "rows", f.rows(c), "3=77-")
	f.queued(boxes, "expunge #1.3", "expunge #1.4", "expunge #3.3")
	equal(t, "bound and uncertain", []any{f.mirrored(c).Bound, f.mirrored(c).Uncertain}, []any{uint32(1), false})

	// The same, and it turns out that the upstream has not got it.
	for i, verdict := range []metadata.Verdict{metadata.Again, metadata.Park} {
		uid := f.deliver(c, 1)[0]
		f.send(ref(c, uid))
		f.expunge(c, uint32(uid))
		equal(t, "rows", len(f.upstreamRows(c)), 2)
		f.settle(metadata.Outcome{ID: f.last() - 1, Verdict: verdict})
		equal(t, "rows", f.rows(c), "3=77-")
		equal(t, "queue", len(f.queue()), 3)
		// And for a move: its source is to go.
		up := uint32(100 + i)
		from := f.add(b, up)[0]
		to := f.copy(b, c, true, uint32(from)).Target[0]
		f.send(ref(c, to))
		f.expunge(c, uint32(to))
		f.settle(metadata.Outcome{ID: f.last() - 1, Verdict: verdict})
		last := f.queue()[3]
		equal(t, "what is left", []any{last.Kind, last.Ref, last.Upstream}, []any{mutation.Expunge, ref(b, from), up})
		f.settle(metadata.Outcome{ID: last.ID})
	}
}

// testMoveFromDeleted moves on a message that came out of a mailbox that is being deleted, from which it is to go before.
func testMoveFromDeleted(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b, c := f.create("B"), f.create("C")
	boxes := []any{f.inbox, b, c}
	f.add(b, 1)
	f.copy(b, c, true, 1)
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, b, later))
	f.copy(c, f.inbox, true, 1)
	f.queued(boxes, "move #3.1<#2.1", "delete #2 B", "move #1.1<#3.1")
	equal(t, "rows", f.rows(c)+", "+f.rows(f.inbox), "1=0-~, 1=0~")
}

// testMoveSent moves on a message whose placement may have been carried out.
func testMoveSent(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	boxes := []any{f.inbox, b}
	f.deliver(f.inbox, 3)
	f.send(ref(f.inbox, 1), ref(f.inbox, 2), ref(f.inbox, 3))
	f.copy(f.inbox, b, true, 1, 2, 3)
	f.queued(boxes, "append! #1.1", "append! #1.2", "append! #1.3", "move #2.1<#1.1", "move #2.2<#1.2", "move #2.3<#1.3")
	equal(t, "rows", f.rows(f.inbox), "1=0-~ 2=0-~ 3=0-~")
	qs := f.queue()
	f.settle(metadata.Outcome{ID: qs[0].ID, Upstream: 11}, metadata.Outcome{ID: qs[1].ID, Verdict: metadata.Again},
		metadata.Outcome{ID: qs[2].ID, Verdict: metadata.Park, Reason: "over quota"})
	// What is not there is uploaded to where it is now: its source is nowhere.
	f.queued(boxes, "move #2.1<#1.1", "move #2.2<#1.2", "move #2.3<#1.3")
	qs = f.queue()
	equal(t, "sources", []uint32{qs[0].SourceUpstream, qs[1].SourceUpstream, qs[2].SourceUpstream}, []uint32{11, 0, 0})
	if qs[1].Content == nil || qs[2].Content == nil {
		t.Fatal("there is nothing to upload")
	}
	equal(t, "rows", f.rows(f.inbox), "1=11-")
	f.settle(metadata.Outcome{ID: qs[0].ID, Upstream: 5}, metadata.Outcome{ID: qs[1].ID, Upstream: 6},
		metadata.Outcome{ID: qs[2].ID, Upstream: 7})
	equal(t, "rows", f.rows(f.inbox)+f.rows(b), "1=5 2=6 3=7")
	f.queued(boxes)
}

// testLocal edits an account without an upstream: nothing is queued and nothing departs.
func testLocal(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.local()
	b, err := f.CreateMailbox(f.ctx, f.acc.ID, "B", mailbox.Sent, later)
	f.ok(err)
	f.deliver(f.inbox, 4)
	f.store(f.inbox, metadata.AddFlags, seen, 1)
	f.copy(f.inbox, b.ID, false, 1)
	f.copy(f.inbox, b.ID, true, 2)
	f.expunge(f.inbox, 3)
	f.ok(f.Subscribe(f.ctx, f.acc.ID, b.ID, false, later))
	f.ok(f.RenameMailboxes(f.ctx, f.acc.ID, []metadata.Rename{{ID: b.ID, Name: "C"}}, later))
	f.queued(nil)
	equal(t, "rows", f.rows(f.inbox)+", "+f.rows(b.ID), "1=0 4=0, 1=0 2=0")
	equal(t, "undo list", len(f.retained("INBOX", now)), 1)
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, b.ID, later))
	all, err := f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "mailboxes", len(all), 1)
	equal(t, "undo list", len(f.retained("C", now)), 2)
	f.queued(nil)
}

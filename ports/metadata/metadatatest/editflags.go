package metadatatest

import (
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

func testEditFlags(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: 2, Flags: work}}})
	seq := f.info(f.inbox).HighestModSeq

	done := f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Seen, "$Work"), 1, 2, 9)
	equal(t, "HIGHESTMODSEQ", done.ModSeq, seq+1)
	equal(t, "changed", done.Changed.String(), "1")
	equal(t, "rows", len(done.Rows), 2)
	equal(t, "the changed row", done.Rows[0], byUID(f.changes(f.inbox, 0).Rows)[1])
	equal(t, "flags", f.flagsOf(f.inbox, 1), `\Seen $Work`)
	equal(t, "the unchanged row", done.Rows[1].ModSeq, seq)
	d := f.changes(f.inbox, seq)
	equal(t, "changes", []any{len(d.Rows), d.ModSeq}, []any{1, seq + 1})
	info := f.info(f.inbox)
	equal(t, "counters", [2]uint32{info.Unseen, info.Deleted}, [2]uint32{1, 1})

	done = f.store(f.inbox, metadata.RemoveFlags, work, 1, 2, 3)
	equal(t, "changed", done.Changed.String(), "1:2")
	equal(t, "flags", f.flagsOf(f.inbox, 1)+f.flagsOf(f.inbox, 2), "")
	done = f.store(f.inbox, metadata.ReplaceFlags, flag.Make(flag.Draft, "x"), 1, 3)
	equal(t, "changed", done.Changed.String(), "1,3")
	equal(t, "flags", f.flagsOf(f.inbox, 3), `\Draft x`)
	// What is so already is no change, also when a keyword is spelled otherwise.
	seq = f.info(f.inbox).HighestModSeq
	done = f.store(f.inbox, metadata.ReplaceFlags, flag.Make(flag.Draft, "X"), 1, 3)
	equal(t, "no change", []any{done.ModSeq, done.Changed.String(), len(done.Rows)}, []any{seq, "", 2})
	done = f.store(f.inbox, metadata.AddFlags, seen, 77)
	equal(t, "no message", done, metadata.FlagsEdited{ModSeq: seq})
	before := f.queue()
	_, err := f.EditFlags(f.ctx, f.acc.ID, metadata.FlagEdit{Mailbox: 999, UIDs: everyUID})
	f.fails(err, fault.NotFound)
	equal(t, "the queue", f.queue(), before)
}

func testUnchangedSince(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	seq := f.info(f.inbox).HighestModSeq
	f.store(f.inbox, metadata.AddFlags, seen, 2)
	edit := func(since mailbox.ModSeq) metadata.FlagsEdited {
		t.Helper()
		done, err := f.EditFlags(f.ctx, f.acc.ID, metadata.FlagEdit{
			Mailbox: f.inbox, UIDs: everyUID, Flags: flag.Make(flag.Flagged), Unchanged: &since, Now: later,
		})
		f.ok(err)
		return done
	}
	done := edit(0)
	equal(t, "all failed", []any{done.Modified.String(), len(done.Rows), done.ModSeq}, []any{"1:3", 0, seq + 1})
	done = edit(seq)
	equal(t, "failed", done.Modified.String(), "2")
	equal(t, "changed", done.Changed.String(), "1,3")
	equal(t, "flags", f.flagsOf(f.inbox, 2), `\Seen`)
	equal(t, "queued", len(f.queue()), 3)
}

func testFlagQueue(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	other := f.create("Other")
	boxes := []any{f.inbox, other}
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Seen, "a"), 1, 2)
	f.store(f.inbox, metadata.AddFlags, seen, 1, 2) // nothing new
	f.queued(boxes, `flags #1.1 +(\Seen a) -()`, `flags #1.2 +(\Seen a) -()`)
	q := f.queue()[0]
	if q.Upstream != 10 || q.Email != oid("email", 10) || q.Departed || q.Content != nil || !q.Created.Equal(later) {
		t.Fatalf("queued %+v", q)
	}
	// Only what changes is queued, and it merges.
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Seen|flag.Flagged), 1)
	f.store(f.inbox, metadata.RemoveFlags, flag.Make(flag.Seen|flag.Draft), 2)
	f.store(f.inbox, metadata.ReplaceFlags, seen, 3)
	f.queued(boxes, `flags #1.1 +(\Flagged \Seen a) -() v1`, `flags #1.2 +(a) -(\Seen) v1`, `flags #1.3 +(\Seen) -()`)
	// Back and forth: the operation says what is to be, whatever was sent before.
	f.store(f.inbox, metadata.RemoveFlags, seen, 3)
	f.store(f.inbox, metadata.ReplaceFlags, none, 1)
	f.queued(boxes, `flags #1.1 +() -(\Flagged \Seen a) v2`, `flags #1.2 +(a) -(\Seen) v1`, `flags #1.3 +() -(\Seen) v1`)

	// What comes after a copy is another change; so is what comes after one that was refused.
	f.copy(f.inbox, other, false, 2)
	f.store(f.inbox, metadata.AddFlags, seen, 2)
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Draft), 2)
	f.settle(metadata.Outcome{ID: f.queue()[0].ID, Verdict: metadata.Park, Reason: "no"})
	f.store(f.inbox, metadata.AddFlags, seen, 1)
	f.queued(boxes, `flags? #1.1 +() -(\Flagged a) v2`, `flags #1.2 +(a) -(\Seen) v1`,
		`flags #1.3 +() -(\Seen) v1`, `copy #2.1<#1.2`, `flags #1.2 +(\Seen \Draft) -() v1`, `flags #1.1 +(\Seen) -()`)
	// A copy in another mailbox, or of another message, does not count.
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Draft), 3)
	f.store(other, metadata.AddFlags, flag.Make(flag.Draft), 1)
	qs := f.queue()
	equal(t, "merged", qs[2].Op.Add, flag.Make(flag.Draft))
	equal(t, "queued", len(qs), 7)
}

// testParkedFlags changes, copies and moves messages with flags that the upstream refused.
func testParkedFlags(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	boxes := []any{f.inbox, b}
	f.add(f.inbox, 10, 20, 30, 40)
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Seen, "$Work", "x"), 1, 2, 3, 4)
	var outcomes []metadata.Outcome
	for _, q := range f.queue() {
		outcomes = append(outcomes, metadata.Outcome{ID: q.ID, Verdict: metadata.Park, Rest: flag.Op{Add: flag.Make(0, "$Work", "x")}})
	}
	f.settle(outcomes...)
	upstream := func(uid mailbox.UID, flags flag.Set) string {
		t.Helper()
		f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: uid, Flags: flags}}})
		return f.flagsOf(f.inbox, uid)
	}
	equal(t, "what was refused holds here", upstream(1, seen), `\Seen $Work x`)

	// What is taken away later does not come back, whether it is a change of its own or merged into one.
	f.store(f.inbox, metadata.RemoveFlags, work, 1)
	f.settle(metadata.Outcome{ID: f.last()})
	equal(t, "flags", upstream(1, seen), `\Seen x`)
	f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Flagged), 1)
	f.store(f.inbox, metadata.RemoveFlags, flag.Make(0, "x"), 1)
	f.queued(boxes, `flags? #1.2 +($Work x) -()`, `flags? #1.3 +($Work x) -()`, `flags? #1.4 +($Work x) -()`,
		`flags #1.1 +(\Flagged) -(x) v1`)
	f.settle(metadata.Outcome{ID: f.last()})
	equal(t, "flags", upstream(1, flag.Make(flag.Seen|flag.Flagged)), `\Flagged \Seen`)

	// Copies and moves take along what the upstream's message does not have.
	f.copy(f.inbox, b, false, 1, 2)
	f.copy(f.inbox, b, true, 3)
	f.queued(boxes, `flags? #1.2 +($Work x) -()`, `flags? #1.4 +($Work x) -()`, "copy #2.1<#1.1", "copy #2.2<#1.2",
		`flags #2.2 +($Work x) -()`, "move #2.3<#1.3", `flags #2.3 +($Work x) -()`)
	f.send(ref(b, 1), ref(b, 2), ref(b, 3))
	for i, q := range f.queue() {
		if q.Kind.Places() {
			f.settle(metadata.Outcome{ID: q.ID, Upstream: uint32(i + 1)})
		}
	}
	f.apply(b, metadata.Update{Flags: []metadata.FlagChange{{UID: 2, Flags: seen}, {UID: 3, Flags: seen}}})
	equal(t, "the copy's flags", f.flagsOf(b, 2), `\Seen $Work x`)
	equal(t, "the moved message's flags", f.flagsOf(b, 3), `\Seen $Work x`)
}

func testFlagsAgain(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	marked := flag.Make(flag.Seen | flag.Deleted)
	f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: 1, Flags: marked}, {UID: 2, Flags: marked}}})
	f.store(f.inbox, metadata.RemoveFlags, flag.Make(flag.Deleted), 2)
	seq := f.info(f.inbox).HighestModSeq
	done, err := f.EditFlags(f.ctx, f.acc.ID, metadata.FlagEdit{
		Mailbox: f.inbox, UIDs: everyUID, Mode: metadata.AddFlags, Flags: marked, Again: true, Now: later,
	})
	f.ok(err)
	equal(t, "nothing changes here", []any{done.ModSeq, done.Changed.String()}, []any{seq, ""})
	f.queued([]any{f.inbox}, `flags #1.2 +() -(\Deleted)`, `flags #1.1 +(\Deleted \Seen) -()`)
}

// testManyFlags edits more messages than a statement holds, in pieces that are not adjacent.
func testManyFlags(t *testing.T, h Harness) {
	f := newFixture(t, h)
	const n = 700
	msgs := make([]metadata.NewMessage, n)
	for i := range msgs {
		msgs[i] = sample(uint32(i + 1))
	}
	f.apply(f.inbox, metadata.Update{New: msgs})
	var odd []uint32
	for uid := uint32(1); uid <= n; uid += 2 {
		odd = append(odd, uid)
	}
	f.store(f.inbox, metadata.AddFlags, seen, odd...)
	done, err := f.EditFlags(f.ctx, f.acc.ID, metadata.FlagEdit{
		Mailbox: f.inbox, UIDs: everyUID, Flags: flag.Make(flag.Seen, "k"), Now: later,
	})
	f.ok(err)
	equal(t, "changed", done.Changed.String(), "1:700")
	equal(t, "rows", done.Rows, f.changes(f.inbox, 0).Rows)
	equal(t, "queued", len(f.queue()), n)
	for _, q := range f.queue() {
		equal(t, "the operation", q.Op.Add, flag.Make(flag.Seen, "k"))
		equal(t, "the version", q.Version, int(q.Ref.UID%2))
	}
	equal(t, "unseen", f.info(f.inbox).Unseen, uint32(0))
	// Read in pages.
	var after, count = f.queue()[0].ID, 1
	for {
		page, err := f.Mutations(f.ctx, f.acc.ID, after, 100)
		f.ok(err)
		if len(page) == 0 {
			break
		}
		count += len(page)
		after = page[len(page)-1].ID
	}
	equal(t, "in pages", count, n)
	removed := f.expunge(f.inbox, odd...)
	equal(t, "removed", removed.UIDs.Len(), uint64(n/2))
	equal(t, "messages", len(f.changes(f.inbox, 0).Rows), n/2)
	equal(t, "the upstream has them still", f.mirrored(f.inbox).Bound, uint32(n))
}

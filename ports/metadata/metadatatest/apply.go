package metadatatest

import (
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

func testApplyNew(t *testing.T, h Harness) {
	f := newFixture(t, h)
	msgs := []metadata.NewMessage{sample(10), sample(20), sample(30)}
	msgs[0].Flags = work
	msgs[1].Flags = seen
	content := body(0, 0, 77, 5) // mailbox and UID are the store's to fill in, its size is the true one
	msgs[2].Content = &content
	done := f.apply(f.inbox, metadata.Update{New: msgs})
	equal(t, "Applied", done, metadata.Applied{Mailbox: f.inbox, ModSeq: 2, Changed: true, UIDs: []mailbox.UID{1, 2, 3}})

	row := func(uid mailbox.UID, flags flag.Set, size int64, n uint32) mailbox.Row {
		return mailbox.Row{UID: uid, ModSeq: 2, Flags: flags, Size: size, Date: 1_700_000_000 + int64(n), Zone: -90}
	}
	want := mailbox.Delta{ModSeq: 2, UIDNext: 4, Rows: []mailbox.Row{
		row(1, work, 1010, 10), row(2, seen, 1020, 20), row(3, none, 77, 30),
	}}
	equal(t, "Changes after 0", f.changes(f.inbox, 0), want)
	equal(t, "Changes after 1", f.changes(f.inbox, 1), want)
	info := f.info(f.inbox)
	equal(t, "counters", [4]int64{int64(info.Messages), int64(info.Unseen), int64(info.Deleted), info.Size},
		[4]int64{3, 1, 1, 1010 + 1020 + 77})
	content.Mailbox, content.UID = f.inbox, 3
	equal(t, "contents", f.contents(f.inbox), []metadata.Content{content})
	equal(t, "upstream rows", f.upstreamRows(f.inbox), []metadata.UpstreamRow{
		{UID: 1, Upstream: 10, Flags: work, Email: oid("email", 10)},
		{UID: 2, Upstream: 20, Flags: seen, Email: oid("email", 20)},
		{UID: 3, Upstream: 30, Flags: none, Email: oid("email", 30), HasBody: true},
	})

	// Messages that were delivered here have no upstream UID, any number of them.
	equal(t, "UIDs", f.add(f.inbox, 0, 0), []mailbox.UID{4, 5})
	// Other mailboxes count for themselves.
	equal(t, "UIDs of another mailbox", f.add(f.create("B"), 10, 11), []mailbox.UID{1, 2})
	equal(t, "an empty update", f.apply(f.inbox, metadata.Update{}), metadata.Applied{Mailbox: f.inbox, ModSeq: 3})
}

func testApplyKnown(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20)
	msgs := []metadata.NewMessage{sample(20), sample(30), sample(10), sample(30), sample(5)}
	msgs[0].Flags = work // an upstream UID that is known changes nothing, whatever comes with it
	done := f.apply(f.inbox, metadata.Update{New: msgs})
	equal(t, "UIDs", done.UIDs, []mailbox.UID{0, 3, 0, 0, 4})
	again := f.apply(f.inbox, metadata.Update{New: msgs})
	equal(t, "Applied again", again, metadata.Applied{Mailbox: f.inbox, ModSeq: done.ModSeq, UIDs: make([]mailbox.UID, 5)})
	equal(t, "messages", len(f.changes(f.inbox, 0).Rows), 4)

	// The upstream may use a UID again once its message is gone (FIELD: UIDVALIDITY 0).
	f.apply(f.inbox, metadata.Update{Expunge: mailbox.SetOf[uint32](1)})
	equal(t, "UIDs", f.add(f.inbox, 10), []mailbox.UID{5})
}

func testApplyFlags(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2, 3)
	set := func(changes ...metadata.FlagChange) metadata.Applied {
		t.Helper()
		return f.apply(f.inbox, metadata.Update{Flags: changes})
	}
	done := set(metadata.FlagChange{UID: 2, Flags: work}, metadata.FlagChange{UID: 3, Flags: seen},
		metadata.FlagChange{UID: 77, Flags: seen})
	equal(t, "Applied", done, metadata.Applied{Mailbox: f.inbox, ModSeq: 3, Changed: true})
	d := f.changes(f.inbox, 2)
	equal(t, "changed messages", len(d.Rows), 2)
	equal(t, "flags", d.Rows[0].Flags, work)
	equal(t, "mod-sequence", d.Rows[1].ModSeq, mailbox.ModSeq(3))
	info := f.info(f.inbox)
	equal(t, "unseen and deleted", [2]uint32{info.Unseen, info.Deleted}, [2]uint32{1, 1})

	// What is so already is no change, also when a keyword is spelled otherwise.
	spelled := flag.Make(flag.Deleted|flag.Seen, "LATER", "$work")
	equal(t, "no change", set(metadata.FlagChange{UID: 2, Flags: spelled}, metadata.FlagChange{UID: 1}),
		metadata.Applied{Mailbox: f.inbox, ModSeq: 3})
	// Of several changes of one message the last counts; back and forth is no change.
	equal(t, "no change", set(metadata.FlagChange{UID: 1, Flags: seen}, metadata.FlagChange{UID: 1}),
		metadata.Applied{Mailbox: f.inbox, ModSeq: 3})
	equal(t, "no message", set(metadata.FlagChange{UID: 77, Flags: seen}), metadata.Applied{Mailbox: f.inbox, ModSeq: 3})
	equal(t, "nothing", f.changes(f.inbox, 3), mailbox.Delta{ModSeq: 3, UIDNext: 4})

	set(metadata.FlagChange{UID: 2})
	info = f.info(f.inbox)
	equal(t, "unseen and deleted", [2]uint32{info.Unseen, info.Deleted}, [2]uint32{2, 0})
}

func testApplyExpunge(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2, 3, 4, 5, 6)
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 2, 1002, 2), body(f.inbox, 6, 1006, 6)}))
	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 3, "why", now))
	expunge := func(want metadata.Applied, ranges ...mailbox.Range) {
		t.Helper()
		equal(t, "Applied", f.apply(f.inbox, metadata.Update{Expunge: ranges}), want)
	}
	expunge(metadata.Applied{Mailbox: f.inbox, ModSeq: 3, Changed: true}, mailbox.Range{First: 2, Last: 3}, mailbox.Range{First: 5, Last: 5})
	expunge(metadata.Applied{Mailbox: f.inbox, ModSeq: 3}, mailbox.Range{First: 2, Last: 3}, mailbox.Range{First: 100, Last: 1<<32 - 1})
	expunge(metadata.Applied{Mailbox: f.inbox, ModSeq: 4, Changed: true}, mailbox.Range{First: 1, Last: 5})

	d := f.changes(f.inbox, 2)
	equal(t, "expunged after 2", d.Expunged.String(), "1:5")
	equal(t, "rows after 2", len(d.Rows), 0)
	equal(t, "expunged after 3", f.changes(f.inbox, 3).Expunged.String(), "1,4")
	equal(t, "expunged after 0", len(f.changes(f.inbox, 0).Expunged), 0)
	info := f.info(f.inbox)
	equal(t, "counters", [3]int64{int64(info.Messages), int64(info.Unseen), info.Size}, [3]int64{1, 1, 1006})
	equal(t, "identities", len(f.identities(f.inbox, everyUID)), 1)
	equal(t, "contents", len(f.contents(f.inbox)), 1)
	mirrored, err := f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "bodies", mirrored[0].Bodies, uint32(1))

	// The last message goes: its UID is not used again.
	expunge(metadata.Applied{Mailbox: f.inbox, ModSeq: 5, Changed: true}, everyUID...)
	equal(t, "UIDs", f.add(f.inbox, 7), []mailbox.UID{7})
}

func testApplyRebind(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	seq := f.info(f.inbox).HighestModSeq
	upstream := func(want ...uint32) {
		t.Helper()
		var got []uint32
		for _, r := range f.upstreamRows(f.inbox) {
			got = append(got, r.Upstream)
		}
		equal(t, "upstream UIDs", got, want)
	}
	quiet := func(u metadata.Update) {
		t.Helper()
		equal(t, "Applied", f.apply(f.inbox, u), metadata.Applied{Mailbox: f.inbox, ModSeq: seq})
	}
	quiet(metadata.Update{Rebind: []metadata.Rebind{{UID: 1, Upstream: 20}, {UID: 2, Upstream: 10}, {UID: 9, Upstream: 9}}})
	upstream(20, 10, 30)
	quiet(metadata.Update{Reset: true})
	upstream(0, 0, 0)
	quiet(metadata.Update{Reset: true, Rebind: []metadata.Rebind{{UID: 3, Upstream: 1}, {UID: 1, Upstream: 2}}})
	upstream(2, 0, 1)

	_, err := f.Apply(f.ctx, f.fence, metadata.Update{Mailbox: f.inbox, Rebind: []metadata.Rebind{{UID: 2, Upstream: 1}}})
	f.fails(err, fault.Invalid)
	upstream(2, 0, 1)
}

func testApplyOrder(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	// A reset frees all upstream UIDs, a rebind takes one, an expunge frees it again, so that it is new; the flags of
	// an expunged message change nothing.
	done := f.apply(f.inbox, metadata.Update{
		Reset:   true,
		Rebind:  []metadata.Rebind{{UID: 1, Upstream: 1}, {UID: 2, Upstream: 2}},
		Expunge: mailbox.SetOf[uint32](2),
		Flags:   []metadata.FlagChange{{UID: 2, Flags: seen}, {UID: 3, Flags: seen}},
		New:     []metadata.NewMessage{sample(1), sample(2), sample(10)},
	})
	equal(t, "Applied", done, metadata.Applied{Mailbox: f.inbox, ModSeq: 3, Changed: true, UIDs: []mailbox.UID{0, 4, 5}})
	d := f.changes(f.inbox, 2)
	equal(t, "expunged", d.Expunged.String(), "2")
	var uids []mailbox.UID
	for _, r := range d.Rows {
		uids = append(uids, r.UID)
		equal(t, "mod-sequence", r.ModSeq, mailbox.ModSeq(3))
	}
	equal(t, "changed messages", uids, []mailbox.UID{3, 4, 5})
}

func testApplyCheckpoint(t *testing.T, h Harness) {
	f := newFixture(t, h)
	point := metadata.Checkpoint{UIDValidity: 1<<32 - 1, UIDNext: 11, ModSeq: 1<<62 + 1, Messages: 2, Synced: now}
	done := f.apply(f.inbox, metadata.Update{Checkpoint: &point})
	equal(t, "Applied", done, metadata.Applied{Mailbox: f.inbox, ModSeq: 1})
	check := func() {
		t.Helper()
		mirrored, err := f.Mirrored(f.ctx, f.acc.ID)
		f.ok(err)
		equal(t, "checkpoint", mirrored[0].Upstream.Checkpoint, point)
		equal(t, "upstream name", mirrored[0].Upstream.Name, "INBOX")
	}
	check()
	f.add(f.inbox, 1) // without a checkpoint it stays
	check()
	point = metadata.Checkpoint{}
	f.apply(f.inbox, metadata.Update{Checkpoint: &point})
	check()
}

// testApplyAtomic makes an update fail at its end and looks whether its beginning left anything.
func testApplyAtomic(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30)
	before := f.everything()
	_, err := f.Apply(f.ctx, f.fence, metadata.Update{
		Mailbox: f.inbox,
		Reset:   true,
		Rebind:  []metadata.Rebind{{UID: 1, Upstream: 5}, {UID: 2, Upstream: 5}},
	})
	f.fails(err, fault.Invalid)
	equal(t, "what the store holds", f.everything(), before)
}

// testChanges compares Changes after each of many points with what the mailbox was then.
func testChanges(t *testing.T, h Harness) {
	f := newFixture(t, h)
	history := []map[mailbox.UID]mailbox.Row{{}, {}} // by mod-sequence
	for i := range uint32(40) {
		u := metadata.Update{New: []metadata.NewMessage{sample(2*i + 1), sample(2*i + 2)}}
		if i%3 == 2 {
			u.Expunge = mailbox.Set{{First: i, Last: i + 1}}
		}
		if i%2 == 1 {
			u.Flags = []metadata.FlagChange{{UID: mailbox.UID(i + 5), Flags: work}, {UID: mailbox.UID(2 * i), Flags: seen}}
		}
		f.apply(f.inbox, u)
		history = append(history, byUID(f.changes(f.inbox, 0).Rows))
	}
	for since := range history {
		d := f.changes(f.inbox, mailbox.ModSeq(since))
		checkDelta(t, d, mailbox.ModSeq(since), history[since], history[len(history)-1])
	}
	future := f.changes(f.inbox, 1000)
	equal(t, "changes after a point that has not come", len(future.Rows)+len(future.Expunged), 0)
}

func byUID(rows []mailbox.Row) map[mailbox.UID]mailbox.Row {
	m := make(map[mailbox.UID]mailbox.Row, len(rows))
	for _, r := range rows {
		m[r.UID] = r
	}
	return m
}

// checkDelta checks that d takes a mailbox from what it was to what it is, with nothing that is not needed.
func checkDelta(t *testing.T, d mailbox.Delta, since mailbox.ModSeq, was, is map[mailbox.UID]mailbox.Row) {
	t.Helper()
	var want mailbox.Delta
	for uid := mailbox.UID(1); uid < d.UIDNext; uid++ {
		row, ok := is[uid]
		_, before := was[uid]
		if ok && row.ModSeq > since {
			want.Rows = append(want.Rows, row)
		}
		if !ok && before {
			want.Expunged = append(want.Expunged, mailbox.Range{First: uint32(uid), Last: uint32(uid)})
		}
	}
	equal(t, "changed rows", append([]mailbox.Row(nil), d.Rows...), want.Rows)
	// A message that came and went since may or may not be told.
	for uid := range d.Expunged.All {
		if _, ok := is[mailbox.UID(uid)]; ok {
			t.Fatalf("UID %d is told as expunged and exists", uid)
		}
	}
	if since > 0 {
		missing := mailbox.Normalize(want.Expunged).Minus(d.Expunged)
		equal(t, "expunged messages that were not told after "+mailbox.SetOf(uint32(since)).String(), len(missing), 0)
	}
	for i := range d.Expunged {
		if i > 0 && d.Expunged[i].First <= d.Expunged[i-1].Last+1 {
			t.Fatalf("not a normal set: %v", d.Expunged)
		}
	}
}

package metadatatest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/metadata"
)

func testIdentities(t *testing.T, h Harness) {
	f := newFixture(t, h)
	const n = 700 // more than a store reads at a time
	ups := make([]uint32, n)
	for i := range ups {
		ups[i] = uint32(i + 1)
	}
	f.add(f.inbox, ups...)
	f.apply(f.inbox, metadata.Update{Expunge: mailbox.Set{{First: 100, Last: 110}}})
	for _, uids := range []mailbox.Set{
		everyUID, nil, {{First: 3, Last: 3}}, {{First: 1, Last: 2}, {First: 4, Last: 5}, {First: 99, Last: 105}, {First: 600, Last: 1<<32 - 1}},
		{{First: 1<<32 - 1, Last: 1<<32 - 1}}, {{First: 100, Last: 110}},
	} {
		var want []metadata.Identity
		for uid := range mailbox.UID(n + 1) {
			if uids.Contains(uint32(uid)) && uid > 0 && (uid < 100 || uid > 110) {
				want = append(want, metadata.Identity{
					UID: uid, EmailID: oid("email", int(uid)), ThreadID: oid("msgid", int(uid)), Saved: now,
				})
			}
		}
		equal(t, "identities of "+uids.String(), f.identities(f.inbox, uids), want)
	}
	stop := errors.New("enough")
	calls := 0
	err := f.Identities(f.ctx, f.acc.ID, f.inbox, everyUID, func(metadata.Identity) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("an error of the function: %v after %d calls", err, calls)
	}
}

func testThreads(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := f.create("Other")
	id := func(n int) mailbox.ObjectID {
		if n == 0 {
			return mailbox.ObjectID{}
		}
		return oid("m", n)
	}
	up := uint32(0)
	arrive := func(box mailbox.ID, want mailbox.ObjectID, messageID int, refs ...int) {
		t.Helper()
		up++
		msg := sample(up)
		msg.Identity = message.Identity{Email: oid("email", int(up)), MessageID: id(messageID)}
		for _, r := range refs {
			msg.Identity.Refs = append(msg.Identity.Refs, id(r))
		}
		uid := f.apply(box, metadata.Update{New: []metadata.NewMessage{msg}}).UIDs[0]
		got := f.identities(box, mailbox.SetOf(uid))
		if got[0].ThreadID != want {
			t.Fatalf("message %d with references %v is in thread %q, want %q", messageID, refs, got[0].ThreadID, want)
		}
	}
	arrive(f.inbox, id(1), 1)       // a message that starts a thread
	arrive(other, id(1), 2, 1)      // an answer, in another mailbox
	arrive(f.inbox, id(1), 3, 1, 2) // an answer to it
	arrive(f.inbox, id(1), 4, 3)    // one that knows only its parent
	arrive(f.inbox, id(1), 2, 1)    // a copy is in the same thread
	arrive(f.inbox, id(10), 12, 10, 11)
	arrive(f.inbox, id(10), 11)             // what a reference named before comes later
	arrive(f.inbox, id(10), 13, 1, 11)      // the nearest reference that is known decides
	arrive(f.inbox, id(20), 21, 20)         // the root of references that nobody knows
	arrive(f.inbox, id(20), 22, 0, 99, 20)  // 99 is recorded by this
	arrive(f.inbox, id(20), 23, 99)         //
	arrive(f.inbox, oid("email", 12), 0)    // neither id nor references
	arrive(f.inbox, id(20), 0, 20)          // no id, but references
	arrive(f.inbox, id(30), 31, 0, 30)      // an empty reference is none
	arrive(other, id(1), 3, 1, 2)           // a copy elsewhere, much later
	arrive(f.inbox, id(40), 40, 40)         // one that refers to itself
	arrive(f.inbox, id(50), 51, 50, 52, 51) // a loop
	arrive(f.inbox, id(50), 52, 51, 50)     //

	// In one update each message counts for the next.
	var msgs []metadata.NewMessage
	for i := range 3 {
		up++
		msg := sample(up)
		msg.Identity = message.Identity{Email: oid("email", int(up)), MessageID: id(60 + i)}
		if i > 0 {
			msg.Identity.Refs = []mailbox.ObjectID{id(59 + i)}
		}
		msgs = append(msgs, msg)
	}
	for _, uid := range f.apply(f.inbox, metadata.Update{New: msgs}).UIDs {
		equal(t, "thread", f.identities(f.inbox, mailbox.SetOf(uid))[0].ThreadID, id(60))
	}

	// Threads belong to the account, and outlive the messages that made them.
	f.apply(f.inbox, metadata.Update{Expunge: everyUID})
	arrive(f.inbox, id(1), 4, 3)
}

func testContents(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := f.create("Other")
	f.add(f.inbox, 1, 2, 3, 4, 5)
	f.add(other, 1)
	empty := metadata.Content{Mailbox: f.inbox, UID: 4, Size: 1004} // an empty fragment stays one
	all := []metadata.Content{body(f.inbox, 5, 1005, 5), body(other, 1, 1001, 1), body(f.inbox, 2, 1002, 2), empty,
		body(f.inbox, 77, 7, 7)} // the last is gone
	seq := f.info(f.inbox).HighestModSeq
	f.ok(f.StoreContents(f.ctx, f.fence, all))
	f.ok(f.StoreContents(f.ctx, f.fence, nil))
	equal(t, "HIGHESTMODSEQ", f.info(f.inbox).HighestModSeq, seq)
	got := f.contents(f.inbox)
	equal(t, "UIDs with contents", []mailbox.UID{got[0].UID, got[1].UID, got[2].UID}, []mailbox.UID{2, 4, 5})
	equal(t, "content 2", got[0], all[2])
	equal(t, "empty fragments", len(got[1].Envelope)+len(got[1].Preview)+len(got[1].Parts), 0)
	equal(t, "content 5", got[2], all[0])
	equal(t, "other mailbox", f.contents(other), all[1:2])

	// Each fragment comes when it is asked for; key and size always do.
	full := body(f.inbox, 5, 1005, 5)
	for want := range metadata.WantAll + 1 {
		n := 0
		f.ok(f.Contents(f.ctx, f.acc.ID, f.inbox, mailbox.SetOf[uint32](5, 9), want, func(v *metadata.Content) error {
			n++
			equal(t, "key and size", [2]any{v.Blob, v.Size}, [2]any{full.Blob, full.Size})
			for bit, pair := range map[metadata.Want][2][]byte{
				metadata.WantEnvelope: {v.Envelope, full.Envelope}, metadata.WantBody: {v.Body, full.Body},
				metadata.WantBodyStructure: {v.BodyStructure, full.BodyStructure},
				metadata.WantHeaders:       {v.Headers, full.Headers},
				metadata.WantPreview:       {v.Preview, full.Preview}, metadata.WantParts: {v.Parts, full.Parts},
			} {
				if want&bit != 0 && !slices.Equal(pair[0], pair[1]) {
					t.Errorf("want %b: fragment %b is %q, not %q", want, bit, pair[0], pair[1])
				}
			}
			return nil
		}))
		equal(t, "calls", n, 1)
	}

	// Storing again replaces; a mailbox that is gone is skipped like a message that is gone.
	f.ok(f.RemoveMailbox(f.ctx, f.fence, other))
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(other, 1, 1001, 1), body(f.inbox, 2, 1002, 22)}))
	equal(t, "replaced", f.contents(f.inbox)[0], body(f.inbox, 2, 1002, 22))
	mirrored, err := f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "bodies", mirrored[0].Bodies, uint32(3))
}

// testManyContents reads more than a store reads at a time, in rows and in bytes, while the caller looks away.
func testManyContents(t *testing.T, h Harness) {
	f := newFixture(t, h)
	const n = 600
	var msgs []metadata.NewMessage
	var want []metadata.Content
	for i := range n {
		msg := sample(uint32(i + 1))
		c := body(f.inbox, mailbox.UID(i+1), 10, i)
		if i%100 == 7 {
			c.Headers = make([]byte, 300_000)
			c.Headers[i] = byte(i)
		}
		msg.Content = &c
		msgs, want = append(msgs, msg), append(want, c)
	}
	f.apply(f.inbox, metadata.Update{New: msgs})
	got := f.contents(f.inbox)
	equal(t, "contents", len(got), n)
	for i := range got {
		equal(t, "content", got[i], want[i])
	}
	var uids mailbox.Set
	for i := uint32(1); i <= n; i += 5 {
		uids = append(uids, mailbox.Range{First: i, Last: i + i%3})
	}
	var seen mailbox.Set
	f.ok(f.Contents(f.ctx, f.acc.ID, f.inbox, uids, 0, func(v *metadata.Content) error {
		seen = append(seen, mailbox.Range{First: uint32(v.UID), Last: uint32(v.UID)})
		return nil
	}))
	equal(t, "UIDs", mailbox.Normalize(seen), uids.Intersect(mailbox.Set{{First: 1, Last: n}}))
	stop := errors.New("enough")
	if err := f.Contents(f.ctx, f.acc.ID, f.inbox, everyUID, 0, func(*metadata.Content) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("an error of the function: %v", err)
	}
}

func testSizeCorrection(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2, 3)
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{
		body(f.inbox, 1, 1001, 1), body(f.inbox, 2, 5, 2), body(f.inbox, 3, 3000, 3),
	}))
	d := f.changes(f.inbox, 2)
	equal(t, "HIGHESTMODSEQ", d.ModSeq, mailbox.ModSeq(3))
	equal(t, "changed rows", len(d.Rows), 2)
	equal(t, "corrected sizes", [2]int64{d.Rows[0].Size, d.Rows[1].Size}, [2]int64{5, 3000})
	equal(t, "size of the mailbox", f.info(f.inbox).Size, int64(1001+5+3000))
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 2, 5, 2)}))
	equal(t, "HIGHESTMODSEQ", f.info(f.inbox).HighestModSeq, mailbox.ModSeq(3))
}

func testPending(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 10, 20, 30, 40, 0) // the last is not upstream: nobody can fetch it
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 3, 1030, 3)}))
	pending := func(at time.Time, want ...metadata.PendingBody) {
		t.Helper()
		got, err := f.Pending(f.ctx, f.acc.ID, f.inbox, at)
		f.ok(err)
		equal(t, "pending", got, want)
	}
	one := metadata.PendingBody{UID: 1, Upstream: 10, Size: 1010}
	two := metadata.PendingBody{UID: 2, Upstream: 20, Size: 1020}
	four := metadata.PendingBody{UID: 4, Upstream: 40, Size: 1040}
	pending(now, four, two, one)

	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 4, "too large", now.Add(time.Minute)))
	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 1, "NO", now))
	one.Attempts, four.Attempts = 1, 1
	pending(now, two, one)
	pending(now.Add(time.Minute-1), two, one)
	pending(now.Add(time.Minute), four, two, one)
	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 4, "too large", now.Add(time.Hour)))
	four.Attempts = 2
	pending(now.Add(time.Minute), two, one)
	pending(now.Add(time.Hour), four, two, one)

	// A body that came after all is forgotten as a failure; a message that is gone is no error.
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 4, 1040, 4)}))
	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 4, "late", now.Add(time.Hour))) // it is here: nothing to record
	f.ok(f.DropContent(f.ctx, f.fence, f.inbox, 4))
	four.Attempts = 0
	pending(now, four, two, one)
	f.apply(f.inbox, metadata.Update{Expunge: mailbox.SetOf[uint32](4)})
	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 4, "gone", now))
	pending(now, two, one)

	f.apply(f.inbox, metadata.Update{Reset: true})
	pending(now)
	f.apply(f.inbox, metadata.Update{Rebind: []metadata.Rebind{{UID: 2, Upstream: 5}}})
	two.Upstream = 5
	pending(now, two)
}

func testDropContent(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2)
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 1, 1001, 1), body(f.inbox, 2, 1002, 2)}))
	seq := f.info(f.inbox).HighestModSeq
	for range 2 { // twice is no error
		f.ok(f.DropContent(f.ctx, f.fence, f.inbox, 2))
		equal(t, "contents", f.contents(f.inbox), []metadata.Content{body(f.inbox, 1, 1001, 1)})
		mirrored, err := f.Mirrored(f.ctx, f.acc.ID)
		f.ok(err)
		equal(t, "bodies", mirrored[0].Bodies, uint32(1))
	}
	f.ok(f.DropContent(f.ctx, f.fence, f.inbox, 77))
	pending, err := f.Pending(f.ctx, f.acc.ID, f.inbox, now)
	f.ok(err)
	equal(t, "pending", pending, []metadata.PendingBody{{UID: 2, Upstream: 2, Size: 1002}})
	equal(t, "HIGHESTMODSEQ", f.info(f.inbox).HighestModSeq, seq)
}

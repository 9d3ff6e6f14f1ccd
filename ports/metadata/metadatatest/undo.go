package metadatatest

import (
	"errors"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

func testRetained(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	f.add(f.inbox, 10, 20, 30, 40)
	f.bodies(f.inbox)
	f.add(f.inbox, 50) // without a body: there is nothing to bring back
	f.store(f.inbox, metadata.AddFlags, work, 1)
	want := []metadata.Retained{}
	for _, uid := range []mailbox.UID{1, 2} {
		row := byUID(f.changes(f.inbox, 0).Rows)[uid]
		c := body(0, 0, row.Size, int(f.inbox)*1000+int(uid))
		row.UID, row.ModSeq = 0, 0
		want = append(want, metadata.Retained{Mailbox: "INBOX", Removed: later, Row: row, Content: c})
	}
	want[1].Removed = now // by the upstream
	f.expunge(f.inbox, 1)
	f.apply(f.inbox, metadata.Update{Expunge: mailbox.SetOf[uint32](2, 5)})
	got := f.retained("", time.Time{})
	equal(t, "how many", len(got), 2)
	want[0].ID, want[1].ID = got[1].ID, got[0].ID
	equal(t, "the older", got[0], want[1])
	equal(t, "the newer", got[1], want[0])
	equal(t, "since", len(f.retained("INBOX", later)), 1)
	equal(t, "since later", len(f.retained("INBOX", later.Add(1))), 0)
	equal(t, "another mailbox", len(f.retained("B", time.Time{})), 0)
	named := map[blob.Key]int{
		want[0].Content.Blob: 1, want[1].Content.Blob: 1,
		body(0, 0, 0, int(f.inbox)*1000+3).Blob: 1, body(0, 0, 0, int(f.inbox)*1000+4).Blob: 1,
	}
	equal(t, "references", f.references(0), named)
	equal(t, "references of a user", f.references(f.user.ID), named)
	bob, err := f.CreateUser(f.ctx, account.User{Name: "bob"})
	f.ok(err)
	equal(t, "references of another user", len(f.references(bob.ID)), 0)

	// One comes back: it leaves the list in the same transaction, once.
	msg := letters(1)
	msg[0].Content = &metadata.Content{Blob: want[0].Content.Blob, Size: want[0].Content.Size, Fragments: message.Fragments{}}
	e := metadata.AddEdit{Mailbox: b, Messages: msg, Restores: []int64{want[0].ID}, Now: later}
	_, err = f.AddMessages(f.ctx, f.acc.ID, e)
	f.ok(err)
	equal(t, "the list", len(f.retained("", time.Time{})), 1)
	equal(t, "references", f.references(f.user.ID)[want[0].Content.Blob], 1)
	before := f.everything()
	_, err = f.AddMessages(f.ctx, f.acc.ID, e)
	f.fails(err, fault.Conflict)
	equal(t, "what the store holds", f.everything(), before)

	n, err := f.PurgeRetained(f.ctx, now)
	f.ok(err)
	equal(t, "purged", n, 0)
	n, err = f.PurgeRetained(f.ctx, later)
	f.ok(err)
	equal(t, "purged", n, 1)
	equal(t, "the list", len(f.retained("", time.Time{})), 0)
	f.fails(f.Retained(f.ctx, 999, "", now, func(metadata.Retained) error { return nil }), fault.NotFound)

	// Many, in pieces; fn may call the store, and end it.
	const many = 600
	msgs := make([]metadata.NewMessage, many)
	for i := range msgs {
		msgs[i] = sample(uint32(2000 + i))
		c := body(0, 0, 10, 2000+i)
		msgs[i].Content = &c
	}
	f.apply(b, metadata.Update{New: msgs})
	_, err = f.RemoveMessages(f.ctx, f.acc.ID, metadata.RemoveEdit{Mailbox: b, Now: later})
	f.ok(err)
	last, count := int64(0), 0
	f.ok(f.Retained(f.ctx, f.acc.ID, "B", later, func(r metadata.Retained) error {
		if r.ID <= last {
			t.Fatalf("%d after %d", r.ID, last)
		}
		last = r.ID
		count++
		if count%100 == 0 {
			f.info(b)
		}
		return nil
	}))
	equal(t, "how many", count, many+1)
	stop := errors.New("stop")
	if err := f.Retained(f.ctx, f.acc.ID, "B", later, func(metadata.Retained) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("fn's error: %v", err)
	}
	if err := f.References(f.ctx, 0, func(blob.Key) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("fn's error: %v", err)
	}
}

// testEditDeltas edits a mailbox many times and compares what is told from each point on with what it was then.
func testEditDeltas(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	history := []map[mailbox.UID]mailbox.Row{{}, {}}
	note := func() {
		t.Helper()
		rows := byUID(f.changes(f.inbox, 0).Rows)
		for len(history) < int(f.info(f.inbox).HighestModSeq)+1 {
			history = append(history, rows)
		}
	}
	for i := range uint32(12) {
		f.add(f.inbox, 3*i+1, 3*i+2)
		note()
		f.deliver(f.inbox, 1)
		note()
		f.store(f.inbox, metadata.AddFlags, flag.Make(flag.Deleted), 2*i+1, 2*i+2)
		note()
		f.copy(f.inbox, b, i%2 == 0, i+1, 3*i+3)
		note()
		f.copy(f.inbox, f.inbox, i%3 == 0, i+2)
		note()
		f.apply(f.inbox, metadata.Update{Flags: []metadata.FlagChange{{UID: mailbox.UID(3*i + 1), Flags: seen}}})
		note()
		if i%4 == 3 {
			_, err := f.RemoveMessages(f.ctx, f.acc.ID, metadata.RemoveEdit{
				Mailbox: f.inbox, UIDs: mailbox.Set{{First: i, Last: 2 * i}}, Marked: true, Now: later,
			})
			f.ok(err)
			note()
		}
	}
	for since := range history {
		checkDelta(t, f.changes(f.inbox, mailbox.ModSeq(since)), mailbox.ModSeq(since), history[since], history[len(history)-1])
	}
}

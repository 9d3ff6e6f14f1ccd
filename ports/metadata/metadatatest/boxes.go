package metadatatest

import (
	"testing"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

func testMailboxes(t *testing.T, h Harness) {
	f := newFixture(t, h)
	want := metadata.Mirrored{
		Info: mailbox.Info{
			Name: "Entwürfe/Ä b", Attrs: mailbox.Drafts | mailbox.NoInferiors, Subscribed: true,
		},
		Upstream: metadata.Upstream{
			Name: "Entw&APw-rfe.\xff\x00 b", Delimiter: '.', // raw: not UTF-8, with a NUL
			Checkpoint: metadata.Checkpoint{
				UIDValidity: 1<<32 - 1, UIDNext: 1<<32 - 1, ModSeq: 1<<63 - 1, Messages: 7, Synced: now,
			},
		},
	}
	saved, err := f.SaveMailbox(f.ctx, f.fence, want)
	f.ok(err)
	if saved.ID == 0 || saved.UIDValidity == 0 {
		t.Fatalf("a new mailbox has id %d and UIDVALIDITY %d", saved.ID, saved.UIDValidity)
	}
	want.ID, want.Account, want.UIDValidity = saved.ID, f.acc.ID, saved.UIDValidity
	want.UIDNext, want.HighestModSeq, want.RecentFrom = 1, 1, 1
	equal(t, "the new mailbox", saved, want)

	// What is the store's own is not written.
	forged := want
	forged.Subscribed, forged.Upstream = false, metadata.Upstream{}
	want.Subscribed, want.Upstream = false, metadata.Upstream{}
	forged.UIDValidity, forged.UIDNext, forged.HighestModSeq, forged.Messages, forged.Bodies = 1, 100, 100, 5, 5
	saved, err = f.SaveMailbox(f.ctx, f.fence, forged)
	f.ok(err)
	equal(t, "the changed mailbox", saved, want)

	info := f.info(saved.ID)
	equal(t, "Mailbox", info, want.Info)
	boxes, err := f.Mailboxes(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "Mailboxes", boxes, []mailbox.Info{want.Info, f.info(f.inbox)})
	mirrored, err := f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "Mirrored", []mailbox.ID{mirrored[0].ID, mirrored[1].ID}, []mailbox.ID{f.inbox, saved.ID})
	equal(t, "Mirrored", mirrored[1], want)
}

func testMailboxNames(t *testing.T, h Harness) {
	f := newFixture(t, h)
	for _, name := range []string{"Work", "work", "WORK", "Work/ ", "ä", "a\u0308", "inbox2", "%", "*", `"`} {
		f.create(name) // each is another mailbox: names are compared byte for byte
	}
	_, err := f.SaveMailbox(f.ctx, f.fence, metadata.Mirrored{Info: mailbox.Info{Name: "Work"}})
	f.fails(err, fault.Exists)
	boxes, err := f.Mailboxes(f.ctx, f.acc.ID)
	f.ok(err)
	for i := range boxes[1:] {
		if boxes[i].Name >= boxes[i+1].Name {
			t.Fatalf("%q stands before %q", boxes[i].Name, boxes[i+1].Name)
		}
	}
	rename := metadata.Mirrored{Info: mailbox.Info{ID: boxes[0].ID, Name: boxes[1].Name}}
	_, err = f.SaveMailbox(f.ctx, f.fence, rename)
	f.fails(err, fault.Exists)

	// Another account has names of its own.
	other, err := f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "other@example.org"))
	f.ok(err)
	fence, err := f.Acquire(f.ctx, other.ID, "node-1", now, 1e9)
	f.ok(err)
	_, err = f.SaveMailbox(f.ctx, fence, metadata.Mirrored{Info: mailbox.Info{Name: "Work"}})
	f.ok(err)
	// A fence is a right to its own account's mailboxes only.
	_, err = f.SaveMailbox(f.ctx, fence, metadata.Mirrored{Info: mailbox.Info{ID: f.inbox, Name: "mine"}})
	f.fails(err, fault.NotFound)
	f.fails(f.RemoveMailbox(f.ctx, fence, f.inbox), fault.NotFound)
}

func testUIDValidity(t *testing.T, h Harness) {
	f := newFixture(t, h)
	last := f.info(f.inbox).UIDValidity
	for range 3 {
		id := f.create("Box")
		f.add(id, 1, 2)
		info := f.info(id)
		if info.UIDValidity <= last {
			t.Fatalf("UIDVALIDITY %d after %d: must rise with every mailbox of an account", info.UIDValidity, last)
		}
		last = info.UIDValidity
		f.ok(f.RemoveMailbox(f.ctx, f.fence, id))
		_, err := f.Mailbox(f.ctx, f.acc.ID, id)
		f.fails(err, fault.NotFound)
		f.fails(f.RemoveMailbox(f.ctx, f.fence, id), fault.NotFound)
	}
	id := f.create("Box")
	equal(t, "messages in a mailbox that was made again", len(f.changes(id, 0).Rows), 0)
	equal(t, "contents in a mailbox that was made again", len(f.contents(id)), 0)
}

func testRename(t *testing.T, h Harness) {
	f := newFixture(t, h)
	id := f.create("Old")
	f.add(id, 1, 2)
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(id, 1, 1001, 1)}))
	before, content := f.info(id), f.contents(id)
	_, err := f.SaveMailbox(f.ctx, f.fence, metadata.Mirrored{
		Info: mailbox.Info{ID: id, Name: "New"}, Upstream: metadata.Upstream{Name: "New"},
	})
	f.ok(err)
	before.Name = "New"
	equal(t, "the renamed mailbox", f.info(id), before)
	equal(t, "its messages", len(f.changes(id, 0).Rows), 2)
	equal(t, "its contents", f.contents(id), content)
	if other := f.create("Old"); f.info(other).UIDValidity <= before.UIDValidity {
		t.Fatal("a new mailbox under the old name must have a higher UIDVALIDITY")
	}
}

func testClaimRecent(t *testing.T, h Harness) {
	f := newFixture(t, h)
	claim := func(upTo, want mailbox.UID) {
		t.Helper()
		seq := f.info(f.inbox).HighestModSeq
		got, err := f.ClaimRecent(f.ctx, f.acc.ID, f.inbox, upTo)
		f.ok(err)
		equal(t, "the first recent UID", got, want)
		equal(t, "HIGHESTMODSEQ", f.info(f.inbox).HighestModSeq, seq)
	}
	claim(1, 1)
	f.add(f.inbox, 1, 2, 3)
	equal(t, "RecentFrom", f.info(f.inbox).RecentFrom, mailbox.UID(1))
	claim(3, 1) // the messages 1 and 2
	claim(4, 3) // the message 3
	claim(4, 4)
	claim(2, 4) // never back
	claim(1000, 4)
	f.add(f.inbox, 4)
	claim(5, 4) // a message that came after a claim beyond the end is recent all the same
	_, err := f.ClaimRecent(f.ctx, f.acc.ID, 999, 1)
	f.fails(err, fault.NotFound)
}

func testNotFound(t *testing.T, h Harness) {
	f := newFixture(t, h)
	const noAcc, noBox = account.ID(999), mailbox.ID(999)
	other, err := f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "other@example.org"))
	f.ok(err)
	reads := func(acc account.ID, id mailbox.ID) map[string]error {
		_, mailboxErr := f.Mailbox(f.ctx, acc, id)
		_, changes := f.Changes(f.ctx, acc, id, 0)
		_, pending := f.Pending(f.ctx, acc, id, now)
		_, claim := f.ClaimRecent(f.ctx, acc, id, 5)
		return map[string]error{
			"Mailbox": mailboxErr, "Changes": changes, "Pending": pending, "ClaimRecent": claim,
			"Identities":   f.Identities(f.ctx, acc, id, everyUID, func(metadata.Identity) error { return nil }),
			"Contents":     f.Contents(f.ctx, acc, id, nil, 0, func(*metadata.Content) error { return nil }),
			"UpstreamRows": f.UpstreamRows(f.ctx, acc, id, func(metadata.UpstreamRow) error { return nil }),
		}
	}
	for name, errs := range map[string]map[string]error{
		"no such mailbox": reads(f.acc.ID, noBox), "no such account": reads(noAcc, f.inbox),
		"another account's mailbox": reads(other.ID, f.inbox),
	} {
		for method, err := range errs {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %s: %v, want a not-found error", name, method, err)
			}
		}
	}
	_, err = f.Mailboxes(f.ctx, noAcc)
	f.fails(err, fault.NotFound)
	_, err = f.Usage(f.ctx, noAcc)
	f.fails(err, fault.NotFound)
	_, err = f.Mirrored(f.ctx, noAcc)
	f.fails(err, fault.NotFound)
	_, err = f.Status(f.ctx, noAcc)
	f.fails(err, fault.NotFound)
	_, err = f.Apply(f.ctx, f.fence, metadata.Update{Mailbox: noBox})
	f.fails(err, fault.NotFound)
	f.fails(f.Unfetchable(f.ctx, f.fence, noBox, 1, "", now), fault.NotFound)
	f.fails(f.DropContent(f.ctx, f.fence, noBox, 1), fault.NotFound)
}

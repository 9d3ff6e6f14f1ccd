package metadatatest

import (
	"testing"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// made makes a mailbox as a client does.
func (f *fixture) made(name string, attrs mailbox.Attr) mailbox.Info {
	f.t.Helper()
	m, err := f.CreateMailbox(f.ctx, f.acc.ID, name, attrs, later)
	f.ok(err)
	return m
}

// names returns the names of the mailboxes that clients see.
func (f *fixture) names() (names []string) {
	f.t.Helper()
	boxes, err := f.Mailboxes(f.ctx, f.acc.ID)
	f.ok(err)
	for _, b := range boxes {
		names = append(names, b.Name)
	}
	return names
}

func testCreateMailbox(t *testing.T, h Harness) {
	f := newFixture(t, h)
	m := f.made("Sent/ä", mailbox.Sent)
	want := mailbox.Info{
		ID: m.ID, Account: f.acc.ID, Name: "Sent/ä", Attrs: mailbox.Sent, Subscribed: true,
		UIDValidity: m.UIDValidity, UIDNext: 1, HighestModSeq: 1, RecentFrom: 1,
	}
	equal(t, "the new mailbox", m, want)
	equal(t, "Mailbox", f.info(m.ID), want)
	if m.UIDValidity <= f.info(f.inbox).UIDValidity {
		t.Fatal("UIDVALIDITY must rise")
	}
	f.queued([]any{m.ID}, "create #1 Sent/ä", "subscribe #1 Sent/ä")
	equal(t, "the special use", f.queue()[0].Attrs, mailbox.Sent)
	before := f.everything()
	for _, name := range []string{"Sent/ä", "INBOX"} {
		_, err := f.CreateMailbox(f.ctx, f.acc.ID, name, 0, later)
		f.fails(err, fault.Exists)
	}
	_, err := f.CreateMailbox(f.ctx, f.acc.ID, "", 0, later)
	f.fails(err, fault.Invalid)
	_, err = f.CreateMailbox(f.ctx, 999, "x", 0, later)
	f.fails(err, fault.NotFound)
	equal(t, "what the store holds", f.everything(), before)

	f.send(ref(m.ID, 0))
	f.settle(metadata.Outcome{ID: f.queue()[0].ID, Raw: []metadata.RawName{{ID: m.ID, Name: "Sent.&AOQ-", Delimiter: '.'}}})
	equal(t, "upstream", f.mirrored(m.ID).Upstream, metadata.Upstream{Name: "Sent.&AOQ-", Delimiter: '.'})
	f.queued([]any{m.ID}, "subscribe #1 Sent/ä")
	f.settle(metadata.Outcome{ID: f.last()})
	f.queued(nil)

	// A name that only holds others becomes a real mailbox.
	parent, err := f.SaveMailbox(f.ctx, f.fence, metadata.Mirrored{
		Info:     mailbox.Info{Name: "P", Attrs: mailbox.NoSelect | mailbox.Marked},
		Upstream: metadata.Upstream{Name: "P", Delimiter: '/'},
	})
	f.ok(err)
	m = f.made("P", mailbox.Archive)
	equal(t, "the mailbox", []any{m.ID, m.Attrs, m.Subscribed}, []any{parent.ID, mailbox.Marked | mailbox.Archive, true})
	f.queued([]any{m.ID}, "create #1 P", "subscribe #1 P")
}

func testSubscribe(t *testing.T, h Harness) {
	f := newFixture(t, h)
	set := func(on bool) {
		t.Helper()
		f.ok(f.Subscribe(f.ctx, f.acc.ID, f.inbox, on, later))
		equal(t, "subscribed", f.info(f.inbox).Subscribed, on)
	}
	set(false)
	f.queued(nil)
	set(true)
	set(true)
	f.queued([]any{f.inbox}, "subscribe #1 INBOX")
	// The upstream has not heard of it: what the mirror saves does not undo it.
	stale := f.mirrored(f.inbox)
	stale.Subscribed, stale.Attrs = false, mailbox.Marked
	saved, err := f.SaveMailbox(f.ctx, f.fence, stale)
	f.ok(err)
	equal(t, "saved", []any{saved.Subscribed, saved.Attrs}, []any{true, mailbox.Marked})
	f.settle(metadata.Outcome{ID: f.last()})
	_, err = f.SaveMailbox(f.ctx, f.fence, stale)
	f.ok(err)
	equal(t, "subscribed", f.info(f.inbox).Subscribed, false)
	f.fails(f.Subscribe(f.ctx, f.acc.ID, 999, true, later), fault.NotFound)
}

func testDeleteMailbox(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b := f.create("B")
	f.add(b, 1, 2, 3)
	f.bodies(b)
	f.deliver(b, 1)
	f.apply(b, metadata.Update{Checkpoint: &metadata.Checkpoint{UIDValidity: 3, UIDNext: 44, Messages: 3, Synced: now}})
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, b, later))
	f.queued([]any{b}, "append #1.4", "delete #1 B")
	equal(t, "what the user had seen", f.queue()[1].Known, uint32(44))
	equal(t, "names", f.names(), []string{"INBOX"})
	m := f.mirrored(b)
	equal(t, "mirrored", []any{m.Deleting, m.Name, m.Messages, m.Bound}, []any{true, "B", uint32(4), uint32(3)})
	f.hidden(b)

	// Its name is free, and it can be mirrored still.
	again := f.made("B", 0)
	if again.ID == b || again.UIDValidity <= m.UIDValidity {
		t.Fatalf("the new mailbox has id %d, UIDVALIDITY %d", again.ID, again.UIDValidity)
	}
	equal(t, "new mail in it", f.add(b, 5), []mailbox.UID{0})
	equal(t, "rows", f.rows(b), "1=1 2=2 3=3 4=0~")
	m.Upstream.ModSeq = 9
	m, err := f.SaveMailbox(f.ctx, f.fence, m)
	f.ok(err)
	equal(t, "saved", []any{m.Deleting, m.Name, m.Upstream.ModSeq}, []any{true, "B", uint64(9)})

	// The upstream has mail in it that nobody saw: it comes back.
	applied := f.settle(metadata.Outcome{ID: f.queue()[1].ID, Verdict: metadata.Park, Reason: "new mail"})
	equal(t, "what clients see", applied, []metadata.Applied{{Mailbox: b, ModSeq: f.info(b).HighestModSeq, Changed: true}})
	if name := f.info(b).Name; name == "B" || len(f.changes(b, 0).Rows) != 4 {
		t.Fatalf("the mailbox that came back: %q", name)
	}
	equal(t, "its name is a new one", len(f.names()), 3)
	equal(t, "new mail in it", f.add(b, 5), []mailbox.UID{5})
	// A person insists.
	f.apply(b, metadata.Update{Checkpoint: &metadata.Checkpoint{UIDValidity: 3, UIDNext: 55}})
	f.ok(f.Resolve(f.ctx, f.acc.ID, f.queue()[1].ID, true, later))
	f.hidden(b)
	equal(t, "what has been seen now", []any{f.queue()[1].Known, f.queue()[1].State}, []any{uint32(55), mutation.Waiting})
	f.send(ref(b, 0))
	f.settle(metadata.Outcome{ID: f.queue()[1].ID})
	all, err := f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "mailboxes", len(all), 2)
	f.queued([]any{again.ID}, "create #1 B", "subscribe #1 B")
	equal(t, "undo list", len(f.retained("", now)), 4) // those whose bodies are here
	f.fails(f.DeleteMailbox(f.ctx, f.acc.ID, b, later), fault.NotFound)

	// One that the upstream never heard of is just gone, and what was moved into it is to go.
	f.add(f.inbox, 10, 20)
	f.copy(f.inbox, again.ID, true, 1)
	f.deliver(again.ID, 1)
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, again.ID, later))
	f.queued([]any{f.inbox}, "expunge #1.1")
	_, err = f.Mailbox(f.ctx, f.acc.ID, again.ID)
	f.fails(err, fault.NotFound)
	equal(t, "rows", f.rows(f.inbox), "1=10- 2=20")
	// One that it perhaps has is to be deleted there.
	c := f.made("C", 0)
	f.send(ref(c.ID, 0))
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, c.ID, later))
	f.queued([]any{f.inbox, c.ID}, "expunge #1.1", "create! #2 C", "subscribe #2 C", "delete #2 C", "unsubscribe 0 C")
	equal(t, "deleting", f.mirrored(c.ID).Deleting, true)
	// And one that something else is to be made from, upstream.
	d := f.made("D", 0)
	f.copy(f.inbox, d.ID, false, 2)
	f.copy(d.ID, f.inbox, true, 1)
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, d.ID, later))
	equal(t, "deleting", f.mirrored(d.ID).Deleting, true)
	// And one whose renaming those below it need.
	g := f.made("G", 0)
	gx := f.made("G/x", 0)
	f.ok(f.RenameMailboxes(f.ctx, f.acc.ID, []metadata.Rename{{ID: g.ID, Name: "H"}, {ID: gx.ID, Name: "H/x"}}, later))
	n := len(f.queue())
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, g.ID, later))
	equal(t, "deleting", f.mirrored(g.ID).Deleting, true)
	equal(t, "queued", len(f.queue()), n+2)
	equal(t, "names", f.names(), []string{"H/x", "INBOX"})
}

// hidden checks that clients cannot see a mailbox.
func (f *fixture) hidden(id mailbox.ID) {
	f.t.Helper()
	acc := f.acc.ID
	_, info := f.Mailbox(f.ctx, acc, id)
	_, changes := f.Changes(f.ctx, acc, id, 0)
	_, claim := f.ClaimRecent(f.ctx, acc, id, 5)
	_, flags := f.EditFlags(f.ctx, acc, metadata.FlagEdit{Mailbox: id, UIDs: everyUID, Flags: seen})
	_, add := f.AddMessages(f.ctx, acc, metadata.AddEdit{Mailbox: id, Messages: letters(1)})
	_, to := f.CopyMessages(f.ctx, acc, metadata.CopyEdit{From: f.inbox, To: id, UIDs: everyUID})
	_, from := f.CopyMessages(f.ctx, acc, metadata.CopyEdit{From: id, To: f.inbox, UIDs: everyUID})
	_, remove := f.RemoveMessages(f.ctx, acc, metadata.RemoveEdit{Mailbox: id})
	for name, err := range map[string]error{
		"Mailbox": info, "Changes": changes, "ClaimRecent": claim, "EditFlags": flags, "AddMessages": add,
		"CopyMessages to": to, "CopyMessages from": from, "RemoveMessages": remove,
		"Identities":      f.Identities(f.ctx, acc, id, everyUID, func(metadata.Identity) error { return nil }),
		"Contents":        f.Contents(f.ctx, acc, id, everyUID, 0, func(*metadata.Content) error { return nil }),
		"Subscribe":       f.Subscribe(f.ctx, acc, id, true, later),
		"DeleteMailbox":   f.DeleteMailbox(f.ctx, acc, id, later),
		"RenameMailboxes": f.RenameMailboxes(f.ctx, acc, []metadata.Rename{{ID: id, Name: "new"}}, later),
	} {
		if !fault.Is(err, fault.NotFound) {
			f.t.Errorf("%s of a mailbox that is being deleted: %v, want a not-found error", name, err)
		}
	}
}

func testRenameMailboxes(t *testing.T, h Harness) {
	f := newFixture(t, h)
	a, ab, c := f.create("a"), f.create("a/b"), f.create("c")
	f.add(a, 1)
	rename := func(pairs ...metadata.Rename) error {
		return f.RenameMailboxes(f.ctx, f.acc.ID, pairs, later)
	}
	before := f.everything()
	f.fails(rename(metadata.Rename{ID: a, Name: "d"}, metadata.Rename{ID: ab, Name: "c"}), fault.Exists)
	f.fails(rename(metadata.Rename{ID: a, Name: "d"}, metadata.Rename{ID: ab, Name: "d"}), fault.Exists)
	f.fails(rename(metadata.Rename{ID: a, Name: "d"}, metadata.Rename{ID: 999, Name: "e"}), fault.NotFound)
	f.fails(rename(metadata.Rename{ID: 999, Name: "d"}), fault.NotFound)
	f.fails(rename(metadata.Rename{ID: a}), fault.Invalid)
	f.ok(rename())
	equal(t, "what the store holds", f.everything(), before)
	f.queued(nil)

	info := f.info(a)
	f.ok(rename(metadata.Rename{ID: a, Name: "a/b"}, metadata.Rename{ID: ab, Name: "a/b/b"}))
	info.Name = "a/b"
	equal(t, "the mailbox", f.info(a), info)
	equal(t, "names", f.names(), []string{"INBOX", "a/b", "a/b/b", "c"})
	f.queued([]any{a}, "rename #1 a>a/b")
	// They may change places.
	f.ok(rename(metadata.Rename{ID: a, Name: "c"}, metadata.Rename{ID: c, Name: "a/b"}))
	f.ok(rename(metadata.Rename{ID: a, Name: "n"}, metadata.Rename{ID: ab, Name: "n/b"}))
	f.queued([]any{a}, "rename #1 a>a/b", "rename #1 a/b>c", "rename #1 c>n")

	// The upstream has not heard of it: what the mirror saves gives nobody the old name back.
	for _, id := range []mailbox.ID{a, ab} {
		stale := f.mirrored(id)
		stale.Name = "stale"
		stale.Upstream.ModSeq = 5
		_, err := f.SaveMailbox(f.ctx, f.fence, stale)
		f.ok(err)
		equal(t, "saved", f.mirrored(id).Upstream.ModSeq, uint64(5))
	}
	equal(t, "names", f.names(), []string{"INBOX", "a/b", "n", "n/b"})
	f.send(ref(a, 0))
	for _, q := range f.queue() {
		f.settle(metadata.Outcome{ID: q.ID, Raw: []metadata.RawName{
			{ID: a, Name: "raw" + q.To, Delimiter: '.'}, {ID: ab, Name: "raw.b", Delimiter: '.'}, {ID: 999, Name: "x"},
		}})
	}
	equal(t, "upstream", f.mirrored(a).Upstream.Name+f.mirrored(ab).Upstream.Name, "rawnraw.b")
	moved := f.mirrored(ab)
	moved.Name = "fresh"
	_, err := f.SaveMailbox(f.ctx, f.fence, moved)
	f.ok(err)
	equal(t, "names", f.names(), []string{"INBOX", "a/b", "fresh", "n"})
}

// subscribed makes a mailbox that the upstream has and that is subscribed.
func (f *fixture) subscribed(name string) mailbox.ID {
	f.t.Helper()
	id := f.create(name)
	f.ok(f.Subscribe(f.ctx, f.acc.ID, id, true, later))
	f.settle(metadata.Outcome{ID: f.last()})
	return id
}

// testRenameSubscribed renames and deletes mailboxes that are on the upstream's list of subscriptions, which has names.
func testRenameSubscribed(t *testing.T, h Harness) {
	f := newFixture(t, h)
	a, ab, ac := f.subscribed("a"), f.subscribed("a/b"), f.create("a/c")
	rename := func(pairs ...metadata.Rename) {
		t.Helper()
		f.ok(f.RenameMailboxes(f.ctx, f.acc.ID, pairs, later))
	}
	all := func(name string) []metadata.Rename {
		return []metadata.Rename{{ID: a, Name: name}, {ID: ab, Name: name + "/b"}, {ID: ac, Name: name + "/c"}}
	}
	boxes := []any{a, ab}
	rename(all("n")...)
	f.queued(boxes, "rename #1 a>n", "unsubscribe 0 a", "unsubscribe 0 a/b", "subscribe #1 n", "subscribe #2 n/b")
	equal(t, "subscribed", []bool{f.info(a).Subscribed, f.info(ab).Subscribed, f.info(ac).Subscribed}, []bool{true, true, false})
	// Refused, the list stays as it is, until it is tried again.
	for range 2 {
		id := f.queue()[0].ID
		f.settle(metadata.Outcome{ID: id, Verdict: metadata.Park, Reason: "no"})
		f.queued(boxes, "rename? #1 a>n")
		f.ok(f.Resolve(f.ctx, f.acc.ID, id, true, later))
		f.queued(boxes, "rename #1 a>n", "unsubscribe 0 a", "unsubscribe 0 a/b", "subscribe #1 n", "subscribe #2 n/b")
	}
	// Discarded, too.
	f.discard(0)
	f.queued(nil)
	equal(t, "names", f.names(), []string{"INBOX", "a", "a/b", "a/c"})
	equal(t, "subscribed", []bool{f.info(a).Subscribed, f.info(ab).Subscribed}, []bool{true, true})

	// Where one name is another's, nothing is taken off that is put there.
	rename(metadata.Rename{ID: a, Name: "a/b"}, metadata.Rename{ID: ab, Name: "a/b/b"})
	f.queued(boxes, "rename #1 a>a/b", "unsubscribe 0 a", "unsubscribe 0 a/b", "subscribe #1 a/b", "subscribe #2 a/b/b")
	for _, q := range f.queue() {
		f.settle(metadata.Outcome{ID: q.ID})
	}

	// Not upstream yet: only the new name is told.
	m := f.made("m", 0)
	rename(metadata.Rename{ID: m.ID, Name: "k"})
	f.queued([]any{m.ID}, "create #1 m", "rename #1 m>k", "subscribe #1 k")
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, m.ID, later)) // needed only for what is below it
	for _, q := range f.queue() {
		f.settle(metadata.Outcome{ID: q.ID})
	}
	f.queued(nil)

	// Deleted: the name is taken off behind that, also when the mailbox is gone.
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, ab, later))
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, ac, later)) // was not subscribed
	f.queued([]any{ab, ac}, "delete #1 a/b/b", "unsubscribe 0 a/b/b", "delete #2 a/c")
	f.settle(metadata.Outcome{ID: f.queue()[0].ID})
	f.queued([]any{ac}, "unsubscribe 0 a/b/b", "delete #1 a/c")
	// When the upstream does not want that, there is nothing to decide about.
	f.settle(metadata.Outcome{ID: f.queue()[0].ID, Verdict: metadata.Again, Next: later}, metadata.Outcome{ID: f.last()})
	f.settle(metadata.Outcome{ID: f.last(), Verdict: metadata.Park, Reason: "no"})
	f.queued(nil)
	// A deletion that is refused or discarded leaves the name on the list.
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, a, later))
	id := f.queue()[0].ID
	f.settle(metadata.Outcome{ID: id, Verdict: metadata.Park, Reason: "new mail"})
	f.queued([]any{a}, "delete? #1 a/b")
	f.ok(f.Resolve(f.ctx, f.acc.ID, id, true, later))
	f.queued([]any{a}, "delete #1 a/b", "unsubscribe 0 a/b")
	f.discard(0)
	f.queued(nil)
	equal(t, "subscribed", []any{f.info(a).Name, f.info(a).Subscribed}, []any{"a/b", true})
}

// testMailboxLost removes mailboxes that the upstream has lost.
func testMailboxLost(t *testing.T, h Harness) {
	f := newFixture(t, h)
	b, c := f.create("B"), f.create("C")
	f.add(b, 1, 2, 3)
	f.bodies(b)
	f.add(f.inbox, 10, 20)
	f.copy(b, c, false, 1)
	f.store(b, metadata.AddFlags, seen, 1, 3)
	f.expunge(b, 2)
	placed := f.deliver(b, 2)
	f.copy(f.inbox, b, true, 1)
	f.send(ref(b, placed[1]))
	f.store(b, metadata.AddFlags, seen, uint32(placed[0]))
	f.ok(f.RenameMailboxes(f.ctx, f.acc.ID, []metadata.Rename{{ID: b, Name: "BB"}}, later))
	seq := f.info(b).HighestModSeq
	f.ok(f.RemoveMailbox(f.ctx, f.fence, b))
	// What waits to be placed stays, for a mailbox that is to be made again.
	equal(t, "rows", f.rows(b), "4=0~ 5=0~ 6=0~")
	m := f.mirrored(b)
	equal(t, "mirrored", []any{m.Name, m.Upstream, m.Messages, m.Bound, m.Bodies, m.Uncertain},
		[]any{"BB", metadata.Upstream{}, uint32(3), uint32(0), uint32(2), true})
	equal(t, "tombstones", f.changes(b, seq).Expunged.String(), "1,3")
	f.queued([]any{b, c, f.inbox}, "copy #2.1<#1.1", "append #1.4", "append! #1.5", "move #1.6<#3.1", `flags #1.4 +(\Seen) -()`, "create #1 BB")
	equal(t, "undo list", len(f.retained("", now)), 3)

	// Without such it is gone; what was moved out of it is uploaded.
	f.add(c, 5)
	f.copy(c, f.inbox, true, 2)
	f.expunge(c, 1)
	f.ok(f.RemoveMailbox(f.ctx, f.fence, c))
	equal(t, "names", f.names(), []string{"BB", "INBOX"})
	last := f.queue()[len(f.queue())-1]
	equal(t, "the move", []any{last.Kind, last.SourceUpstream}, []any{mutation.Move, uint32(0)})

	// One that a client deleted is gone with everything.
	f.ok(f.DeleteMailbox(f.ctx, f.acc.ID, b, later))
	f.ok(f.RemoveMailbox(f.ctx, f.fence, b))
	f.queued([]any{f.inbox, c}, "move #1.3<#2.2", "expunge #1.1")
	equal(t, "mailboxes", f.names(), []string{"INBOX"})
}

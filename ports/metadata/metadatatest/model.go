package metadatatest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/metadata"
)

// modelBox is a mailbox as plain maps: the slow, obvious store.
type modelBox struct {
	metadata.Mirrored
	rows     map[mailbox.UID]*modelMessage
	history  map[mailbox.ModSeq]map[mailbox.UID]mailbox.Row // the rows as they were
	removals map[mailbox.ModSeq]mailbox.Set                 // what each change removed
}

type modelMessage struct {
	row      mailbox.Row
	upstream uint32
	identity metadata.Identity
	content  *metadata.Content
	attempts int
	next     time.Time
}

// model is an account as the random test expects it.
type model struct {
	*fixture
	rng     *rand.Rand
	boxes   map[mailbox.ID]*modelBox
	threads map[mailbox.ObjectID]mailbox.ObjectID
	serial  int
	highest uint32 // UIDVALIDITY
}

// seedOf returns IMAPPED_SEED, or a new seed, and prints it.
func seedOf(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("IMAPPED_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("IMAPPED_SEED: %v", err)
		}
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	return seed
}

// testModel makes random changes and compares everything that the store shows with the model.
func testModel(t *testing.T, h Harness) {
	m := &model{
		fixture: newFixture(t, h),
		rng:     rand.New(rand.NewPCG(seedOf(t), 0)),
		boxes:   map[mailbox.ID]*modelBox{}, threads: map[mailbox.ObjectID]mailbox.ObjectID{},
	}
	m.ok(m.RemoveMailbox(m.ctx, m.fence, m.inbox))
	for step := range 500 {
		m.step(h, step)
		if t.Failed() {
			t.Fatalf("after step %d", step)
		}
	}
}

func (m *model) step(h Harness, step int) {
	switch n := m.rng.IntN(100); {
	case len(m.boxes) == 0 || n < 3 && len(m.boxes) < 4:
		m.createBox()
	case n < 4:
		m.removeBox(m.pick())
	case n < 7:
		m.renameBox(m.pick())
	case n < 55:
		m.update(m.pick())
	case n < 75:
		m.storeBodies()
	case n < 80:
		m.dropBody(m.pick())
	case n < 88:
		m.failBody(m.pick())
	case n < 94:
		m.claim(m.pick())
	case n < 96 && h.Reopen != nil:
		m.Store = h.Reopen(m.t)
	default:
		m.steal()
	}
	for _, b := range m.boxes {
		if step%10 == 0 || m.rng.IntN(3) == 0 {
			m.compare(b)
		}
	}
}

// pick returns one of the mailboxes.
func (m *model) pick() *modelBox {
	ids := make([]mailbox.ID, 0, len(m.boxes))
	for id := range m.boxes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return m.boxes[ids[m.rng.IntN(len(ids))]]
}

// uid returns a UID that exists, existed or will exist.
func (m *model) uid(b *modelBox) mailbox.UID {
	return mailbox.UID(m.rng.IntN(int(b.UIDNext)+2) + 1)
}

func (m *model) name() string {
	return string([]byte("ab")[m.rng.IntN(2)]) + strconv.Itoa(m.rng.IntN(6))
}

func (m *model) taken(name string) bool {
	for _, b := range m.boxes {
		if b.Name == name {
			return true
		}
	}
	return false
}

func (m *model) createBox() {
	want := metadata.Mirrored{Info: mailbox.Info{Name: m.name(), Attrs: mailbox.Attr(m.rng.IntN(8))}}
	want.Upstream.Name = want.Name
	got, err := m.SaveMailbox(m.ctx, m.fence, want)
	if m.taken(want.Name) {
		m.t.Logf("create %q: taken", want.Name)
		if err == nil {
			m.t.Fatal("a name was given twice")
		}
		return
	}
	m.ok(err)
	if got.UIDValidity <= m.highest {
		m.t.Fatalf("UIDVALIDITY %d after %d", got.UIDValidity, m.highest)
	}
	m.highest = got.UIDValidity
	want.ID, want.Account, want.UIDValidity = got.ID, m.acc.ID, got.UIDValidity
	want.UIDNext, want.HighestModSeq, want.RecentFrom = 1, 1, 1
	m.boxes[got.ID] = &modelBox{
		Mirrored: want, rows: map[mailbox.UID]*modelMessage{},
		history:  map[mailbox.ModSeq]map[mailbox.UID]mailbox.Row{1: {}},
		removals: map[mailbox.ModSeq]mailbox.Set{},
	}
}

func (m *model) removeBox(b *modelBox) {
	m.ok(m.RemoveMailbox(m.ctx, m.fence, b.ID))
	delete(m.boxes, b.ID)
}

func (m *model) renameBox(b *modelBox) {
	change := b.Mirrored
	change.Name = m.name()
	change.Subscribed = !change.Subscribed
	_, err := m.SaveMailbox(m.ctx, m.fence, change)
	if m.taken(change.Name) && change.Name != b.Name {
		if err == nil {
			m.t.Fatal("a name was given twice")
		}
		return
	}
	m.ok(err)
	b.Name, b.Subscribed = change.Name, change.Subscribed
}

// steal has another owner take the account; the old fence must be worth nothing.
func (m *model) steal() {
	old := m.fence
	var err error
	m.ok(m.Release(m.ctx, old))
	m.fence, err = m.Acquire(m.ctx, m.acc.ID, fmt.Sprintf("node-%d", m.rng.IntN(3)), now, time.Minute)
	m.ok(err)
	if _, err := m.Apply(m.ctx, old, m.randomUpdate(m.pick())); err == nil {
		m.t.Fatal("an old fence could write")
	}
}

func (m *model) flags() flag.Set {
	set := flag.Make(flag.System(m.rng.IntN(32)))
	if m.rng.IntN(3) == 0 {
		set = set.Union(flag.Make(0, []string{"$Work", "$work", "later", "a"}[m.rng.IntN(4)], "Zz"))
	}
	return set
}

func (m *model) randomUpdate(b *modelBox) metadata.Update {
	u := metadata.Update{Mailbox: b.ID, Now: now.Add(time.Duration(m.rng.IntN(1e9)))}
	if m.rng.IntN(8) == 0 {
		u.Reset = true
		next := uint32(100)
		for uid := range b.UIDNext {
			if b.rows[uid] != nil && m.rng.IntN(4) > 0 {
				u.Rebind = append(u.Rebind, metadata.Rebind{UID: uid, Upstream: next})
				next++
			}
		}
	}
	if m.rng.IntN(4) == 0 {
		first := uint32(m.uid(b))
		u.Expunge = mailbox.Set{{First: first, Last: first + uint32(m.rng.IntN(4))}}.Union(mailbox.SetOf(m.uid(b)))
	}
	for range m.rng.IntN(5) {
		u.Flags = append(u.Flags, metadata.FlagChange{UID: m.uid(b), Flags: m.flags()})
	}
	if m.rng.IntN(2) == 0 {
		for range m.rng.IntN(6) {
			m.serial++
			msg := metadata.NewMessage{
				Upstream: uint32(m.rng.IntN(60)), Flags: m.flags(), Size: int64(m.rng.IntN(5000)),
				Date: int64(m.serial), Zone: int16(m.rng.IntN(1440) - 720),
				Identity: message.Identity{Email: oid("email", m.serial)},
			}
			if m.rng.IntN(5) > 0 {
				msg.Identity.MessageID = oid("m", m.rng.IntN(60))
			}
			for range m.rng.IntN(3) {
				msg.Identity.Refs = append(msg.Identity.Refs, oid("m", m.rng.IntN(60)))
			}
			if m.rng.IntN(4) == 0 {
				c := body(0, 0, int64(m.rng.IntN(5000)), m.serial)
				msg.Content = &c
			}
			u.New = append(u.New, msg)
		}
	}
	if m.rng.IntN(4) == 0 {
		u.Checkpoint = &metadata.Checkpoint{UIDValidity: m.rng.Uint32(), ModSeq: m.rng.Uint64() >> 1, Synced: u.Now}
	}
	return u
}

func (m *model) update(b *modelBox) {
	u := m.randomUpdate(b)
	got, err := m.Apply(m.ctx, m.fence, u)
	m.ok(err)
	equal(m.t, fmt.Sprintf("Applied for %+v", u), got, b.apply(u, m.threads))
}

// apply does to the model what Apply is to do.
func (b *modelBox) apply(u metadata.Update, threads map[mailbox.ObjectID]mailbox.ObjectID) metadata.Applied {
	next := b.HighestModSeq + 1
	changed := false
	if u.Reset {
		for _, r := range b.rows {
			r.upstream = 0
		}
	}
	for _, rb := range u.Rebind {
		b.rows[rb.UID].upstream = rb.Upstream
	}
	for uid := range u.Expunge.All {
		if b.rows[mailbox.UID(uid)] != nil {
			delete(b.rows, mailbox.UID(uid))
			b.removals[next] = b.removals[next].Union(mailbox.SetOf(uid))
			changed = true
		}
	}
	before := map[mailbox.UID]flag.Set{}
	for _, fc := range u.Flags {
		if r := b.rows[fc.UID]; r != nil {
			if _, twice := before[fc.UID]; !twice {
				before[fc.UID] = r.row.Flags
			}
			r.row.Flags = fc.Flags
		}
	}
	for uid, old := range before {
		if r := b.rows[uid]; r.row.Flags.Equal(old) {
			r.row.Flags = old
		} else {
			r.row.ModSeq = next
			changed = true
		}
	}
	var uids []mailbox.UID
	for _, n := range u.New {
		known := false
		for _, r := range b.rows {
			known = known || n.Upstream != 0 && r.upstream == n.Upstream
		}
		if known {
			uids = append(uids, 0)
			continue
		}
		changed = true
		uids = append(uids, b.UIDNext)
		r := &modelMessage{upstream: n.Upstream, content: n.Content}
		r.row = mailbox.Row{UID: b.UIDNext, ModSeq: next, Flags: n.Flags, Size: n.Size, Date: n.Date, Zone: n.Zone}
		if n.Content != nil {
			r.row.Size = n.Content.Size
			n.Content.Mailbox, n.Content.UID = b.ID, b.UIDNext
		}
		r.identity = metadata.Identity{
			UID: b.UIDNext, EmailID: n.Identity.Email, ThreadID: modelThread(n.Identity, threads), Saved: u.Now,
		}
		b.rows[b.UIDNext] = r
		b.UIDNext++
	}
	if u.Checkpoint != nil {
		b.Upstream.Checkpoint = *u.Checkpoint
	}
	if changed {
		b.raise()
	}
	return metadata.Applied{Mailbox: b.ID, ModSeq: b.HighestModSeq, Changed: changed, UIDs: uids}
}

// raise ends a change: the next mod-sequence, and the rows as they are then.
func (b *modelBox) raise() {
	b.HighestModSeq++
	b.history[b.HighestModSeq] = byUID(b.sorted())
}

func (b *modelBox) sorted() (rows []mailbox.Row) {
	for _, r := range b.rows {
		rows = append(rows, r.row)
	}
	slices.SortFunc(rows, func(x, y mailbox.Row) int { return int(x.UID) - int(y.UID) })
	return rows
}

// modelThread finds a message's thread and records its names.
func modelThread(id message.Identity, threads map[mailbox.ObjectID]mailbox.ObjectID) mailbox.ObjectID {
	none := mailbox.ObjectID{}
	names := append([]mailbox.ObjectID{id.MessageID}, id.Refs...)
	slices.Reverse(names[1:])
	thread := none
	for _, n := range names {
		if thread == none && n != none {
			thread = threads[n]
		}
	}
	fallback := append(slices.Clone(id.Refs), id.MessageID, id.Email)
	for _, n := range fallback {
		if thread == none {
			thread = n
		}
	}
	for _, n := range names {
		if n != none && threads[n] == none {
			threads[n] = thread
		}
	}
	return thread
}

func (m *model) storeBodies() {
	var contents []metadata.Content
	resized := map[*modelBox]bool{}
	for range m.rng.IntN(8) {
		b := m.pick()
		m.serial++
		c := body(b.ID, m.uid(b), int64(m.rng.IntN(5000)), m.serial)
		r := b.rows[c.UID]
		if r != nil && m.rng.IntN(2) == 0 {
			c.Size = r.row.Size
		}
		contents = append(contents, c)
		if r == nil {
			continue
		}
		r.content, r.attempts, r.next = &c, 0, time.Time{}
		if r.row.Size != c.Size {
			r.row.Size, r.row.ModSeq = c.Size, b.HighestModSeq+1
			resized[b] = true
		}
	}
	m.ok(m.StoreContents(m.ctx, m.fence, contents))
	for b := range resized {
		b.raise()
	}
}

func (m *model) dropBody(b *modelBox) {
	uid := m.uid(b)
	m.ok(m.DropContent(m.ctx, m.fence, b.ID, uid))
	if r := b.rows[uid]; r != nil {
		r.content = nil
	}
}

func (m *model) failBody(b *modelBox) {
	uid, next := m.uid(b), now.Add(time.Duration(m.rng.IntN(100))*time.Second)
	m.ok(m.Unfetchable(m.ctx, m.fence, b.ID, uid, "why", next))
	if r := b.rows[uid]; r != nil && r.content == nil {
		r.attempts++
		r.next = next
	}
}

func (m *model) claim(b *modelBox) {
	upTo := m.uid(b)
	got, err := m.ClaimRecent(m.ctx, m.acc.ID, b.ID, upTo)
	m.ok(err)
	equal(m.t, "the first recent UID", got, b.RecentFrom)
	b.RecentFrom = max(b.RecentFrom, min(upTo, b.UIDNext))
}

// compare reads everything about a mailbox and compares it with the model.
func (m *model) compare(b *modelBox) {
	t := m.t
	t.Helper()
	rows := b.sorted()
	b.Messages, b.Unseen, b.Deleted, b.Size, b.DeletedSize = uint32(len(rows)), 0, 0, 0, 0
	b.Bodies, b.Bound = 0, 0
	var identities []metadata.Identity
	var contents []metadata.Content
	var upstream []metadata.UpstreamRow
	var pending []metadata.PendingBody
	at := now.Add(time.Duration(m.rng.IntN(100)) * time.Second)
	for _, row := range rows {
		r := b.rows[row.UID]
		b.Size += row.Size
		if !row.Flags.Has(flag.Seen) {
			b.Unseen++
		}
		if row.Flags.Has(flag.Deleted) {
			b.Deleted++
			b.DeletedSize += row.Size
		}
		if r.upstream != 0 {
			b.Bound++
		}
		identities = append(identities, r.identity)
		upstream = append(upstream, metadata.UpstreamRow{
			UID: row.UID, Upstream: r.upstream, Flags: row.Flags, Email: r.identity.EmailID, HasBody: r.content != nil,
		})
		switch {
		case r.content != nil:
			b.Bodies++
			contents = append(contents, *r.content)
		case r.upstream != 0 && !r.next.After(at):
			pending = append(pending, metadata.PendingBody{
				UID: row.UID, Upstream: r.upstream, Size: row.Size, Attempts: r.attempts,
			})
		}
	}
	slices.Reverse(pending)

	equal(t, "mailbox", m.info(b.ID), b.Info)
	mirrored, err := m.Mirrored(m.ctx, m.acc.ID)
	m.ok(err)
	i := slices.IndexFunc(mirrored, func(x metadata.Mirrored) bool { return x.ID == b.ID })
	equal(t, "mirrored", mirrored[i], b.Mirrored)
	equal(t, "identities", m.identities(b.ID, everyUID), identities)
	equal(t, "upstream rows", m.upstreamRows(b.ID), upstream)
	equal(t, "contents", m.contents(b.ID), contents)
	got, err := m.Pending(m.ctx, m.acc.ID, b.ID, at)
	m.ok(err)
	equal(t, "pending", got, pending)

	since := mailbox.ModSeq(m.rng.IntN(int(b.HighestModSeq) + 1))
	d := m.changes(b.ID, since)
	equal(t, "delta's mod-sequence and UIDNEXT", [2]any{d.ModSeq, d.UIDNext}, [2]any{b.HighestModSeq, b.UIDNext})
	checkDelta(t, d, since, b.history[since], byUID(rows))
	var removed mailbox.Set
	for seq, uids := range b.removals {
		if seq > since && since > 0 {
			removed = removed.Union(uids)
		}
	}
	equal(t, "removed since", d.Expunged.String(), removed.String())
}

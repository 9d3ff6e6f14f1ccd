package metadatatest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// edits is the random test of what clients change, beside its model.
type edits struct {
	*fixture
	model  editModel
	rng    *rand.Rand
	ids    []mailbox.ID
	serial int
	log    []string
}

// testEdits makes random changes, of clients, of the upstream and of replay, and compares what the store shows with the
// model after each.
func testEdits(t *testing.T, h Harness) {
	e := &edits{
		fixture: newFixture(t, h), rng: rand.New(rand.NewPCG(seedOf(t), 1)),
		model: editModel{boxes: map[mailbox.ID]*editBox{}},
	}
	e.ids = []mailbox.ID{e.inbox, e.create("B"), e.create("C")}
	for _, id := range e.ids {
		e.model.boxes[id] = &editBox{
			id: id, next: 1, seq: 1, rows: map[mailbox.UID]*editRow{}, departed: map[mailbox.UID]uint32{},
			emails:  map[mailbox.UID]mailbox.ObjectID{},
			history: map[mailbox.ModSeq]map[mailbox.UID]mailbox.Row{1: {}},
		}
	}
	defer func() {
		if t.Failed() {
			for _, line := range e.log[max(0, len(e.log)-25):] {
				t.Log(line)
			}
		}
	}()
	for range 600 {
		e.step(h)
		e.model.commit()
		e.compare()
		e.invariants()
	}
}

func (e *edits) step(h Harness) {
	b := e.model.boxes[e.ids[e.rng.IntN(len(e.ids))]]
	switch n := e.rng.IntN(100); {
	case n < 15:
		e.editFlags(b)
	case n < 24:
		e.addMessages(b)
	case n < 40:
		e.copyMessages(b)
	case n < 50:
		e.removeMessages(b)
	case n < 65:
		e.update(b)
	case n < 76:
		e.intendSome()
	case n < 94:
		e.settleOne()
	case n < 99:
		e.resolve()
	case h.Reopen != nil:
		e.Store = h.Reopen(e.t)
	}
}

func (e *edits) note(format string, args ...any) { e.log = append(e.log, fmt.Sprintf(format, args...)) }

// uids returns a random set of UIDs, most of which exist.
func (e *edits) uids(b *editBox) mailbox.Set {
	first := uint32(1)
	if b.next > 12 && e.rng.IntN(3) > 0 {
		first = uint32(b.next) - 12
	}
	set := mailbox.SetOf(first + uint32(e.rng.IntN(14)))
	if e.rng.IntN(3) == 0 {
		r := first + uint32(e.rng.IntN(12))
		set = set.Union(mailbox.Set{{First: r, Last: r + uint32(e.rng.IntN(3))}})
	}
	return set
}

func (e *edits) flags() flag.Set {
	set := flag.Make(flag.System(e.rng.IntN(32)))
	if e.rng.IntN(4) == 0 {
		set = none
	}
	if e.rng.IntN(3) == 0 {
		set = set.Union(flag.Make(0, []string{"$Work", "$work", "later"}[e.rng.IntN(3)]))
	}
	return set
}

func (e *edits) editFlags(b *editBox) {
	edit := metadata.FlagEdit{
		Mailbox: b.id, UIDs: e.uids(b), Mode: metadata.FlagMode(e.rng.IntN(3)), Flags: e.flags(), Now: later,
	}
	if e.rng.IntN(8) == 0 {
		edit.Mode, edit.Again = metadata.AddFlags, true
	}
	if e.rng.IntN(6) == 0 {
		since := mailbox.ModSeq(e.rng.IntN(int(b.seq) + 1))
		edit.Unchanged = &since
	}
	e.note("edit %+v", edit)
	done, err := e.EditFlags(e.ctx, e.acc.ID, edit)
	e.ok(err)
	changed, modified := e.model.editFlags(edit)
	equal(e.t, "changed", done.Changed.String(), changed.String())
	equal(e.t, "modified", done.Modified.String(), modified.String())
}

// usage is what the account holds in the model.
func (m *editModel) usage() (n int64) {
	for _, b := range m.boxes {
		for _, r := range b.rows {
			n += r.Size
		}
	}
	return n
}

// quota returns a quota that leaves some room, or none, or less; most often there is none.
func (e *edits) quota() int64 {
	if e.rng.IntN(3) > 0 {
		return 0
	}
	return max(1, e.model.usage()+int64(e.rng.IntN(4000)-1000))
}

// refused says whether a change that makes the account grow was to be refused, and checks that it was, or was not.
func (e *edits) refused(err error, quota, grown int64) bool {
	e.t.Helper()
	if quota > 0 && grown > 0 && e.model.usage()+grown > quota {
		e.fails(err, fault.OverQuota)
		return true
	}
	e.ok(err)
	return false
}

func (e *edits) addMessages(b *editBox) {
	msgs := letters(1 + e.rng.IntN(3))
	for i := range msgs {
		e.serial++
		msgs[i].Flags, msgs[i].Identity = e.flags(), message.Identity{Email: oid("email", e.serial)}
		msgs[i].Content.Blob = blob.Key{byte(e.serial), byte(e.serial >> 8), 1}
	}
	edit := metadata.AddEdit{Mailbox: b.id, Messages: msgs, Quota: e.quota(), Now: later}
	e.note("add %d to %d, quota %d", len(msgs), b.id, edit.Quota)
	done, err := e.AddMessages(e.ctx, e.acc.ID, edit)
	var grown int64
	for _, n := range msgs {
		grown += n.Content.Size
	}
	if e.refused(err, edit.Quota, grown) {
		return
	}
	for i, n := range msgs {
		row := mailbox.Row{Flags: n.Flags, Size: n.Content.Size, Date: n.Date, Zone: n.Zone}
		uid := b.insert(editRow{Row: row, blob: n.Content.Blob}, n.Identity.Email)
		equal(e.t, "UID", done.UIDs[i], uid)
		e.model.enqueue(mutation.Append, ref(b.id, uid), mutation.Ref{}, flag.Op{})
	}
}

func (e *edits) copyMessages(b *editBox) {
	edit := metadata.CopyEdit{
		From: b.id, To: e.ids[e.rng.IntN(len(e.ids))], UIDs: e.uids(b), Move: e.rng.IntN(2) == 0,
		Quota: e.quota(), Now: later,
	}
	e.note("copy %+v", edit)
	done, err := e.CopyMessages(e.ctx, e.acc.ID, edit)
	var grown int64
	for _, r := range b.sorted() {
		if !edit.Move && edit.UIDs.Contains(uint32(r.UID)) {
			grown += r.Size
		}
	}
	if e.refused(err, edit.Quota, grown) {
		return
	}
	source, target := e.model.copy(edit)
	equal(e.t, "source and target", [2][]mailbox.UID{done.Source, done.Target}, [2][]mailbox.UID{source, target})
}

func (e *edits) removeMessages(b *editBox) {
	edit := metadata.RemoveEdit{Mailbox: b.id, UIDs: e.uids(b), Marked: e.rng.IntN(2) == 0, Now: later}
	if e.rng.IntN(5) == 0 {
		edit.Marked, edit.UIDs = true, nil
	}
	e.note("remove %+v", edit)
	done, err := e.RemoveMessages(e.ctx, e.acc.ID, edit)
	e.ok(err)
	var gone []mailbox.UID
	for _, r := range b.sorted() {
		if (edit.UIDs == nil || edit.UIDs.Contains(uint32(r.UID))) && (!edit.Marked || r.Flags.Has(flag.Deleted)) {
			gone = append(gone, r.UID)
		}
	}
	equal(e.t, "removed", done.UIDs.String(), mailbox.SetOf(gone...).String())
	e.model.remove(b, gone)
}

// up returns an upstream UID that was not used before.
func (e *edits) up() uint32 {
	e.serial++
	return uint32(e.serial)
}

func (e *edits) update(b *editBox) {
	u := metadata.Update{Mailbox: b.id, Now: later}
	if e.rng.IntN(12) == 0 {
		u.Reset = true
		for uid := range b.next {
			placing := e.model.placement(ref(b.id, uid)) != nil
			if _, departed := b.departed[uid]; (departed || b.rows[uid] != nil) && e.rng.IntN(6) > 0 && (!placing || e.rng.IntN(6) == 0) {
				u.Rebind = append(u.Rebind, metadata.Rebind{UID: uid, Upstream: e.up()})
			}
		}
	}
	if e.rng.IntN(3) == 0 {
		u.Expunge = e.uids(b)
	}
	for range e.rng.IntN(4) {
		uid := mailbox.UID(e.uids(b)[0].First)
		u.Flags = append(u.Flags[:len(u.Flags):len(u.Flags)], metadata.FlagChange{UID: uid, Flags: e.flags()})
	}
	seen := map[mailbox.UID]bool{}
	for i := 0; i < len(u.Flags); i++ { // one change each: the model does not know back and forth
		if seen[u.Flags[i].UID] {
			u.Flags = append(u.Flags[:i:i], u.Flags[i+1:]...)
			i--
			continue
		}
		seen[u.Flags[i].UID] = true
	}
	for range e.rng.IntN(4) {
		n := sample(e.up())
		n.Flags = e.flags()
		if known := b.sorted(); e.rng.IntN(5) == 0 && len(known) > 0 && !u.Reset {
			if up := b.rows[known[e.rng.IntN(len(known))].UID].up; up != 0 {
				n.Upstream = up
			}
		}
		u.New = append(u.New, n)
	}
	e.note("apply %+v", u)
	done, err := e.Apply(e.ctx, e.fence, u)
	e.ok(err)
	equal(e.t, "UIDs", done.UIDs, e.model.apply(u))
	equal(e.t, "changed", done.Changed, b.changed)
}

// ready says whether a mutation's turn may have come: what its messages depend on is done.
func (e *edits) ready(q mutation.Mutation) bool {
	return e.model.find(func(o mutation.Mutation) bool {
		return o.ID < q.ID && (o.Ref == q.Ref || o.Ref == q.Source && o.Kind != mutation.Expunge ||
			o.Source != mutation.Ref{} && (o.Source == q.Ref || q.Kind == mutation.Move && o.Source == q.Source))
	}) == nil
}

func (e *edits) intendSome() {
	var intents []metadata.Intended
	var want []mutation.ID
	for i := range e.model.queue {
		q := &e.model.queue[i]
		if e.rng.IntN(3) > 0 || !e.ready(*q) {
			continue
		}
		intents = append(intents, metadata.Intended{ID: q.ID, Intent: mutation.Intent{UIDNext: 5}})
		if q.State == mutation.Parked {
			continue
		}
		want = append(want, q.ID)
		if q.Kind.Places() {
			q.State = mutation.Sent
		}
	}
	got, err := e.Intend(e.ctx, e.fence, intents)
	e.ok(err)
	e.note("intend %v", want)
	equal(e.t, "may be sent", got, want)
}

func (e *edits) settleOne() {
	var ready []mutation.Mutation
	for _, q := range e.model.queue {
		if e.ready(q) && (q.State == mutation.Sent || q.Kind.Idempotent() && q.State == mutation.Waiting) {
			ready = append(ready, q)
		}
	}
	if len(ready) == 0 {
		return
	}
	q := ready[e.rng.IntN(len(ready))]
	o := metadata.Outcome{ID: q.ID, Version: q.Version, Reason: "r", Next: later}
	if e.rng.IntN(4) == 0 {
		o.Verdict = metadata.Verdict(e.rng.IntN(3))
	}
	if q.Version > 0 && e.rng.IntN(3) == 0 {
		o.Version--
	}
	if q.Kind == mutation.Flags && e.rng.IntN(2) == 0 {
		o.Rest = flag.Op{Add: flag.Make(0, q.Op.Add.Keywords()...)}
	}
	o.Left = q.Kind == mutation.Move && e.rng.IntN(2) == 0
	if q.Kind.Places() && e.rng.IntN(8) > 0 {
		o.Upstream = e.up()
		if b := e.model.boxes[q.Ref.Mailbox]; e.rng.IntN(10) == 0 {
			for _, r := range b.sorted() { // taken in by mistake
				if up := b.rows[r.UID].up; up != 0 {
					o.Upstream = up
				}
			}
		}
	}
	e.note("settle %s %+v", say(q), o)
	_, err := e.Settle(e.ctx, e.fence, later, []metadata.Outcome{o, {ID: 1 << 40}})
	e.ok(err)
	e.model.settle(o)
}

func (e *edits) resolve() {
	if len(e.model.queue) == 0 {
		return
	}
	q := &e.model.queue[e.rng.IntN(len(e.model.queue))]
	retry := e.rng.IntN(2) == 0
	e.note("resolve %s retry %v", say(*q), retry)
	err := e.Resolve(e.ctx, e.acc.ID, q.ID, retry, later)
	if q.State == mutation.Sent {
		e.fails(err, fault.Conflict)
		return
	}
	e.ok(err)
	if retry {
		was := *q
		q.State = mutation.Waiting
		e.model.catchUp(was)
	} else {
		e.model.discard(*q)
	}
}

// compare reads everything and compares it with the model.
func (e *edits) compare() {
	t := e.t
	t.Helper()
	var got, want []string
	for _, q := range e.queue() {
		got = append(got, fmt.Sprintf("%d %s %d<%d %v", q.ID, say(q.Mutation), q.Upstream, q.SourceUpstream, q.Departed))
	}
	for _, q := range e.model.queue {
		up, gone := e.model.upstream(q.Ref)
		source, _ := e.model.upstream(q.Source)
		want = append(want, fmt.Sprintf("%d %s %d<%d %v", q.ID, say(q), up, source, gone))
	}
	equal(t, "the queue", got, want)
	for _, b := range e.model.boxes {
		e.compareBox(b)
	}
	equal(t, "usage", e.used(), e.model.usage())
	equal(t, "the undo list", len(e.retained("", time.Time{})), e.model.retained)
}

// upstream returns a message's upstream UID and whether it is gone here.
func (m *editModel) upstream(r mutation.Ref) (uint32, bool) {
	b := m.boxes[r.Mailbox]
	if b == nil {
		return 0, false
	}
	if row := b.rows[r.UID]; row != nil {
		return row.up, false
	}
	return b.departed[r.UID], true
}

func (e *edits) compareBox(b *editBox) {
	t := e.t
	t.Helper()
	rows := b.sorted()
	d := e.changes(b.id, 0)
	equal(t, "messages", append([]mailbox.Row(nil), d.Rows...), rows)
	equal(t, "HIGHESTMODSEQ and UIDNEXT", [2]any{d.ModSeq, d.UIDNext}, [2]any{b.seq, b.next})
	since := mailbox.ModSeq(e.rng.IntN(int(b.seq) + 1))
	checkDelta(t, e.changes(b.id, since), since, b.history[since], byUID(rows))
	var upstream []metadata.UpstreamRow
	var bound, bodies, unseen uint32
	var size, deletedSize int64
	for uid := range b.next {
		up, gone := e.model.upstream(ref(b.id, uid))
		row := b.rows[uid]
		if _, departed := b.departed[uid]; row == nil && !departed {
			continue
		}
		r := metadata.UpstreamRow{UID: uid, Upstream: up, Email: b.emails[uid], Departed: gone}
		r.Placing = up == 0 && e.model.placement(ref(b.id, uid)) != nil
		if row != nil {
			r.Flags, r.HasBody = row.Flags, row.blob != blob.Key{}
			size += row.Size
			if row.Flags.Has(flag.Deleted) {
				deletedSize += row.Size
			}
			if r.HasBody {
				bodies++
			}
			if !row.Flags.Has(flag.Seen) {
				unseen++
			}
		}
		if up != 0 {
			bound++
		}
		upstream = append(upstream, r)
	}
	equal(t, "upstream rows", e.upstreamRows(b.id), upstream)
	m := e.mirrored(b.id)
	uncertain := e.model.find(func(q mutation.Mutation) bool {
		return q.State == mutation.Sent && q.Ref.Mailbox == b.id
	}) != nil
	equal(t, "counters", []any{m.Messages, m.Unseen, m.Bodies, m.Bound, m.Uncertain, m.Size, m.DeletedSize},
		[]any{uint32(len(rows)), unseen, bodies, bound, uncertain, size, deletedSize})
	for _, c := range e.contents(b.id) {
		equal(t, "the body", c.Blob, b.rows[c.UID].blob)
	}
}

// invariants checks what must hold whatever the model says.
func (e *edits) invariants() {
	here, departed := map[mutation.Ref]bool{}, map[mutation.Ref]bool{}
	for _, id := range e.ids {
		for _, r := range e.upstreamRows(id) {
			if r.Departed {
				departed[ref(id, r.UID)] = true
			} else {
				here[ref(id, r.UID)] = true
			}
		}
	}
	needed := map[mutation.Ref]bool{}
	for _, q := range e.queue() {
		switch {
		case q.Kind == mutation.Expunge && !departed[q.Ref]:
			e.t.Errorf("%s: it did not depart", say(q.Mutation))
		case q.Kind != mutation.Expunge && !here[q.Ref] && !departed[q.Ref]:
			e.t.Errorf("%s: there is no such message", say(q.Mutation))
		}
		if q.Kind == mutation.Move && here[q.Source] {
			e.t.Errorf("%s: its source is here", say(q.Mutation))
		}
		needed[q.Source] = true
		if q.Kind != mutation.Flags {
			needed[q.Ref] = true
		}
	}
	for r := range departed {
		if !needed[r] {
			e.t.Errorf("message %v departed, and nothing is to be done about it", r)
		}
	}
	if e.t.Failed() {
		e.t.FailNow()
	}
}

package metadatatest

import (
	"slices"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// editModel is an account with its queue as plain slices and maps: the slow, obvious store of what clients change.
type editModel struct {
	boxes    map[mailbox.ID]*editBox
	queue    []mutation.Mutation
	lastID   mutation.ID
	retained int
}

type editBox struct {
	id       mailbox.ID
	next     mailbox.UID
	seq      mailbox.ModSeq
	changed  bool // by the change that runs
	rows     map[mailbox.UID]*editRow
	departed map[mailbox.UID]uint32
	emails   map[mailbox.UID]mailbox.ObjectID // of all that ever were
	history  map[mailbox.ModSeq]map[mailbox.UID]mailbox.Row
}

type editRow struct {
	mailbox.Row
	up   uint32
	blob blob.Key // zero: the body is not here
}

func (b *editBox) touch(r *editRow) {
	b.changed = true
	r.ModSeq = b.seq + 1
}

// commit ends a change of the boxes.
func (m *editModel) commit() {
	for _, b := range m.boxes {
		if !b.changed {
			continue
		}
		b.changed = false
		b.seq++
		b.history[b.seq] = byUID(b.sorted())
	}
}

func (b *editBox) sorted() (rows []mailbox.Row) {
	for _, r := range b.rows {
		rows = append(rows, r.Row)
	}
	slices.SortFunc(rows, func(x, y mailbox.Row) int { return int(x.UID) - int(y.UID) })
	return rows
}

func (b *editBox) insert(r editRow, email mailbox.ObjectID) mailbox.UID {
	r.UID = b.next
	b.next++
	b.touch(&r)
	b.rows[r.UID], b.emails[r.UID] = &r, email
	return r.UID
}

func (m *editModel) enqueue(kind mutation.Kind, ref, source mutation.Ref, op flag.Op) {
	m.lastID++
	m.queue = append(m.queue, mutation.Mutation{ID: m.lastID, Kind: kind, Ref: ref, Source: source, Op: op})
}

func (m *editModel) find(fits func(q mutation.Mutation) bool) *mutation.Mutation {
	for i := range m.queue {
		if fits(m.queue[i]) {
			return &m.queue[i]
		}
	}
	return nil
}

func (m *editModel) drop(fits func(q mutation.Mutation) bool) {
	m.queue = slices.DeleteFunc(m.queue, fits)
}

func (m *editModel) placement(r mutation.Ref) *mutation.Mutation {
	return m.find(func(q mutation.Mutation) bool { return q.Kind.Places() && q.Ref == r })
}

func (m *editModel) followed(r mutation.Ref) bool {
	return m.find(func(q mutation.Mutation) bool { return q.Source == r }) != nil
}

func (m *editModel) expunging(r mutation.Ref) bool {
	return m.find(func(q mutation.Mutation) bool { return q.Kind == mutation.Expunge && q.Ref == r }) != nil
}

// editFlags does to the model what EditFlags is to do.
func (m *editModel) editFlags(e metadata.FlagEdit) (changed, modified mailbox.Set) {
	b := m.boxes[e.Mailbox]
	var again []mutation.Ref
	for _, row := range b.sorted() {
		r := b.rows[row.UID]
		one := mailbox.SetOf(r.UID)
		switch {
		case !e.UIDs.Contains(uint32(r.UID)):
			continue
		case e.Unchanged != nil && r.ModSeq > *e.Unchanged:
			modified = modified.Union(one)
			continue
		}
		old, op := r.Flags, flag.Op{}
		switch e.Mode {
		case metadata.AddFlags:
			op.Add = e.Flags
		case metadata.RemoveFlags:
			op.Remove = e.Flags
		case metadata.ReplaceFlags:
			op = flag.Op{Add: e.Flags, Remove: old.Minus(e.Flags)}
		}
		if e.Again {
			if e.Flags.Minus(old).Empty() {
				again = append(again, ref(b.id, r.UID))
				m.queueFlags(ref(b.id, r.UID), op)
			}
			continue
		}
		if want := op.Apply(old); !want.Equal(old) {
			r.Flags = want
			b.touch(r)
			changed = changed.Union(one)
			m.queueFlags(ref(b.id, r.UID), flag.Replace(old, want))
		}
	}
	m.handOn(again, e.Flags)
	return changed, modified
}

func (m *editModel) queueFlags(r mutation.Ref, op flag.Op) {
	for _, n := range mutation.Narrow(m.queue, r, op) {
		m.find(func(q mutation.Mutation) bool { return q.ID == n.ID }).Op = n.Op
		m.drop(func(q mutation.Mutation) bool { return q.ID == n.ID && n.Op.Empty() })
	}
	if id, ok := mutation.MergeInto(m.queue, r); ok {
		q := m.find(func(q mutation.Mutation) bool { return q.ID == id })
		q.Op = q.Op.Then(op)
		q.Version++
		return
	}
	m.enqueue(mutation.Flags, r, mutation.Ref{}, op)
}

// copy does to the model what CopyMessages is to do.
func (m *editModel) copy(e metadata.CopyEdit) (source, target []mailbox.UID) {
	from, to := m.boxes[e.From], m.boxes[e.To]
	for _, row := range from.sorted() {
		if !e.UIDs.Contains(uint32(row.UID)) {
			continue
		}
		r := *from.rows[row.UID]
		r.up = 0
		uid := to.insert(r, from.emails[row.UID])
		source, target = append(source, row.UID), append(target, uid)
	}
	for i, uid := range source {
		msg, up := ref(from.id, uid), from.rows[uid].up
		about := m.about(msg, up)
		p := mutation.Duplicate(about, msg)
		if e.Move {
			p = mutation.Relocate(about, msg, func(mailbox.ID) bool { return false })
			m.drop(func(q mutation.Mutation) bool {
				return slices.Contains(p.Cancel, q.ID) || !p.Depart && q.Ref == msg
			})
			if p.Depart {
				from.departed[uid] = up
			}
			m.erase(from, uid, false)
		}
		m.enqueue(p.Kind, ref(to.id, target[i]), p.Source, flag.Op{})
		if !p.Flags.Empty() {
			m.enqueue(mutation.Flags, ref(to.id, target[i]), mutation.Ref{}, p.Flags)
		}
	}
	return source, target
}

// about returns the queue as it is about a message that has an upstream UID, or not.
func (m *editModel) about(msg mutation.Ref, up uint32) []mutation.Mutation {
	about := slices.Clone(m.queue)
	if up != 0 { // it is there already
		about = slices.DeleteFunc(about, func(q mutation.Mutation) bool { return q.Kind.Places() && q.Ref == msg })
	}
	return about
}

// remove expunges messages for a client.
func (m *editModel) remove(b *editBox, uids []mailbox.UID) {
	var canceled []mutation.Mutation
	var departing []mailbox.UID
	for _, uid := range uids {
		r := ref(b.id, uid)
		if p := m.placement(r); !mutation.Remove(m.about(r, b.rows[uid].up), r).Depart {
			canceled = append(canceled, *p)
		} else {
			departing = append(departing, uid)
			b.departed[uid] = b.rows[uid].up
		}
	}
	for _, uid := range uids {
		m.erase(b, uid, true)
	}
	for _, uid := range departing {
		r := ref(b.id, uid)
		if !m.followed(r) {
			m.drop(func(q mutation.Mutation) bool { return q.Kind == mutation.Flags && q.Ref == r })
		}
		m.enqueue(mutation.Expunge, r, mutation.Ref{}, flag.Op{})
	}
	m.cancel(canceled, false)
}

func (m *editModel) erase(b *editBox, uid mailbox.UID, retain bool) {
	if retain && b.rows[uid].blob != (blob.Key{}) {
		m.retained++
	}
	delete(b.rows, uid)
	b.changed = true
}

// cancel takes placements back, round after round.
func (m *editModel) cancel(gone []mutation.Mutation, back bool) {
	for len(gone) > 0 {
		for _, p := range gone {
			m.drop(func(q mutation.Mutation) bool { return q.Ref == p.Ref })
			delete(m.boxes[p.Ref.Mailbox].departed, p.Ref.UID)
		}
		var next []mutation.Mutation
		seen := map[mutation.Ref]bool{}
		for _, p := range inOrder(gone) {
			s := p.Source
			if p.Kind == mutation.Append || seen[s] {
				continue
			}
			seen[s] = true
			if _, ok := m.boxes[s.Mailbox].departed[s.UID]; !ok {
				continue
			}
			isMove := slices.ContainsFunc(gone, func(g mutation.Mutation) bool {
				return g.Source == s && g.Kind == mutation.Move
			})
			own := m.placement(s)
			useless := own != nil && own.State != mutation.Sent && !m.followed(s) && (isMove || m.expunging(s))
			switch {
			case useless && (!isMove || !back):
				next = append(next, *own)
			case isMove && !back:
				m.enqueue(mutation.Expunge, s, mutation.Ref{}, flag.Op{})
			default:
				m.comeBack(s)
			}
		}
		gone = next
	}
}

// inOrder sorts placements by where their sources are: by mailbox as it comes first, then by UID.
func inOrder(ps []mutation.Mutation) []mutation.Mutation {
	rank := map[mailbox.ID]int{}
	for _, p := range ps {
		if _, ok := rank[p.Source.Mailbox]; !ok && p.Kind != mutation.Append {
			rank[p.Source.Mailbox] = len(rank)
		}
	}
	ps = slices.Clone(ps)
	slices.SortStableFunc(ps, func(a, b mutation.Mutation) int {
		if d := rank[a.Source.Mailbox] - rank[b.Source.Mailbox]; d != 0 {
			return d
		}
		return int(a.Source.UID) - int(b.Source.UID)
	})
	return ps
}

// apply does to the model what Apply is to do.
func (m *editModel) apply(u metadata.Update) (uids []mailbox.UID) {
	b := m.boxes[u.Mailbox]
	if u.Reset {
		for _, r := range b.rows {
			r.up = 0
		}
		for uid := range b.departed {
			b.departed[uid] = 0
		}
	}
	for _, rb := range u.Rebind {
		b.bind(rb.UID, rb.Upstream)
	}
	m.lose(b, u.Expunge)
	for _, fc := range u.Flags {
		r := b.rows[fc.UID]
		if r == nil {
			continue
		}
		if want := mutation.Rebase(fc.Flags, m.queue, ref(b.id, fc.UID)); !want.Equal(r.Flags) {
			r.Flags = want
			b.touch(r)
		}
	}
	for _, n := range u.New {
		if n.Upstream != 0 && b.has(n.Upstream) != 0 {
			uids = append(uids, 0)
			continue
		}
		uids = append(uids, b.insert(editRow{
			Row: mailbox.Row{Flags: n.Flags, Size: n.Size, Date: n.Date, Zone: n.Zone}, up: n.Upstream,
		}, n.Identity.Email))
	}
	return uids
}

// has returns the message that has an upstream UID, or 0.
func (b *editBox) has(up uint32) mailbox.UID {
	for uid, r := range b.rows {
		if r.up == up {
			return uid
		}
	}
	for uid, u := range b.departed {
		if u == up {
			return uid
		}
	}
	return 0
}

func (b *editBox) bind(uid mailbox.UID, up uint32) {
	if r := b.rows[uid]; r != nil {
		r.up = up
	} else if _, ok := b.departed[uid]; ok {
		b.departed[uid] = up
	}
}

func (m *editModel) lose(b *editBox, uids mailbox.Set) {
	var canceled, canceledGone []mutation.Mutation
	for uid := range b.next {
		r := ref(b.id, uid)
		p := m.placement(r)
		row, up := b.rows[uid], b.departed[uid]
		_, gone := b.departed[uid]
		switch {
		case !uids.Contains(uint32(uid)), row == nil && !gone, p != nil && (row != nil && row.up == 0 || gone && up == 0):
			continue
		case row != nil:
			if p != nil {
				canceled = append(canceled, *p)
			}
			m.erase(b, uid, true)
		default:
			if p != nil {
				canceledGone = append(canceledGone, *p)
			}
			delete(b.departed, uid)
		}
		m.drop(func(q mutation.Mutation) bool {
			return q.Ref == r && (q.Kind == mutation.Flags || q.Kind == mutation.Expunge)
		})
	}
	m.cancel(append(canceled, canceledGone...), false)
}

// settle does to the model what Settle is to do with one outcome.
func (m *editModel) settle(o metadata.Outcome) {
	q := m.find(func(q mutation.Mutation) bool { return q.ID == o.ID })
	if q == nil {
		return
	}
	if o.Verdict != metadata.Done {
		q.State = mutation.Waiting
		if o.Verdict == metadata.Park && (q.Kind != mutation.Flags || q.Version == o.Version) {
			if q.Kind == mutation.Flags {
				m.parkFlags(*q, o)
				return
			}
			q.State = mutation.Parked
		}
		m.giveUp(*q)
		return
	}
	if left, more := mutation.Settled(*q, o.Version); more {
		*q = left
		return
	}
	done := *q
	m.drop(func(x mutation.Mutation) bool { return x.ID == done.ID })
	b := m.boxes[done.Ref.Mailbox]
	switch {
	case done.Kind == mutation.Expunge:
		m.forget(done.Ref)
	case done.Kind.Places():
		if done.Kind == mutation.Move && (!o.Left || !m.left(done.Source)) {
			m.forget(done.Source)
		}
		if other := b.has(o.Upstream); o.Upstream != 0 && other != 0 && other != done.Ref.UID {
			m.evict(b, other)
		}
		if up, departed := b.departed[done.Ref.UID]; departed && up == 0 || b.rows[done.Ref.UID] != nil && b.rows[done.Ref.UID].up == 0 {
			b.bind(done.Ref.UID, o.Upstream)
		}
		m.comeBack(done.Ref)
		if done.Kind == mutation.Copy {
			m.comeBack(done.Source)
		}
	}
}

func (m *editModel) evict(b *editBox, uid mailbox.UID) {
	r := ref(b.id, uid)
	if b.rows[uid] != nil {
		m.erase(b, uid, false)
	}
	p := m.placement(r)
	if p != nil {
		m.cancel([]mutation.Mutation{*p}, true)
	}
	m.drop(func(q mutation.Mutation) bool { return q.Ref == r })
	delete(b.departed, uid)
}

// comeBack forgets a departed message that nothing is to be done with.
func (m *editModel) comeBack(r mutation.Ref) {
	b := m.boxes[r.Mailbox]
	if _, departed := b.departed[r.UID]; departed && !m.expunging(r) && !m.followed(r) && m.placement(r) == nil {
		delete(b.departed, r.UID)
		m.drop(func(q mutation.Mutation) bool { return q.Ref == r })
	}
}

func (m *editModel) forget(r mutation.Ref) {
	delete(m.boxes[r.Mailbox].departed, r.UID)
	m.drop(func(q mutation.Mutation) bool {
		return q.Ref == r && (q.Kind == mutation.Flags || q.Kind == mutation.Expunge)
	})
}

// giveUp drops a placement that failed, of a message that is gone, where nothing else needs it.
func (m *editModel) giveUp(q mutation.Mutation) {
	if _, departed := m.boxes[q.Ref.Mailbox].departed[q.Ref.UID]; !departed || !q.Kind.Places() {
		return
	}
	if later, op, ok := mutation.Shorten(m.queue, q); ok && q.State == mutation.Parked {
		m.shorten(q, later, op)
		return
	}
	switch followed := m.followed(q.Ref); {
	case followed && (q.State == mutation.Parked || q.Kind == mutation.Append):
		m.cancel([]mutation.Mutation{q}, true)
	case !followed && m.expunging(q.Ref):
		m.cancel([]mutation.Mutation{q}, false)
	}
}

// discard does to the model what Resolve is to do.
func (m *editModel) discard(q mutation.Mutation) {
	m.drop(func(x mutation.Mutation) bool { return x.ID == q.ID })
	b := m.boxes[q.Ref.Mailbox]
	switch {
	case q.Kind.Places():
		if b.rows[q.Ref.UID] != nil {
			m.erase(b, q.Ref.UID, true)
		}
		m.cancel([]mutation.Mutation{q}, true)
	case q.Kind == mutation.Expunge:
		m.comeBack(q.Ref)
	}
}

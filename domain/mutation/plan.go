package mutation

import (
	"cmp"
	"slices"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// Plan returns what can be carried out now of a queue, which is given in the order of its IDs, from its beginning; the end
// may be missing. See the package's invariants 4 and 5 for what waits for what. The cost is linear in the number of items,
// but for sorting batches.
func Plan(items []Item, now time.Time) Schedule {
	p := planner{
		items:     items,
		now:       now,
		messages:  make(map[Ref]*message, len(items)),
		mailboxes: map[mailbox.ID]*box{},
		names:     map[string]*name{},
	}
	for i := range items {
		p.item(i)
	}
	p.out.Stages = p.stages()
	return p.out
}

// planner gives each item its turn. What is carried out at level n follows something at level n-1.
type planner struct {
	items     []Item
	now       time.Time
	messages  map[Ref]*message
	mailboxes map[mailbox.ID]*box
	names     map[string]*name
	levels    []level
	out       Schedule
}

// level is the items that have the same turn.
type level struct {
	mailboxes []int  // changes of mailboxes as a whole
	messages  []task // changes of messages
}

// task is an item and how it is carried out: its own kind, or Append.
type task struct {
	item int
	kind Kind
}

// message is what the queue has had so far for one message.
type message struct {
	placing bool // a placement is in the queue
	never   bool // its placement is moot: it will not be upstream

	placed         trail // its placement
	added, removed flag.Set
	adds, removes  trail // the Flags that added added, and removed removed
	copies         trail // Copies from it
	sole           trail // those of them that nothing but the upstream's message can give
	gone           trail // its Move away, or Expunge
}

// box is what the queue has had so far for one mailbox.
type box struct {
	created    trail
	renamed    trail
	changed    trail // Renames and Deletes
	deleted    bool  // it is being deleted, and that is not stuck
	subscribed trail
	touched    trail // changes of messages in it, or with their source in it
	sole       trail // Moves into it, and what comes from it that nothing but the upstream's messages can give
}

func (p *planner) message(r Ref) *message {
	m := p.messages[r]
	if m == nil {
		m = &message{}
		p.messages[r] = m
	}
	return m
}

func (p *planner) box(id mailbox.ID) *box {
	b := p.mailboxes[id]
	if b == nil {
		b = &box{}
		p.mailboxes[id] = b
	}
	return b
}

func (p *planner) item(i int) {
	switch m := &p.items[i]; m.Kind {
	case Flags:
		p.flags(i, m)
	case Append, Copy, Move:
		p.placement(i, m)
	case Expunge:
		p.expunge(i, m)
	case Create, Delete, Rename, Subscribe, Unsubscribe:
		p.mailbox(i, m)
	}
}

// settle decides whether the item can have the turn, and notes it. Kind is how it is to be carried out.
func (p *planner) settle(i int, t *turn, kind Kind) {
	m := &p.items[i]
	switch {
	case m.State == Parked:
		t.stuck = true
	case m.State == Sent: // whatever it needed, it had; its outcome is found out before anything behind it is done
		t.waits, t.stuck = true, false
	case m.Next.After(p.now):
		if p.out.Next.IsZero() || m.Next.Before(p.out.Next) {
			p.out.Next = m.Next
		}
		t.waits = true
	}
	if t.stuck || t.waits {
		return
	}
	for len(p.levels) <= t.level {
		p.levels = append(p.levels, level{})
	}
	l := &p.levels[t.level]
	if kind >= Create {
		l.mailboxes = append(l.mailboxes, i)
	} else {
		l.messages = append(l.messages, task{i, kind})
	}
}

// in makes a change of a message wait for its mailbox. Behind a Delete it goes with the mailbox, or follows when that is
// Parked.
func (p *planner) in(b *box, t *turn) {
	t.need(b.created)
	t.follow(b.changed)
	t.waits = t.waits || b.deleted
}

// absent deals with an item about a message that is not upstream and that nothing will place there. It says whether
// it did.
func (p *planner) absent(i int, m *message, t *turn) bool {
	switch {
	case p.items[i].Upstream != 0 || m.placing:
		return false
	case m.never:
		p.out.Moot = append(p.out.Moot, i)
		return true
	}
	if p.items[i].State != Parked {
		p.out.Unbound = append(p.out.Unbound, i)
	}
	t.waits = true
	return false
}

func (p *planner) flags(i int, it *Item) {
	m, b := p.message(it.Ref), p.box(it.Ref.Mailbox)
	var t turn
	if it.Op.Empty() && it.State != Parked {
		p.out.Moot = append(p.out.Moot, i)
		return
	}
	if p.absent(i, m, &t) {
		return
	}
	p.in(b, &t)
	t.need(m.placed)
	t.follow(m.copies)
	t.follow(m.gone)
	if overlap(it.Op.Add, m.removed) {
		t.follow(m.removes)
	}
	if overlap(it.Op.Remove, m.added) {
		t.follow(m.adds)
	}
	p.settle(i, &t, Flags)
	if !it.Op.Add.Empty() {
		m.added = m.added.Union(it.Op.Add)
		m.adds.add(t)
	}
	if !it.Op.Remove.Empty() {
		m.removed = m.removed.Union(it.Op.Remove)
		m.removes.add(t)
	}
	b.touched.add(t)
}

func overlap(a, b flag.Set) bool { return a.Minus(b) != a }

func (p *planner) placement(i int, it *Item) {
	m, b := p.message(it.Ref), p.box(it.Ref.Mailbox)
	nowhere := it.Kind != Append && it.SourceUpstream == 0 && !p.message(it.Source).placing
	upload := it.Kind == Append || nowhere && !it.SourceHere
	if upload && it.State != Sent {
		switch {
		case it.Departed:
			m.never = true
			p.out.Moot = append(p.out.Moot, i)
			return
		case !it.Body && it.State != Parked:
			p.out.Lost = append(p.out.Lost, i)
			m.placing = true
			m.placed.stuck = true
			return
		}
	}
	var t turn
	p.in(b, &t)
	if nowhere && !upload && it.State == Waiting { // its source is upstream, and is yet to be found
		p.out.Unbound = append(p.out.Unbound, i)
		t.waits = true
	}
	if upload {
		p.settle(i, &t, Append)
	} else {
		p.fromSource(i, it, &t)
	}
	m.placing = true
	m.placed.add(t)
	b.touched.add(t)
	if it.Kind == Move { // with its target gone, it would be forgotten that its source is gone here
		b.sole.add(t)
	}
}

// fromSource gives a Copy or Move, which the upstream carries out, its turn after what was done with its source.
func (p *planner) fromSource(i int, it *Item, t *turn) {
	s, from := p.message(it.Source), p.box(it.Source.Mailbox)
	p.in(from, t)
	t.need(s.placed)
	t.follow(s.adds)
	t.follow(s.removes)
	t.follow(s.gone)
	if it.Kind == Move {
		t.follow(s.copies)
		t.need(s.sole)
	}
	p.settle(i, t, it.Kind)
	if it.Kind == Move {
		s.gone.add(*t)
	} else {
		s.copies.add(*t)
	}
	if !it.Body {
		from.sole.add(*t)
		if it.Kind == Copy {
			s.sole.add(*t)
		}
	}
	from.touched.add(*t)
}

func (p *planner) expunge(i int, it *Item) {
	m, b := p.message(it.Ref), p.box(it.Ref.Mailbox)
	var t turn
	if p.absent(i, m, &t) {
		return
	}
	p.in(b, &t)
	t.need(m.placed)
	t.follow(m.adds)
	t.follow(m.removes)
	t.follow(m.copies)
	t.need(m.sole)
	p.settle(i, &t, Expunge)
	m.gone.add(t)
	b.touched.add(t)
}

func (p *planner) mailbox(i int, it *Item) {
	b := p.box(it.Ref.Mailbox)
	if it.Ref.Mailbox == 0 { // what is done with other names does not matter
		b = &box{}
	}
	var t turn
	p.relate(&t, it.Kind, it.Name, it.Ref.Mailbox)
	if it.Kind == Rename {
		p.relate(&t, it.Kind, it.To, it.Ref.Mailbox)
	}
	t.need(b.created)
	t.follow(b.changed)
	switch it.Kind {
	case Create:
		t.follow(b.touched)
	case Rename:
		t.need(b.renamed)
		t.follow(b.touched)
	case Delete:
		t.need(b.renamed) // those below it are to be renamed, too
		t.need(b.sole)
		t.follow(b.touched)
		t.follow(b.subscribed) // also under a name that it had before
	case Subscribe, Unsubscribe:
		t.need(b.subscribed)
	}
	p.settle(i, &t, it.Kind)
	switch it.Kind {
	case Create:
		b.created.add(t)
	case Rename:
		b.renamed.add(t)
		b.changed.add(t)
	case Delete:
		b.changed.add(t)
		b.deleted = b.deleted || !t.stuck
	case Subscribe, Unsubscribe:
		b.subscribed.add(t)
	}
	p.record(t, it.Kind, it.Name, it.Ref.Mailbox)
	if it.Kind == Rename {
		p.record(t, it.Kind, it.To, it.Ref.Mailbox)
	}
}

// stages turns the levels into stages. Changes of mailboxes have stages of their own, because they change what other
// commands must call a mailbox, also those below it.
func (p *planner) stages() []Stage {
	var out []Stage
	for _, l := range p.levels {
		if len(l.mailboxes) > 0 {
			s := make(Stage, 0, len(l.mailboxes))
			for _, i := range l.mailboxes {
				s = append(s, Batch{Kind: p.items[i].Kind, Mailbox: p.items[i].Ref.Mailbox, Items: []int{i}})
			}
			out = append(out, s)
		}
		if len(l.messages) > 0 {
			out = append(out, p.batches(l.messages))
		}
	}
	return out
}

// batchKey is what the items of a batch have in common.
type batchKey struct {
	kind        Kind
	mailbox, to mailbox.ID
	flags       flag.Set
	remove      bool
}

// batches groups the tasks, those of one mailbox side by side.
func (p *planner) batches(tasks []task) Stage {
	var s Stage
	open := map[batchKey]int{}
	put := func(k batchKey, item int) {
		at, ok := open[k]
		if !ok || len(s[at].Items) == maxBatch {
			at = len(s)
			open[k] = at
			s = append(s, Batch{Kind: k.kind, Mailbox: k.mailbox, To: k.to, Flags: k.flags, Remove: k.remove})
		}
		s[at].Items = append(s[at].Items, item)
	}
	for _, t := range tasks {
		it := &p.items[t.item]
		switch t.kind {
		case Flags:
			if !it.Op.Add.Empty() {
				put(batchKey{kind: Flags, mailbox: it.Ref.Mailbox, flags: it.Op.Add}, t.item)
			}
			if !it.Op.Remove.Empty() {
				put(batchKey{kind: Flags, mailbox: it.Ref.Mailbox, flags: it.Op.Remove, remove: true}, t.item)
			}
		case Copy, Move:
			put(batchKey{kind: t.kind, mailbox: it.Source.Mailbox, to: it.Ref.Mailbox}, t.item)
		default:
			put(batchKey{kind: t.kind, mailbox: it.Ref.Mailbox}, t.item)
		}
	}
	slices.SortStableFunc(s, func(a, b Batch) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.To, b.To))
	})
	return s
}

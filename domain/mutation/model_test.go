package mutation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// seed returns the seed of a randomised test: IMAPPED_SEED, or a new one, which is logged.
func seed(t testing.TB) uint64 {
	s, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64)
	if err != nil {
		s = rand.Uint64()
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return s
}

// copyOf is a message's copy somewhere.
type copyOf struct {
	content int
	flags   flag.Set
	bound   bool // upstream only: it is known here that it is there
}

// state is a mail store in the simplest form: what is here, or what is upstream.
type state struct {
	names    map[mailbox.ID]string
	subs     map[mailbox.ID]bool
	messages map[Ref]copyOf
}

func newState() state {
	return state{map[mailbox.ID]string{}, map[mailbox.ID]bool{}, map[Ref]copyOf{}}
}

func (s state) clone() state {
	return state{maps.Clone(s.names), maps.Clone(s.subs), maps.Clone(s.messages)}
}

func (s state) taken(name string) bool {
	for _, n := range s.names {
		if n == name {
			return true
		}
	}
	return false
}

func (s state) remove(id mailbox.ID) {
	delete(s.names, id)
	delete(s.subs, id)
	maps.DeleteFunc(s.messages, func(r Ref, _ copyOf) bool { return r.Mailbox == id })
}

// rename gives the mailbox and those below it another name; it says no when one of these is taken.
func (s state) rename(from, to string) bool {
	moved := map[mailbox.ID]string{}
	for id, n := range s.names {
		if n == from || strings.HasPrefix(n, from+"/") {
			moved[id] = to + n[len(from):]
		}
	}
	for id, n := range s.names {
		if _, ok := moved[id]; !ok && slices.Contains(slices.Collect(maps.Values(moved)), n) {
			return false
		}
	}
	maps.Copy(s.names, moved)
	return true
}

// same returns the first difference of two states, or "".
func (s state) same(o state) string {
	if !maps.Equal(s.names, o.names) {
		return fmt.Sprintf("mailboxes %v and %v", s.names, o.names)
	}
	if !maps.Equal(s.subs, o.subs) {
		return fmt.Sprintf("subscriptions %v and %v", s.subs, o.subs)
	}
	for _, r := range refs(s.messages, o.messages) {
		a, here := s.messages[r]
		b, there := o.messages[r]
		switch {
		case here != there:
			return fmt.Sprintf("message %v: %v and %v", r, here, there)
		case a.content != b.content:
			return fmt.Sprintf("message %v: content %d and %d", r, a.content, b.content)
		case !a.flags.Equal(b.flags):
			return fmt.Sprintf("message %v: flags (%v) and (%v)", r, a.flags, b.flags)
		}
	}
	return ""
}

func refs(of ...map[Ref]copyOf) []Ref {
	all := map[Ref]bool{}
	for _, m := range of {
		for r := range m {
			all[r] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b Ref) int {
		return int(a.Mailbox-b.Mailbox)*1000 + int(a.UID) - int(b.UID)
	})
}

// rig is a store with its queue, as a client's changes make them, and the upstream that it mirrors.
type rig struct {
	merge bool // changes of flags are merged, and what is removed is canceled; else every change is appended as it is
	here  state
	up    state
	queue []Mutation

	bodies   map[int]bool // contents whose body is here
	gone     map[Ref]bool // departed
	hidden   map[mailbox.ID]bool
	rows     map[Ref]copyOf // of hidden mailboxes: rows stay
	uids     map[mailbox.ID]mailbox.UID
	lastBox  mailbox.ID
	lastID   ID
	contents int
	log      []string
}

func newRig(merge bool) *rig {
	return &rig{
		merge: merge, here: newState(), up: newState(),
		bodies: map[int]bool{}, gone: map[Ref]bool{}, hidden: map[mailbox.ID]bool{}, rows: map[Ref]copyOf{},
		uids: map[mailbox.ID]mailbox.UID{},
	}
}

// mirrored gives both sides a mailbox with messages.
func (g *rig) mirrored(name string, messages int, body func() bool) {
	g.lastBox++
	g.here.names[g.lastBox], g.up.names[g.lastBox] = name, name
	for range messages {
		g.contents++
		g.bodies[g.contents] = body()
		r := g.newRef(g.lastBox)
		g.here.messages[r] = copyOf{content: g.contents}
		g.up.messages[r] = copyOf{content: g.contents, bound: true}
	}
}

func (g *rig) newRef(id mailbox.ID) Ref {
	g.uids[id]++
	return Ref{id, g.uids[id]}
}

func (g *rig) note(format string, args ...any) { g.log = append(g.log, fmt.Sprintf(format, args...)) }

func (g *rig) push(m Mutation) {
	g.lastID++
	m.ID = g.lastID
	g.queue = append(g.queue, m)
}

func (g *rig) cancel(ids []ID) {
	g.queue = slices.DeleteFunc(g.queue, func(m Mutation) bool { return slices.Contains(ids, m.ID) })
}

// What clients do.

func (g *rig) flag(r Ref, op flag.Op) {
	g.note("flags %v +(%v) -(%v)", r, op.Add, op.Remove)
	row := g.here.messages[r]
	row.flags = op.Apply(row.flags)
	g.here.messages[r] = row
	g.pushFlags(r, op)
}

func (g *rig) pushFlags(r Ref, op flag.Op) {
	if g.merge {
		if id, ok := MergeInto(g.queue, r); ok {
			i := slices.IndexFunc(g.queue, func(m Mutation) bool { return m.ID == id })
			g.queue[i].Op = g.queue[i].Op.Then(op)
			g.queue[i].Version++
			return
		}
		for _, n := range Narrow(g.queue, r, op) {
			i := slices.IndexFunc(g.queue, func(m Mutation) bool { return m.ID == n.ID })
			g.queue[i] = n
			if n.Op.Empty() {
				g.cancel([]ID{n.ID})
			}
		}
	}
	g.push(Mutation{Kind: Flags, Ref: r, Op: op})
}

func (g *rig) append(id mailbox.ID, flags flag.Set) {
	r := g.newRef(id)
	g.note("append %v (%v)", r, flags)
	g.contents++
	g.bodies[g.contents] = true
	g.here.messages[r] = copyOf{content: g.contents, flags: flags}
	g.push(Mutation{Kind: Append, Ref: r})
}

func (g *rig) copy(s Ref, to mailbox.ID) {
	r := g.newRef(to)
	g.note("copy %v to %v", s, r)
	g.here.messages[r] = g.here.messages[s]
	g.place(r, Duplicate(g.queue, s))
}

func (g *rig) place(r Ref, p Placing) {
	g.cancel(p.Cancel)
	g.push(Mutation{Kind: p.Kind, Ref: r, Source: p.Source})
	if !p.Flags.Empty() {
		g.pushFlags(r, p.Flags)
	}
}

func (g *rig) move(s Ref, to mailbox.ID) {
	r := g.newRef(to)
	g.note("move %v to %v", s, r)
	g.here.messages[r] = g.here.messages[s]
	delete(g.here.messages, s)
	p := Relocate(g.queue, s, func(id mailbox.ID) bool { return g.hidden[id] })
	if p.Depart {
		g.gone[s] = true
	}
	g.place(r, p)
}

func (g *rig) expunge(r Ref) {
	g.note("expunge %v", r)
	delete(g.here.messages, r)
	if !g.merge {
		g.gone[r] = true
		g.push(Mutation{Kind: Expunge, Ref: r})
		return
	}
	re := Remove(g.queue, r)
	g.cancel(re.Cancel)
	for _, x := range re.Expunge {
		g.push(Mutation{Kind: Expunge, Ref: x})
	}
	if re.Depart {
		g.gone[r] = true
	}
}

func (g *rig) create(name string) {
	if g.here.taken(name) {
		return
	}
	g.lastBox++
	g.note("create %d %s", g.lastBox, name)
	g.here.names[g.lastBox] = name
	g.push(Mutation{Kind: Create, Ref: Ref{Mailbox: g.lastBox}, Name: name})
}

func (g *rig) delete(id mailbox.ID) {
	g.note("delete %d %s", id, g.here.names[id])
	name := g.here.names[id]
	if _, there := g.up.names[id]; !there && g.merge {
		about := slices.DeleteFunc(slices.Clone(g.queue), func(m Mutation) bool {
			return m.Ref.Mailbox != id && m.Source.Mailbox != id
		})
		if re, ok := Clear(about, id); ok {
			g.cancel(re.Cancel)
			for _, x := range re.Expunge {
				g.push(Mutation{Kind: Expunge, Ref: x})
			}
			g.here.remove(id)
			maps.DeleteFunc(g.gone, func(r Ref, _ bool) bool { return r.Mailbox == id })
			return
		}
	}
	for r, row := range g.here.messages {
		if r.Mailbox == id {
			g.rows[r] = row
		}
	}
	g.hidden[id] = true
	g.here.remove(id)
	g.push(Mutation{Kind: Delete, Ref: Ref{Mailbox: id}, Name: name})
}

func (g *rig) rename(id mailbox.ID, to string) {
	from := g.here.names[id]
	if strings.HasPrefix(to+"/", from+"/") || !g.here.rename(from, to) {
		return
	}
	g.note("rename %d %s to %s", id, from, to)
	g.push(Mutation{Kind: Rename, Ref: Ref{Mailbox: id}, Name: from, To: to})
}

func (g *rig) subscribe(id mailbox.ID) {
	on := !g.here.subs[id]
	g.note("subscribe %d %v", id, on)
	kind := Subscribe
	if on {
		g.here.subs[id] = true
	} else {
		kind = Unsubscribe
		delete(g.here.subs, id)
	}
	g.push(Mutation{Kind: kind, Ref: Ref{Mailbox: id}, Name: g.here.names[id]})
}

// items is the queue as replay sees it.
func (g *rig) items() []Item {
	items := make([]Item, len(g.queue))
	for i, m := range g.queue {
		items[i] = Item{Mutation: m, Upstream: g.upUID(m.Ref), SourceUpstream: g.upUID(m.Source), Departed: g.gone[m.Ref]}
		if row, ok := g.row(m.Ref); ok {
			items[i].Body = g.bodies[row.content]
		}
	}
	return items
}

func (g *rig) upUID(r Ref) uint32 {
	if c, ok := g.up.messages[r]; !ok || !c.bound {
		return 0
	}
	return uint32(r.UID) + 100
}

func (g *rig) row(r Ref) (copyOf, bool) {
	row, ok := g.here.messages[r]
	if !ok {
		row, ok = g.rows[r]
	}
	return row, ok
}

// perform does to the upstream what a batch's item says, and fails where the upstream would.
func (g *rig) perform(b Batch, it Item) error {
	fail := func(why string) error { return fmt.Errorf("%v of %d (%v %v): %s", b.Kind, it.ID, it.Kind, it.Ref, why) }
	known := func(r Ref) bool { return g.up.messages[r].bound }
	if _, there := g.up.names[b.Mailbox]; there == (b.Kind == Create) {
		return fail("mailbox there or not")
	}
	switch b.Kind {
	case Flags:
		c := g.up.messages[it.Ref]
		if !known(it.Ref) {
			return fail("no message")
		}
		op := flag.Op{Add: b.Flags}
		if b.Remove {
			op = flag.Op{Remove: b.Flags}
		}
		c.flags = op.Apply(c.flags)
		g.up.messages[it.Ref] = c
	case Append:
		row, ok := g.row(it.Ref)
		if !ok || !g.bodies[row.content] {
			return fail("no body")
		}
		g.up.messages[it.Ref] = copyOf{row.content, row.flags, true}
	case Copy, Move:
		c := g.up.messages[it.Source]
		if _, ok := g.up.names[b.To]; !ok || !known(it.Source) || it.Source.Mailbox != b.Mailbox || it.Ref.Mailbox != b.To {
			return fail("no source or target")
		}
		g.up.messages[it.Ref] = c
		if b.Kind == Move {
			delete(g.up.messages, it.Source)
		}
	case Expunge:
		if !known(it.Ref) {
			return fail("no message")
		}
		delete(g.up.messages, it.Ref)
	case Create:
		if g.up.taken(it.Name) {
			return fail("name taken: " + it.Name)
		}
		g.up.names[b.Mailbox] = it.Name
	case Delete:
		g.up.remove(b.Mailbox)
	case Rename:
		if from := g.up.names[b.Mailbox]; !g.up.rename(from, it.To) || g.up.names[b.Mailbox] != it.To {
			return fail("name taken: " + it.To)
		}
	case Subscribe:
		g.up.subs[b.Mailbox] = true
	case Unsubscribe:
		delete(g.up.subs, b.Mailbox)
	}
	return nil
}

// done takes a mutation out of the queue, and what came of it in.
func (g *rig) done(id ID) {
	i := slices.IndexFunc(g.queue, func(m Mutation) bool { return m.ID == id })
	if i < 0 {
		return
	}
	m := g.queue[i]
	g.queue = slices.Delete(g.queue, i, i+1)
	switch m.Kind {
	case Delete: // its messages' rows and mutations go with it
		maps.DeleteFunc(g.gone, func(r Ref, _ bool) bool { return r.Mailbox == m.Ref.Mailbox })
		g.queue = slices.DeleteFunc(g.queue, func(o Mutation) bool { return o.Ref.Mailbox == m.Ref.Mailbox })
	case Expunge:
		g.forget(m.Ref)
	case Move:
		g.forget(m.Source)
	}
}

// forget drops a departed row, with its changes of flags.
func (g *rig) forget(r Ref) {
	delete(g.gone, r)
	g.queue = slices.DeleteFunc(g.queue, func(m Mutation) bool { return m.Kind == Flags && m.Ref == r })
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

package mutation

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// faults is what goes wrong while a queue is carried out.
type faults struct {
	rnd      *rand.Rand
	park     bool // the upstream refuses some changes, until a person retries them
	external bool // somebody changes messages upstream; every body is here
}

func (g *rig) state(id ID) *Mutation {
	i := slices.IndexFunc(g.queue, func(m Mutation) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return &g.queue[i]
}

// resolve examines the upstream for what is Sent, and does what Examine says.
func (g *rig) resolve(t *testing.T) {
	for _, m := range slices.Clone(g.queue) {
		if m.State != Sent || g.state(m.ID) == nil {
			continue
		}
		row, _ := g.row(m.Ref)
		placed, found := g.up.messages[m.Ref]
		_, source := g.up.messages[m.Source]
		name, there := g.up.names[m.Ref.Mailbox]
		switch m.Kind {
		case Create:
			found = there
		case Delete:
			found = !there
		case Rename:
			found, source = name == m.To, name != m.To
		}
		v := Examine(m.Kind, found, source, g.bodies[row.content])
		g.note("upstream: examined %d: %v", m.ID, v)
		switch v {
		case Done, ExpungeSource:
			if v == ExpungeSource {
				delete(g.up.messages, m.Source)
			}
			if m.Kind.Places() {
				placed.bound = true
				g.up.messages[m.Ref] = placed
				g.bind(m.Ref)
			}
			g.done(m.ID)
		case Again, Upload:
			g.state(m.ID).State = Waiting
		default:
			if !g.gone[m.Ref] {
				g.fatal(t, "%d: %v", m.ID, v)
			}
			g.state(m.ID).State = Waiting // it will be moot
		}
	}
}

// bind gives a message here the flags that the mirror sees upstream now.
func (g *rig) bind(r Ref) {
	if row, ok := g.here.messages[r]; ok {
		row.flags = Rebase(g.up.messages[r].flags, g.queue, r)
		g.here.messages[r] = row
	}
}

// attempt carries one item of a batch out, with faults. It says whether the outcome is good.
func (g *rig) attempt(t *testing.T, f faults, b Batch, it Item) bool {
	m := g.state(it.ID)
	if m == nil {
		return false
	}
	if f.park && f.rnd.IntN(8) == 0 {
		g.note("upstream: refuses %d", it.ID)
		m.State = Parked
		return false
	}
	uncertain := !it.Kind.Idempotent() && f.rnd.IntN(4) == 0
	if uncertain {
		m.State = Sent
		if f.rnd.IntN(2) == 0 {
			g.note("upstream: never hears of %d", it.ID)
			return false
		}
	}
	g.note("upstream: %v %d (%v %v)", b.Kind, it.ID, it.Kind, it.Ref)
	source, had := g.up.messages[it.Source]
	if err := g.perform(b, it); err != nil {
		g.fatal(t, "%v", err)
	}
	if !uncertain {
		g.bind(it.Ref)
		return true
	}
	g.note("upstream: its answer is lost")
	if c, ok := g.up.messages[it.Ref]; ok {
		c.bound = false
		g.up.messages[it.Ref] = c
	}
	if b.Kind == Move && had && f.rnd.IntN(2) == 0 { // cut between COPY and EXPUNGE
		g.up.messages[it.Source] = source
	}
	return false
}

// round plans, and carries out the first stage.
func (g *rig) round(t *testing.T, f faults) (progress bool) {
	items := g.items()
	p := Plan(items, noon)
	for _, i := range p.Lost {
		g.fatal(t, "%d is lost", items[i].ID)
	}
	for _, i := range p.Moot {
		g.note("moot %d", items[i].ID)
		g.done(items[i].ID)
		if items[i].Kind.Places() {
			g.forget(items[i].Ref)
		}
		progress = true
	}
	for _, i := range p.Unbound { // the mirror looks, and finds that these are not upstream
		if _, ok := g.up.messages[items[i].Ref]; ok {
			g.fatal(t, "%v is bound to nothing, and upstream", items[i].Ref)
		}
		g.done(items[i].ID)
		progress = true
	}
	if len(p.Stages) == 0 {
		return progress
	}
	parts, failed := map[ID]int{}, map[ID]bool{}
	for _, b := range p.Stages[0] {
		for _, i := range b.Items {
			parts[items[i].ID]++
		}
	}
	for _, at := range f.rnd.Perm(len(p.Stages[0])) {
		b := p.Stages[0][at]
		for _, i := range b.Items {
			id := items[i].ID
			failed[id] = failed[id] || !g.attempt(t, f, b, items[i])
			if parts[id]--; parts[id] == 0 && !failed[id] {
				g.done(id)
			}
		}
	}
	return true
}

// elsewhere changes something upstream, and lets the mirror see it.
func (g *rig) elsewhere(rnd *rand.Rand) {
	var known []Ref
	for _, r := range refs(g.up.messages) {
		if g.up.messages[r].bound {
			known = append(known, r)
		}
	}
	if len(known) == 0 {
		return
	}
	r := known[rnd.IntN(len(known))]
	if rnd.IntN(2) == 0 {
		g.note("elsewhere: flags of %v", r)
		c := g.up.messages[r]
		c.flags = randomOp(rnd).Apply(c.flags)
		g.up.messages[r] = c
		g.bind(r)
		return
	}
	g.note("elsewhere: expunge %v", r)
	delete(g.up.messages, r)
	delete(g.here.messages, r)
	delete(g.rows, r)
	delete(g.gone, r)
	g.queue = slices.DeleteFunc(g.queue, func(m Mutation) bool {
		return m.Ref == r && (m.Kind == Flags || m.Kind == Expunge)
	})
}

// TestFaults: lost answers, refusals that a person lifts later, and changes by others upstream leave both sides the same.
func TestFaults(t *testing.T) {
	start := seed(t)
	for n := range uint64(6000) {
		rnd := rand.New(rand.NewPCG(start, n))
		f := faults{rnd: rnd, park: n%3 == 0, external: n%3 == 1}
		g := newRig(rnd.IntN(4) > 0 || f.park)
		for _, name := range []string{"A", "B", "A/x"}[:1+rnd.IntN(3)] {
			g.mirrored(name, rnd.IntN(4), func() bool { return f.external || rnd.IntN(2) == 0 })
		}
		for range 1 + rnd.IntN(15) {
			for range rnd.IntN(4) {
				g.step(rnd, n%2 == 0)
			}
			if f.external && rnd.IntN(3) == 0 {
				g.elsewhere(rnd)
			}
			if rnd.IntN(2) == 0 {
				g.resolve(t)
			}
			g.round(t, f)
		}
		calm := faults{rnd: rnd}
		for len(g.queue) > 0 {
			for i := range g.queue {
				if g.queue[i].State == Parked {
					g.queue[i].State = Waiting
				}
			}
			sent := slices.ContainsFunc(g.queue, func(m Mutation) bool { return m.State == Sent })
			g.resolve(t)
			if !g.round(t, calm) && !sent {
				g.fatal(t, "%d mutations are never carried out", len(g.queue))
			}
		}
		if f.park { // what waited long may be copied with later flags; the mirror takes them over
			for r := range g.up.messages {
				g.bind(r)
			}
		}
		if d := g.here.same(g.up); d != "" {
			g.fatal(t, "here and upstream differ: %s", d)
		}
		if len(g.gone) > 0 {
			g.fatal(t, "departed rows are left: %v", g.gone)
		}
	}
}

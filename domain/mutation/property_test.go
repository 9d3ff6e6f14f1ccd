package mutation

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

var flagPool = []flag.Set{
	flag.Make(flag.Seen), flag.Make(flag.Flagged), flag.Make(flag.Seen | flag.Answered), flag.Make(0, "$Work"),
	flag.Make(flag.Flagged, "$Work"),
}

var namePool = []string{"A", "B", "C", "A/x", "A/y", "B/x", "A/x/z", "D/x"}

// step makes one random change here. With mailboxes, mailboxes as a whole are changed, too.
func (g *rig) step(rnd *rand.Rand, mailboxes bool) {
	boxes := slices.Sorted(func(yield func(mailbox.ID) bool) {
		for id := range g.here.names {
			if !yield(id) {
				return
			}
		}
	})
	if len(boxes) == 0 || mailboxes && rnd.IntN(6) == 0 {
		id := mailbox.ID(0)
		if len(boxes) > 0 {
			id = boxes[rnd.IntN(len(boxes))]
		}
		name := namePool[rnd.IntN(len(namePool))]
		switch k := rnd.IntN(8); {
		case k < 3 || id == 0:
			g.create(name)
		case k < 4:
			g.delete(id)
		case k < 6:
			g.rename(id, name)
		default:
			g.subscribe(id)
		}
		return
	}
	all := refs(g.here.messages)
	to := boxes[rnd.IntN(len(boxes))]
	k := rnd.IntN(10)
	if len(all) == 0 || k == 0 {
		g.append(to, flagPool[rnd.IntN(len(flagPool))])
		return
	}
	r := all[rnd.IntN(len(all))]
	if rnd.IntN(2) == 0 { // often the newest, so that chains grow
		r = all[len(all)-1]
	}
	switch {
	case k < 5:
		g.flag(r, randomOp(rnd))
	case k < 7:
		g.copy(r, to)
	case k < 9:
		g.move(r, to)
	default:
		g.expunge(r)
	}
}

func randomOp(rnd *rand.Rand) flag.Op {
	add, remove := flagPool[rnd.IntN(len(flagPool))], flagPool[rnd.IntN(len(flagPool))]
	switch rnd.IntN(3) {
	case 0:
		return flag.Op{Add: add}
	case 1:
		return flag.Op{Remove: remove}
	}
	return flag.Op{Add: add, Remove: remove.Minus(add)}
}

// carryOut plans and carries out at most so many stages, their batches in random order.
func (g *rig) carryOut(t *testing.T, rnd *rand.Rand, stages int) (progress bool) {
	t.Helper()
	items := g.items()
	p := Plan(items, noon)
	parts := map[ID]int{} // batches that a mutation is in
	for _, s := range p.Stages {
		for _, b := range s {
			for _, i := range b.Items {
				parts[items[i].ID]++
			}
		}
	}
	for _, i := range p.Lost {
		g.fatal(t, "%v of %v is lost", items[i].Kind, items[i].Ref)
	}
	for _, i := range p.Moot {
		g.note("moot %d", items[i].ID)
		g.done(items[i].ID)
		if items[i].Kind == Append || items[i].Kind == Copy { // the departed row of what will never be there
			g.forget(items[i].Ref)
		}
		progress = true
	}
	for n, s := range p.Stages {
		if n == stages {
			break
		}
		order := rnd.Perm(len(s))
		for _, at := range order {
			b := s[at]
			for _, i := range b.Items {
				g.note("upstream: %v %d (%v %v)", b.Kind, items[i].ID, items[i].Kind, items[i].Ref)
				if err := g.perform(b, items[i]); err != nil {
					g.fatal(t, "%v", err)
				}
				if parts[items[i].ID]--; parts[items[i].ID] == 0 {
					g.done(items[i].ID)
				}
			}
		}
		progress = true
	}
	return progress
}

func (g *rig) fatal(t *testing.T, format string, args ...any) {
	t.Helper()
	for _, m := range g.queue {
		g.note("queue: %d %v %v %v source %v +(%v) -(%v) %s %s", m.ID, m.Kind, m.State, m.Ref, m.Source, m.Op.Add, m.Op.Remove, m.Name, m.To)
	}
	t.Fatalf("merged %v: "+format+"\n%s", append(append([]any{g.merge}, args...), strings.Join(g.log, "\n"))...)
}

// drain carries everything out, and compares.
func (g *rig) drain(t *testing.T, rnd *rand.Rand, same func(g *rig) string) {
	t.Helper()
	for len(g.queue) > 0 {
		if !g.carryOut(t, rnd, 1+rnd.IntN(3)) {
			g.fatal(t, "%d mutations are never carried out", len(g.queue))
		}
	}
	if d := same(g); d != "" {
		g.fatal(t, "here and upstream differ: %s", d)
	}
	if len(g.gone) > 0 {
		g.fatal(t, "departed rows are left: %v", g.gone)
	}
}

func sameStates(g *rig) string { return g.here.same(g.up) }

func randomRig(rnd *rand.Rand, merge bool) *rig {
	g := newRig(merge)
	for _, name := range []string{"A", "B", "A/x"}[:1+rnd.IntN(3)] {
		g.mirrored(name, rnd.IntN(4), func() bool { return rnd.IntN(2) == 0 })
	}
	return g
}

// TestPlanEqualsSequence: a queue that is carried out as planned leaves upstream what its changes, one after the other,
// left here; so it does whether or not it was merged.
func TestPlanEqualsSequence(t *testing.T) {
	start := seed(t)
	for n := range uint64(4000) {
		for _, merge := range []bool{true, false} {
			rnd := rand.New(rand.NewPCG(start, n))
			g := randomRig(rnd, merge)
			for range 1 + rnd.IntN(30) {
				g.step(rnd, n%2 == 0)
			}
			g.drain(t, rnd, sameStates)
		}
	}
}

// TestChangesWhileCarriedOut: the same, with stages carried out between changes, and with changes that are put off.
func TestChangesWhileCarriedOut(t *testing.T) {
	start := seed(t)
	for n := range uint64(4000) {
		rnd := rand.New(rand.NewPCG(start, n))
		g := randomRig(rnd, rnd.IntN(4) > 0)
		for range 1 + rnd.IntN(12) {
			for range rnd.IntN(5) {
				g.step(rnd, n%2 == 0)
			}
			for i := range g.queue {
				g.queue[i].Next = time.Time{}
				if rnd.IntN(5) == 0 {
					g.queue[i].Next = noon.Add(time.Minute)
				}
			}
			g.carryOut(t, rnd, rnd.IntN(3))
		}
		for i := range g.queue {
			g.queue[i].Next = time.Time{}
		}
		g.drain(t, rnd, sameStates)
	}
}

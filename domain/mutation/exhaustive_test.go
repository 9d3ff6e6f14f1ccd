package mutation

import (
	"math/rand/v2"
	"testing"

	"imapped/domain/flag"
)

// deed is something that a client does to the rig of TestEveryQueue: messages 1 and 2 of it (where they are after moves)
// and 3, what was copied or appended last. It says whether it could be done.
type deed func(g *rig, at *[3]Ref) bool

func deeds() []deed {
	var all []deed
	to := func(f func(g *rig, at *[3]Ref, m int), m int) deed {
		return func(g *rig, at *[3]Ref) bool {
			if _, ok := g.here.messages[at[m]]; !ok {
				return false
			}
			f(g, at, m)
			return true
		}
	}
	for m := range 3 {
		for _, op := range []flag.Op{{Add: seen}, {Remove: seen}, {Add: flagged, Remove: seen}} {
			all = append(all, to(func(g *rig, at *[3]Ref, m int) { g.flag(at[m], op) }, m))
		}
		all = append(all,
			to(func(g *rig, at *[3]Ref, m int) {
				target := at[m].Mailbox
				if _, ok := g.here.names[2]; ok {
					target = 2
				}
				g.copy(at[m], target)
				at[2] = Ref{target, g.uids[target]}
			}, m),
			to(func(g *rig, at *[3]Ref, m int) {
				target := 3 - at[m].Mailbox
				if _, ok := g.here.names[target]; !ok {
					target = at[m].Mailbox
				}
				g.move(at[m], target)
				at[m] = Ref{target, g.uids[target]}
			}, m),
			to(func(g *rig, at *[3]Ref, m int) { g.expunge(at[m]) }, m),
		)
	}
	boxes := func(f func(g *rig)) deed {
		return func(g *rig, _ *[3]Ref) bool {
			if _, ok := g.here.names[2]; !ok {
				return false
			}
			f(g)
			return true
		}
	}
	return append(all,
		func(g *rig, at *[3]Ref) bool {
			g.append(1, flagged)
			at[2] = Ref{1, g.uids[1]}
			return true
		},
		boxes(func(g *rig) { g.delete(2) }),
		boxes(func(g *rig) { g.rename(2, "C") }),
		boxes(func(g *rig) { g.subscribe(2) }),
		func(g *rig, _ *[3]Ref) bool {
			if g.here.taken("B") {
				return false
			}
			g.create("B")
			return true
		},
	)
}

// TestEveryQueue does every three deeds to two messages in two mailboxes, one without a body, merged and not, and
// compares both sides when they are carried out.
func TestEveryQueue(t *testing.T) {
	all, tried := deeds(), 0
	run := func(merge bool, chosen ...int) bool {
		g := newRig(merge)
		body := false
		g.mirrored("A", 2, func() bool { body = !body; return body })
		g.mirrored("B", 0, nil)
		at := [3]Ref{{1, 1}, {1, 2}}
		for _, c := range chosen {
			if !all[c](g, &at) {
				return false
			}
		}
		for order := range uint64(2) {
			h := *g
			h.here, h.up = g.here.clone(), g.up.clone()
			h.queue = append([]Mutation(nil), g.queue...)
			h.gone = map[Ref]bool{}
			for r := range g.gone {
				h.gone[r] = true
			}
			h.drain(t, rand.New(rand.NewPCG(order, 0)), sameStates)
			tried++
		}
		return true
	}
	for _, merge := range []bool{true, false} {
		for a := range all {
			if !run(merge, a) {
				continue
			}
			for b := range all {
				if !run(merge, a, b) {
					continue
				}
				for c := range all {
					run(merge, a, b, c)
				}
			}
		}
	}
	t.Logf("%d queues", tried)
}

package main

import (
	"fmt"
	"math/rand/v2"

	"imapped/tools/convergence/upstreamsim"
)

// phases and phaseOps are the size of a history: at least 60 operations besides the ends of phases.
const (
	phases   = 3
	phaseOps = 22
)

// flagSets is what messages are given.
var flagSets = [][]string{
	{`\Seen`}, {`\Flagged`}, {`\Answered`, "$Work"}, {"a"}, {`\Draft`, "B"}, {`\Seen`, "$Work", "a"}, {`\Deleted`},
}

// generate makes the history of a seed.
func generate(seed uint64) History {
	g := &generator{rnd: rand.New(rand.NewPCG(seed, 11))}
	one := func(in int) bool { return g.rnd.IntN(in) == 0 }
	h := History{Seed: seed, Variant: Variant{
		NoUIDPlus: one(3), NoMove: one(3), NoCond: one(4), NoQResync: one(3), NoStatus: one(3), NoIdle: one(3),
		NoKeywords: one(5), Dot: one(4), Parents: one(3), Push: one(3),
	}}
	faulty := !one(5)
	for range phases {
		paused := false
		for range phaseOps + g.rnd.IntN(6) {
			op := g.op(faulty)
			switch {
			case op.Kind == Pause && paused:
				op.Kind = Resume
				paused = false
			case op.Kind == Pause:
				paused = true
			}
			h.Ops = append(h.Ops, op)
		}
		h.Ops = append(h.Ops, Op{Kind: Settle})
	}
	return h
}

type generator struct {
	rnd   *rand.Rand
	names int
}

var weights = []struct {
	kind Kind
	n    int
}{
	{Store, 14}, {Append, 8}, {Copy, 7}, {Move, 9}, {Expunge, 5}, {ExpungeAll, 1}, {Replace, 2}, {Create, 3}, {Delete, 2},
	{Rename, 3}, {Subscribe, 1}, {Look, 5},
	{Deliver, 8}, {Flags, 8}, {Remove, 4}, {CopyThere, 2}, {MoveThere, 3}, {CreateThere, 2}, {DeleteThere, 1},
	{RenameThere, 2}, {Reset, 1},
	{Sync, 3}, {Wait, 7},
}

var faults = []struct {
	kind Kind
	n    int
}{
	{Break, 18}, {Cut, 2}, {Kill, 4}, {KillAt, 4}, {Restart, 2}, {Pause, 2},
}

func (g *generator) op(faulty bool) Op {
	if faulty && g.rnd.IntN(4) == 0 {
		return g.fault()
	}
	total := 0
	for _, w := range weights {
		total += w.n
	}
	k := g.rnd.IntN(total)
	op := Op{
		Who: g.rnd.IntN(clients), Box: g.rnd.IntN(1 << 16), To: g.rnd.IntN(1 << 16), Mode: g.rnd.IntN(3),
		Fresh: g.rnd.IntN(2) == 0,
	}
	for _, w := range weights {
		if k -= w.n; k < 0 {
			op.Kind = w.kind
			break
		}
	}
	for range 1 + g.rnd.IntN(3) {
		op.Pick = append(op.Pick, g.rnd.IntN(1<<16))
	}
	op.Flags = flagSets[g.rnd.IntN(len(flagSets))]
	switch op.Kind {
	case Create, Rename, CreateThere, RenameThere:
		g.names++
		op.Name = fmt.Sprintf("%sn%d", []string{"", "", "Work/", "a&b/", "n1/"}[g.rnd.IntN(5)], g.names)
		if g.rnd.IntN(4) == 0 {
			op.Name = []string{"Same", "Work/Same", "Other"}[g.rnd.IntN(3)] // both sides want it
		}
		op.Pick, op.Flags = nil, nil
	case Append, Deliver:
		op.Pick = nil
		op.N = 1
		if g.rnd.IntN(4) == 0 {
			op.N = 2 + g.rnd.IntN(3)
		}
	case Wait:
		op = Op{Kind: Wait, N: 1 + g.rnd.IntN(12)}
	case Sync:
		op = Op{Kind: Sync}
	case Reset:
		op.N = 1 + g.rnd.IntN(300)
	}
	if op.Kind >= Deliver && op.Kind <= Reset && g.rnd.IntN(4) == 0 {
		op.Late, op.Class, op.Skip = true, g.class(), g.rnd.IntN(4)
	}
	return op
}

func (g *generator) class() upstreamsim.Class {
	return []upstreamsim.Class{
		upstreamsim.ClassAny, upstreamsim.ClassRead, upstreamsim.ClassFetch, upstreamsim.ClassWrite, upstreamsim.ClassAppend,
		upstreamsim.ClassCopy, upstreamsim.ClassStore, upstreamsim.ClassExpunge, upstreamsim.ClassBoxes, upstreamsim.ClassWrite,
	}[g.rnd.IntN(10)]
}

func (g *generator) fault() Op {
	total := 0
	for _, w := range faults {
		total += w.n
	}
	k := g.rnd.IntN(total)
	var op Op
	for _, w := range faults {
		if k -= w.n; k < 0 {
			op.Kind = w.kind
			break
		}
	}
	calls := []string{"", "", "Settle", "Intend", "Apply", "StoreContents", "SaveMailbox", "AddMessages", "CopyMessages", "EditFlags", "RemoveMessages", "Put"}
	switch op.Kind {
	case Break:
		op.Class, op.Skip, op.N = g.class(), g.rnd.IntN(4), g.rnd.IntN(4)
		op.Fault = []upstreamsim.Action{
			upstreamsim.CutBefore, upstreamsim.CutAfter, upstreamsim.CutAfter, upstreamsim.CutAfter, upstreamsim.CutHalf,
			upstreamsim.Busy, upstreamsim.Refuse, upstreamsim.HoldBefore, upstreamsim.HoldAfter, upstreamsim.HoldBefore,
			upstreamsim.HoldAfter, upstreamsim.CutHalf,
		}[g.rnd.IntN(12)]
		if g.rnd.IntN(20) == 0 {
			op.Fault = upstreamsim.BlackHole
		}
		if g.rnd.IntN(12) == 0 {
			op.Class, op.Fault = upstreamsim.ClassDial, upstreamsim.CutBefore
		}
	case Kill:
		op.Call, op.After, op.Skip = calls[g.rnd.IntN(len(calls))], g.rnd.IntN(2) == 0, g.rnd.IntN(3)
	case KillAt:
		op.Class, op.Skip = g.class(), g.rnd.IntN(3)
		op.Fault = []upstreamsim.Action{upstreamsim.CutBefore, upstreamsim.CutAfter, upstreamsim.CutHalf}[g.rnd.IntN(3)]
		op.N = g.rnd.IntN(3)
	case Pause:
		op.Call, op.Skip = []string{"", "Settle", "Intend", "Apply", "StoreContents", "SaveMailbox"}[g.rnd.IntN(6)], g.rnd.IntN(3)
	}
	return op
}

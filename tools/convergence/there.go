package main

import (
	"imapped/domain/flag"
	"imapped/tools/convergence/upstreamsim"
)

// there carries out an operation of the client that is connected to the upstream, now or in the middle of what we do.
func (r *rig) there(op Op) {
	if !op.Late {
		r.act(op)
		return
	}
	r.sim.Arm(upstreamsim.Fault{On: op.Class, Skip: op.Skip, Do: upstreamsim.Interpose, Hook: func() {
		r.trace("--- now %s", op)
		r.act(op)
	}})
}

func (r *rig) act(op Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if op.Kind >= CopyThere { // what becomes of a message in it must be known
		defer r.sim.Still()()
	}
	boxes := r.sim.Boxes()
	if len(boxes) == 0 {
		return // Err says why
	}
	at, to := boxes[op.Box%len(boxes)], boxes[op.To%len(boxes)]
	pick := func(fn func(upstreamsim.Present)) {
		done := map[*upstreamsim.Message]bool{}
		for _, n := range op.Pick {
			if len(at.Messages) > 0 {
				if m := at.Messages[n%len(at.Messages)]; !done[m.Message] {
					done[m.Message] = true
					r.trace("%s of message %d, UID %d, in %q (to %q)", op.Kind, r.m.byRaw[m.Raw].n, m.UID, at.Name, to.Name)
					fn(m)
				}
			}
		}
	}
	switch op.Kind {
	case Deliver:
		for n := range max(op.N, 1) {
			t := r.m.message((op.To + n*400) % 3000)
			flags := flag.Parse(op.Flags...)
			if r.h.Variant.NoKeywords {
				flags = flags.Minus(localOnly)
			}
			if p := r.sim.Deliver(at.Box, t.raw, t.date, flags); p != nil {
				r.m.addThere(p, at.Box, flags)
				r.trace("message %d to %q", t.n, at.Name)
			}
		}
	case Flags:
		pick(func(p upstreamsim.Present) { r.flagThere(at, p, op) })
	case Remove:
		pick(func(p upstreamsim.Present) {
			if r.sim.Expunge(at.Box, p.Message) {
				r.lostThere(at, p)
			}
		})
	case CopyThere, MoveThere:
		pick(func(p upstreamsim.Present) {
			made := r.sim.Copy(at.Box, p.Message, to.Box, op.Kind == MoveThere)
			if made == nil {
				return
			}
			i := r.m.addThere(made, to.Box, p.Flags)
			i.tok.vague = i.tok.vague || op.Kind == CopyThere && at.Box == to.Box
			if op.Kind == MoveThere {
				r.lostThere(at, p)
			}
		})
	default:
		r.actOnBoxes(op, at)
	}
}

func (r *rig) actOnBoxes(op Op, at upstreamsim.State) {
	done := false
	r.trace("%s of %q (%q)", op.Kind, at.Name, op.Name)
	switch op.Kind {
	case CreateThere:
		done = r.sim.Create(r.raw(op.Name), 0) != nil
	case DeleteThere:
		if at.Name == "INBOX" {
			return
		}
		_, done = r.sim.Remove(at.Box)
		if done {
			r.m.removals++
			for _, p := range at.Messages {
				r.lostThere(at, p)
			}
		}
	case RenameThere:
		if at.Name != "INBOX" {
			before := r.sim.Boxes()
			done = r.sim.Rename(at.Box, r.raw(op.Name))
			names := map[*upstreamsim.Box]string{}
			for _, st := range r.sim.Boxes() {
				names[st.Box] = st.Name
			}
			for _, st := range before {
				if names[st.Box] != st.Name {
					r.m.renamed[st.Box] = true
				}
			}
		}
	case Reset:
		r.sim.Reset(at.Box, uint32(op.N))
		r.m.resets[at.Box] = true
		r.m.touched[at.Box] = true
		r.m.removals++
		return
	}
	if !done {
		return
	}
	r.m.thereLike++
	if op.Kind != RenameThere { // renamed, it is the same mailbox
		r.m.touched[at.Box] = true
	}
	clear(r.m.theirs)
	for _, st := range r.sim.Boxes() {
		r.m.theirs[st.Box] = st.Name
	}
}

// instThere returns the instance that a message upstream is; nil: it is one of those that our side put there, and it is
// not known which.
func (r *rig) instThere(at upstreamsim.State, p upstreamsim.Present) *inst {
	if i := r.m.byPtr[p.Message]; i != nil {
		return i
	}
	t := r.m.byRaw[p.Raw]
	boxes, err := r.mirrored()
	if err != nil {
		return nil
	}
	for id, m := range boxes {
		if m.Upstream.UIDValidity != at.Validity {
			continue
		}
		rows, err := r.rows(id)
		if err != nil {
			return nil
		}
		for uid, row := range rows {
			if row.Upstream == p.UID && row.tok == t {
				if i := r.m.byKey[key{id, uid}]; i != nil {
					r.link(i, p.Message)
					return i
				}
			}
		}
	}
	var found *inst
	for _, i := range t.insts {
		in := boxes[i.key.box]
		if i.origin == fromHere && i.ptr == nil && (in.Upstream.Name == at.Name || r.m.startBox[i.key.box] == at.Box) {
			if found != nil {
				return nil
			}
			found = i
		}
	}
	if found != nil {
		r.link(found, p.Message)
	}
	return found
}

func (r *rig) link(i *inst, p *upstreamsim.Message) {
	i.ptr = p
	r.m.byPtr[p] = i
}

// lostThere notes that the other side removed, or moved away, a message.
func (r *rig) lostThere(at upstreamsim.State, p upstreamsim.Present) {
	r.m.touched[at.Box] = true
	if i := r.instThere(at, p); i != nil {
		r.m.removedThere(i)
	} else {
		r.m.removals++
		r.m.unknown(r.m.byRaw[p.Raw])
	}
}

func (r *rig) flagThere(at upstreamsim.State, p upstreamsim.Present, op Op) {
	flags := flag.Parse(op.Flags...)
	if r.h.Variant.NoKeywords {
		flags = flags.Minus(localOnly)
	}
	change := flag.Op{Add: flags}
	if op.Mode%2 == 1 {
		change = flag.Op{Remove: flags}
	}
	if !r.sim.SetFlags(at.Box, p.Message, change) {
		return
	}
	i := r.instThere(at, p)
	// Without UIDPLUS we take marks away for the moment of an EXPUNGE, and put them back.
	aside := r.h.Variant.NoUIDPlus && change.Remove.Has(flag.Deleted)
	if i == nil || aside {
		r.m.byRaw[p.Raw].vague = true
	}
	if i == nil {
		return
	}
	say(i.there, flags, op.Mode%2 == 0)
}

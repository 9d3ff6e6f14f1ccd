package mutation

import (
	"slices"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// The functions below are what stores do with the queue when a client changes something. Each is given mutations in the
// order of their IDs, at least those that have the message in question as Ref or as Source; others do not matter.

// MergeInto returns the Flags mutation into which a further change of the message's flags is merged (flag.Op.Then, and
// its Version rises): the last one, unless the message was copied or moved after it, so that the copy must not have the
// further change, or it is Parked. Without one, the change is queued as a new mutation, and Narrow applies.
func MergeInto(queue []Mutation, msg Ref) (ID, bool) {
	for _, m := range slices.Backward(queue) {
		switch {
		case m.from(msg):
			return 0, false
		case m.Kind == Flags && m.Ref == msg:
			return m.ID, m.State != Parked
		}
	}
	return 0, false
}

// from says whether the mutation takes the message to somewhere.
func (m *Mutation) from(msg Ref) bool { return (m.Kind == Copy || m.Kind == Move) && m.Source == msg }

// Narrow returns the Parked changes of the message's flags that a new change takes over in part, without that part; one
// whose Op is Empty is to be removed. The flags of the message stay what they are, and a retry of what was parked cannot
// undo what was done later.
func Narrow(queue []Mutation, msg Ref, op flag.Op) []Mutation {
	var out []Mutation
	for _, m := range queue {
		if m.Kind != Flags || m.Ref != msg || m.State != Parked {
			continue
		}
		if rest := lacking(m.Op, op); rest != m.Op {
			m.Op = rest
			out = append(out, m)
		}
	}
	return out
}

// lacking returns the operation without what another is about.
func lacking(op, other flag.Op) flag.Op {
	touched := other.Add.Union(other.Remove)
	return flag.Op{Add: op.Add.Minus(touched), Remove: op.Remove.Minus(touched)}
}

// Narrowed returns a change of the message's flags without what the changes that the queue has are about.
func Narrowed(queue []Mutation, msg Ref, op flag.Op) flag.Op {
	for i := range queue {
		if m := &queue[i]; m.Kind == Flags && m.Ref == msg {
			op = lacking(op, m.Op)
		}
	}
	return op
}

// Shorten returns how a Move goes on without the one before it, which the upstream refused, and whose message is moved on
// already: the later one takes the message from where the refused one was to take it, and its message gets the changes of
// flags that were made in between. It says no where there is more to do than to move it.
func Shorten(queue []Mutation, refused Mutation) (later ID, flags flag.Op, ok bool) {
	for i := range queue {
		switch m := &queue[i]; {
		case m.from(refused.Ref):
			if refused.Kind != Move || m.Kind != Move || m.State == Sent || later != 0 {
				return 0, flag.Op{}, false
			}
			later = m.ID
		case m.Ref == refused.Ref && m.Kind == Flags:
			flags = flags.Then(m.Op)
		}
	}
	return later, flags, later != 0
}

// Heir is a message that is to be made from another, which it finds without a change of flags that it had here.
type Heir struct {
	Ref Ref
	Op  flag.Op
}

// Parting returns what becomes of a change of the message's flags that is parked, and that the queue has had since the ID:
// what later changes are about is theirs, and the rest stays; nothing does when the message was moved since. Messages that
// are to be made from it upstream will lack what they had here: the heirs, each with what it had.
func Parting(queue []Mutation, msg Ref, since ID, op flag.Op) (rest flag.Op, heirs []Heir) {
	for i := range queue {
		m := &queue[i]
		switch {
		case m.ID <= since || op.Empty():
		case m.Kind == Flags && m.Ref == msg:
			op = lacking(op, m.Op)
		case m.from(msg):
			heirs = append(heirs, Heir{m.Ref, op})
			if m.Kind == Move {
				return flag.Op{}, heirs
			}
		}
	}
	return op, heirs
}

// Removal is what becomes of the queue when something is removed here.
type Removal struct {
	Cancel  []ID  // these mutations are taken out
	Expunge []Ref // for these messages an Expunge is appended
	Depart  bool  // the removed message leaves a departed row
}

// Remove returns what becomes of the queue when the message is removed here. A placement that is certainly not upstream
// is canceled, unless the upstream is still to make a copy from its result.
func Remove(queue []Mutation, msg Ref) Removal {
	q := about(queue, msg)
	if q.cancelable() {
		r := Removal{Cancel: q.cancel(true)}
		if q.placement.Kind == Move {
			r.Expunge = []Ref{q.placement.Source}
		}
		return r
	}
	return Removal{Cancel: q.cancel(false), Expunge: []Ref{msg}, Depart: true}
}

// Placing is how a message that is copied or moved here is placed upstream, and what becomes of the queue otherwise.
type Placing struct {
	Kind   Kind    // Append, or Copy or Move from Source
	Source Ref     // Copy, Move
	Flags  flag.Op // to be queued for the new message behind its placement, when it is not Empty
	Cancel []ID    // these mutations are taken out
	Depart bool    // the moved message leaves a departed row
}

// Duplicate returns how a copy of the message is placed. A copy of what is still to be uploaded is uploaded itself: what
// is uploaded has the flags of that time, and the copy must not have those that its source got later.
func Duplicate(queue []Mutation, msg Ref) Placing {
	if q := about(queue, msg); q.placement != nil && q.placement.Kind == Append {
		return Placing{Kind: Append}
	}
	return Placing{Kind: Copy, Source: msg, Flags: parked(queue, msg)}
}

// Relocate returns how the message that comes of a move is placed. What was still to be placed is placed at the new
// place instead of the old one; but not from a mailbox that is being deleted, from which it must go before.
func Relocate(queue []Mutation, msg Ref, deleting func(mailbox.ID) bool) Placing {
	q := about(queue, msg)
	switch {
	case q.cancelable() && q.placement.Kind == Append:
		return Placing{Kind: Append, Cancel: q.cancel(true)}
	case q.cancelable() && q.placement.Kind == Move && !deleting(q.placement.Source.Mailbox):
		return Placing{
			Kind: Move, Source: q.placement.Source, Cancel: q.cancel(true),
			Flags: fold(queue, msg, func(*Mutation) bool { return true }),
		}
	}
	p := Placing{Kind: Move, Source: msg, Flags: parked(queue, msg), Depart: true}
	for _, m := range q.flags {
		if m.State == Parked {
			p.Cancel = append(p.Cancel, m.ID)
		}
	}
	return p
}

// parked returns what the message's flags here include that a copy made upstream will not have.
func parked(queue []Mutation, msg Ref) flag.Op {
	return fold(queue, msg, func(m *Mutation) bool { return m.State == Parked })
}

// matter is what the queue has about a message.
type matter struct {
	placement *Mutation
	flags     []*Mutation
	taken     ID // the last Copy or Move from it; 0: none
}

func about(queue []Mutation, msg Ref) matter {
	var q matter
	for i := range queue {
		switch m := &queue[i]; {
		case m.from(msg):
			q.taken = m.ID
		case m.Ref != msg:
		case m.Kind.Places():
			q.placement = m
		case m.Kind == Flags:
			q.flags = append(q.flags, m)
		}
	}
	return q
}

// cancelable says whether the message can be forgotten as if it had never been: it is certainly not upstream, and what
// is to be copied from it can be had without it.
func (q *matter) cancelable() bool {
	return q.placement != nil && q.placement.State != Sent && (q.placement.Kind == Append || q.taken == 0)
}

// cancel returns the mutations that have no purpose when the message goes: changes of flags that no copy is to have,
// and, when all is said, everything.
func (q *matter) cancel(all bool) []ID {
	var ids []ID
	if all {
		ids = append(ids, q.placement.ID)
	}
	for _, m := range q.flags {
		if all || m.ID > q.taken || m.State == Parked {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Clear returns what becomes of the queue when a mailbox that the upstream does not have is deleted here. It is given
// the mutations that have the mailbox, or a message in it, as Ref or as Source. It says no when the mailbox must be made
// upstream first, and a Delete queued like for any other: it may be there already, or what was taken out of it cannot be
// had otherwise, or it was renamed, and those below it are still to be renamed by that.
func Clear(queue []Mutation, id mailbox.ID) (Removal, bool) {
	var r Removal
	byUpstream := map[Ref]bool{} // messages in the mailbox that are to be made there by Copy or Move
	for _, m := range queue {
		if m.Ref.Mailbox != id {
			if byUpstream[m.Source] && m.from(m.Source) {
				return Removal{}, false
			}
			continue
		}
		if m.State == Sent || m.Kind == Rename {
			return Removal{}, false
		}
		r.Cancel = append(r.Cancel, m.ID)
		if m.Kind != Copy && m.Kind != Move {
			continue
		}
		byUpstream[m.Ref] = true
		if m.Kind == Move && m.Source.Mailbox != id {
			r.Expunge = append(r.Expunge, m.Source)
		}
	}
	return r, true
}

// Rebase returns a message's flags here: those that it has upstream, with its changes that are in the queue, in any
// state.
func Rebase(upstream flag.Set, queue []Mutation, msg Ref) flag.Set {
	for i := range queue {
		if m := &queue[i]; m.Kind == Flags && m.Ref == msg {
			upstream = m.Op.Apply(upstream)
		}
	}
	return upstream
}

func fold(queue []Mutation, msg Ref, of func(*Mutation) bool) flag.Op {
	var op flag.Op
	for i := range queue {
		if m := &queue[i]; m.Kind == Flags && m.Ref == msg && of(m) {
			op = op.Then(m.Op)
		}
	}
	return op
}

// Settled returns what a mutation is after it was carried out as it was at the version, and whether anything of it is
// left. What was merged into it meanwhile is left, and all of it is carried out again: that does no harm, and what it
// was before need not be remembered.
func Settled(m Mutation, version int) (Mutation, bool) {
	if m.Version == version {
		return Mutation{}, false
	}
	m.State, m.Attempts, m.Reason = Waiting, 0, ""
	return m, true
}

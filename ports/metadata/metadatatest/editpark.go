package metadatatest

import (
	"slices"

	"imapped/domain/flag"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// parkFlags does to the model what Settle is to do with a change of flags that is parked.
func (m *editModel) parkFlags(q mutation.Mutation, o metadata.Outcome) {
	op := q.Op
	if !o.Rest.Empty() {
		op = o.Rest
	}
	rest := m.part(q.Ref, q.ID, op)
	if rest.Empty() {
		m.drop(func(x mutation.Mutation) bool { return x.ID == q.ID })
		return
	}
	x := m.find(func(x mutation.Mutation) bool { return x.ID == q.ID })
	x.State, x.Op = mutation.Parked, rest
}

func (m *editModel) part(r mutation.Ref, since mutation.ID, op flag.Op) flag.Op {
	rest, heirs := mutation.Parting(slices.Clone(m.queue), r, since, op)
	for _, h := range heirs {
		if _, departed := m.boxes[h.Ref.Mailbox].departed[h.Ref.UID]; departed {
			m.part(h.Ref, 0, h.Op)
		} else if op := mutation.Narrowed(m.queue, h.Ref, h.Op); !op.Empty() {
			m.enqueue(mutation.Flags, h.Ref, mutation.Ref{}, op)
		}
	}
	return rest
}

// left queues that a departed message is expunged, and says no when there is no such message.
func (m *editModel) left(r mutation.Ref) bool {
	if _, departed := m.boxes[r.Mailbox].departed[r.UID]; !departed {
		return false
	}
	m.drop(func(q mutation.Mutation) bool { return q.Ref == r && q.Kind == mutation.Flags })
	m.enqueue(mutation.Expunge, r, mutation.Ref{}, flag.Op{})
	return true
}

// catchUp does to the model what a retry of a parked Copy, or of a parked Create, is to do with the flags of the copies that
// waited for it, and of what was made from them.
func (m *editModel) catchUp(q mutation.Mutation) {
	if q.State != mutation.Parked {
		return
	}
	for _, c := range slices.Clone(m.queue) {
		if c.Kind != mutation.Copy || c.ID != q.ID && (q.Kind != mutation.Create || c.Ref.Mailbox != q.Ref.Mailbox) {
			continue
		}
		if source := m.boxes[c.Source.Mailbox].rows[c.Source.UID]; source != nil {
			m.adjust(c.Ref, source.Flags)
			m.madeFrom(c.Ref, source.Flags)
		}
	}
}

func (m *editModel) madeFrom(r mutation.Ref, has flag.Set) {
	for _, q := range slices.Clone(m.queue) {
		if q.Source == r && (q.Kind == mutation.Copy || q.Kind == mutation.Move) {
			m.adjust(q.Ref, has)
			m.madeFrom(q.Ref, has)
		}
	}
}

func (m *editModel) adjust(r mutation.Ref, has flag.Set) {
	if row := m.boxes[r.Mailbox].rows[r.UID]; row != nil {
		if op := flag.Replace(has, row.Flags); !op.Empty() {
			m.enqueue(mutation.Flags, r, mutation.Ref{}, op)
		}
	}
}

// shorten does to the model what Settle is to do with a refused Move whose message was moved on.
func (m *editModel) shorten(q mutation.Mutation, later mutation.ID, op flag.Op) {
	f := m.find(func(x mutation.Mutation) bool { return x.ID == later })
	f.Source = q.Source
	to := f.Ref
	delete(m.boxes[q.Ref.Mailbox].departed, q.Ref.UID)
	m.drop(func(x mutation.Mutation) bool { return x.Ref == q.Ref })
	if op := mutation.Narrowed(m.queue, to, op); !op.Empty() {
		m.enqueue(mutation.Flags, to, mutation.Ref{}, op)
	}
}

// handOn does to the model what a FlagEdit that is made again is to do with copies of the messages.
func (m *editModel) handOn(msgs []mutation.Ref, flags flag.Set) {
	for _, q := range slices.Clone(m.queue) {
		if q.Kind != mutation.Copy || !slices.Contains(msgs, q.Source) {
			continue
		}
		row := m.boxes[q.Ref.Mailbox].rows[q.Ref.UID]
		op := mutation.Narrowed(m.queue, q.Ref, flag.Op{Add: flags})
		if row != nil && flags.Minus(row.Flags).Empty() && !op.Empty() {
			m.enqueue(mutation.Flags, q.Ref, mutation.Ref{}, op)
		}
	}
}

package postgres

import (
	"context"
	"slices"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// settling is a Settle that runs.
type settling struct {
	q       *queue
	now     time.Time
	done    []int64        // ids of mutations that are done
	gone    []mutation.Ref // departed rows that are not needed any more
	left    []mutation.Ref // departed sources that are to be expunged
	freed   []mutation.Ref // messages that may have departed and been needed for what is done now
	bindsOf *groups[mailbox.ID]
	binds   map[mutation.Ref]uint32
	applied []metadata.Applied
}

// Settle implements metadata.Queue.
func (s *Store) Settle(ctx context.Context, f metadata.Fence, now time.Time, outcomes []metadata.Outcome) (applied []metadata.Applied, err error) {
	ids := make([]int64, len(outcomes))
	for i, o := range outcomes {
		ids[i] = int64(o.ID)
	}
	err = s.update(ctx, "record what the upstream did", func(tx *tx) error {
		tx.fence(f)
		found, err := tx.q.byID(ctx, ids)
		if err != nil {
			return err
		}
		t := &settling{q: tx.q, now: now, bindsOf: newGroups[mailbox.ID](), binds: map[mutation.Ref]uint32{}}
		for _, o := range outcomes {
			m, ok := found[o.ID]
			if !ok {
				continue // a client took it back
			}
			delete(found, o.ID)
			if err := t.settle(ctx, m, o); err != nil {
				return err
			}
		}
		applied, err = t.finish(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return applied, nil
}

func (t *settling) settle(ctx context.Context, m mutation.Mutation, o metadata.Outcome) error {
	switch o.Verdict {
	case metadata.Again:
		return t.undone(ctx, m, waiting, o)
	case metadata.Park:
		if m.Kind == mutation.Unsubscribe && m.Ref.Mailbox == 0 {
			t.done = append(t.done, int64(m.ID)) // of a name that is not here: nobody would miss it
			return nil
		}
		if m.Kind == mutation.Flags && m.Version != o.Version {
			return t.undone(ctx, m, waiting, o) // what was refused is not what it is now
		}
		if m.Kind == mutation.Flags {
			return t.parkFlags(ctx, m, o)
		}
		return t.undone(ctx, m, parked, o)
	}
	if m.Version != o.Version {
		t.q.t.later(`UPDATE mutations SET state = 'waiting' WHERE account_id = $1 AND id = $2`, int64(t.q.acc), int64(m.ID))
		return nil
	}
	t.done = append(t.done, int64(m.ID))
	switch m.Kind {
	case mutation.Append, mutation.Copy, mutation.Move:
		t.bindsOf.add(m.Ref.Mailbox, int64(m.Ref.UID))
		t.binds[m.Ref] = o.Upstream
		t.freed = append(t.freed, m.Ref)
		if o.Uploaded != nil {
			if err := t.q.catchUp(ctx, m.Ref, *o.Uploaded, t.now); err != nil {
				return err
			}
		}
		switch m.Kind {
		case mutation.Move:
			if o.Left {
				t.left = append(t.left, m.Source)
			} else {
				t.gone = append(t.gone, m.Source)
			}
		case mutation.Copy:
			t.freed = append(t.freed, m.Source)
		}
	case mutation.Expunge:
		t.gone = append(t.gone, m.Ref)
	case mutation.Create, mutation.Rename:
		t.rename(o.Raw)
	case mutation.Delete:
		return t.q.removeMailbox(ctx, t.now, m.Ref.Mailbox, false)
	}
	return nil
}

// parkFlags parks a change of flags, or what is left of it.
func (t *settling) parkFlags(ctx context.Context, m mutation.Mutation, o metadata.Outcome) error {
	op := m.Op
	if !o.Rest.Empty() {
		op = o.Rest
	}
	rest, err := t.part(ctx, m.Ref, m.ID, op)
	if err != nil {
		return err
	}
	if rest.Empty() {
		t.done = append(t.done, int64(m.ID))
		return nil
	}
	if rest != m.Op {
		t.q.writeOps(only(rest, int64(m.ID)), 0)
	}
	return t.undone(ctx, m, parked, o)
}

func only(op flag.Op, id int64) *groups[flag.Op] {
	g := newGroups[flag.Op]()
	g.add(op, id)
	return g
}

// part gives what was made from a message since the mutation the change of its flags that is not made to it, and returns
// what stays.
func (t *settling) part(ctx context.Context, ref mutation.Ref, since mutation.ID, op flag.Op) (flag.Op, error) {
	about, err := t.q.about(ctx, ref)
	if err != nil {
		return op, err
	}
	rest, heirs := mutation.Parting(about, ref, since, op)
	for _, h := range heirs {
		departed, err := t.q.departedAmong(ctx, h.Ref.Mailbox, []int64{int64(h.Ref.UID)})
		if err != nil {
			return rest, err
		}
		if len(departed) > 0 {
			if _, err := t.part(ctx, h.Ref, 0, h.Op); err != nil {
				return rest, err
			}
			continue
		}
		own, err := t.q.about(ctx, h.Ref)
		if err != nil {
			return rest, err
		}
		if op := mutation.Narrowed(own, h.Ref, h.Op); !op.Empty() {
			t.q.add(mutation.Flags, h.Ref, mutation.Ref{}, op, t.now)
		}
	}
	return rest, nil
}

// undone writes the state of a mutation that was attempted in vain. The placement of a message that is gone here, and that
// nothing else needs, is given up.
func (t *settling) undone(ctx context.Context, m mutation.Mutation, state string, o metadata.Outcome) error {
	t.q.t.later(`UPDATE mutations SET state = $3, attempts = attempts + 1, reason = $4, next = $5
		WHERE account_id = $1 AND id = $2`, int64(t.q.acc), int64(m.ID), state, note(o.Reason), stamp(o.Next))
	switch {
	case m.Kind.Places():
		return t.giveUp(ctx, m, state == parked)
	case state != parked:
	case m.Kind == mutation.Rename:
		t.q.keepSubscribed(m)
	case m.Kind == mutation.Delete:
		t.q.keepSubscribed(m)
		return t.reappear(ctx, m.Ref.Mailbox)
	}
	return nil
}

func (t *settling) giveUp(ctx context.Context, m mutation.Mutation, refused bool) error {
	departed, err := t.q.departedAmong(ctx, m.Ref.Mailbox, []int64{int64(m.Ref.UID)})
	if err != nil || len(departed) == 0 {
		return err
	}
	ps, err := t.q.placements(ctx, m.Ref.Mailbox, []int64{int64(m.Ref.UID)})
	if err != nil {
		return err
	}
	p := ps[m.Ref.UID]
	if p.followed && refused {
		if done, err := t.shorten(ctx, m); done || err != nil {
			return err
		}
	}
	switch {
	case p.followed && (refused || p.kind == mutation.Append):
		// What was made from it is uploaded instead.
		return t.q.cancel(ctx, t.now, []placement{p}, true)
	case !p.followed && p.expunged:
		return t.q.cancel(ctx, t.now, []placement{p}, false)
	}
	return nil
}

// shorten takes a refused Move of a message that was moved on out of the queue.
func (t *settling) shorten(ctx context.Context, m mutation.Mutation) (bool, error) {
	about, err := t.q.about(ctx, m.Ref)
	if err != nil {
		return false, err
	}
	later, op, ok := mutation.Shorten(about, m)
	if !ok {
		return false, nil
	}
	i := slices.IndexFunc(about, func(x mutation.Mutation) bool { return x.ID == later })
	t.q.t.later(`UPDATE mutations SET src_mailbox_id = $3, src_uid = $4 WHERE account_id = $1 AND id = $2`,
		int64(t.q.acc), int64(later), int64(m.Source.Mailbox), int64(m.Source.UID))
	t.q.drop([]mutation.Ref{m.Ref})
	own, err := t.q.about(ctx, about[i].Ref)
	if err != nil {
		return true, err
	}
	if op = mutation.Narrowed(own, about[i].Ref, op); !op.Empty() {
		t.q.add(mutation.Flags, about[i].Ref, mutation.Ref{}, op, t.now)
	}
	return true, nil
}

// reappear gives a mailbox whose deletion is not to be back to clients.
func (t *settling) reappear(ctx context.Context, id mailbox.ID) error {
	if err := t.q.reappear(ctx, id); err != nil {
		return err
	}
	return t.changed(ctx, id)
}

// changed notes that clients see a change of a mailbox.
func (t *settling) changed(ctx context.Context, id mailbox.ID) error {
	a := metadata.Applied{Mailbox: id, Changed: true}
	err := t.q.t.one(ctx, func(r *row) { a.ModSeq = mailbox.ModSeq(r.int()) },
		`SELECT modseq FROM mailboxes WHERE account_id = $1 AND id = $2`, int64(t.q.acc), int64(id))
	t.applied = append(t.applied, a)
	return err
}

// rename queues writing the upstream names of mailboxes that are here still.
func (t *settling) rename(raw []metadata.RawName) {
	for _, r := range raw {
		t.q.t.later(`UPDATE mailboxes SET up_name = $3, up_delimiter = $4 WHERE account_id = $1 AND id = $2`,
			int64(t.q.acc), int64(r.ID), []byte(r.Name), int64(r.Delimiter))
	}
}

// finish writes what was collected.
func (t *settling) finish(ctx context.Context) ([]metadata.Applied, error) {
	t.q.remove(t.done)
	gone := byMailbox(t.gone)
	for _, id := range gone.order {
		ch := t.q.t.at(id)
		uids := setOf(gone.of[id])
		ch.forget(uids)
		ch.over(uids, `DELETE FROM mutations WHERE `+those("mutations", `AND x.kind IN ('flags', 'expunge')`))
	}
	left := byMailbox(t.left)
	for _, id := range left.order {
		if err := t.expunge(ctx, id, left.of[id]); err != nil {
			return nil, err
		}
	}
	for _, id := range t.bindsOf.order {
		if err := t.bind(ctx, id, t.bindsOf.of[id]); err != nil {
			return nil, err
		}
	}
	freed := byMailbox(t.freed)
	for _, id := range freed.order {
		if err := t.q.comeBack(ctx, id, freed.of[id]); err != nil {
			return nil, err
		}
	}
	t.q.save()
	return t.applied, nil
}

// expunge queues that departed messages, of one mailbox, are expunged.
func (t *settling) expunge(ctx context.Context, id mailbox.ID, uids []int64) error {
	departed, err := t.q.departedAmong(ctx, id, uids)
	if err != nil {
		return err
	}
	ch := t.q.t.at(id)
	ch.over(departed, `DELETE FROM mutations WHERE `+those("mutations", `AND x.kind = 'flags'`))
	for uid := range departed.All {
		t.q.add(mutation.Expunge, mutation.Ref{Mailbox: id, UID: mailbox.UID(uid)}, mutation.Ref{}, flag.Op{}, t.now)
	}
	return nil
}

// bind gives placed messages of one mailbox their upstream UIDs.
func (t *settling) bind(ctx context.Context, id mailbox.ID, uids []int64) error {
	ch, err := t.q.t.loaded(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, uid := range uids {
		up := t.binds[mutation.Ref{Mailbox: id, UID: mailbox.UID(uid)}]
		if up == 0 {
			continue
		}
		if err := ch.evict(ctx, t.now, mailbox.UID(uid), up); err != nil {
			return err
		}
		if err := ch.bind(ctx, []int64{uid}, []int64{int64(up)}); err != nil {
			return err
		}
	}
	ch.save()
	if ch.changed() {
		t.applied = append(t.applied, metadata.Applied{Mailbox: id, Changed: true, ModSeq: mailbox.ModSeq(ch.modSeq)})
	}
	return nil
}

// evict makes an upstream UID free for a message that was placed: one that has it was taken in from the upstream, by
// mistake, before it was known to be that message.
func (ch *change) evict(ctx context.Context, now time.Time, uid mailbox.UID, up uint32) error {
	var other mailbox.UID
	var gone bool
	err := ch.t.one(ctx, func(r *row) { other, gone = r.uid(), r.bool() }, `SELECT m.uid, false FROM messages m
		WHERE m.account_id = $1 AND m.mailbox_id = $2 AND m.up_uid = $3 AND m.up_uid > 0 AND m.uid <> $4
		UNION ALL SELECT d.uid, true FROM departed d
		WHERE d.account_id = $1 AND d.mailbox_id = $2 AND d.up_uid = $3 AND d.up_uid > 0 AND d.uid <> $4`,
		ch.keys(int64(up), int64(uid))...)
	if noRow(err) {
		return nil
	}
	if err != nil {
		return err
	}
	set := mailbox.SetOf(other)
	if !gone {
		if err := ch.hotRows(ctx, set, func(r hot) {
			ch.count(r.Flags.Sys, r.Size, -1)
			ch.bodies -= r.body
			ch.bound--
		}); err != nil {
			return err
		}
		ch.erase(now, set, false)
	}
	// Was it being placed itself, then what it was made from comes back.
	ref := mutation.Ref{Mailbox: ch.id, UID: other}
	ps, err := ch.placements(ctx, []int64{int64(other)})
	if err != nil {
		return err
	}
	if p, placing := ps[ref.UID]; placing {
		return ch.q.cancel(ctx, now, []placement{p}, true)
	}
	ch.q.drop([]mutation.Ref{ref})
	return nil
}

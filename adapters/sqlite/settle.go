package sqlite

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
	done    []any          // ids of mutations that are done
	gone    []mutation.Ref // departed rows that are not needed any more
	left    []mutation.Ref // departed sources that are to be expunged
	freed   []mutation.Ref // messages that may have departed and been needed for what is done now
	bindsOf *groups[mailbox.ID]
	binds   map[mutation.Ref]uint32
	applied []metadata.Applied
}

// Settle implements metadata.Queue.
func (s *Store) Settle(ctx context.Context, f metadata.Fence, now time.Time, outcomes []metadata.Outcome) (applied []metadata.Applied, err error) {
	err = s.update(ctx, "record what the upstream did", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		q, err := c.loadQueue(ctx, f.Account)
		if err != nil {
			return err
		}
		ids := make([]any, len(outcomes))
		for i, o := range outcomes {
			ids[i] = int64(o.ID)
		}
		found, err := q.byID(ctx, ids)
		if err != nil {
			return err
		}
		t := &settling{q: q, now: now, bindsOf: newGroups[mailbox.ID](), binds: map[mutation.Ref]uint32{}}
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
		_, err := t.q.c.exec(ctx, `UPDATE mutations SET state = 'waiting' WHERE account_id = ? AND id = ?`,
			int64(t.q.acc), int64(m.ID))
		return err
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
		return t.rename(ctx, o.Raw)
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
		if err := t.q.writeOps(ctx, only(rest, int64(m.ID)), 0); err != nil {
			return err
		}
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
		departed, err := t.q.departedAmong(ctx, h.Ref.Mailbox, []any{int64(h.Ref.UID)})
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
	if _, err := t.q.c.exec(ctx, `UPDATE mutations SET state = ?, attempts = attempts + 1, reason = ?, next = ?
		WHERE account_id = ? AND id = ?`, state, o.Reason, stamp(o.Next), int64(t.q.acc), int64(m.ID)); err != nil {
		return err
	}
	switch {
	case m.Kind.Places():
		return t.giveUp(ctx, m, state == parked)
	case state != parked:
	case m.Kind == mutation.Rename:
		return t.q.keepSubscribed(ctx, m)
	case m.Kind == mutation.Delete:
		if err := t.q.keepSubscribed(ctx, m); err != nil {
			return err
		}
		return t.reappear(ctx, m.Ref.Mailbox)
	}
	return nil
}

func (t *settling) giveUp(ctx context.Context, m mutation.Mutation, refused bool) error {
	departed, err := t.q.departedAmong(ctx, m.Ref.Mailbox, []any{int64(m.Ref.UID)})
	if err != nil || len(departed) == 0 {
		return err
	}
	ps, err := t.q.placements(ctx, m.Ref.Mailbox, []any{int64(m.Ref.UID)})
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
	if _, err := t.q.c.exec(ctx, `UPDATE mutations SET src_mailbox_id = ?, src_uid = ? WHERE account_id = ? AND id = ?`,
		int64(m.Source.Mailbox), int64(m.Source.UID), int64(t.q.acc), int64(later)); err != nil {
		return true, err
	}
	if err := t.q.drop(ctx, []mutation.Ref{m.Ref}); err != nil {
		return true, err
	}
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
	err := t.q.c.one(ctx, []any{&a.ModSeq}, `SELECT modseq FROM mailboxes WHERE id = ?`, int64(id))
	t.applied = append(t.applied, a)
	return err
}

// rename writes the upstream names of mailboxes that are here still.
func (t *settling) rename(ctx context.Context, raw []metadata.RawName) error {
	for _, r := range raw {
		if _, err := t.q.c.exec(ctx, `UPDATE mailboxes SET up_name = ?, up_delimiter = ? WHERE id = ? AND account_id = ?`,
			[]byte(r.Name), int64(r.Delimiter), int64(r.ID), int64(t.q.acc)); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what was collected.
func (t *settling) finish(ctx context.Context) ([]metadata.Applied, error) {
	if err := t.q.remove(ctx, t.done); err != nil {
		return nil, err
	}
	gone := byMailbox(t.gone)
	for _, id := range gone.order {
		uids := setOf(gone.of[id])
		if err := t.q.c.forget(ctx, t.q.acc, id, uids); err != nil {
			return nil, err
		}
		ch := &change{c: t.q.c, acc: t.q.acc, id: id}
		if _, err := ch.over(ctx, uids, 0, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ?
			AND kind IN ('flags', 'expunge') AND uid`, ch.keys()...); err != nil {
			return nil, err
		}
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
	return t.applied, t.q.save(ctx)
}

// expunge queues that departed messages, of one mailbox, are expunged.
func (t *settling) expunge(ctx context.Context, id mailbox.ID, uids []any) error {
	departed, err := t.q.departedAmong(ctx, id, uids)
	if err != nil {
		return err
	}
	ch := &change{c: t.q.c, acc: t.q.acc, id: id}
	if _, err := ch.over(ctx, departed, 0, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ?
		AND kind = 'flags' AND uid`, ch.keys()...); err != nil {
		return err
	}
	for uid := range departed.All {
		t.q.add(mutation.Expunge, mutation.Ref{Mailbox: id, UID: mailbox.UID(uid)}, mutation.Ref{}, flag.Op{}, t.now)
	}
	return nil
}

// bind gives placed messages of one mailbox their upstream UIDs.
func (t *settling) bind(ctx context.Context, id mailbox.ID, uids []any) error {
	ch, err := t.q.c.load(ctx, t.q.acc, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ch.q = t.q
	for _, u := range uids {
		uid := mailbox.UID(u.(int64))
		up := t.binds[mutation.Ref{Mailbox: id, UID: uid}]
		if up == 0 {
			continue
		}
		if err := ch.evict(ctx, t.now, uid, up); err != nil {
			return err
		}
		if err := ch.bind(ctx, uid, up); err != nil {
			return err
		}
	}
	if err := ch.save(ctx); err != nil {
		return err
	}
	if ch.changed() {
		t.applied = append(t.applied, metadata.Applied{Mailbox: id, Changed: true, ModSeq: mailbox.ModSeq(ch.modSeq)})
	}
	return nil
}

// evict makes an upstream UID free for a message that was placed: one that has it was taken in from the upstream, by
// mistake, before it was known to be that message.
func (ch *change) evict(ctx context.Context, now time.Time, uid mailbox.UID, up uint32) error {
	var other int64
	var gone bool
	err := ch.c.one(ctx, []any{&other, &gone}, `SELECT uid, 0 FROM messages INDEXED BY messages_upstream
		WHERE account_id = ?1 AND mailbox_id = ?2 AND up_uid = ?3 AND up_uid > 0 AND uid <> ?4
		UNION ALL SELECT uid, 1 FROM departed INDEXED BY departed_upstream
		WHERE account_id = ?1 AND mailbox_id = ?2 AND up_uid = ?3 AND up_uid > 0 AND uid <> ?4`,
		ch.keys(int64(up), int64(uid))...)
	if noRow(err) {
		return nil
	}
	if err != nil {
		return err
	}
	set := mailbox.SetOf(uint32(other))
	if !gone {
		if err := ch.hotRows(ctx, set, func(r hot) {
			ch.count(r.Flags.Sys, r.Size, -1)
			ch.bodies -= r.body
			ch.bound--
		}); err != nil {
			return err
		}
		if err := ch.erase(ctx, now, set, false); err != nil {
			return err
		}
	}
	// Was it being placed itself, then what it was made from comes back.
	ref := mutation.Ref{Mailbox: ch.id, UID: mailbox.UID(other)}
	ps, err := ch.placements(ctx, []any{other})
	if err != nil {
		return err
	}
	if p, placing := ps[ref.UID]; placing {
		return ch.q.cancel(ctx, now, []placement{p}, true)
	}
	return ch.q.drop(ctx, []mutation.Ref{ref})
}

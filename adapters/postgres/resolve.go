package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// Resolve implements metadata.Queue.
func (s *Store) Resolve(ctx context.Context, acc account.ID, id mutation.ID, retry bool, now time.Time) error {
	return s.update(ctx, "resolve a mutation", func(t *tx) error {
		t.lock(acc)
		m, err := t.q.find(ctx, id)
		if err != nil {
			return err
		}
		if m.State == mutation.Sent {
			return fault.New(fault.Conflict, "", "it has been sent, and what became of it is being found out")
		}
		if retry {
			err = t.q.retry(ctx, m, now)
		} else {
			err = t.q.discard(ctx, m, now)
		}
		t.q.save()
		return err
	})
}

// retry makes a mutation Waiting, at once. Who asks for a parked deletion again means the mailbox as it is now. What was to
// be done with subscriptions is queued again: it was taken back when the change was parked.
func (q *queue) retry(ctx context.Context, m mutation.Mutation, now time.Time) error {
	if (m.Kind == mutation.Rename || m.Kind == mutation.Delete) && m.State == mutation.Parked {
		if err := q.retrySubscriptions(ctx, m, now); err != nil {
			return err
		}
	}
	if m.Kind == mutation.Delete {
		q.t.later(`UPDATE mutations q SET known = b.up_uidnext FROM mailboxes b WHERE q.account_id = $1 AND q.id = $2
			AND b.account_id = $1 AND b.id = $3 AND NOT b.deleting`, int64(q.acc), int64(m.ID), int64(m.Ref.Mailbox))
		q.t.later(`UPDATE mailboxes SET deleting = true WHERE account_id = $1 AND id = $2`, int64(q.acc), int64(m.Ref.Mailbox))
	}
	if m.State == mutation.Parked {
		copies, err := q.waiting(ctx, m)
		if err != nil {
			return err
		}
		for _, c := range copies {
			if err := q.reCopy(ctx, c, now); err != nil {
				return err
			}
		}
	}
	q.t.later(`UPDATE mutations SET state = 'waiting', next = 0 WHERE account_id = $1 AND id = $2`, int64(q.acc), int64(m.ID))
	return nil
}

// waiting returns the Copies that waited because the mutation is Parked: itself, or those into the mailbox of a Create.
func (q *queue) waiting(ctx context.Context, m mutation.Mutation) ([]mutation.Mutation, error) {
	switch m.Kind {
	case mutation.Copy:
		return []mutation.Mutation{m}, nil
	case mutation.Create:
		all, err := q.aboutMailbox(ctx, m.Ref.Mailbox)
		return slices.DeleteFunc(all, func(c mutation.Mutation) bool {
			return c.Kind != mutation.Copy || c.Ref.Mailbox != m.Ref.Mailbox
		}), err
	}
	return nil, nil
}

// reCopy queues, for a Copy that waited and is carried out now, what takes the flags that its source has now to those of the
// copy, and of what was made from that: while it waited it held up no change of flags.
func (q *queue) reCopy(ctx context.Context, m mutation.Mutation, now time.Time) error {
	source, ok, err := q.flags(ctx, m.Source)
	if err != nil || !ok {
		return err
	}
	if err := q.adjust(ctx, m.Ref, source, now); err != nil {
		return err
	}
	return q.catchUp(ctx, m.Ref, source, now)
}

// catchUp does so for what is to be made from a message which the upstream has with the flags, and from that.
func (q *queue) catchUp(ctx context.Context, ref mutation.Ref, has flag.Set, now time.Time) error {
	about, err := q.about(ctx, ref)
	if err != nil {
		return err
	}
	for _, m := range about {
		if m.Source != ref || m.Kind != mutation.Copy && m.Kind != mutation.Move {
			continue
		}
		if err := q.adjust(ctx, m.Ref, has, now); err != nil {
			return err
		}
		if err := q.catchUp(ctx, m.Ref, has, now); err != nil {
			return err
		}
	}
	return nil
}

// adjust queues what takes a message from the flags to those that it has here.
func (q *queue) adjust(ctx context.Context, ref mutation.Ref, from flag.Set, now time.Time) error {
	to, ok, err := q.flags(ctx, ref)
	if err != nil || !ok {
		return err
	}
	if op := flag.Replace(from, to); !op.Empty() {
		q.add(mutation.Flags, ref, mutation.Ref{}, op, now)
	}
	return nil
}

// flags returns the flags of a message that is here.
func (q *queue) flags(ctx context.Context, ref mutation.Ref) (flags flag.Set, ok bool, err error) {
	err = q.t.at(ref.Mailbox).hotRows(ctx, mailbox.SetOf(ref.UID), func(r hot) { flags, ok = r.Flags, true })
	return flags, ok, err
}

// retrySubscriptions queues what is to be done with the subscriptions of the mailbox of a Rename or Delete, and for a
// Rename those below it.
func (q *queue) retrySubscriptions(ctx context.Context, m mutation.Mutation, now time.Time) error {
	var subs []subscription
	err := q.t.each(ctx, func(r *row) error {
		s := subscription{id: mailbox.ID(r.int()), new: r.str(), mirrored: true}
		s.old = m.Name + strings.TrimPrefix(s.new, r.str())
		subs = append(subs, s)
		return nil
	}, `SELECT b.id, b.name, t.name FROM mailboxes t JOIN mailboxes b
		ON b.account_id = t.account_id AND (b.id = t.id OR substr(b.name, 1, length(t.name) + 1) = t.name || '/')
		WHERE t.account_id = $1 AND t.id = $2 AND b.subscribed AND NOT b.deleting AND length(b.up_name) > 0
		ORDER BY b.name`, int64(q.acc), int64(m.Ref.Mailbox))
	switch {
	case err != nil:
		return err
	case m.Kind == mutation.Rename:
		q.resubscribe(int64(m.ID), now, subs)
	case len(subs) > 0 && subs[0].id == m.Ref.Mailbox:
		q.unsubscribe(int64(m.ID), m.Name, now)
	}
	return nil
}

// discard takes a mutation out of the queue and gives up the local side.
func (q *queue) discard(ctx context.Context, m mutation.Mutation, now time.Time) error {
	q.remove([]int64{int64(m.ID)})
	switch m.Kind {
	case mutation.Flags:
		q.lookAgain(m.Ref.Mailbox)
	case mutation.Append, mutation.Copy, mutation.Move:
		return q.discardPlacement(ctx, m, now)
	case mutation.Expunge:
		return q.comeBack(ctx, m.Ref.Mailbox, []int64{int64(m.Ref.UID)})
	case mutation.Create:
		return q.discardCreate(ctx, m.Ref.Mailbox, now)
	case mutation.Delete:
		q.keepSubscribed(m)
		return q.reappear(ctx, m.Ref.Mailbox)
	case mutation.Rename:
		return q.discardRename(ctx, m)
	case mutation.Subscribe, mutation.Unsubscribe:
		q.t.later(`UPDATE mailboxes m SET subscribed = $3 WHERE m.account_id = $1 AND m.id = $2
			AND NOT EXISTS (SELECT 1 FROM mutations q WHERE q.account_id = m.account_id AND q.mailbox_id = m.id
			AND q.uid = 0 AND q.kind IN ('subscribe', 'unsubscribe'))`, int64(q.acc), int64(m.Ref.Mailbox),
			m.Kind == mutation.Unsubscribe)
	}
	return nil
}

// discardPlacement removes the message that was to be placed, where it is here still.
func (q *queue) discardPlacement(ctx context.Context, m mutation.Mutation, now time.Time) error {
	ch := q.t.load(m.Ref.Mailbox)
	set, body := mailbox.SetOf(m.Ref.UID), int64(0)
	here := false
	if err := ch.hotRows(ctx, set, func(r hot) {
		here, body = true, r.body
		ch.count(r.Flags.Sys, r.Size, -1)
		if r.upstream != 0 {
			ch.bound--
		}
	}); err != nil {
		return err
	}
	ch.bodies -= body
	if here {
		ch.erase(now, set, body > 0)
	}
	ch.save()
	return q.cancel(ctx, now, []placement{{kind: m.Kind, ref: m.Ref, source: m.Source}}, true)
}

// discardCreate removes a mailbox that the upstream does not have.
func (q *queue) discardCreate(ctx context.Context, id mailbox.ID, now time.Time) error {
	var mirrored bool
	err := q.t.one(ctx, func(r *row) { mirrored = r.bool() }, `SELECT length(up_name) > 0 FROM mailboxes
		WHERE account_id = $1 AND id = $2`, int64(q.acc), int64(id))
	if err != nil || mirrored {
		return orNotFound(err, noMailbox)
	}
	return q.removeMailbox(ctx, now, id, true)
}

// discardRename gives a mailbox, and what is below it, the old name back, or the next free one. One that was renamed again
// keeps its name: that change now starts from the old one.
func (q *queue) discardRename(ctx context.Context, m mutation.Mutation) error {
	n, err := q.t.exec(ctx, `UPDATE mutations SET name = $2 WHERE account_id = $1 AND id = (SELECT min(id) FROM mutations
		WHERE account_id = $1 AND mailbox_id = $3 AND uid = 0 AND kind = 'rename' AND id > $4)`, int64(q.acc), m.Name,
		int64(m.Ref.Mailbox), int64(m.ID))
	if err != nil || n > 0 {
		return err
	}
	q.keepSubscribed(m)
	var renames []metadata.Rename
	if err := q.t.each(ctx, func(r *row) error {
		id, name := mailbox.ID(r.int()), r.str()
		if rest, ok := strings.CutPrefix(name, m.To); ok && (rest == "" || rest[0] == '/') {
			renames = append(renames, metadata.Rename{ID: id, Name: m.Name + rest})
		}
		return nil
	}, `SELECT id, name FROM mailboxes WHERE account_id = $1 AND NOT deleting ORDER BY name`, int64(q.acc)); err != nil {
		return err
	}
	for _, r := range renames {
		if r.Name, err = q.freeName(ctx, r.Name); err != nil {
			return err
		}
		if err := q.rename(ctx, []metadata.Rename{r}); err != nil {
			return err
		}
	}
	return nil
}

package sqlite

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
	return s.update(ctx, "resolve a mutation", func(c *conn) error {
		q, err := c.loadQueue(ctx, acc)
		if err != nil {
			return err
		}
		m, err := q.find(ctx, id)
		if err != nil {
			return err
		}
		if m.State == mutation.Sent {
			return fault.New(fault.Conflict, "", "it has been sent, and what became of it is being found out")
		}
		if retry {
			err = q.retry(ctx, m, now)
		} else {
			err = q.discard(ctx, m, now)
		}
		if err != nil {
			return err
		}
		return q.save(ctx)
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
		if _, err := q.c.exec(ctx, `UPDATE mutations SET known = (SELECT up_uidnext FROM mailboxes WHERE id = ?1)
			WHERE account_id = ?2 AND id = ?3 AND EXISTS (SELECT 1 FROM mailboxes WHERE id = ?1 AND deleting = 0)`,
			int64(m.Ref.Mailbox), int64(q.acc), int64(m.ID)); err != nil {
			return err
		}
		if _, err := q.c.exec(ctx, `UPDATE mailboxes SET deleting = 1 WHERE id = ? AND account_id = ?`,
			int64(m.Ref.Mailbox), int64(q.acc)); err != nil {
			return err
		}
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
	_, err := q.c.exec(ctx, `UPDATE mutations SET state = 'waiting', next = 0 WHERE account_id = ? AND id = ?`,
		int64(q.acc), int64(m.ID))
	return err
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
	ch := &change{c: q.c, acc: q.acc, id: ref.Mailbox}
	err = ch.hotRows(ctx, mailbox.SetOf(ref.UID), func(r hot) { flags, ok = r.Flags, true })
	return flags, ok, err
}

// retrySubscriptions queues what is to be done with the subscriptions of the mailbox of a Rename or Delete, and for a
// Rename those below it.
func (q *queue) retrySubscriptions(ctx context.Context, m mutation.Mutation, now time.Time) error {
	var subs []subscription
	var top string
	err := q.c.each(ctx, `SELECT b.id, b.name, t.name FROM mailboxes t CROSS JOIN mailboxes b
		ON b.account_id = t.account_id AND (b.id = t.id OR substr(b.name, 1, length(t.name) + 1) = t.name || '/')
		WHERE t.id = ? AND t.account_id = ? AND b.subscribed = 1 AND b.deleting = 0 AND length(b.up_name) > 0
		ORDER BY b.name`, []any{int64(m.Ref.Mailbox), int64(q.acc)}, func(scan func(...any) error) error {
		s := subscription{mirrored: true}
		err := scan(&s.id, &s.new, &top)
		s.old = m.Name + strings.TrimPrefix(s.new, top)
		subs = append(subs, s)
		return err
	})
	switch {
	case err != nil:
		return err
	case m.Kind == mutation.Rename:
		return q.resubscribe(ctx, int64(m.ID), now, subs)
	case len(subs) > 0 && subs[0].id == m.Ref.Mailbox:
		return q.unsubscribe(ctx, int64(m.ID), m.Name, now)
	}
	return nil
}

// discard takes a mutation out of the queue and gives up the local side.
func (q *queue) discard(ctx context.Context, m mutation.Mutation, now time.Time) error {
	if err := q.remove(ctx, []any{int64(m.ID)}); err != nil {
		return err
	}
	switch m.Kind {
	case mutation.Flags:
		return q.c.lookAgain(ctx, m.Ref.Mailbox)
	case mutation.Append, mutation.Copy, mutation.Move:
		return q.discardPlacement(ctx, m, now)
	case mutation.Expunge:
		return q.comeBack(ctx, m.Ref.Mailbox, []any{int64(m.Ref.UID)})
	case mutation.Create:
		return q.discardCreate(ctx, m.Ref.Mailbox, now)
	case mutation.Delete:
		if err := q.keepSubscribed(ctx, m); err != nil {
			return err
		}
		return q.reappear(ctx, m.Ref.Mailbox)
	case mutation.Rename:
		return q.discardRename(ctx, m)
	case mutation.Subscribe, mutation.Unsubscribe:
		_, err := q.c.exec(ctx, `UPDATE mailboxes SET subscribed = ? WHERE id = ? AND account_id = ?
			AND NOT EXISTS (SELECT 1 FROM mutations q WHERE q.account_id = mailboxes.account_id
			AND q.mailbox_id = mailboxes.id AND q.uid = 0 AND q.kind IN ('subscribe', 'unsubscribe'))`,
			m.Kind == mutation.Unsubscribe, int64(m.Ref.Mailbox), int64(q.acc))
		return err
	}
	return nil
}

// discardPlacement removes the message that was to be placed, where it is here still.
func (q *queue) discardPlacement(ctx context.Context, m mutation.Mutation, now time.Time) error {
	ch, err := q.c.load(ctx, q.acc, m.Ref.Mailbox)
	if err != nil {
		return err
	}
	ch.q = q
	set, body := mailbox.SetOf(m.Ref.UID), int64(0)
	if err := ch.hotRows(ctx, set, func(r hot) {
		ch.count(r.Flags.Sys, r.Size, -1)
		body = r.body
		if r.upstream != 0 {
			ch.bound--
		}
	}); err != nil {
		return err
	}
	ch.bodies -= body
	if ch.messages != ch.before.messages {
		if err := ch.erase(ctx, now, set, body > 0); err != nil {
			return err
		}
	}
	if err := ch.save(ctx); err != nil {
		return err
	}
	return q.cancel(ctx, now, []placement{{kind: m.Kind, ref: m.Ref, source: m.Source}}, true)
}

// discardCreate removes a mailbox that the upstream does not have.
func (q *queue) discardCreate(ctx context.Context, id mailbox.ID, now time.Time) error {
	var mirrored bool
	err := q.c.one(ctx, []any{&mirrored}, `SELECT length(up_name) > 0 FROM mailboxes WHERE id = ? AND account_id = ?`,
		int64(id), int64(q.acc))
	if err != nil || mirrored {
		return orNotFound(err, noMailbox)
	}
	return q.removeMailbox(ctx, now, id, true)
}

// discardRename gives a mailbox, and what is below it, the old name back, or the next free one. One that was renamed again
// keeps its name: that change now starts from the old one.
func (q *queue) discardRename(ctx context.Context, m mutation.Mutation) error {
	n, err := q.c.exec(ctx, `UPDATE mutations SET name = ? WHERE account_id = ? AND id = (SELECT min(id) FROM mutations
		WHERE account_id = ? AND mailbox_id = ? AND uid = 0 AND kind = 'rename' AND id > ?)`, m.Name, int64(q.acc),
		int64(q.acc), int64(m.Ref.Mailbox), int64(m.ID))
	if err != nil || n > 0 {
		return err
	}
	if err := q.keepSubscribed(ctx, m); err != nil {
		return err
	}
	var renames []metadata.Rename
	err = q.c.each(ctx, `SELECT id, name FROM mailboxes WHERE account_id = ? AND deleting = 0 ORDER BY name`,
		[]any{int64(q.acc)}, func(scan func(...any) error) error {
			var r metadata.Rename
			err := scan(&r.ID, &r.Name)
			if rest, ok := strings.CutPrefix(r.Name, m.To); ok && (rest == "" || rest[0] == '/') {
				r.Name = m.Name + rest
				renames = append(renames, r)
			}
			return err
		})
	if err != nil {
		return err
	}
	for _, r := range renames {
		if r.Name, err = q.c.freeName(ctx, q.acc, r.Name); err != nil {
			return err
		}
		if err := q.c.rename(ctx, q.acc, []metadata.Rename{r}); err != nil {
			return err
		}
	}
	return nil
}

package postgres

import (
	"context"
	"fmt"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// CreateMailbox implements metadata.Folders.
func (s *Store) CreateMailbox(ctx context.Context, acc account.ID, name string, attrs mailbox.Attr, now time.Time) (m mailbox.Info, err error) {
	const op = "create mailbox"
	if name == "" {
		return m, fault.New(fault.Invalid, op, "a mailbox needs a name")
	}
	err = s.update(ctx, op, func(t *tx) error {
		t.lock(acc)
		id, err := t.q.create(ctx, name, attrs)
		if err != nil {
			return err
		}
		ref := mutation.Ref{Mailbox: id}
		t.q.addMailbox(mutation.Mutation{Kind: mutation.Create, Ref: ref, Name: name, Attrs: attrs, Created: now})
		t.q.addMailbox(mutation.Mutation{Kind: mutation.Subscribe, Ref: ref, Name: name, Created: now})
		t.q.save()
		return t.one(ctx, func(r *row) { m = readInfo(r) }, selectInfo+`WHERE m.account_id = $1 AND m.id = $2`,
			int64(acc), int64(id))
	})
	return m, err
}

// create makes a mailbox, or makes one that only holds others a real one.
func (q *queue) create(ctx context.Context, name string, attrs mailbox.Attr) (mailbox.ID, error) {
	id, has, err := q.named(ctx, name)
	switch {
	case err != nil:
		return 0, err
	case id == 0:
		return q.t.createMailbox(ctx, q.acc, &metadata.Mirrored{Info: mailbox.Info{Name: name, Attrs: attrs, Subscribed: true}})
	case has&mailbox.NoSelect == 0:
		return 0, fault.New(fault.Exists, "", "there is a mailbox of that name")
	}
	q.t.later(`UPDATE mailboxes SET attrs = $3, subscribed = true WHERE account_id = $1 AND id = $2`, int64(q.acc), int64(id),
		int64(has&^mailbox.NoSelect|attrs))
	return id, nil
}

// named returns the mailbox of the name and its attributes; 0 when there is none.
func (q *queue) named(ctx context.Context, name string) (id mailbox.ID, attrs mailbox.Attr, err error) {
	err = q.t.each(ctx, func(r *row) error {
		id, attrs = mailbox.ID(r.int()), mailbox.Attr(r.int())
		return nil
	}, `SELECT id, attrs FROM mailboxes WHERE account_id = $1 AND name = $2 AND NOT deleting`, int64(q.acc), name)
	return id, attrs, err
}

// DeleteMailbox implements metadata.Folders.
func (s *Store) DeleteMailbox(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) error {
	return s.update(ctx, "delete mailbox", func(t *tx) error {
		ch, err := t.open(ctx, acc, id)
		if err != nil {
			return err
		}
		var mirrored, subscribed, useless bool
		var known int64
		if err := t.one(ctx, func(r *row) { mirrored, subscribed, known = r.bool(), r.bool(), r.int() },
			`SELECT length(up_name) > 0, subscribed, up_uidnext FROM mailboxes WHERE account_id = $1 AND id = $2`,
			ch.keys()...); err != nil {
			return err
		}
		if !mirrored {
			queue, err := t.q.aboutMailbox(ctx, id)
			if err != nil {
				return err
			}
			_, useless = mutation.Clear(queue, id)
		}
		// What the upstream never heard of, and nothing waits for, is just gone.
		if t.q.local || useless {
			if err := t.q.removeMailbox(ctx, now, id, false); err != nil {
				return err
			}
			t.q.save()
			return nil
		}
		t.later(`UPDATE mailboxes SET deleting = true WHERE account_id = $1 AND id = $2`, ch.keys()...)
		// This one takes the place of one that was parked.
		t.later(`DELETE FROM mutations WHERE account_id = $1 AND mailbox_id = $2 AND uid = 0 AND kind = 'delete'`, ch.keys()...)
		t.q.addMailbox(mutation.Mutation{
			Kind: mutation.Delete, Ref: mutation.Ref{Mailbox: id}, Name: ch.name, Known: uint32(known), Created: now,
		})
		if subscribed {
			t.q.unsubscribe(t.q.last, ch.name, now)
		}
		t.q.save()
		return nil
	})
}

// deleting returns the account's mailboxes that are being deleted.
func (q *queue) deleting(ctx context.Context) (map[mailbox.ID]bool, error) {
	ids := map[mailbox.ID]bool{}
	err := q.t.each(ctx, func(r *row) error {
		ids[mailbox.ID(r.int())] = true
		return nil
	}, `SELECT id FROM mailboxes WHERE account_id = $1 AND deleting`, int64(q.acc))
	return ids, err
}

// RenameMailboxes implements metadata.Folders.
func (s *Store) RenameMailboxes(ctx context.Context, acc account.ID, renames []metadata.Rename, now time.Time) error {
	const op = "rename mailbox"
	if len(renames) == 0 {
		return nil
	}
	for _, r := range renames {
		if r.Name == "" {
			return fault.New(fault.Invalid, op, "a mailbox needs a name")
		}
	}
	return s.update(ctx, op, func(t *tx) error {
		ch, err := t.open(ctx, acc, renames[0].ID)
		if err != nil {
			return err
		}
		subs, err := t.q.subscriptions(ctx, renames)
		if err != nil {
			return err
		}
		if err := t.q.rename(ctx, renames); err != nil {
			return err
		}
		t.q.addMailbox(mutation.Mutation{
			Kind: mutation.Rename, Ref: mutation.Ref{Mailbox: ch.id}, Name: ch.name, To: renames[0].Name, Created: now,
		})
		t.q.resubscribe(t.q.last, now, subs)
		t.q.save()
		return nil
	})
}

// unsubscribe queues, behind the change with the id, that the upstream is to take a name that no mailbox has any more off
// its list of subscriptions.
func (q *queue) unsubscribe(behind int64, name string, now time.Time) {
	q.addFor(mutation.Mutation{Kind: mutation.Unsubscribe, Name: name, Created: now}, behind)
}

// keepSubscribed takes back what was to be done with subscriptions behind a change that is not made, or not now.
func (q *queue) keepSubscribed(m mutation.Mutation) {
	q.t.later(`DELETE FROM mutations WHERE account_id = $1 AND id > $2 AND known = $2 AND uid = 0
		AND kind IN ('subscribe', 'unsubscribe')`, int64(q.acc), int64(m.ID))
}

// subscription is a subscribed mailbox that gets another name.
type subscription struct {
	id       mailbox.ID
	old, new string
	mirrored bool // the upstream has the mailbox
}

// subscriptions returns those mailboxes that are to be renamed and are subscribed.
func (q *queue) subscriptions(ctx context.Context, renames []metadata.Rename) (subs []subscription, err error) {
	for _, r := range renames {
		q.t.need(errNoMailbox, func(row *row) error {
			s := subscription{id: r.ID, old: row.str(), new: r.Name, mirrored: row.bool()}
			if row.bool() {
				subs = append(subs, s)
			}
			return nil
		}, `SELECT name, length(up_name) > 0, subscribed FROM mailboxes WHERE account_id = $1 AND id = $2`,
			int64(q.acc), int64(r.ID))
	}
	return subs, q.t.flush(ctx)
}

// resubscribe has the upstream subscribe mailboxes under their new names, behind the Rename with the id: it renames none of
// the names that it has on its list. All old ones are taken off first, as one of them may be another's new one.
func (q *queue) resubscribe(behind int64, now time.Time, subs []subscription) {
	for _, s := range subs {
		if s.mirrored {
			q.unsubscribe(behind, s.old, now)
			continue
		}
		// Its Create waits, and what is queued under its old name is not done yet.
		q.t.later(`DELETE FROM mutations WHERE account_id = $1 AND mailbox_id = $2 AND uid = 0
			AND kind IN ('subscribe', 'unsubscribe')`, int64(q.acc), int64(s.id))
	}
	for _, s := range subs {
		known := int64(0)
		if s.mirrored {
			known = behind
		}
		q.addFor(mutation.Mutation{
			Kind: mutation.Subscribe, Ref: mutation.Ref{Mailbox: s.id}, Name: s.new, Created: now,
		}, known)
	}
}

// rename gives mailboxes new names. All lose theirs first, so that they may swap: a mailbox that is being deleted holds
// none.
func (q *queue) rename(ctx context.Context, renames []metadata.Rename) error {
	for _, r := range renames {
		q.t.need(errNoMailbox, nothing, `UPDATE mailboxes SET deleting = true
			WHERE account_id = $1 AND id = $2 AND NOT deleting RETURNING 1`, int64(q.acc), int64(r.ID))
	}
	if err := q.t.flush(ctx); err != nil {
		return err
	}
	for _, r := range renames {
		q.t.later(`UPDATE mailboxes SET deleting = false, name = $3 WHERE account_id = $1 AND id = $2`,
			int64(q.acc), int64(r.ID), r.Name)
	}
	return q.t.flush(ctx)
}

// Subscribe implements metadata.Folders.
func (s *Store) Subscribe(ctx context.Context, acc account.ID, id mailbox.ID, on bool, now time.Time) error {
	op, kind := "unsubscribe mailbox", mutation.Unsubscribe
	if on {
		op, kind = "subscribe mailbox", mutation.Subscribe
	}
	return s.update(ctx, op, func(t *tx) error {
		ch, err := t.open(ctx, acc, id)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE mailboxes SET subscribed = $3 WHERE account_id = $1 AND id = $2 AND subscribed <> $3`,
			ch.keys(on)...)
		if err != nil || n == 0 {
			return err
		}
		t.q.addMailbox(mutation.Mutation{Kind: kind, Ref: mutation.Ref{Mailbox: id}, Name: ch.name, Created: now})
		t.q.save()
		return nil
	})
}

// reappear gives a mailbox that is being deleted back to clients, under its name or the next free one. What came to it
// meanwhile was not taken in: it is looked at in full.
func (q *queue) reappear(ctx context.Context, id mailbox.ID) error {
	var name string
	err := q.t.one(ctx, func(r *row) { name = r.str() }, `SELECT name FROM mailboxes
		WHERE account_id = $1 AND id = $2 AND deleting`, int64(q.acc), int64(id))
	if noRow(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if name, err = q.freeName(ctx, name); err != nil {
		return err
	}
	q.t.later(`UPDATE mailboxes SET deleting = false, name = $3, up_synced = 0 WHERE account_id = $1 AND id = $2`,
		int64(q.acc), int64(id), name)
	return nil
}

// freeName returns the name, or with a number behind it where it is taken.
func (q *queue) freeName(ctx context.Context, name string) (string, error) {
	next := name
	for n := 2; ; n++ {
		id, _, err := q.named(ctx, next)
		if err != nil || id == 0 {
			return next, err
		}
		next = fmt.Sprintf("%s=~%d", name, n) // as domain/mirror numbers names
	}
}

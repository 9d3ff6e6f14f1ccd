package sqlite

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
	err = s.update(ctx, op, func(c *conn) error {
		q, err := c.loadQueue(ctx, acc)
		if err != nil {
			return err
		}
		id, err := q.create(ctx, name, attrs)
		if err != nil {
			return err
		}
		ref := mutation.Ref{Mailbox: id}
		for _, mut := range [...]mutation.Mutation{
			{Kind: mutation.Create, Ref: ref, Name: name, Attrs: attrs, Created: now},
			{Kind: mutation.Subscribe, Ref: ref, Name: name, Created: now},
		} {
			if err := q.addMailbox(ctx, mut); err != nil {
				return err
			}
		}
		if err := q.save(ctx); err != nil {
			return err
		}
		return c.one(ctx, infoDest(&m), selectInfo+`WHERE id = ?`, int64(id))
	})
	return m, err
}

// create makes a mailbox, or makes one that only holds others a real one.
func (q *queue) create(ctx context.Context, name string, attrs mailbox.Attr) (mailbox.ID, error) {
	id, has, err := q.c.named(ctx, q.acc, name)
	switch {
	case err != nil:
		return 0, err
	case id == 0:
		m := metadata.Mirrored{Info: mailbox.Info{Name: name, Attrs: attrs, Subscribed: true}}
		err := q.c.createMailbox(ctx, q.acc, &m)
		return m.ID, err
	case has&mailbox.NoSelect == 0:
		return 0, fault.New(fault.Exists, "", "there is a mailbox of that name")
	}
	_, err = q.c.exec(ctx, `UPDATE mailboxes SET attrs = ?, subscribed = 1 WHERE id = ?`,
		int64(has&^mailbox.NoSelect|attrs), int64(id))
	return id, err
}

// named returns the mailbox of the name and its attributes; 0 when there is none.
func (c *conn) named(ctx context.Context, acc account.ID, name string) (id mailbox.ID, attrs mailbox.Attr, err error) {
	err = c.each(ctx, `SELECT id, attrs FROM mailboxes WHERE account_id = ? AND name = ? AND deleting = 0`,
		[]any{int64(acc), name}, func(scan func(...any) error) error { return scan(&id, &attrs) })
	return id, attrs, err
}

// DeleteMailbox implements metadata.Folders.
func (s *Store) DeleteMailbox(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) error {
	return s.update(ctx, "delete mailbox", func(c *conn) error {
		ch, err := c.open(ctx, acc, id)
		if err != nil {
			return err
		}
		var mirrored, subscribed, useless bool
		var known int64
		if err := c.one(ctx, []any{&mirrored, &subscribed, &known}, `SELECT length(up_name) > 0, subscribed, up_uidnext
			FROM mailboxes WHERE id = ?`, int64(id)); err != nil {
			return err
		}
		if !mirrored {
			queue, err := ch.q.aboutMailbox(ctx, id)
			if err != nil {
				return err
			}
			_, useless = mutation.Clear(queue, id)
		}
		// What the upstream never heard of, and nothing waits for, is just gone.
		if ch.q.local || useless {
			if err := ch.q.removeMailbox(ctx, now, id, false); err != nil {
				return err
			}
			return ch.q.save(ctx)
		}
		if _, err := c.exec(ctx, `UPDATE mailboxes SET deleting = 1 WHERE id = ?`, int64(id)); err != nil {
			return err
		}
		// This one takes the place of one that was parked.
		if _, err := c.exec(ctx, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ? AND uid = 0
			AND kind = 'delete'`, int64(acc), int64(id)); err != nil {
			return err
		}
		if err := ch.q.addMailbox(ctx, mutation.Mutation{
			Kind: mutation.Delete, Ref: mutation.Ref{Mailbox: id}, Name: ch.name, Known: uint32(known), Created: now,
		}); err != nil {
			return err
		}
		if subscribed {
			if err := ch.q.unsubscribe(ctx, ch.q.last, ch.name, now); err != nil {
				return err
			}
		}
		return ch.q.save(ctx)
	})
}

// deleting returns the account's mailboxes that are being deleted.
func (c *conn) deleting(ctx context.Context, acc account.ID) (map[mailbox.ID]bool, error) {
	ids := map[mailbox.ID]bool{}
	err := c.each(ctx, `SELECT id FROM mailboxes WHERE account_id = ? AND deleting = 1`, []any{int64(acc)},
		func(scan func(...any) error) error {
			var id mailbox.ID
			err := scan(&id)
			ids[id] = true
			return err
		})
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
	return s.update(ctx, op, func(c *conn) error {
		ch, err := c.open(ctx, acc, renames[0].ID)
		if err != nil {
			return err
		}
		subs, err := c.subscriptions(ctx, acc, renames)
		if err != nil {
			return err
		}
		if err := c.rename(ctx, acc, renames); err != nil {
			return err
		}
		if err := ch.q.addMailbox(ctx, mutation.Mutation{
			Kind: mutation.Rename, Ref: mutation.Ref{Mailbox: ch.id}, Name: ch.name, To: renames[0].Name, Created: now,
		}); err != nil {
			return err
		}
		if err := ch.q.resubscribe(ctx, ch.q.last, now, subs); err != nil {
			return err
		}
		return ch.q.save(ctx)
	})
}

// unsubscribe queues, behind the change with the id, that the upstream is to take a name that no mailbox has any more off
// its list of subscriptions.
func (q *queue) unsubscribe(ctx context.Context, behind int64, name string, now time.Time) error {
	return q.addFor(ctx, mutation.Mutation{Kind: mutation.Unsubscribe, Name: name, Created: now}, behind)
}

// keepSubscribed takes back what was to be done with subscriptions behind a change that is not made, or not now.
func (q *queue) keepSubscribed(ctx context.Context, m mutation.Mutation) error {
	_, err := q.c.exec(ctx, `DELETE FROM mutations WHERE account_id = ?1 AND id > ?2 AND known = ?2 AND uid = 0
		AND kind IN ('subscribe', 'unsubscribe')`, int64(q.acc), int64(m.ID))
	return err
}

// subscription is a subscribed mailbox that gets another name.
type subscription struct {
	id       mailbox.ID
	old, new string
	mirrored bool // the upstream has the mailbox
}

// subscriptions returns those mailboxes that are to be renamed and are subscribed.
func (c *conn) subscriptions(ctx context.Context, acc account.ID, renames []metadata.Rename) (subs []subscription, err error) {
	for _, r := range renames {
		s, subscribed := subscription{id: r.ID, new: r.Name}, false
		err := c.one(ctx, []any{&s.old, &s.mirrored, &subscribed}, `SELECT name, length(up_name) > 0, subscribed
			FROM mailboxes WHERE id = ? AND account_id = ?`, int64(r.ID), int64(acc))
		if err != nil {
			return nil, orNotFound(err, noMailbox)
		}
		if subscribed {
			subs = append(subs, s)
		}
	}
	return subs, nil
}

// resubscribe has the upstream subscribe mailboxes under their new names, behind the Rename with the id: it renames none of
// the names that it has on its list. All old ones are taken off first, as one of them may be another's new one.
func (q *queue) resubscribe(ctx context.Context, behind int64, now time.Time, subs []subscription) error {
	for _, s := range subs {
		if s.mirrored {
			if err := q.unsubscribe(ctx, behind, s.old, now); err != nil {
				return err
			}
			continue
		}
		// Its Create waits, and what is queued under its old name is not done yet.
		if _, err := q.c.exec(ctx, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ? AND uid = 0
			AND kind IN ('subscribe', 'unsubscribe')`, int64(q.acc), int64(s.id)); err != nil {
			return err
		}
	}
	for _, s := range subs {
		known := int64(0)
		if s.mirrored {
			known = behind
		}
		if err := q.addFor(ctx, mutation.Mutation{
			Kind: mutation.Subscribe, Ref: mutation.Ref{Mailbox: s.id}, Name: s.new, Created: now,
		}, known); err != nil {
			return err
		}
	}
	return nil
}

// rename gives mailboxes new names. All lose theirs first, so that they may swap; a name in between begins with NUL, as
// none of a client's does.
func (c *conn) rename(ctx context.Context, acc account.ID, renames []metadata.Rename) error {
	for _, r := range renames {
		n, err := c.exec(ctx, `UPDATE mailboxes SET name = ? WHERE id = ? AND account_id = ? AND deleting = 0`,
			fmt.Sprintf("\x00%d", r.ID), int64(r.ID), int64(acc))
		if err := found(n, err, noMailbox); err != nil {
			return err
		}
	}
	for _, r := range renames {
		if _, err := c.exec(ctx, `UPDATE mailboxes SET name = ? WHERE id = ?`, r.Name, int64(r.ID)); err != nil {
			return err
		}
	}
	return nil
}

// Subscribe implements metadata.Folders.
func (s *Store) Subscribe(ctx context.Context, acc account.ID, id mailbox.ID, on bool, now time.Time) error {
	op, kind := "unsubscribe mailbox", mutation.Unsubscribe
	if on {
		op, kind = "subscribe mailbox", mutation.Subscribe
	}
	return s.update(ctx, op, func(c *conn) error {
		ch, err := c.open(ctx, acc, id)
		if err != nil {
			return err
		}
		n, err := c.exec(ctx, `UPDATE mailboxes SET subscribed = ?1 WHERE id = ?2 AND subscribed <> ?1`, on, int64(id))
		if err != nil || n == 0 {
			return err
		}
		if err := ch.q.addMailbox(ctx, mutation.Mutation{
			Kind: kind, Ref: mutation.Ref{Mailbox: id}, Name: ch.name, Created: now,
		}); err != nil {
			return err
		}
		return ch.q.save(ctx)
	})
}

// reappear gives a mailbox that is being deleted back to clients, under its name or the next free one. What came to it
// meanwhile was not taken in: it is looked at in full.
func (q *queue) reappear(ctx context.Context, id mailbox.ID) error {
	var name string
	err := q.c.one(ctx, []any{&name}, `SELECT name FROM mailboxes WHERE id = ? AND account_id = ? AND deleting = 1`,
		int64(id), int64(q.acc))
	if noRow(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if name, err = q.c.freeName(ctx, q.acc, name); err != nil {
		return err
	}
	_, err = q.c.exec(ctx, `UPDATE mailboxes SET deleting = 0, name = ?, up_synced = 0 WHERE id = ?`, name, int64(id))
	return err
}

// freeName returns the name, or with a number behind it where it is taken.
func (c *conn) freeName(ctx context.Context, acc account.ID, name string) (string, error) {
	next := name
	for n := 2; ; n++ {
		id, _, err := c.named(ctx, acc, next)
		if err != nil || id == 0 {
			return next, err
		}
		next = fmt.Sprintf("%s=~%d", name, n) // as domain/mirror numbers names
	}
}

package sqlite

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

const selectInfo = `SELECT id, account_id, name, attrs, subscribed, uidvalidity, uidnext, modseq, recent_from, messages,
	unseen, deleted, size, deleted_size FROM mailboxes `

// isRenaming says whether a client gave the mailbox its name, and the upstream is yet to be told.
const isRenaming = `EXISTS (SELECT 1 FROM mutations q INDEXED BY mutations_renames WHERE q.account_id = mailboxes.account_id
		AND q.kind = 'rename' AND (q.mailbox_id = mailboxes.id OR q.to_name = mailboxes.name
		OR substr(mailboxes.name, 1, length(q.to_name) + 1) = q.to_name || '/'))`

const selectMirrored = `SELECT id, account_id, name, attrs, subscribed, uidvalidity, uidnext, modseq, recent_from,
	messages, unseen, deleted, size, deleted_size, bodies, bound, deleting, EXISTS (SELECT 1 FROM mutations q
		INDEXED BY mutations_uncertain WHERE q.account_id = mailboxes.account_id AND q.mailbox_id = mailboxes.id
		AND q.state = 'sent' AND q.kind IN ('append', 'copy', 'move')),
	coalesce((SELECT q.name FROM mutations q INDEXED BY mutations_message WHERE q.account_id = mailboxes.account_id
		AND q.mailbox_id = mailboxes.id AND q.uid = 0 AND q.kind = 'create' ORDER BY q.id LIMIT 1), ''), ` + isRenaming + `,
	up_name, up_delimiter, up_uidvalidity, up_uidnext, up_modseq, up_messages, up_synced FROM mailboxes `

func infoDest(m *mailbox.Info) []any {
	return []any{
		&m.ID, &m.Account, &m.Name, &m.Attrs, &m.Subscribed, &m.UIDValidity, &m.UIDNext, &m.HighestModSeq,
		&m.RecentFrom, &m.Messages, &m.Unseen, &m.Deleted, &m.Size, &m.DeletedSize,
	}
}

func scanMirrored(scan func(...any) error) (m metadata.Mirrored, err error) {
	var name []byte
	var synced, modseq int64
	err = scan(append(infoDest(&m.Info), &m.Bodies, &m.Bound, &m.Deleting, &m.Uncertain, &m.Creating, &m.Renaming,
		&name, &m.Upstream.Delimiter, &m.Upstream.UIDValidity,
		&m.Upstream.UIDNext, &modseq, &m.Upstream.Messages, &synced)...)
	m.Upstream.Name = string(name)
	m.Upstream.ModSeq = uint64(modseq)
	m.Upstream.Synced = unstamp(synced)
	return m, err
}

// mirrored returns one mailbox.
func (c *conn) mirrored(ctx context.Context, acc account.ID, id mailbox.ID) (m metadata.Mirrored, err error) {
	scan := func(dest ...any) error {
		return c.one(ctx, dest, selectMirrored+`WHERE id = ? AND account_id = ?`, int64(id), int64(acc))
	}
	m, err = scanMirrored(scan)
	return m, orNotFound(err, noMailbox)
}

// exists fails with fault.NotFound when the account has no such mailbox.
func (c *conn) exists(ctx context.Context, acc account.ID, id mailbox.ID) error {
	var one int
	err := c.one(ctx, []any{&one}, `SELECT 1 FROM mailboxes WHERE id = ? AND account_id = ?`, int64(id), int64(acc))
	return orNotFound(err, noMailbox)
}

// shown is exists for a client: a mailbox that is being deleted is not there.
func (c *conn) shown(ctx context.Context, acc account.ID, id mailbox.ID) error {
	var one int
	err := c.one(ctx, []any{&one}, `SELECT 1 FROM mailboxes WHERE id = ? AND account_id = ? AND deleting = 0`,
		int64(id), int64(acc))
	return orNotFound(err, noMailbox)
}

// existsAccount fails with fault.NotFound when there is no such account.
func (c *conn) existsAccount(ctx context.Context, acc account.ID) error {
	var one int
	return orNotFound(c.one(ctx, []any{&one}, `SELECT 1 FROM accounts WHERE id = ?`, int64(acc)), noAccount)
}

// Mailboxes implements metadata.Mailboxes.
func (s *Store) Mailboxes(ctx context.Context, acc account.ID) (ms []mailbox.Info, err error) {
	err = s.view(ctx, "list mailboxes", func(c *conn) error {
		if err := c.existsAccount(ctx, acc); err != nil {
			return err
		}
		return c.each(ctx, selectInfo+`WHERE account_id = ? AND deleting = 0 ORDER BY name`, []any{int64(acc)},
			func(scan func(...any) error) error {
				var m mailbox.Info
				err := scan(infoDest(&m)...)
				ms = append(ms, m)
				return err
			})
	})
	return ms, err
}

// Mailbox implements metadata.Mailboxes.
func (s *Store) Mailbox(ctx context.Context, acc account.ID, id mailbox.ID) (m mailbox.Info, err error) {
	err = s.view(ctx, "read mailbox", func(c *conn) error {
		return orNotFound(c.one(ctx, infoDest(&m), selectInfo+`WHERE id = ? AND account_id = ? AND deleting = 0`,
			int64(id), int64(acc)), noMailbox)
	})
	return m, err
}

// Usage implements metadata.Mailboxes.
func (s *Store) Usage(ctx context.Context, acc account.ID) (used int64, err error) {
	err = s.view(ctx, "add up an account's mail", func(c *conn) error {
		if err := c.existsAccount(ctx, acc); err != nil {
			return err
		}
		used, err = c.usage(ctx, acc)
		return err
	})
	return used, err
}

// usage returns the octets of an account's messages, from the counters of its mailboxes. sum() would fail where an upstream
// claims absurd sizes; total() is exact up to 2^53.
func (c *conn) usage(ctx context.Context, acc account.ID) (used int64, err error) {
	err = c.one(ctx, []any{&used}, `SELECT CAST(max(0, min(total(size), 9e18)) AS INTEGER) FROM mailboxes
		WHERE account_id = ? AND deleting = 0`, int64(acc))
	return used, err
}

// grow fails with fault.OverQuota when an account would hold more than quota octets, 0 for any number, with so many
// more. What does not grow is never refused: an account may hold more than its quota, from the upstream.
func (c *conn) grow(ctx context.Context, acc account.ID, octets, quota int64) error {
	if quota == 0 || octets <= 0 {
		return nil
	}
	used, err := c.usage(ctx, acc)
	if err == nil && used > quota-octets {
		err = metadata.OverQuota(quota)
	}
	return err
}

// ClaimRecent implements metadata.Mailboxes. upTo above UIDNEXT counts as UIDNEXT. Where there is nothing to claim it
// writes nothing.
func (s *Store) ClaimRecent(ctx context.Context, acc account.ID, id mailbox.ID, upTo mailbox.UID) (mailbox.UID, error) {
	const op = "claim recent messages"
	var from, next mailbox.UID
	read := func(c *conn) error {
		return orNotFound(c.one(ctx, []any{&from, &next}, `SELECT recent_from, uidnext FROM mailboxes
			WHERE id = ? AND account_id = ? AND deleting = 0`, int64(id), int64(acc)), noMailbox)
	}
	if err := s.view(ctx, op, read); err != nil {
		return 0, err
	}
	if min(upTo, next) <= from {
		return from, nil
	}
	err := s.update(ctx, op, func(c *conn) error {
		if err := read(c); err != nil {
			return err
		}
		if min(upTo, next) <= from {
			return nil
		}
		_, err := c.exec(ctx, `UPDATE mailboxes SET recent_from = ? WHERE id = ?`, int64(min(upTo, next)), int64(id))
		return err
	})
	if err != nil {
		return 0, err
	}
	return from, nil
}

// Mirrored implements metadata.Mirror.
func (s *Store) Mirrored(ctx context.Context, acc account.ID) (ms []metadata.Mirrored, err error) {
	err = s.view(ctx, "list mirrored mailboxes", func(c *conn) error {
		if err := c.existsAccount(ctx, acc); err != nil {
			return err
		}
		return c.each(ctx, selectMirrored+`WHERE account_id = ? ORDER BY id`, []any{int64(acc)},
			func(scan func(...any) error) error {
				m, err := scanMirrored(scan)
				ms = append(ms, m)
				return err
			})
	})
	return ms, err
}

// saveMailbox leaves what the queue is to change upstream as a client has made it: the name below a Rename, and whether
// the mailbox is subscribed.
const saveMailbox = `UPDATE mailboxes SET
	name = iif(deleting = 1 OR ` + isRenaming + `, name, ?),
	attrs = ?,
	subscribed = iif(EXISTS (SELECT 1 FROM mutations q INDEXED BY mutations_message
		WHERE q.account_id = mailboxes.account_id AND q.mailbox_id = mailboxes.id AND q.uid = 0
		AND q.kind IN ('subscribe', 'unsubscribe')), subscribed, ?),
	up_name = ?, up_delimiter = ?, up_uidvalidity = ?, up_uidnext = ?, up_modseq = ?, up_messages = ?, up_synced = ?
	WHERE id = ? AND account_id = ?`

// SaveMailbox implements metadata.Mirror.
func (s *Store) SaveMailbox(ctx context.Context, f metadata.Fence, m metadata.Mirrored) (saved metadata.Mirrored, err error) {
	const op = "save mailbox"
	if m.Name == "" {
		return saved, fault.New(fault.Invalid, op, "a mailbox needs a name")
	}
	err = s.update(ctx, op, func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		if m.ID == 0 {
			if err := c.createMailbox(ctx, f.Account, &m); err != nil {
				return err
			}
		} else {
			u := m.Upstream
			n, err := c.exec(ctx, saveMailbox, m.Name, int64(m.Attrs), m.Subscribed, []byte(u.Name),
				int64(u.Delimiter), int64(u.UIDValidity), int64(u.UIDNext), int64(u.ModSeq), int64(u.Messages),
				stamp(u.Synced), int64(m.ID), int64(f.Account))
			if err := found(n, err, noMailbox); err != nil {
				return err
			}
		}
		saved, err = c.mirrored(ctx, f.Account, m.ID)
		return err
	})
	return saved, err
}

// createMailbox inserts a mailbox with the account's next UIDVALIDITY and sets m.ID.
func (c *conn) createMailbox(ctx context.Context, acc account.ID, m *metadata.Mirrored) error {
	var validity int64
	if err := c.one(ctx, []any{&validity}, `UPDATE accounts SET uidvalidity = uidvalidity + 1 WHERE id = ?
		RETURNING uidvalidity`, int64(acc)); err != nil {
		return orNotFound(err, noAccount)
	}
	if validity > 1<<32-1 {
		return fault.New(fault.Limit, "", "the account has no UIDVALIDITY left")
	}
	u := m.Upstream
	id, err := c.insert(ctx, `INSERT INTO mailboxes (account_id, name, attrs, subscribed, uidvalidity, up_name,
		up_delimiter, up_uidvalidity, up_uidnext, up_modseq, up_messages, up_synced)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, int64(acc), m.Name, int64(m.Attrs), m.Subscribed, validity,
		[]byte(u.Name), int64(u.Delimiter), int64(u.UIDValidity), int64(u.UIDNext), int64(u.ModSeq),
		int64(u.Messages), stamp(u.Synced))
	if err != nil {
		return err
	}
	if id >= 1<<31 {
		return fault.New(fault.Limit, "", "the store has no mailbox ids left")
	}
	m.ID = mailbox.ID(id)
	return nil
}

// contentID is the key of a message's row in contents.
func contentID(id mailbox.ID, uid mailbox.UID) int64 { return int64(id)<<32 | int64(uid) }

// removeContents removes the contents of the UIDs in r.
func (c *conn) removeContents(ctx context.Context, id mailbox.ID, r mailbox.Range) error {
	_, err := c.exec(ctx, `DELETE FROM contents WHERE id BETWEEN ? AND ?`,
		contentID(id, mailbox.UID(r.First)), contentID(id, mailbox.UID(r.Last)))
	return err
}

package sqlite

import (
	"context"
	"database/sql"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// UpstreamRows implements metadata.Mirror. A read connection is held while fn runs: it must neither wait for a network
// nor call the store.
func (s *Store) UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	return s.snapshot(ctx, "read mirrored messages", func(c *conn) error {
		if err := c.exists(ctx, acc, id); err != nil {
			return err
		}
		return c.upstreamRows(ctx, acc, id, fn)
	})
}

// Pending implements metadata.Bodies. Messages that are not at the upstream are left out: nobody can fetch them.
func (s *Store) Pending(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) (ps []metadata.PendingBody, err error) {
	err = s.view(ctx, "list missing bodies", func(c *conn) error {
		if err := c.exists(ctx, acc, id); err != nil {
			return err
		}
		var uid, up, size, attempts int64
		return c.each(ctx, `SELECT m.uid, m.up_uid, m.size, coalesce(f.attempts, 0)
			FROM messages m INDEXED BY messages_pending
			LEFT JOIN body_failures f USING (account_id, mailbox_id, uid)
			WHERE m.account_id = ? AND m.mailbox_id = ? AND m.body = 0 AND m.up_uid > 0
			AND (f.next IS NULL OR f.next <= ?) ORDER BY m.uid DESC`,
			[]any{int64(acc), int64(id), stamp(now)}, func(scan func(...any) error) error {
				err := scan(&uid, &up, &size, &attempts)
				ps = append(ps, metadata.PendingBody{
					UID: mailbox.UID(uid), Upstream: uint32(up), Size: size, Attempts: int(attempts),
				})
				return err
			})
	})
	return ps, err
}

// StoreContents implements metadata.Bodies.
func (s *Store) StoreContents(ctx context.Context, f metadata.Fence, contents []metadata.Content) error {
	return s.putContents(ctx, f.Account, contents, true, func(c *conn) error { return c.fenced(ctx, f) })
}

// AddContents implements metadata.Bodies.
func (s *Store) AddContents(ctx context.Context, acc account.ID, contents []metadata.Content) error {
	return s.putContents(ctx, acc, contents, false, func(c *conn) error {
		var one int
		err := c.one(ctx, []any{&one}, `SELECT 1 FROM accounts WHERE id = ?`, int64(acc))
		return orNotFound(err, noAccount)
	})
}

// putContents records bodies when allowed says that it may. replace says what becomes of those that are stored already.
func (s *Store) putContents(
	ctx context.Context, acc account.ID, contents []metadata.Content, replace bool, allowed func(c *conn) error,
) error {
	if len(contents) == 0 {
		return nil
	}
	byMailbox := map[mailbox.ID][]*metadata.Content{}
	var order []mailbox.ID
	for i := range contents {
		id := contents[i].Mailbox
		if byMailbox[id] == nil {
			order = append(order, id)
		}
		byMailbox[id] = append(byMailbox[id], &contents[i])
	}
	return s.update(ctx, "store contents", func(c *conn) error {
		if err := allowed(c); err != nil {
			return err
		}
		for _, id := range order {
			ch, err := c.load(ctx, acc, id)
			if fault.Is(err, fault.NotFound) {
				continue // all its messages are gone
			}
			if err != nil {
				return err
			}
			if err := ch.storeContents(ctx, byMailbox[id], replace); err != nil {
				return err
			}
			if err := ch.save(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeContents stores bodies of messages that exist, and have none unless replace is set, and corrects their sizes.
func (ch *change) storeContents(ctx context.Context, contents []*metadata.Content, replace bool) error {
	uids := make([]any, 0, len(contents))
	for i := range contents {
		uids = append(uids, int64(contents[i].UID))
	}
	type row struct{ sys, size, body int64 }
	rows := make(map[mailbox.UID]row, len(contents))
	var uid int64
	var r row
	dest := []any{&uid, &r.sys, &r.size, &r.body}
	err := ch.c.eachBatch(ctx, `SELECT uid, sys, size, body FROM messages WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, ch.keys(), `)`, uids, func(scan func(...any) error) error {
		err := scan(dest...)
		rows[mailbox.UID(uid)] = r
		return err
	})
	if err != nil {
		return err
	}
	live := make([]*metadata.Content, 0, len(contents))
	uids = uids[:0]
	for _, v := range contents {
		r, ok := rows[v.UID]
		if !ok || r.body != 0 && !replace {
			continue
		}
		live = append(live, v)
		uids = append(uids, int64(v.UID))
		ch.bodies += 1 - r.body
		if r.size != v.Size {
			ch.size += v.Size - r.size
			if flag.System(r.sys)&flag.Deleted != 0 {
				ch.deletedSize += v.Size - r.size
			}
			if _, err := ch.c.exec(ctx, `UPDATE messages SET size = ?, modseq = ? WHERE account_id = ?
				AND mailbox_id = ? AND uid = ?`, v.Size, ch.seq(), int64(ch.acc), int64(ch.id), int64(v.UID)); err != nil {
				return err
			}
		}
		rows[v.UID] = row{sys: r.sys, size: v.Size, body: 1}
	}
	if err := ch.c.execBatch(ctx, `UPDATE messages SET body = 1 WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, ch.keys(), 1, `)`, uids); err != nil {
		return err
	}
	if err := ch.c.execBatch(ctx, `DELETE FROM body_failures WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, ch.keys(), 1, `)`, uids); err != nil {
		return err
	}
	return ch.insertContents(ctx, live)
}

// insertContents writes the wide rows of messages of the mailbox.
func (ch *change) insertContents(ctx context.Context, contents []*metadata.Content) error {
	const cols = 10
	args := make([]any, 0, len(contents)*cols)
	for _, v := range contents {
		args = append(args, contentID(ch.id, v.UID), int64(ch.acc), v.Blob[:], v.Size, blobOf(v.Envelope),
			blobOf(v.Body), blobOf(v.BodyStructure), blobOf(v.Headers), blobOf(v.Preview), blobOf(v.Parts))
	}
	return ch.c.execBatch(ctx, `INSERT OR REPLACE INTO contents (id, account_id, blob, size, envelope, body, structure,
		headers, preview, parts) VALUES `, nil, cols, ``, args)
}

// Unfetchable implements metadata.Bodies. A message that is gone is no error.
func (s *Store) Unfetchable(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID, why string, next time.Time) error {
	return s.update(ctx, "record a missing body", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		if err := c.exists(ctx, f.Account, id); err != nil {
			return err
		}
		_, err := c.exec(ctx, `INSERT INTO body_failures (account_id, mailbox_id, uid, attempts, reason, next)
			SELECT account_id, mailbox_id, uid, 1, ?, ? FROM messages
			WHERE account_id = ? AND mailbox_id = ? AND uid = ? AND body = 0
			ON CONFLICT (account_id, mailbox_id, uid) DO UPDATE SET attempts = attempts + 1, reason = excluded.reason,
			next = excluded.next`, why, stamp(next), int64(f.Account), int64(id), int64(uid))
		return err
	})
}

// DropContent implements metadata.Bodies. A message that is gone is no error.
func (s *Store) DropContent(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID) error {
	return s.update(ctx, "forget a body", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		ch, err := c.load(ctx, f.Account, id)
		if err != nil {
			return err
		}
		n, err := c.exec(ctx, `UPDATE messages SET body = 0 WHERE account_id = ? AND mailbox_id = ? AND uid = ?
			AND body = 1`, ch.keys(int64(uid))...)
		if err != nil {
			return err
		}
		ch.bodies -= n
		if err := c.removeContents(ctx, id, mailbox.Range{First: uint32(uid), Last: uint32(uid)}); err != nil {
			return err
		}
		return ch.save(ctx)
	})
}

// upstreamRows merges the messages with the departed ones, which are few, in UID order.
func (c *conn) upstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	placing, err := c.placing(ctx, acc, id)
	if err != nil {
		return err
	}
	departed, err := c.departedRows(ctx, acc, id)
	if err != nil {
		return err
	}
	yield := func(r metadata.UpstreamRow) error {
		r.Placing = r.Upstream == 0 && placing[r.UID]
		return fn(r)
	}
	var flags flagReader
	var uid, up, sys, body int64
	var keywords, email sql.RawBytes
	dest := []any{&uid, &up, &sys, &keywords, &body, &email}
	err = c.each(ctx, `SELECT m.uid, m.up_uid, m.sys, m.keywords, m.body, i.email FROM messages m
		CROSS JOIN identities i USING (account_id, mailbox_id, uid)
		WHERE m.account_id = ? AND m.mailbox_id = ? ORDER BY m.uid`, []any{int64(acc), int64(id)},
		func(scan func(...any) error) error {
			if err := scan(dest...); err != nil {
				return err
			}
			for len(departed) > 0 && int64(departed[0].UID) < uid {
				if err := yield(departed[0]); err != nil {
					return err
				}
				departed = departed[1:]
			}
			r := metadata.UpstreamRow{
				UID: mailbox.UID(uid), Upstream: uint32(up), Flags: flags.read(sys, keywords), HasBody: body != 0,
			}
			copy(r.Email[:], email)
			return yield(r)
		})
	if err != nil {
		return err
	}
	for _, r := range departed {
		if err := yield(r); err != nil {
			return err
		}
	}
	return nil
}

// placing returns the messages of a mailbox that have an outstanding placement.
func (c *conn) placing(ctx context.Context, acc account.ID, id mailbox.ID) (map[mailbox.UID]bool, error) {
	placing := map[mailbox.UID]bool{}
	var uid int64
	dest := []any{&uid}
	err := c.each(ctx, `SELECT uid FROM mutations INDEXED BY mutations_message WHERE account_id = ? AND mailbox_id = ?
		AND uid > 0 AND kind IN ('append', 'copy', 'move')`, []any{int64(acc), int64(id)},
		func(scan func(...any) error) error {
			err := scan(dest...)
			placing[mailbox.UID(uid)] = true
			return err
		})
	return placing, err
}

// departedRows returns a mailbox's departed messages in UID order.
func (c *conn) departedRows(ctx context.Context, acc account.ID, id mailbox.ID) (rows []metadata.UpstreamRow, err error) {
	var uid, up int64
	var email sql.RawBytes
	dest := []any{&uid, &up, &email}
	err = c.each(ctx, `SELECT uid, up_uid, email FROM departed WHERE account_id = ? AND mailbox_id = ? ORDER BY uid`,
		[]any{int64(acc), int64(id)}, func(scan func(...any) error) error {
			err := scan(dest...)
			r := metadata.UpstreamRow{UID: mailbox.UID(uid), Upstream: uint32(up), Departed: true}
			copy(r.Email[:], email)
			rows = append(rows, r)
			return err
		})
	return rows, err
}

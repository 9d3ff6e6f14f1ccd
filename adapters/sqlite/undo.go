package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// restored takes messages that come back off the undo list.
func (c *conn) restored(ctx context.Context, acc account.ID, ids []int64) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	var n int64
	err := c.batch(`DELETE FROM retained WHERE account_id = ? AND id IN (VALUES `, []any{int64(acc)}, 1, `)`, args,
		func(text string, args []any) error {
			k, err := c.exec(ctx, text, args...)
			n += k
			return err
		})
	if err == nil && n != int64(len(ids)) {
		return fault.New(fault.Conflict, "", "a message is not on the undo list any more")
	}
	return err
}

// Retained implements metadata.Undo. No connection is held while fn runs.
func (s *Store) Retained(ctx context.Context, acc account.ID, name string, since time.Time, fn func(metadata.Retained) error) error {
	const op = "list removed messages"
	var piece []metadata.Retained
	at, id := stamp(since), int64(-1) // where the next piece starts
	for {
		size := 0
		err := s.view(ctx, op, func(c *conn) error {
			if err := c.existsAccount(ctx, acc); err != nil {
				return err
			}
			return c.retained(ctx, acc, name, at, id, func(r metadata.Retained, removed int64) bool {
				piece = append(piece, r)
				at, id = removed, r.ID
				size += r.Content.Fragments.Len()
				return len(piece) < chunkRows && size < chunkBytes
			})
		})
		if err != nil {
			return err
		}
		if len(piece) == 0 {
			return nil
		}
		for _, r := range piece {
			if err := fn(r); err != nil {
				return err
			}
		}
		piece = piece[:0]
	}
}

// retained calls fn, until it returns false, for the messages after one that was removed at a time.
func (c *conn) retained(ctx context.Context, acc account.ID, name string, at, id int64, fn func(metadata.Retained, int64) bool) error {
	var removed, sys, date, zone int64
	var keywords string
	var email, thread, key sql.RawBytes
	err := c.each(ctx, `SELECT id, mailbox, removed, sys, keywords, date, zone, email, thread, blob, size, envelope, body,
		structure, headers, preview, parts FROM retained INDEXED BY retained_removed
		WHERE account_id = ?1 AND (removed, id) > (?2, ?3) AND (?4 = '' OR mailbox = ?4) ORDER BY removed, id`,
		[]any{int64(acc), at, id, name}, func(scan func(...any) error) error {
			var r metadata.Retained
			f := &r.Content.Fragments
			if err := scan(&r.ID, &r.Mailbox, &removed, &sys, &keywords, &date, &zone, &email, &thread, &key,
				&r.Content.Size, &f.Envelope, &f.Body, &f.BodyStructure, &f.Headers, &f.Preview, &f.Parts); err != nil {
				return err
			}
			var flags flagReader
			r.Removed = unstamp(removed)
			r.Row = mailbox.Row{Flags: flags.read(sys, []byte(keywords)), Size: r.Content.Size, Date: date, Zone: int16(zone)}
			copy(r.Content.Blob[:], key)
			if !fn(r, removed) {
				return errFull
			}
			return nil
		})
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}

// purgeRows is how many messages leave the undo list in one transaction, for which all other changes wait.
const purgeRows = 5000

// PurgeRetained implements metadata.Undo.
func (s *Store) PurgeRetained(ctx context.Context, before time.Time) (n int, err error) {
	const op = "purge the undo list"
	var accounts []int64
	if err := s.view(ctx, op, func(c *conn) error {
		return c.each(ctx, `SELECT id FROM accounts`, nil, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			accounts = append(accounts, id)
			return err
		})
	}); err != nil {
		return 0, err
	}
	for _, acc := range accounts {
		for full := true; full; {
			var rows int64
			if err := s.update(ctx, op, func(c *conn) (err error) {
				rows, err = c.exec(ctx, `DELETE FROM retained WHERE id IN (SELECT id FROM retained INDEXED BY retained_removed
					WHERE account_id = ? AND removed < ? LIMIT ?)`, acc, stamp(before), purgeRows)
				return err
			}); err != nil {
				return n, err
			}
			n += int(rows)
			full = rows == purgeRows
		}
	}
	return n, nil
}

// References implements metadata.References. It is read at one moment, so that what moves to the undo list or back is
// not missed: a read connection is held while fn runs, which must neither wait for a network nor call the store.
func (s *Store) References(ctx context.Context, user account.UserID, fn func(blob.Key) error) error {
	texts, args := [2]string{`SELECT blob FROM contents`, `SELECT blob FROM retained`}, []any(nil)
	if user != 0 {
		texts = [2]string{
			`SELECT c.blob FROM accounts a CROSS JOIN mailboxes b ON b.account_id = a.id
				CROSS JOIN contents c ON c.id BETWEEN b.id << 32 AND b.id << 32 | 4294967295 WHERE a.user_id = ?`,
			`SELECT r.blob FROM accounts a JOIN retained r ON r.account_id = a.id WHERE a.user_id = ?`,
		}
		args = []any{int64(user)}
	}
	return s.snapshot(ctx, "list the blobs that are needed", func(c *conn) error {
		var raw sql.RawBytes
		var key blob.Key
		dest := []any{&raw}
		for _, text := range texts {
			if err := c.each(ctx, text, args, func(scan func(...any) error) error {
				if err := scan(dest...); err != nil {
					return err
				}
				copy(key[:], raw)
				return fn(key)
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

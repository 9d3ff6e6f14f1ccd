package sqlite

import (
	"context"
	"database/sql"
	"slices"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// flagReader turns stored flags into sets. Neighbours mostly have the same keywords, so it remembers the last.
type flagReader struct {
	keywords string
	set      flag.Set
}

func (r *flagReader) read(sys int64, keywords []byte) flag.Set {
	if len(keywords) == 0 {
		return flag.Set{Sys: flag.System(sys)}
	}
	if string(keywords) != r.keywords {
		r.keywords = string(keywords)
		r.set = flag.FromStored(0, r.keywords)
	}
	set := r.set
	set.Sys = flag.System(sys)
	return set
}

const (
	selectRows    = `SELECT uid, modseq, sys, keywords, size, date, zone FROM messages `
	selectAllRows = selectRows + `WHERE account_id = ? AND mailbox_id = ? ORDER BY uid`
	selectChanged = `SELECT uid, modseq, sys, keywords, size, date, zone FROM messages INDEXED BY messages_modseq
		WHERE account_id = ? AND mailbox_id = ? AND modseq > ?`
)

// Changes implements metadata.Messages.
func (s *Store) Changes(ctx context.Context, acc account.ID, id mailbox.ID, since mailbox.ModSeq) (d mailbox.Delta, err error) {
	const op = "read changes"
	var messages int
	head := func(c *conn) error {
		return orNotFound(c.one(ctx, []any{&d.ModSeq, &d.UIDNext, &messages}, `SELECT modseq, uidnext, messages
			FROM mailboxes WHERE id = ? AND account_id = ? AND deleting = 0`, int64(id), int64(acc)), noMailbox)
	}
	err = s.view(ctx, op, func(c *conn) error {
		if err := head(c); err != nil || since >= d.ModSeq {
			return err
		}
		return c.transact(ctx, "BEGIN", func(c *conn) error {
			if err := head(c); err != nil {
				return err
			}
			if since == 0 {
				d.Rows = make([]mailbox.Row, 0, messages)
				return c.rows(ctx, &d, selectAllRows, int64(acc), int64(id))
			}
			if err := c.rows(ctx, &d, selectChanged, int64(acc), int64(id), int64(since)); err != nil {
				return err
			}
			slices.SortFunc(d.Rows, func(a, b mailbox.Row) int { return int(int64(a.UID) - int64(b.UID)) })
			return c.tombstones(ctx, &d, acc, id, since)
		})
	})
	if err != nil {
		return mailbox.Delta{}, err
	}
	return d, nil
}

// rows appends the rows of a query to d.Rows.
func (c *conn) rows(ctx context.Context, d *mailbox.Delta, text string, args ...any) error {
	var flags flagReader
	// database/sql scans an int64 into an int64 at once, into other integer types by way of text.
	var uid, modSeq, sys, size, date, zone int64
	var keywords sql.RawBytes
	dest := []any{&uid, &modSeq, &sys, &keywords, &size, &date, &zone}
	return c.each(ctx, text, args, func(scan func(...any) error) error {
		err := scan(dest...)
		d.Rows = append(d.Rows, mailbox.Row{
			UID: mailbox.UID(uid), ModSeq: mailbox.ModSeq(modSeq), Flags: flags.read(sys, keywords),
			Size: size, Date: date, Zone: int16(zone),
		})
		return err
	})
}

// tombstones adds what was removed after since to d.
func (c *conn) tombstones(ctx context.Context, d *mailbox.Delta, acc account.ID, id mailbox.ID, since mailbox.ModSeq) error {
	var gone []mailbox.Range
	err := c.each(ctx, `SELECT first, last FROM tombstones WHERE account_id = ? AND mailbox_id = ? AND modseq > ?`,
		[]any{int64(acc), int64(id), int64(since)}, func(scan func(...any) error) error {
			var r mailbox.Range
			err := scan(&r.First, &r.Last)
			gone = append(gone, r)
			return err
		})
	d.Expunged = mailbox.Normalize(gone)
	return err
}

package postgres

import (
	"context"
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

// rowColumns are a message's hot columns, as readRow takes them.
const rowColumns = `m.uid, m.modseq, m.size, m.date, m.zone, m.sys, m.keywords`

func readRow(r *row) mailbox.Row {
	return mailbox.Row{
		UID: r.uid(), ModSeq: mailbox.ModSeq(r.int()), Size: r.int(), Date: r.int(), Zone: int16(r.int()),
		Flags: r.flags.read(r.int(), r.raw()),
	}
}

// The statements of Changes. Each is one statement, and so sees one moment: the mailbox comes first, then its rows, then
// its tombstones, told apart by the first column.
const (
	selectHead = `SELECT 0, b.uidnext, b.modseq, b.messages, 0::bigint, 0::smallint, 0::smallint, ''
		FROM mailboxes b WHERE b.account_id = $1 AND b.id = $2 AND NOT b.deleting`
	selectAll = selectHead + ` UNION ALL (SELECT 1, ` + rowColumns + ` FROM messages m
		WHERE m.account_id = $1 AND m.mailbox_id = $2 ORDER BY m.uid)`
	selectChanged = selectHead + ` UNION ALL SELECT 1, ` + rowColumns + ` FROM messages m
		WHERE m.account_id = $1 AND m.mailbox_id = $2 AND m.modseq > $3 AND m.modseq > 0
		UNION ALL SELECT 2, t.first, t.last, 0, 0, 0::smallint, 0::smallint, '' FROM tombstones t
		WHERE t.account_id = $1 AND t.mailbox_id = $2 AND t.modseq > $3`
)

// Changes implements metadata.Messages.
func (s *Store) Changes(ctx context.Context, acc account.ID, id mailbox.ID, since mailbox.ModSeq) (d mailbox.Delta, err error) {
	text, args := selectAll, []any{int64(acc), int64(id)}
	if since > 0 {
		text, args = selectChanged, append(args, int64(since))
	}
	err = s.view(ctx, "read changes", func(t *tx) error {
		d = mailbox.Delta{}
		found := false
		var gone []mailbox.Range
		if err := t.each(ctx, func(r *row) error {
			switch r.int() {
			case 0:
				found = true
				d.UIDNext, d.ModSeq = r.uid(), mailbox.ModSeq(r.int())
				if since == 0 && d.Rows == nil {
					d.Rows = make([]mailbox.Row, 0, r.int())
				}
			case 1:
				d.Rows = append(d.Rows, readRow(r))
			default:
				gone = append(gone, mailbox.Range{First: uint32(r.int()), Last: uint32(r.int())})
			}
			return nil
		}, text, args...); err != nil {
			return err
		}
		if !found {
			return errNoMailbox
		}
		byUID := func(a, b mailbox.Row) int { return int(int64(a.UID) - int64(b.UID)) }
		if !slices.IsSortedFunc(d.Rows, byUID) { // the primary key gives them sorted
			slices.SortFunc(d.Rows, byUID)
		}
		d.Expunged = mailbox.Normalize(gone)
		return nil
	})
	if err != nil {
		return mailbox.Delta{}, err
	}
	return d, nil
}

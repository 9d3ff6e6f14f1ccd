package postgres

import (
	"context"
	"errors"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// restored takes messages that come back off the undo list.
func (t *tx) restored(ctx context.Context, acc account.ID, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	n, err := t.exec(ctx, `DELETE FROM retained WHERE `+byID("retained"), int64(acc), ids)
	if err == nil && n != int64(len(ids)) {
		return fault.New(fault.Conflict, "", "a message is not on the undo list any more")
	}
	return err
}

const selectRetained = `SELECT id, mailbox, removed, sys, keywords, date, zone, blob, size, envelope, body, structure,
	headers, preview, parts FROM retained WHERE account_id = $1 AND (removed, id) > ($2, $3)
	AND ($4 = '' OR mailbox = $4) ORDER BY removed, id LIMIT $5`

// Retained implements metadata.Undo. No connection is held while fn runs.
func (s *Store) Retained(ctx context.Context, acc account.ID, name string, since time.Time, fn func(metadata.Retained) error) error {
	var piece []metadata.Retained
	at, id := stamp(since), int64(-1) // where the next piece starts
	for {
		full := false
		err := s.view(ctx, "list removed messages", func(t *tx) error {
			piece, full = piece[:0], false
			size := 0
			t.existsAccount(acc)
			err := t.each(ctx, func(r *row) error {
				v := readRetained(r)
				piece = append(piece, v)
				if size += v.Content.Fragments.Len(); size >= chunkBytes || len(piece) == chunkRows {
					full = true
					return errFull
				}
				return nil
			}, selectRetained, int64(acc), at, id, name, chunkRows)
			if errors.Is(err, errFull) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, v := range piece {
			if err := fn(v); err != nil {
				return err
			}
			at, id = stamp(v.Removed), v.ID
		}
		if !full {
			return nil
		}
	}
}

func readRetained(r *row) metadata.Retained {
	v := metadata.Retained{ID: r.int(), Mailbox: r.str(), Removed: unstamp(r.int())}
	sys := flag.System(r.int())
	v.Row = mailbox.Row{Flags: flag.FromStored(sys, r.str()), Date: r.int(), Zone: int16(r.int())}
	copy(v.Content.Blob[:], r.raw())
	v.Content.Size = r.int()
	v.Row.Size = v.Content.Size
	f := &v.Content.Fragments
	for _, dst := range [...]*[]byte{&f.Envelope, &f.Body, &f.BodyStructure, &f.Headers, &f.Preview, &f.Parts} {
		*dst = r.bytes()
	}
	return v
}

// purgeRows is how many messages leave the undo list in one transaction: far fewer than the statement's time allows.
const purgeRows = 5000

// PurgeRetained implements metadata.Undo. It waits for nobody: what a client brings back at this moment stays. Each piece
// is a transaction, so that a long list becomes shorter whatever happens to the next one.
func (s *Store) PurgeRetained(ctx context.Context, before time.Time) (n int, err error) {
	for {
		var rows int64
		if err := s.update(ctx, "purge the undo list", func(t *tx) (err error) {
			rows, err = t.exec(ctx, `WITH gone AS MATERIALIZED (SELECT x.account_id, x.id FROM accounts a
				JOIN retained x ON x.account_id = a.id AND x.removed < $1 LIMIT $2 FOR UPDATE OF x SKIP LOCKED)
				DELETE FROM retained r USING gone WHERE r.account_id = gone.account_id AND r.id = gone.id`,
				stamp(before), purgeRows)
			return err
		}); err != nil {
			return n, err
		}
		if n += int(rows); rows < purgeRows {
			return n, nil
		}
	}
}

// References implements metadata.References. It is read at one moment, so that what moves to the undo list or back is
// not missed: a connection is held while fn runs, which must neither wait for a network nor call the store.
func (s *Store) References(ctx context.Context, user account.UserID, fn func(blob.Key) error) error {
	text, args := `SELECT blob FROM contents UNION ALL SELECT blob FROM retained`, []any(nil)
	if user != 0 {
		text = `SELECT c.blob FROM accounts a JOIN contents c ON c.account_id = a.id WHERE a.user_id = $1
			UNION ALL SELECT r.blob FROM accounts a JOIN retained r ON r.account_id = a.id WHERE a.user_id = $1`
		args = []any{int64(user)}
	}
	return s.stream(ctx, "list the blobs that are needed", func(t *tx) error {
		var key blob.Key
		if user == 0 { // here a scan of the whole table is what is wanted
			t.later(`SET LOCAL enable_seqscan = on`)
		}
		t.unhurried()
		return t.each(ctx, func(r *row) error {
			copy(key[:], r.raw())
			return fn(key)
		}, text, args...)
	})
}

package postgres

import (
	"context"
	"errors"
	"strings"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// How much is read at a time before it is handed out. The connection is free meanwhile: a caller may be as slow as
// its client's network.
const (
	chunkRows  = 256
	chunkBytes = 256 << 10
	// nearby is the gap between wanted UIDs that is cheaper to read than to seek over.
	nearby = 8
)

// widen returns the ranges to read for a set: those that are nearby are joined. It is a copy.
func widen(uids mailbox.Set) []mailbox.Range {
	var out []mailbox.Range
	for _, r := range uids {
		if k := len(out); k > 0 && r.First-out[k-1].Last <= nearby {
			out[k-1].Last = r.Last
			continue
		}
		out = append(out, r)
	}
	return out
}

// bounds returns ranges as the two arrays that statements take them by.
func bounds(ranges []mailbox.Range) (first, last []int64) {
	first, last = make([]int64, len(ranges)), make([]int64, len(ranges))
	for i, r := range ranges {
		first[i], last[i] = int64(r.First), int64(r.Last)
	}
	return first, last
}

// maxSpans is how many ranges one statement of chunked takes.
const maxSpans = 1000

// errFull ends a query whose piece is full.
var errFull = errors.New("piece is full")

// chunked reads the rows of the UIDs in pieces. text selects rows by $1 account, $2 mailbox, $3 and $4 bounds, $5 limit, the
// UID in the first column; start empties the piece, add takes a row and says whether the piece is full; deliver hands out
// what was added, with no connection held.
func (s *Store) chunked(ctx context.Context, op string, acc account.ID, id mailbox.ID, uids mailbox.Set, text string,
	start func(), add func(uid uint32, r *row) (full bool), deliver func() error,
) error {
	ranges := widen(uids)
	for checked := false; ; checked = true {
		var rest []mailbox.Range
		if err := s.view(ctx, op, func(t *tx) error {
			start()
			if !checked {
				t.shown(acc, id)
			}
			now := ranges[:min(len(ranges), maxSpans)]
			first, last := bounds(now)
			n, full, at := 0, false, uint32(0)
			err := t.each(ctx, func(r *row) error {
				n++
				at = uint32(r.int())
				if uids.Contains(at) && add(at, r) {
					full = true
					return errFull
				}
				return nil
			}, text, int64(acc), int64(id), first, last, chunkRows)
			if err != nil && !errors.Is(err, errFull) {
				return err
			}
			if rest = ranges[len(now):]; full || n == chunkRows {
				rest = after(ranges, at)
			}
			return nil
		}); err != nil {
			return err
		}
		if err := deliver(); err != nil {
			return err
		}
		if ranges = rest; len(ranges) == 0 {
			return nil
		}
	}
}

// after returns what of the ranges lies above a UID.
func after(ranges []mailbox.Range, uid uint32) []mailbox.Range {
	for i, r := range ranges {
		if r.Last > uid {
			rest := append([]mailbox.Range{}, ranges[i:]...)
			rest[0].First = max(r.First, uid+1)
			return rest
		}
	}
	return nil
}

// selectIdentities goes through the ranges in order, and through the rows of each in that of the index, and stops early.
const selectIdentities = `SELECT i.uid, i.saved, i.email, i.thread FROM ` + spans + `
	CROSS JOIN LATERAL (SELECT * FROM identities i WHERE i.account_id = $1 AND i.mailbox_id = $2
		AND i.uid BETWEEN u.first AND u.last ORDER BY i.uid LIMIT $5) i LIMIT $5`

// Identities implements metadata.Messages. No connection is held while fn runs.
func (s *Store) Identities(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, fn func(metadata.Identity) error) error {
	var piece []metadata.Identity
	add := func(uid uint32, r *row) bool {
		v := metadata.Identity{UID: mailbox.UID(uid), Saved: unstamp(r.int()), EmailID: r.id(), ThreadID: r.id()}
		piece = append(piece, v)
		return false
	}
	start := func() { piece = piece[:0] }
	return s.chunked(ctx, "read identities", acc, id, uids, selectIdentities, start, add, func() error {
		for _, v := range piece {
			if err := fn(v); err != nil {
				return err
			}
		}
		return nil
	})
}

// fragmentColumns are the columns of contents in the order of the bits of metadata.Want.
var fragmentColumns = [...]struct {
	bit  metadata.Want
	name string
}{
	{metadata.WantEnvelope, "envelope"},
	{metadata.WantBody, "body"},
	{metadata.WantBodyStructure, "structure"},
	{metadata.WantHeaders, "headers"},
	{metadata.WantPreview, "preview"},
	{metadata.WantParts, "parts"},
}

// fragment returns where the fragment of the bit belongs in v.
func fragment(v *metadata.Content, bit metadata.Want) *[]byte {
	switch bit {
	case metadata.WantEnvelope:
		return &v.Envelope
	case metadata.WantBody:
		return &v.Body
	case metadata.WantBodyStructure:
		return &v.BodyStructure
	case metadata.WantHeaders:
		return &v.Headers
	case metadata.WantPreview:
		return &v.Preview
	default:
		return &v.Parts
	}
}

// Contents implements metadata.Messages. No connection is held while fn runs.
func (s *Store) Contents(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, want metadata.Want, fn func(*metadata.Content) error) error {
	var bits []metadata.Want
	var text strings.Builder
	text.WriteString("SELECT c.uid, c.size, c.blob")
	for _, col := range fragmentColumns {
		if want&col.bit != 0 {
			bits = append(bits, col.bit)
			text.WriteString(", c." + col.name)
		}
	}
	text.WriteString(` FROM ` + spans + `
		CROSS JOIN LATERAL (SELECT * FROM contents c WHERE c.account_id = $1 AND c.mailbox_id = $2
			AND c.uid BETWEEN u.first AND u.last ORDER BY c.uid LIMIT $5) c LIMIT $5`)
	var piece []metadata.Content
	var arena []byte // what the slices of the piece point into; it is used again once they have been handed out
	add := func(uid uint32, r *row) bool {
		v := metadata.Content{Mailbox: id, UID: mailbox.UID(uid), Size: r.int()}
		copy(v.Blob[:], r.raw())
		for _, bit := range bits {
			start := len(arena)
			arena = append(arena, r.raw()...)
			*fragment(&v, bit) = arena[start:len(arena):len(arena)]
		}
		piece = append(piece, v)
		return len(arena) >= chunkBytes
	}
	start := func() { piece, arena = piece[:0], arena[:0] }
	return s.chunked(ctx, "read contents", acc, id, uids, text.String(), start, add, func() error {
		for i := range piece {
			if err := fn(&piece[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

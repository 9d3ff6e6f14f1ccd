package sqlite

import (
	"context"
	"database/sql"
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

// chunked reads the rows of the UIDs in pieces. read collects the rows of one range and returns the last UID that it
// has covered and whether the piece is full; deliver hands out what was collected, with no connection held.
func (s *Store) chunked(ctx context.Context, op string, uids mailbox.Set,
	read func(c *conn, r mailbox.Range) (last uint32, full bool, err error), deliver func() error,
) error {
	spans := widen(uids)
	for len(spans) > 0 {
		err := s.view(ctx, op, func(c *conn) error {
			for len(spans) > 0 {
				last, full, err := read(c, spans[0])
				if err != nil {
					return err
				}
				if last >= spans[0].Last {
					spans = spans[1:]
				} else {
					spans[0].First = last + 1
				}
				if full {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := deliver(); err != nil {
			return err
		}
	}
	return nil
}

// errFull ends a query whose piece is full.
var errFull = errors.New("piece is full")

// Identities implements metadata.Messages. No connection is held while fn runs.
func (s *Store) Identities(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, fn func(metadata.Identity) error) error {
	const op = "read identities"
	if err := s.view(ctx, op, func(c *conn) error { return c.shown(ctx, acc, id) }); err != nil {
		return err
	}
	var piece []metadata.Identity
	read := func(c *conn, r mailbox.Range) (uint32, bool, error) {
		last := r.Last
		var email, thread sql.RawBytes
		var uid, saved int64
		dest := []any{&uid, &email, &thread, &saved}
		err := c.each(ctx, `SELECT uid, email, thread, saved FROM identities WHERE account_id = ? AND mailbox_id = ?
			AND uid BETWEEN ? AND ? ORDER BY uid`, []any{int64(acc), int64(id), int64(r.First), int64(r.Last)},
			func(scan func(...any) error) error {
				if err := scan(dest...); err != nil {
					return err
				}
				if uids.Contains(uint32(uid)) {
					v := metadata.Identity{UID: mailbox.UID(uid), Saved: unstamp(saved)}
					copy(v.EmailID[:], email)
					copy(v.ThreadID[:], thread)
					piece = append(piece, v)
				}
				if len(piece) == chunkRows {
					last = uint32(uid)
					return errFull
				}
				return nil
			})
		if errors.Is(err, errFull) {
			return last, true, nil
		}
		return last, false, err
	}
	return s.chunked(ctx, op, uids, read, func() error {
		for _, v := range piece {
			if err := fn(v); err != nil {
				return err
			}
		}
		piece = piece[:0]
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
	const op = "read contents"
	if err := s.view(ctx, op, func(c *conn) error { return c.shown(ctx, acc, id) }); err != nil {
		return err
	}
	p := newPiece(want)
	read := func(c *conn, r mailbox.Range) (uint32, bool, error) {
		last := r.Last
		err := c.each(ctx, p.text, []any{contentID(id, mailbox.UID(r.First)), contentID(id, mailbox.UID(r.Last))},
			func(scan func(...any) error) error {
				if err := scan(p.dest...); err != nil {
					return err
				}
				uid := uint32(p.id)
				if uids.Contains(uid) {
					p.add(id)
				}
				if len(p.contents) == chunkRows || len(p.arena) >= chunkBytes {
					last = uid
					return errFull
				}
				return nil
			})
		if errors.Is(err, errFull) {
			return last, true, nil
		}
		return last, false, err
	}
	return s.chunked(ctx, op, uids, read, func() error {
		for i := range p.contents {
			if err := fn(&p.contents[i]); err != nil {
				return err
			}
		}
		p.contents, p.arena = p.contents[:0], p.arena[:0]
		return nil
	})
}

// piece collects contents. Their slices point into arena, which is used again once they have been handed out.
type piece struct {
	text     string // the query
	bits     []metadata.Want
	dest     []any // where the query's columns go: id, blob, size, and a raw for each of bits
	id, size int64
	blob     sql.RawBytes
	raw      []sql.RawBytes
	contents []metadata.Content
	arena    []byte
}

func newPiece(want metadata.Want) *piece {
	p := &piece{}
	p.dest = []any{&p.id, &p.blob, &p.size}
	var text strings.Builder
	text.WriteString("SELECT id, blob, size")
	for _, col := range fragmentColumns {
		if want&col.bit != 0 {
			p.bits = append(p.bits, col.bit)
			text.WriteString(", " + col.name)
		}
	}
	p.raw = make([]sql.RawBytes, len(p.bits))
	for i := range p.raw {
		p.dest = append(p.dest, &p.raw[i])
	}
	text.WriteString(" FROM contents WHERE id BETWEEN ? AND ? ORDER BY id")
	p.text = text.String()
	return p
}

// add copies the row that was scanned.
func (p *piece) add(id mailbox.ID) {
	v := metadata.Content{Mailbox: id, UID: mailbox.UID(uint32(p.id)), Size: p.size}
	copy(v.Blob[:], p.blob)
	for i, bit := range p.bits {
		start := len(p.arena)
		p.arena = append(p.arena, p.raw[i]...)
		*fragment(&v, bit) = p.arena[start:len(p.arena):len(p.arena)]
	}
	p.contents = append(p.contents, v)
}

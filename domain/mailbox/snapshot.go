package mailbox

import (
	"iter"
	"slices"
	"sort"

	"imapped/domain/flag"
)

// Snapshot is the messages of a mailbox at one mod-sequence: an immutable column store in chunks, that any number of
// sessions share. Rows are numbered from 0 in UID order.
type Snapshot struct {
	chunks  []*chunk
	starts  []int // starts[i] is the number of the first row of chunks[i]
	lineage *lineage
	sets    []flag.Set // the lineage's table as far as this snapshot uses it
	n       int
	modSeq  ModSeq
	uidNext UID
	bytes   int
}

// NewSnapshot returns the snapshot of a whole mailbox: what a store's changes after 0 are.
func NewSnapshot(d Delta) *Snapshot {
	empty := &Snapshot{lineage: newLineage()}
	return empty.next(d)
}

// Apply returns the snapshot after the delta, which must reach back to s's mod-sequence or further: rows and
// tombstones that s knows already change nothing. Chunks that do not change are shared. A delta that is not newer than
// s returns s.
//
// UIDs rise (RFC 9051 section 2.3.1.1): a row below s's UIDNEXT that s does not have is of a message that is gone, and
// is left out. So a message never appears between others.
func (s *Snapshot) Apply(d Delta) *Snapshot {
	if d.ModSeq <= s.modSeq {
		return s
	}
	if t := len(s.sets); t > 1024 && t > 2*s.n {
		// Most sets of the table belong to no message any more: begin a new lineage.
		all := Delta{ModSeq: s.modSeq, UIDNext: s.uidNext, Rows: make([]Row, 0, s.n)}
		for _, r := range s.Rows(0, s.n) {
			all.Rows = append(all.Rows, r)
		}
		s = NewSnapshot(all)
	}
	return s.next(d)
}

func (s *Snapshot) next(d Delta) *Snapshot {
	l := s.lineage
	l.mu.Lock()
	defer l.mu.Unlock()
	b := builder{chunks: make([]*chunk, 0, len(s.chunks)+len(d.Rows)/chunkRows+1), table: &l.flagTable}
	rows, gone := d.Rows, d.Expunged
	for _, c := range s.chunks {
		k := sort.Search(len(rows), func(i int) bool { return uint32(rows[i].UID) > c.max() })
		for len(gone) > 0 && gone[0].Last < c.min() {
			gone = gone[1:]
		}
		hit := gone
		for i, g := range gone {
			if g.First > c.max() {
				hit = gone[:i]
				break
			}
		}
		if k == 0 && len(hit) == 0 {
			b.add(c)
		} else if same, kept := c.apply(rows[:k], hit, b.table); same != nil {
			b.add(same)
		} else {
			b.addRows(kept)
		}
		rows = rows[k:]
	}
	uidNext := max(s.uidNext, d.UIDNext)
	if added := fresh(rows, s.uidNext, d.Expunged); len(added) > 0 {
		uidNext = max(uidNext, added[len(added)-1].UID+1)
		b.addRows(added)
	}
	return b.finish(l, max(s.modSeq, d.ModSeq), uidNext)
}

// fresh returns those of rows, in strictly ascending order, that are at or above from and not expunged.
func fresh(rows []Row, from UID, gone Set) []Row {
	clean := len(gone) == 0
	for i, r := range rows {
		clean = clean && r.UID >= from && r.UID != 0 && (i == 0 || r.UID > rows[i-1].UID)
	}
	if clean {
		return rows
	}
	var out []Row
	for _, r := range rows {
		if r.UID < from || r.UID == 0 || gone.Contains(uint32(r.UID)) || len(out) > 0 && r.UID <= out[len(out)-1].UID {
			continue
		}
		out = append(out, r)
	}
	return out
}

// builder puts a snapshot's chunks together.
type builder struct {
	chunks []*chunk
	table  *flagTable
}

// add appends a chunk that comes after all others. With a last chunk beside which it would fill less than half a chunk
// it is joined: so there are never more than about four times as many chunks as there must be.
func (b *builder) add(c *chunk) {
	if k := len(b.chunks); k > 0 && b.chunks[k-1].len()+c.len() < chunkRows/2 {
		b.addRows(b.rowsOf(c, 0))
		return
	}
	b.chunks = append(b.chunks, c)
}

// addRows appends rows that come after all others. A last chunk that is not half full is joined with them, so that
// chunks stay large however rows come and go, and appending one row copies no more than half a chunk.
func (b *builder) addRows(rows []Row) {
	if len(rows) == 0 {
		return
	}
	if k := len(b.chunks); k > 0 && b.chunks[k-1].len() < chunkRows/2 {
		rows = append(b.rowsOf(b.chunks[k-1], len(rows)), rows...)
		b.chunks = b.chunks[:k-1]
	}
	for part := range slices.Chunk(rows, chunkRows) {
		b.chunks = append(b.chunks, newChunk(part, b.table))
	}
}

// rowsOf returns c's rows, in a slice with room for some more.
func (b *builder) rowsOf(c *chunk, more int) []Row {
	rows := make([]Row, c.len(), c.len()+more)
	for i := range rows {
		rows[i] = c.row(i, b.table.sets)
	}
	return rows
}

func (b *builder) finish(l *lineage, modSeq ModSeq, uidNext UID) *Snapshot {
	s := &Snapshot{
		chunks: b.chunks, starts: make([]int, len(b.chunks)), lineage: l, sets: b.table.sets,
		modSeq: modSeq, uidNext: uidNext, bytes: 256 + b.table.bytes,
	}
	for i, c := range b.chunks {
		s.starts[i] = s.n
		s.n += c.len()
		s.bytes += 256 + c.len()*rowBytes
	}
	return s
}

// Len returns how many messages there are.
func (s *Snapshot) Len() int { return s.n }

// ModSeq returns the mailbox's HIGHESTMODSEQ at the snapshot.
func (s *Snapshot) ModSeq() ModSeq { return s.modSeq }

// UIDNext returns the mailbox's UIDNEXT at the snapshot.
func (s *Snapshot) UIDNext() UID { return s.uidNext }

// Bytes estimates the memory that the snapshot takes, as if it shared nothing.
func (s *Snapshot) Bytes() int { return s.bytes }

// locate returns the chunk of row i and i's place in it. i is below Len.
func (s *Snapshot) locate(i int) (chunk, off int) {
	c := sort.Search(len(s.starts), func(k int) bool { return s.starts[k] > i }) - 1
	return c, i - s.starts[c]
}

// At returns row i; the zero Row when there is none.
func (s *Snapshot) At(i int) Row {
	if i < 0 || i >= s.n {
		return Row{}
	}
	c, off := s.locate(i)
	return s.chunks[c].row(off, s.sets)
}

// Rank returns how many messages have a UID below uid.
func (s *Snapshot) Rank(uid UID) int {
	c := sort.Search(len(s.chunks), func(k int) bool { return s.chunks[k].max() >= uint32(uid) })
	if c == len(s.chunks) {
		return s.n
	}
	return s.starts[c] + s.chunks[c].rank(uint32(uid))
}

// Find returns the number of the row with the UID.
func (s *Snapshot) Find(uid UID) (int, bool) {
	c := sort.Search(len(s.chunks), func(k int) bool { return s.chunks[k].max() >= uint32(uid) })
	if c == len(s.chunks) {
		return 0, false
	}
	off, ok := slices.BinarySearch(s.chunks[c].uids, uint32(uid))
	return s.starts[c] + off, ok
}

// Rows yields the rows from lo to below hi, with their numbers; the limits are cut to what there is.
func (s *Snapshot) Rows(lo, hi int) iter.Seq2[int, Row] {
	return func(yield func(int, Row) bool) {
		lo, hi := max(lo, 0), min(hi, s.n)
		if lo >= hi {
			return
		}
		for c, off := s.locate(lo); lo < hi; c, off = c+1, 0 {
			for ; off < s.chunks[c].len() && lo < hi; off, lo = off+1, lo+1 {
				if !yield(lo, s.chunks[c].row(off, s.sets)) {
					return
				}
			}
		}
	}
}

// FirstUnseen returns the number of the first row without \Seen.
func (s *Snapshot) FirstUnseen() (int, bool) {
	for k, c := range s.chunks {
		if c.unseen == 0 {
			continue
		}
		for i, f := range c.flags {
			if !s.sets[f].Has(flag.Seen) {
				return s.starts[k] + i, true
			}
		}
	}
	return 0, false
}

// ChangedSince yields the rows with a mod-sequence above m, with their numbers.
func (s *Snapshot) ChangedSince(m ModSeq) iter.Seq2[int, Row] {
	return func(yield func(int, Row) bool) {
		for k, c := range s.chunks {
			if c.maxMod <= m {
				continue
			}
			for i, mod := range c.modSeqs {
				if mod > m && !yield(s.starts[k]+i, c.row(i, s.sets)) {
					return
				}
			}
		}
	}
}

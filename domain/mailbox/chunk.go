package mailbox

import (
	"slices"
	"sync"

	"imapped/domain/flag"
)

// chunkRows is how many rows a full chunk holds: small enough that a flag change copies a few KiB, large enough that
// the list of chunks of a large mailbox stays short.
const chunkRows = 512

// rowBytes is what one row takes in a chunk's columns.
const rowBytes = 4 + 8 + 8 + 2 + 8 + 4

// columns is the part of a chunk that a flag change does not touch, so that such a change shares it.
type columns struct {
	uids  []uint32 // strictly ascending, never empty
	sizes []int64
	dates []int64
	zones []int16
}

// chunk is a run of rows, immutable once it is part of a snapshot.
type chunk struct {
	*columns
	modSeqs []ModSeq
	flags   []uint32 // indexes into the lineage's flag table
	maxMod  ModSeq
	unseen  int // rows without \Seen
}

func (c *chunk) len() int    { return len(c.uids) }
func (c *chunk) min() uint32 { return c.uids[0] }
func (c *chunk) max() uint32 { return c.uids[len(c.uids)-1] }

// rank returns how many rows have a UID below uid.
func (c *chunk) rank(uid uint32) int {
	i, _ := slices.BinarySearch(c.uids, uid)
	return i
}

func (c *chunk) row(i int, sets []flag.Set) Row {
	return Row{
		UID: UID(c.uids[i]), ModSeq: c.modSeqs[i], Flags: sets[c.flags[i]],
		Size: c.sizes[i], Date: c.dates[i], Zone: c.zones[i],
	}
}

// summarise fills in what is derived from the rows.
func (c *chunk) summarise(sets []flag.Set) *chunk {
	c.maxMod, c.unseen = slices.Max(c.modSeqs), 0
	for _, f := range c.flags {
		if !sets[f].Has(flag.Seen) {
			c.unseen++
		}
	}
	return c
}

// newChunk returns the chunk of rows, at least one, in UID order.
func newChunk(rows []Row, t *flagTable) *chunk {
	n := len(rows)
	c := &chunk{
		columns: &columns{make([]uint32, n), make([]int64, n), make([]int64, n), make([]int16, n)},
		modSeqs: make([]ModSeq, n), flags: make([]uint32, n),
	}
	for i, r := range rows {
		c.uids[i], c.sizes[i], c.dates[i], c.zones[i] = uint32(r.UID), r.Size, r.Date, r.Zone
		c.modSeqs[i], c.flags[i] = r.ModSeq, t.intern(r.Flags)
	}
	return c.summarise(t.sets)
}

// apply returns the rows of c after the delta's part: rows, whose UIDs are within c, and gone, which may reach beyond
// it. What comes back is c itself, when nothing changed, or a chunk that shares c's columns, when only flags did; else
// the rows of a chunk yet to be made.
func (c *chunk) apply(rows []Row, gone Set, t *flagTable) (*chunk, []Row) {
	removes := false
	for _, g := range gone {
		if from := c.rank(g.First); from < c.len() && c.uids[from] <= g.Last {
			removes = true
			break
		}
	}
	reshapes := false
	var changed *chunk
	for _, r := range rows {
		i, ok := slices.BinarySearch(c.uids, uint32(r.UID))
		if !ok || r.ModSeq <= c.modSeqs[i] {
			continue // of a message that is gone, or known already
		}
		reshapes = reshapes || r.Size != c.sizes[i] || r.Date != c.dates[i] || r.Zone != c.zones[i]
		if changed == nil {
			changed = &chunk{columns: c.columns, modSeqs: slices.Clone(c.modSeqs), flags: slices.Clone(c.flags)}
		}
		changed.modSeqs[i], changed.flags[i] = r.ModSeq, t.intern(r.Flags)
	}
	switch {
	case changed != nil:
		changed.summarise(t.sets)
	default:
		changed = c
	}
	if !removes && !reshapes {
		return changed, nil
	}
	kept := make([]Row, 0, c.len())
	for i, uid := range c.uids {
		if gone.Contains(uid) {
			continue
		}
		row := changed.row(i, t.sets)
		if k, ok := slices.BinarySearchFunc(rows, UID(uid), rowUID); ok && rows[k].ModSeq >= row.ModSeq {
			row = rows[k]
		}
		kept = append(kept, row)
	}
	return nil, kept
}

func rowUID(r Row, uid UID) int {
	switch {
	case r.UID < uid:
		return -1
	case r.UID > uid:
		return 1
	}
	return 0
}

// flagTable interns the distinct flag sets of a lineage of snapshots. It only grows: a snapshot keeps the slice as it
// was when it was made, and later additions lie beyond that slice's end.
type flagTable struct {
	index map[flag.Set]uint32
	sets  []flag.Set
	bytes int
}

// lineage is what the snapshots that come from one another share. mu is held by whoever adds to the table.
type lineage struct {
	mu sync.Mutex
	flagTable
}

func newLineage() *lineage { return &lineage{flagTable: flagTable{index: map[flag.Set]uint32{}}} }

func (t *flagTable) intern(s flag.Set) uint32 {
	if i, ok := t.index[s]; ok {
		return i
	}
	i := uint32(len(t.sets))
	t.sets = append(t.sets, s)
	t.index[s] = i
	t.bytes += 80 + len(s.KeywordString())
	return i
}

package mailbox

// Difference is what leads from one snapshot of a mailbox to a later one.
type Difference struct {
	Removed []uint32 // numbers of rows in the old snapshot, ascending
	Changed []uint32 // numbers of rows in the new snapshot, ascending, of messages in both that are not the same in both
	Added   int      // how many rows at the end of the new snapshot are new
}

// Diff compares two snapshots of one mailbox, old before now. It skips the chunks that they share.
//
// A message counts as changed when its flags or its mod-sequence differ; a corrected size alone is no news.
// Should now hold a message before others of old that old does not have - stores do not do that - those others count
// as removed and added again, so that no sequence number changes its meaning.
func Diff(old, now *Snapshot) Difference {
	var d Difference
	if old == now {
		return d
	}
	sameTable := old.lineage == now.lineage
	a, b := cursor{s: old}, cursor{s: now}
	kept := 0
	for !a.done() && !b.done() {
		ca, cb := a.chunk(), b.chunk()
		if ca == cb && a.off == 0 && b.off == 0 {
			kept += ca.len()
			a.skip()
			b.skip()
			continue
		}
		ua, ub := ca.uids[a.off], cb.uids[b.off]
		if ua < ub {
			d.Removed = append(d.Removed, uint32(a.n()))
			a.advance()
			continue
		}
		if ub < ua {
			break
		}
		if differ(&a, &b, sameTable) {
			d.Changed = append(d.Changed, uint32(b.n()))
		}
		kept++
		a.advance()
		b.advance()
	}
	for ; !a.done(); a.advance() {
		d.Removed = append(d.Removed, uint32(a.n()))
	}
	d.Added = now.n - kept
	return d
}

func differ(a, b *cursor, sameTable bool) bool {
	ca, cb := a.chunk(), b.chunk()
	fa, fb := ca.flags[a.off], cb.flags[b.off]
	if sameTable && fa != fb || !sameTable && a.s.sets[fa] != b.s.sets[fb] {
		return true
	}
	return ca.modSeqs[a.off] != cb.modSeqs[b.off] && ca.sizes[a.off] == cb.sizes[b.off]
}

// cursor is a place in a snapshot.
type cursor struct {
	s      *Snapshot
	c, off int
}

func (p *cursor) done() bool    { return p.c == len(p.s.chunks) }
func (p *cursor) chunk() *chunk { return p.s.chunks[p.c] }
func (p *cursor) n() int        { return p.s.starts[p.c] + p.off }
func (p *cursor) skip()         { p.c, p.off = p.c+1, 0 }

func (p *cursor) advance() {
	if p.off++; p.off == p.chunk().len() {
		p.skip()
	}
}

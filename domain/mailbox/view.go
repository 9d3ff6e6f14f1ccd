package mailbox

import "iter"

// Changes is what a session tells its client after its view moved, in this order: Expunged, Exists, Flags.
type Changes struct {
	// Expunged holds the sequence numbers in the order in which EXPUNGE answers are to be sent: from the highest to
	// the lowest, so that none shifts the next. Vanished holds the same messages by UID.
	Expunged []uint32
	Vanished Set
	Exists   uint32 // the number of messages now
	Grew     bool   // new messages: EXISTS (and RECENT) is to be told
	Recent   uint32
	Flags    Set    // sequence numbers, in the moved view, of older messages whose flags changed
	ModSeq   ModSeq // the view's HIGHESTMODSEQ now
}

// Empty says whether there is nothing to tell.
func (c *Changes) Empty() bool { return len(c.Expunged) == 0 && !c.Grew && len(c.Flags) == 0 }

// View is a session's mapping of sequence numbers onto a snapshot, with what is recent in the session. It is
// immutable, so that commands that run at the same time each keep the view they began with; Advance returns the next.
type View struct {
	snap   *Snapshot
	recent Set // UIDs that are \Recent in this session; may name messages that do not exist
}

// NewView returns the view of a session that opens the mailbox: the messages from the UID recentFrom on, below
// recentEnd, are recent in it.
func NewView(s *Snapshot, recentFrom, recentEnd UID) *View {
	return (&View{snap: s}).WithRecent(recentFrom, recentEnd)
}

// WithRecent returns the view in which the UIDs from from to below end are recent too.
func (v *View) WithRecent(from, end UID) *View {
	if from >= end {
		return v
	}
	return &View{snap: v.snap, recent: v.recent.Union(Set{{uint32(from), uint32(end) - 1}})}
}

// Snapshot returns the snapshot behind the view.
func (v *View) Snapshot() *Snapshot { return v.snap }

// Len returns how many messages the view has: EXISTS.
func (v *View) Len() uint32 { return uint32(v.snap.n) }

// HighestModSeq returns the mod-sequence up to which the view shows everything.
func (v *View) HighestModSeq() ModSeq { return v.snap.modSeq }

// UIDNext returns the mailbox's UIDNEXT as of the view.
func (v *View) UIDNext() UID { return v.snap.uidNext }

// At returns the message with the sequence number; the zero Row when there is none.
func (v *View) At(seq uint32) Row { return v.snap.At(int(seq) - 1) }

// UID returns the UID of the message with the sequence number; 0 when there is none.
func (v *View) UID(seq uint32) UID { return v.At(seq).UID }

// Seq returns the sequence number of the message with the UID; 0 when there is none.
func (v *View) Seq(uid UID) uint32 {
	i, ok := v.snap.Find(uid)
	if !ok {
		return 0
	}
	return uint32(i) + 1
}

// Rows yields the messages of seqs in order, with their sequence numbers; numbers beyond the view yield nothing.
func (v *View) Rows(seqs Set) iter.Seq2[uint32, Row] {
	return func(yield func(uint32, Row) bool) {
		for _, r := range seqs {
			for i, row := range v.snap.Rows(int(r.First)-1, int(r.Last)) {
				if !yield(uint32(i)+1, row) {
					return
				}
			}
		}
	}
}

// All returns every sequence number of the view.
func (v *View) All() Set {
	if v.snap.n == 0 {
		return nil
	}
	return Set{{1, v.Len()}}
}

// Seqs resolves a client's sequence set (RFC 9051 section 9): ranges in any order, turned around or overlapping, with
// 0 for "*". It returns the numbers that exist, and false when one was asked for that does not, which includes "*" in
// an empty mailbox.
func (v *View) Seqs(ranges []Range) (Set, bool) {
	last, ok := v.Len(), true
	out := make([]Range, 0, len(ranges))
	for _, r := range ranges {
		r = r.resolve(last)
		ok = ok && r.First > 0 && r.Last <= last
		if r.First, r.Last = max(r.First, 1), min(r.Last, last); r.First <= r.Last {
			out = append(out, r)
		}
	}
	return Normalize(out), ok
}

// SeqsOfUIDs resolves a client's UID set, in the form of Seqs, to the sequence numbers of those messages that exist;
// the others are left out silently (RFC 9051 section 6.4.9). "*" is the highest UID, in an empty mailbox UIDNEXT.
func (v *View) SeqsOfUIDs(ranges []Range) Set {
	star := uint32(v.snap.uidNext)
	if n := v.snap.n; n > 0 {
		star = v.snap.chunks[len(v.snap.chunks)-1].max()
	}
	out := make([]Range, 0, len(ranges))
	for _, r := range ranges {
		r = r.resolve(star)
		first, end := v.snap.Rank(UID(r.First)), v.snap.n
		if r.Last != ^uint32(0) {
			end = v.snap.Rank(UID(r.Last + 1))
		}
		if first < end {
			out = append(out, Range{uint32(first) + 1, uint32(end)})
		}
	}
	return Normalize(out)
}

// resolve puts star for 0 and turns the range the right way round.
func (r Range) resolve(star uint32) Range {
	if r.First == 0 {
		r.First = star
	}
	if r.Last == 0 {
		r.Last = star
	}
	return Range{min(r.First, r.Last), max(r.First, r.Last)}
}

// UIDs returns the UIDs of the messages with the sequence numbers.
func (v *View) UIDs(seqs Set) Set {
	var out Set
	for _, row := range v.Rows(seqs) {
		out = out.push(uint32(row.UID))
	}
	return out
}

// FirstUnseen returns the first sequence number without \Seen; 0 when there is none.
func (v *View) FirstUnseen() uint32 {
	i, ok := v.snap.FirstUnseen()
	if !ok {
		return 0
	}
	return uint32(i) + 1
}

// ChangedSince returns the sequence numbers of the messages with a mod-sequence above m.
func (v *View) ChangedSince(m ModSeq) Set {
	var out Set
	for i := range v.snap.ChangedSince(m) {
		out = out.push(uint32(i) + 1)
	}
	return out
}

// IsRecent says whether the message is \Recent in this session.
func (v *View) IsRecent(uid UID) bool { return v.recent.Contains(uint32(uid)) }

// Recent returns how many messages are \Recent in this session.
func (v *View) Recent() uint32 { return uint32(v.SeqsOfUIDs(v.recent).Len()) }

// Advance returns the view of a later snapshot and what the client is to be told. Without expunge the view stays
// where it is, and there is nothing to tell, while a message of the view is gone.
func (v *View) Advance(s *Snapshot, expunge bool) (*View, Changes) {
	if s.modSeq <= v.snap.modSeq {
		s = v.snap
	}
	d := Diff(v.snap, s)
	if len(d.Removed) > 0 && !expunge {
		return v, Changes{Exists: v.Len(), Recent: v.Recent(), ModSeq: v.snap.modSeq}
	}
	next := v
	if s != v.snap {
		next = &View{snap: s, recent: v.recent}
	}
	c := Changes{Exists: next.Len(), Grew: d.Added > 0, Recent: next.Recent(), ModSeq: s.modSeq}
	if len(d.Removed) > 0 {
		c.Expunged = make([]uint32, len(d.Removed))
		for k, i := range d.Removed {
			c.Expunged[len(d.Removed)-1-k] = i + 1
			c.Vanished = c.Vanished.push(uint32(v.snap.At(int(i)).UID))
		}
	}
	for _, i := range d.Changed {
		c.Flags = c.Flags.push(i + 1)
	}
	return next, c
}

// push appends n, which is above every number of s.
func (s Set) push(n uint32) Set {
	if k := len(s); k > 0 && s[k-1].Last+1 == n {
		s[k-1].Last = n
		return s
	}
	return append(s, Range{n, n})
}

package mailbox

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"imapped/domain/flag"
)

// world is the obvious model of a store's mailbox.
type world struct {
	rnd     *rand.Rand
	rows    map[UID]Row
	gone    map[UID]ModSeq
	modSeq  ModSeq
	uidNext UID
}

func newWorld(rnd *rand.Rand) *world {
	return &world{rnd: rnd, rows: map[UID]Row{}, gone: map[UID]ModSeq{}, modSeq: 1, uidNext: 1}
}

func (w *world) flags() flag.Set {
	keywords := []string{"a", "b", "$Junk", "x" + fmt.Sprint(w.rnd.IntN(50))}
	return flag.Make(flag.System(w.rnd.IntN(32)), keywords[:w.rnd.IntN(5)]...)
}

func (w *world) add(n int) {
	w.modSeq++
	for range n {
		w.uidNext += UID(w.rnd.IntN(3))
		w.rows[w.uidNext] = Row{
			UID: w.uidNext, ModSeq: w.modSeq, Flags: w.flags(), Size: int64(w.rnd.IntN(1 << 20)),
			Date: int64(w.rnd.IntN(1 << 30)), Zone: int16(w.rnd.IntN(1440) - 720),
		}
		w.uidNext++
	}
}

// some returns about one of every n UIDs, or a run of them.
func (w *world) some(n int) []UID {
	uids := slices.Sorted(maps.Keys(w.rows))
	if len(uids) > 0 && w.rnd.IntN(4) == 0 {
		from := w.rnd.IntN(len(uids))
		return uids[from:min(len(uids), from+w.rnd.IntN(1+len(uids)/2))]
	}
	return slices.DeleteFunc(uids, func(UID) bool { return w.rnd.IntN(n) != 0 })
}

// step changes the mailbox in one of the ways in which mailboxes change.
func (w *world) step() {
	switch w.rnd.IntN(6) {
	case 0:
		w.add(w.rnd.IntN(700))
	case 1:
		w.add(1 + w.rnd.IntN(3))
	case 2, 3:
		w.modSeq++
		for _, uid := range w.some(1 + w.rnd.IntN(200)) {
			r := w.rows[uid]
			r.Flags, r.ModSeq = w.flags(), w.modSeq
			w.rows[uid] = r
		}
	case 4:
		w.modSeq++
		for _, uid := range w.some(1 + w.rnd.IntN(100)) {
			delete(w.rows, uid)
			w.gone[uid] = w.modSeq
		}
	case 5:
		w.modSeq++
		for _, uid := range w.some(1 + w.rnd.IntN(100)) {
			r := w.rows[uid]
			r.Size, r.ModSeq = r.Size+1, w.modSeq
			w.rows[uid] = r
		}
	}
}

func (w *world) delta(since ModSeq) Delta {
	d := Delta{ModSeq: w.modSeq, UIDNext: w.uidNext}
	for _, uid := range slices.Sorted(maps.Keys(w.rows)) {
		if w.rows[uid].ModSeq > since {
			d.Rows = append(d.Rows, w.rows[uid])
		}
	}
	var gone []UID
	for uid, mod := range w.gone {
		if since > 0 && mod > since {
			gone = append(gone, uid)
		}
	}
	d.Expunged = SetOf(gone...)
	return d
}

// check compares everything a snapshot answers with the model.
func (w *world) check(t *testing.T, s *Snapshot) {
	t.Helper()
	uids := slices.Sorted(maps.Keys(w.rows))
	if s.Len() != len(uids) || s.ModSeq() != w.modSeq || s.UIDNext() != w.uidNext {
		t.Fatalf("%d messages, modseq %d, uidnext %d; want %d, %d, %d",
			s.Len(), s.ModSeq(), s.UIDNext(), len(uids), w.modSeq, w.uidNext)
	}
	firstUnseen := -1
	i := 0
	for k, row := range s.Rows(0, s.Len()) {
		if k != i || row != w.rows[uids[i]] {
			t.Fatalf("row %d (%d) is %+v, want %+v", i, k, row, w.rows[uids[i]])
		}
		if firstUnseen < 0 && !row.Flags.Has(flag.Seen) {
			firstUnseen = i
		}
		i++
	}
	if i != len(uids) {
		t.Fatalf("iterated over %d of %d rows", i, len(uids))
	}
	if got, ok := s.FirstUnseen(); ok != (firstUnseen >= 0) || ok && got != firstUnseen {
		t.Fatalf("first unseen %d %v, want %d", got, ok, firstUnseen)
	}
	for range 20 {
		uid := UID(w.rnd.IntN(int(w.uidNext) + 2))
		rank, found := slices.BinarySearch(uids, uid)
		if got, ok := s.Find(uid); ok != found || ok && got != rank {
			t.Fatalf("Find(%d) = %d %v, want %d %v", uid, got, ok, rank, found)
		}
		if got := s.Rank(uid); got != rank {
			t.Fatalf("Rank(%d) = %d, want %d", uid, got, rank)
		}
		n := w.rnd.IntN(len(uids)+2) - 1
		var want Row
		if n >= 0 && n < len(uids) {
			want = w.rows[uids[n]]
		}
		if got := s.At(n); got != want {
			t.Fatalf("At(%d) = %+v, want %+v", n, got, want)
		}
	}
	since := ModSeq(w.rnd.IntN(int(w.modSeq) + 2))
	want := w.delta(since).Rows
	var got []Row
	for i, row := range s.ChangedSince(since) {
		if s.At(i) != row {
			t.Fatalf("ChangedSince yields row %d as %+v, it is %+v", i, row, s.At(i))
		}
		got = append(got, row)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("ChangedSince(%d): %d rows, want %d", since, len(got), len(want))
	}
	for k, c := range s.chunks {
		if c.len() == 0 || c.len() > chunkRows {
			t.Fatalf("chunk %d has %d rows", k, c.len())
		}
	}
	if limit := 4 + 4*len(uids)/chunkRows; len(s.chunks) > limit {
		t.Fatalf("%d rows in %d chunks", len(uids), len(s.chunks))
	}
}

func TestSnapshotFollowsTheStore(t *testing.T) {
	rnd := seeded(t)
	for range 8 {
		w := newWorld(rnd)
		w.add(rnd.IntN(3000))
		s := NewSnapshot(w.delta(0))
		w.check(t, s)
		for range 40 {
			for range 1 + rnd.IntN(3) {
				w.step()
			}
			// A delta may reach back further than the snapshot needs.
			since := ModSeq(0)
			if s.ModSeq() > 0 {
				since = s.ModSeq() - ModSeq(rnd.IntN(int(min(s.ModSeq(), 4))))
			}
			d := w.delta(since)
			old, before := s, slices.Collect(values(s))
			s = s.Apply(d)
			w.check(t, s)
			if again := s.Apply(d); again != s {
				t.Fatal("the same delta twice gives another snapshot")
			}
			if !slices.Equal(slices.Collect(values(old)), before) {
				t.Fatal("Apply changed the old snapshot")
			}
		}
	}
}

func values(s *Snapshot) func(func(Row) bool) {
	return func(yield func(Row) bool) {
		for _, r := range s.Rows(0, s.Len()) {
			if !yield(r) {
				return
			}
		}
	}
}

func TestApplySharesUnchangedChunks(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	w.add(20 * chunkRows)
	old := NewSnapshot(w.delta(0))
	shared := func(s *Snapshot) (n int) {
		for _, c := range s.chunks {
			if slices.Contains(old.chunks, c) {
				n++
			}
		}
		return n
	}
	uid := old.At(5 * chunkRows).UID
	row := w.rows[uid]
	row.Flags, row.ModSeq = flag.Make(flag.Flagged, "new"), w.modSeq+1
	changed := old.Apply(Delta{ModSeq: w.modSeq + 1, UIDNext: w.uidNext, Rows: []Row{row}})
	if shared(changed) != 19 || changed.chunks[5].columns != old.chunks[5].columns {
		t.Errorf("a flag change shares %d of 20 chunks", shared(changed))
	}
	gone := old.Apply(Delta{ModSeq: w.modSeq + 1, UIDNext: w.uidNext, Expunged: SetOf(uid)})
	if shared(gone) != 19 || gone.Len() != old.Len()-1 {
		t.Errorf("an expunge shares %d of 20 chunks", shared(gone))
	}
	// Tombstones of messages that are not there, and rows known already, change no chunk.
	stale := old.Apply(Delta{ModSeq: w.modSeq + 1, UIDNext: w.uidNext, Rows: []Row{w.rows[uid]}, Expunged: Set{{^uint32(0), ^uint32(0)}}})
	if shared(stale) != 20 || stale.ModSeq() != w.modSeq+1 {
		t.Errorf("old news shares %d of 20 chunks", shared(stale))
	}
}

func TestFlagTableDoesNotGrowForEver(t *testing.T) {
	row := Row{UID: 1, ModSeq: 1}
	s := NewSnapshot(Delta{ModSeq: 1, UIDNext: 2, Rows: []Row{row}})
	for i := range 20000 {
		row.ModSeq++
		row.Flags = flag.Make(0, fmt.Sprint("k", i))
		s = s.Apply(Delta{ModSeq: row.ModSeq, UIDNext: 2, Rows: []Row{row}})
		if s.At(0) != row {
			t.Fatalf("after %d changes the row is %+v, want %+v", i, s.At(0), row)
		}
	}
	if len(s.sets) > 1100 {
		t.Errorf("%d flag sets for one message", len(s.sets))
	}
}

func TestChunksStayLarge(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	w.add(40 * chunkRows)
	s := NewSnapshot(w.delta(0))
	for k := 39; k >= 0; k-- { // from the end, so that each one's neighbour before it is still full
		uids := slices.Sorted(maps.Keys(w.rows))
		w.modSeq++
		for _, uid := range uids[k*chunkRows : (k+1)*chunkRows-1] {
			delete(w.rows, uid)
			w.gone[uid] = w.modSeq
		}
		s = s.Apply(w.delta(s.ModSeq()))
	}
	w.check(t, s)
	if s.Len() != 40 || len(s.chunks) > 2 {
		t.Errorf("%d rows in %d chunks", s.Len(), len(s.chunks))
	}
}

func TestBytesIsNearTheTruth(t *testing.T) {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	w.add(100_000)
	per := float64(NewSnapshot(w.delta(0)).Bytes()) / 100_000
	if per < 30 || per > 45 {
		t.Errorf("%.1f bytes a message", per)
	}
}

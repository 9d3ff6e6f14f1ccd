package mirror

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

func TestPlanMailbox(t *testing.T) {
	synced := time.Unix(1, 0)
	cp := Checkpoint{UIDValidity: 7, UIDNext: 10, ModSeq: 50, Messages: 9, Synced: synced}
	plain := cp
	plain.ModSeq = 0
	interrupted := cp
	interrupted.Synced = time.Time{}
	zero := Checkpoint{UIDNext: 10, Messages: 9, Synced: synced}
	same := State{Messages: 9, UIDNext: 10, UIDValidity: 7, HighestModSeq: 50}
	with := func(fn func(*State)) State { s := same; fn(&s); return s }
	cond, q, none := Features{CondStore: true}, Features{CondStore: true, QResync: true}, Features{}
	for _, tc := range []struct {
		name string
		k    Known
		u    State
		f    Features
		want Step
	}{
		{"never mirrored", Known{}, same, q, First},
		{"never mirrored, rows here", Known{Rows: 3}, same, q, Heal},
		{"same", Known{Checkpoint: cp, Rows: 9}, same, cond, Nothing},
		{"same, more here", Known{Checkpoint: cp, Rows: 10}, same, cond, Changes},
		{"same, fewer here", Known{Checkpoint: cp, Rows: 8}, same, q, Resync},
		{"plain, same, more here", Known{Checkpoint: plain, Rows: 10}, same, none, Compare},
		{"same, more here, somebody waits", Known{Checkpoint: cp, Rows: 10, Quick: true}, same, cond, Nothing},
		{"only the newest are listed", Known{Checkpoint: Checkpoint{7, 20_000, 50, capped, synced}, Rows: 12_000},
			State{Messages: capped, UIDNext: 20_000, UIDValidity: 7, HighestModSeq: 50}, cond, Nothing},
		{"same, QRESYNC", Known{Checkpoint: cp, Rows: 9}, same, q, Nothing},
		{"modseq", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.HighestModSeq = 51 }), cond, Changes},
		{"modseq, QRESYNC", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.HighestModSeq = 51 }), q, Resync},
		{"modseq went back", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.HighestModSeq = 49 }), q, Compare},
		{"modseq confirmed", Known{Checkpoint: cp, Rows: 9, Confirmed: 51}, with(func(s *State) { s.HighestModSeq = 51 }), cond, Nothing},
		{"no modseq any more", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.HighestModSeq = 0; s.Opened = true; s.UIDNext = 11 }), cond, Compare},
		{"STATUS without modseq", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.HighestModSeq = 0 }), cond, Changes},
		{"STATUS failed", Known{Checkpoint: cp, Rows: 9}, State{}, cond, Changes},
		{"counts alone", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.Messages = 8 }), cond, Changes},
		{"validity", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.UIDValidity = 8 }), q, Heal},
		{"validity 0 after SELECT", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.UIDValidity = 0; s.Opened = true }), q, Heal},
		{"validity not told by STATUS", Known{Checkpoint: cp, Rows: 9}, with(func(s *State) { s.UIDValidity = 0 }), q, Nothing},
		{"no validity at all", Known{Checkpoint: zero, Rows: 9}, with(func(s *State) { s.UIDValidity = 0; s.Opened = true }), none, Nothing},
		{"no validity, news", Known{Checkpoint: zero, Rows: 9}, State{Messages: 10, UIDNext: 11, Opened: true}, none, Heal},
		{"interrupted", Known{Checkpoint: interrupted, Rows: 9}, same, q, Compare},
		{"full due", Known{Checkpoint: cp, Rows: 9, FullDue: true}, same, q, Compare},
		{"full due, but somebody waits", Known{Checkpoint: cp, Rows: 9, FullDue: true, Quick: true}, same, q, Nothing},
		{"plain, same", Known{Checkpoint: plain, Rows: 9}, same, none, Nothing},
		{"plain, flags due", Known{Checkpoint: plain, Rows: 9, FlagsDue: true}, same, none, Compare},
		{"plain, grown", Known{Checkpoint: plain, Rows: 9}, with(func(s *State) { s.UIDNext, s.Messages = 11, 10 }), none, Compare},
		{"plain, grown, somebody waits", Known{Checkpoint: plain, Rows: 9, Quick: true}, with(func(s *State) { s.UIDNext, s.Messages = 11, 10 }), none, New},
		{"plain, shrunken, somebody waits", Known{Checkpoint: plain, Rows: 9, Quick: true}, with(func(s *State) { s.Messages = 8 }), none, Compare},
		{"CONDSTORE is new", Known{Checkpoint: plain, Rows: 9}, same, cond, Compare},
	} {
		if got := PlanMailbox(tc.k, tc.u, tc.f); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestNextModSeq(t *testing.T) {
	for _, tc := range []struct {
		was, highest, seen uint64
		f                  Features
		want               uint64
	}{
		{5, 9, 7, Features{CondStore: true}, 9},
		{5, 9, 7, Features{CondStore: true, Lags: true}, 7},
		{5, 9, 0, Features{CondStore: true, Lags: true}, 5},
		{5, 9, 99, Features{CondStore: true, Lags: true}, 9},
		{5, 0, 7, Features{CondStore: true}, 0},
		{5, 9, 7, Features{}, 0},
	} {
		if got := NextModSeq(tc.was, tc.highest, tc.seen, tc.f); got != tc.want {
			t.Errorf("NextModSeq(%d, %d, %d, %+v) = %d, want %d", tc.was, tc.highest, tc.seen, tc.f, got, tc.want)
		}
	}
}

// TestCompare checks Differences and Gone against the obvious way, on random mailboxes.
func TestCompare(t *testing.T) {
	sets := []flag.Set{{}, flag.Parse(`\Seen`), flag.Parse("$Work", `\Flagged`)}
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var rows []Row
		there := map[uint32]flag.Set{}
		for i := range rnd.IntN(40) {
			rows = append(rows, Row{UID: mailbox.UID(i + 1), Upstream: uint32(2*i + 1), Flags: sets[rnd.IntN(3)]})
		}
		for uid := uint32(1); uid < 90; uid++ {
			if rnd.IntN(3) > 0 {
				there[uid] = sets[rnd.IntN(3)]
			}
		}
		var o Observation
		for uid, f := range there {
			o.Add(uid, sets[0], rnd.IntN(2) == 0) // an older answer, or one without flags
			o.Add(uid, f, true)
		}
		changes, unknown := Differences(rows, &o)
		known := map[uint32]bool{}
		var want []FlagChange
		for _, r := range rows {
			known[r.Upstream] = true
			if f, ok := there[r.Upstream]; ok && f != r.Flags {
				want = append(want, FlagChange{r.UID, f})
			}
		}
		if !slices.Equal(changes, want) {
			t.Fatalf("seed %d: changes %v, want %v", seed, changes, want)
		}
		for uid := range there {
			if unknown.Contains(uid) == known[uid] {
				t.Fatalf("seed %d: UID %d: unknown is %v", seed, uid, !known[uid])
			}
		}
		if _, err := NewCensus(&o, true, uint32(len(there)+1)); !errors.Is(err, ErrIncomplete) {
			t.Fatal("a census with another count than EXISTS was accepted")
		}
		if _, err := NewCensus(&o, false, uint32(len(there))); !errors.Is(err, ErrIncomplete) {
			t.Fatal("an enumeration that ended early was accepted")
		}
		c, err := NewCensus(&o, true, uint32(len(there)))
		if err != nil {
			t.Fatal(err)
		}
		gone := Gone(rows, c).UIDs
		for _, r := range rows {
			if _, ok := there[r.Upstream]; gone.Contains(uint32(r.UID)) == ok {
				t.Fatalf("seed %d: UID %d: gone is %v", seed, r.UID, !ok)
			}
		}
	}
}

func TestCappedListingDeletesNothingOld(t *testing.T) {
	var rows []Row
	for i := range uint32(10_500) {
		rows = append(rows, Row{UID: mailbox.UID(i + 1), Upstream: i + 1})
	}
	var o Observation
	for uid := uint32(500); uid <= 10_500; uid++ {
		if uid != 600 {
			o.Add(uid, flag.Set{}, true)
		}
	}
	c, err := NewCensus(&o, true, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if got := Gone(rows, c).UIDs.String(); got != "600" {
		t.Errorf("gone: %s, want only 600", got)
	}
}

func TestImplausible(t *testing.T) {
	for _, tc := range []struct {
		here, left int
		want       bool
	}{{100, 0, true}, {100, 49, true}, {100, 51, false}, {9, 0, false}, {100, 100, false}} {
		var rows []Row
		var o Observation
		for i := range tc.here {
			rows = append(rows, Row{UID: mailbox.UID(i + 1), Upstream: uint32(i + 1)})
			if i < tc.left {
				o.Add(uint32(i+1), flag.Set{}, true)
			}
		}
		c, err := NewCensus(&o, true, uint32(tc.left))
		if err != nil {
			t.Fatal(err)
		}
		if got := Gone(rows, c).Implausible; got != tc.want {
			t.Errorf("%d of %d left: implausible %v, want %v", tc.left, tc.here, got, tc.want)
		}
	}
}

// TestMatch checks on random mailboxes that pairs have equal identities, that equal ones are paired in UID order, that
// nothing is used twice and nothing that could be paired is left.
func TestMatch(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		email := func() mailbox.ObjectID { return mailbox.ObjectID{byte(rnd.IntN(12))} }
		var rows []Row
		var idents []Ident
		there := map[uint32]mailbox.ObjectID{}
		hereOf := map[mailbox.UID]mailbox.ObjectID{}
		for i := range rnd.IntN(30) {
			r := Row{UID: mailbox.UID(3*i + 1), Email: email()}
			rows, hereOf[r.UID] = append(rows, r), r.Email
		}
		for i := range rnd.IntN(30) {
			u := Ident{Upstream: uint32(2*i + 5), Email: email()}
			idents, there[u.Upstream] = append(idents, u), u.Email
		}
		rnd.Shuffle(len(idents), func(i, j int) { idents[i], idents[j] = idents[j], idents[i] })
		pairs, left, fresh := Match(rows, idents)
		if len(pairs)+int(left.Len()) != len(rows) || len(pairs)+int(fresh.Len()) != len(idents) {
			t.Fatalf("seed %d: %d pairs, %d left here, %d there", seed, len(pairs), left.Len(), fresh.Len())
		}
		last := map[mailbox.ObjectID]uint32{}
		for _, p := range pairs {
			e := hereOf[p.UID]
			if e != there[p.Upstream] || p.Upstream <= last[e] {
				t.Fatalf("seed %d: bad pair %v", seed, p)
			}
			last[e] = p.Upstream
		}
		for uid := range left.All {
			for up := range fresh.All {
				if hereOf[mailbox.UID(uid)] == there[up] {
					t.Fatalf("seed %d: %d and %d could be paired", seed, uid, up)
				}
			}
		}
	}
}

func TestVerdict(t *testing.T) {
	known := Sample([]Row{{UID: 1, Upstream: 5, Email: mailbox.ObjectID{1}}, {UID: 2, Upstream: 6, Email: mailbox.ObjectID{2}}}, 10)
	for _, tc := range []struct {
		seen []Ident
		want bool
	}{
		{nil, false},
		{[]Ident{{5, mailbox.ObjectID{1}}}, true},
		{[]Ident{{5, mailbox.ObjectID{1}}, {6, mailbox.ObjectID{9}}}, false},
		{[]Ident{{9, mailbox.ObjectID{1}}}, false},
	} {
		var v Verdict
		for _, u := range tc.seen {
			v.Look(known, u)
		}
		if v.Same() != tc.want {
			t.Errorf("%v: same is %v, want %v", tc.seen, v.Same(), tc.want)
		}
	}
}

func TestBatches(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var bodies []Body
		for i := range rnd.IntN(60) {
			bodies = append(bodies, Body{UID: mailbox.UID(i + 1), Size: rnd.Int64N(400), Attempts: rnd.IntN(8) / 7})
		}
		rnd.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
		last, n := mailbox.UID(1000), 0
		for batch := range Batches(bodies, 1000, 7) {
			var size int64
			for _, b := range batch {
				if b.UID >= last {
					t.Fatalf("seed %d: UID %d after %d", seed, b.UID, last)
				}
				last = b.UID
				size += b.Size
				n++
				if b.Attempts > 0 && len(batch) > 1 {
					t.Fatalf("seed %d: a body that failed before is in a batch with others", seed)
				}
			}
			if len(batch) > 7 || len(batch) > 1 && size > 1000 {
				t.Fatalf("seed %d: a batch of %d with %d bytes", seed, len(batch), size)
			}
		}
		if n != len(bodies) {
			t.Fatalf("seed %d: %d of %d bodies", seed, n, len(bodies))
		}
	}
}

func TestBackoff(t *testing.T) {
	for n := range 200 {
		d := Backoff(n, time.Second, 5*time.Minute, 0.999)
		if want := min(time.Second<<min(n, 20), 5*time.Minute); d > want || d < want*9/10 {
			t.Fatalf("attempt %d: %v, want just below %v", n, d, want)
		}
	}
	if d := Backoff(3, time.Second, 5*time.Minute, 0); d != 0 {
		t.Errorf("with 0: %v", d)
	}
}

package mutation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

func queue(items ...Item) []Mutation {
	var q []Mutation
	for _, it := range numbered(items...) {
		q = append(q, it.Mutation)
	}
	return q
}

func TestMergeInto(t *testing.T) {
	for _, tt := range []struct {
		name  string
		queue []Mutation
		want  ID
	}{
		{"nothing", nil, 0},
		{"the last one", queue(add(101, seen), add(101, flagged)), 2},
		{"not another message's", queue(add(102, seen)), 0},
		{"around another message's copy", queue(add(101, seen), duplicate(102, 250)), 1},
		{"not before a copy", queue(add(101, seen), duplicate(101, 250)), 0},
		{"not before a move", queue(add(101, seen), relocate(101, 250)), 0},
		{"behind a copy", queue(add(101, seen), duplicate(101, 250), add(101, flagged)), 3},
		{"of the copy", queue(duplicate(101, 250), add(250, seen)), 2},
		{"not what is parked", queue(refused(add(101, seen))), 0},
		{"not before what is parked", queue(add(101, seen), refused(add(101, work))), 0},
		{"what was put off", queue(later(add(101, seen))), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg := ref(101)
			if tt.name == "of the copy" {
				msg = ref(250)
			}
			if got, ok := MergeInto(tt.queue, msg); ok != (tt.want != 0) || ok && got != tt.want {
				t.Errorf("got %d, %v, want %d", got, ok, tt.want)
			}
		})
	}
}

func TestNarrow(t *testing.T) {
	q := queue(refused(add(101, work.Union(flagged))), refused(remove(101, seen)), add(101, work), refused(add(102, work)))
	got := Narrow(q, ref(101), flag.Op{Add: seen, Remove: work})
	if len(got) != 2 || got[0].ID != 1 || got[0].Op != (flag.Op{Add: flagged}) || got[1].ID != 2 || !got[1].Op.Empty() {
		t.Errorf("got %+v", got)
	}
	if got := Narrow(q, ref(101), flag.Op{Add: flag.Make(flag.Draft)}); got != nil {
		t.Errorf("what shares no flag was narrowed: %+v", got)
	}
}

// TestNarrowKeepsFlags: a change and what is left of the parked ones give the flags that they gave before.
func TestNarrowKeepsFlags(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 0))
	for range 5000 {
		var q []Item
		for range rnd.IntN(4) {
			it := change(Flags, 101, 0)
			it.Op = randomOp(rnd)
			if rnd.IntN(2) == 0 {
				it.State = Parked
			}
			q = append(q, it)
		}
		before, op := queue(q...), randomOp(rnd)
		after := slices.Clone(before)
		for _, n := range Narrow(before, ref(101), op) {
			after[n.ID-1] = n
			if touched := op.Add.Union(op.Remove); overlap(touched, n.Op.Add) || overlap(touched, n.Op.Remove) {
				t.Fatalf("%v is not free of %v", n.Op, op)
			}
		}
		base := flagPool[rnd.IntN(len(flagPool))]
		want, got := op.Apply(Rebase(base, before, ref(101))), op.Apply(Rebase(base, after, ref(101)))
		if !want.Equal(got) {
			t.Fatalf("%+v, then %v, on %v: %v, was %v", before, op, base, got, want)
		}
	}
}

func TestRemove(t *testing.T) {
	for _, tt := range []struct {
		name  string
		queue []Mutation
		want  Removal // of 101
	}{
		{"upstream", nil, Removal{Expunge: []Ref{ref(101)}, Depart: true}},
		{"its flags have no purpose", queue(add(101, seen), add(102, seen)), Removal{Cancel: []ID{1}, Expunge: []Ref{ref(101)}, Depart: true}},
		{"but for its copy", queue(add(101, seen), refused(add(101, work)), duplicate(101, 250), add(101, flagged)),
			Removal{Cancel: []ID{2, 4}, Expunge: []Ref{ref(101)}, Depart: true}},
		{"never sent", queue(put(101), add(101, seen)), Removal{Cancel: []ID{1, 2}}},
		{"refused", queue(refused(put(101))), Removal{Cancel: []ID{1}}},
		{"perhaps sent", queue(sent(put(101)), add(101, seen)), Removal{Cancel: []ID{2}, Expunge: []Ref{ref(101)}, Depart: true}},
		{"a copy never sent", queue(duplicate(201, 101), add(101, seen)), Removal{Cancel: []ID{1, 2}}},
		{"a move never sent", queue(relocate(201, 101)), Removal{Cancel: []ID{1}, Expunge: []Ref{ref(201)}}},
		{"a move perhaps sent", queue(sent(relocate(201, 101))), Removal{Expunge: []Ref{ref(101)}, Depart: true}},
		{"an append, copied on", queue(put(101), duplicate(101, 301)), Removal{Cancel: []ID{1}}},
		{"a move, copied on", queue(relocate(201, 101), add(101, seen), duplicate(101, 301)), Removal{Expunge: []Ref{ref(101)}, Depart: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Remove(tt.queue, ref(101)); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRelocateAndDuplicate(t *testing.T) {
	none := func(mailbox.ID) bool { return false }
	for _, tt := range []struct {
		name       string
		queue      []Mutation
		deleting   mailbox.ID
		move, copy Placing // of 101
	}{
		{"upstream", queue(add(101, seen)), 0,
			Placing{Kind: Move, Source: ref(101), Depart: true}, Placing{Kind: Copy, Source: ref(101)}},
		{"parked flags go along", queue(refused(add(101, work)), add(101, seen)), 0,
			Placing{Kind: Move, Source: ref(101), Flags: flag.Op{Add: work}, Cancel: []ID{1}, Depart: true},
			Placing{Kind: Copy, Source: ref(101), Flags: flag.Op{Add: work}}},
		{"never uploaded", queue(put(101), add(101, seen)), 0,
			Placing{Kind: Append, Cancel: []ID{1, 2}}, Placing{Kind: Append}},
		{"perhaps uploaded", queue(sent(put(101)), add(101, seen)), 0,
			Placing{Kind: Move, Source: ref(101), Depart: true}, Placing{Kind: Append}},
		{"moved, and never sent", queue(refused(relocate(201, 101)), add(101, seen)), 0,
			Placing{Kind: Move, Source: ref(201), Flags: flag.Op{Add: seen}, Cancel: []ID{1, 2}}, Placing{Kind: Copy, Source: ref(101)}},
		{"out of a mailbox that is being deleted", queue(relocate(201, 101)), 2,
			Placing{Kind: Move, Source: ref(101), Depart: true}, Placing{Kind: Copy, Source: ref(101)}},
		{"copied", queue(duplicate(201, 101)), 0,
			Placing{Kind: Move, Source: ref(101), Depart: true}, Placing{Kind: Copy, Source: ref(101)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			deleting := none
			if tt.deleting != 0 {
				deleting = func(id mailbox.ID) bool { return id == tt.deleting }
			}
			if got := Relocate(tt.queue, ref(101), deleting); fmt.Sprint(got) != fmt.Sprint(tt.move) {
				t.Errorf("moved: got %+v, want %+v", got, tt.move)
			}
			if got := Duplicate(tt.queue, ref(101)); fmt.Sprint(got) != fmt.Sprint(tt.copy) {
				t.Errorf("copied: got %+v, want %+v", got, tt.copy)
			}
		})
	}
}

func TestClear(t *testing.T) {
	for _, tt := range []struct {
		name  string
		queue []Mutation
		want  Removal // of mailbox 1
		ok    bool
	}{
		{"never made", queue(boxChange(Create, 1, "A"), put(101), boxChange(Subscribe, 1, "A")), Removal{Cancel: []ID{1, 2, 3}}, true},
		{"renamed", queue(boxChange(Create, 1, "A"), boxChange(Rename, 1, "A", "B")), Removal{}, false},
		{"perhaps made", queue(sent(boxChange(Create, 1, "A"))), Removal{}, false},
		{"what was moved in is gone", queue(boxChange(Create, 1, "A"), relocate(201, 101), relocate(101, 102)),
			Removal{Cancel: []ID{1, 2, 3}, Expunge: []Ref{ref(201)}}, true},
		{"what was appended and copied out is uploaded", queue(boxChange(Create, 1, "A"), put(101), duplicate(101, 201)),
			Removal{Cancel: []ID{1, 2}}, true},
		{"what was copied in and out is needed", queue(boxChange(Create, 1, "A"), duplicate(201, 101), relocate(101, 301)), Removal{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := Clear(tt.queue, 1); ok != tt.ok || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// TestMerging: a change that is merged into an earlier one, in whatever step, does what both did.
func TestMerging(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 0))
	for range 5000 {
		base, op, single := flagPool[rnd.IntN(len(flagPool))], flag.Op{}, []Mutation(nil)
		for range rnd.IntN(6) {
			next := randomOp(rnd)
			op = op.Then(next)
			single = append(single, Mutation{Kind: Flags, Ref: ref(101), Op: next})
		}
		merged := []Mutation{{Kind: Flags, Ref: ref(101), Op: op}, {Kind: Flags, Ref: ref(102), Op: randomOp(rnd)}}
		if a, b := Rebase(base, single, ref(101)), Rebase(base, merged, ref(101)); !a.Equal(b) {
			t.Fatalf("%v on (%v): (%v) and (%v)", single, base, a, b)
		}
	}
}

func TestSettled(t *testing.T) {
	m := Mutation{ID: 7, Version: 3, Attempts: 2, Reason: "busy", Op: flag.Op{Add: seen}}
	if _, left := Settled(m, 3); left {
		t.Error("something is left of what was carried out as it is")
	}
	if rest, left := Settled(m, 2); !left || rest.ID != 7 || rest.Op != m.Op || rest.Attempts != 0 || rest.Reason != "" {
		t.Errorf("of what was merged meanwhile: %+v, %v", rest, left)
	}
}

func TestExamine(t *testing.T) {
	// Each kind's verdicts for found, source and body, counting up: ---, --b, -s-, -sb, f--, f-b, fs-, fsb.
	want := map[Kind][8]Verdict{
		Flags:       {Again, Again, Again, Again, Again, Again, Again, Again},
		Append:      {Park, Again, Park, Again, Done, Done, Done, Done},
		Copy:        {Park, Upload, Again, Again, Done, Done, Done, Done},
		Move:        {Park, Upload, Again, Again, Done, Done, ExpungeSource, ExpungeSource},
		Expunge:     {Again, Again, Again, Again, Done, Done, Done, Done},
		Create:      {Again, Again, Again, Again, Done, Done, Done, Done},
		Delete:      {Again, Again, Again, Again, Done, Done, Done, Done},
		Rename:      {Park, Park, Again, Again, Done, Done, Again, Again},
		Subscribe:   {Again, Again, Again, Again, Again, Again, Again, Again},
		Unsubscribe: {Again, Again, Again, Again, Again, Again, Again, Again},
	}
	for k := Flags; k <= Unsubscribe; k++ {
		for n := range 8 {
			if got := Examine(k, n&4 != 0, n&2 != 0, n&1 != 0); got != want[k][n] {
				t.Errorf("%v, found %v, source %v, body %v: %v, want %v", k, n&4 != 0, n&2 != 0, n&1 != 0, got, want[k][n])
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for k := Flags; k <= Unsubscribe; k++ {
		for why := fault.Internal; why <= fault.Canceled; why++ {
			for _, named := range []bool{true, false} {
				want := Park
				switch {
				case why == fault.NotFound && named:
					want = Again
				case why == fault.NotFound && k.Places():
					want = MakeTarget
				case why == fault.NotFound && (k == Delete || k == Unsubscribe), why == fault.Exists && k == Create:
					want = Done
				case !slices.Contains([]fault.Kind{fault.NotFound, fault.Exists, fault.Invalid, fault.Forbidden, fault.Limit}, why):
					want = Again
				}
				if got := Refused(k, why, named); got != want {
					t.Errorf("%v, %v, named %v: %v, want %v", k, why, named, got, want)
				}
			}
		}
	}
}

func TestMayDelete(t *testing.T) {
	known := Intent{UIDValidity: 5, UIDNext: 10}
	for _, tt := range []struct {
		now  Intent
		want bool
	}{
		{Intent{5, 10}, true}, {Intent{5, 9}, true}, {Intent{5, 11}, false}, {Intent{6, 10}, false}, {Intent{5, 0}, false},
		{Intent{0, 10}, false},
	} {
		if got := MayDelete(known, tt.now); got != tt.want {
			t.Errorf("%+v: %v", tt.now, got)
		}
	}
	if MayDelete(Intent{}, Intent{}) {
		t.Error("nothing known, nothing told: deleted")
	}
}

func TestParting(t *testing.T) {
	op := func(add flag.System) flag.Op { return flag.Op{Add: flag.Make(add)} }
	here := Ref{1, 1}
	for _, tt := range []struct {
		name  string
		queue []Mutation
		rest  flag.Op
		heirs []Heir
	}{
		{"nothing came later", nil, op(flag.Seen | flag.Flagged), nil},
		{"a later change of the same flag", []Mutation{{ID: 6, Kind: Flags, Ref: here, Op: flag.Op{Remove: flag.Make(flag.Seen)}}}, op(flag.Flagged), nil},
		{"an earlier one", []Mutation{{ID: 4, Kind: Flags, Ref: here, Op: op(flag.Seen)}}, op(flag.Seen | flag.Flagged), nil},
		{"copied", []Mutation{{ID: 6, Kind: Copy, Ref: Ref{2, 1}, Source: here}}, op(flag.Seen | flag.Flagged),
			[]Heir{{Ref{2, 1}, op(flag.Seen | flag.Flagged)}}},
		{"copied, changed, moved", []Mutation{
			{ID: 6, Kind: Copy, Ref: Ref{2, 1}, Source: here}, {ID: 7, Kind: Flags, Ref: here, Op: op(flag.Seen)},
			{ID: 8, Kind: Move, Ref: Ref{3, 1}, Source: here},
		}, flag.Op{}, []Heir{{Ref{2, 1}, op(flag.Seen | flag.Flagged)}, {Ref{3, 1}, op(flag.Flagged)}}},
	} {
		rest, heirs := Parting(tt.queue, here, 5, op(flag.Seen|flag.Flagged))
		if rest != tt.rest || fmt.Sprint(heirs) != fmt.Sprint(tt.heirs) {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.name, rest, heirs, tt.rest, tt.heirs)
		}
	}
}

func TestShorten(t *testing.T) {
	refused := Mutation{ID: 3, Kind: Move, Ref: Ref{2, 1}, Source: Ref{1, 1}}
	on := Mutation{ID: 5, Kind: Move, Ref: Ref{3, 1}, Source: refused.Ref}
	change := Mutation{ID: 4, Kind: Flags, Ref: refused.Ref, Op: flag.Op{Add: flag.Make(flag.Seen)}}
	for _, tt := range []struct {
		name  string
		queue []Mutation
		later ID
	}{
		{"not moved on", []Mutation{refused, change}, 0},
		{"moved on", []Mutation{refused, change, on}, 5},
		{"copied, too", []Mutation{refused, {ID: 4, Kind: Copy, Ref: Ref{4, 1}, Source: refused.Ref}, on}, 0},
		{"copied alone", []Mutation{refused, {ID: 4, Kind: Copy, Ref: Ref{4, 1}, Source: refused.Ref}}, 0},
	} {
		later, op, ok := Shorten(tt.queue, refused)
		if later != tt.later || ok != (tt.later != 0) || ok && op != change.Op {
			t.Errorf("%s: got %d, %v, %v, want %d", tt.name, later, op, ok, tt.later)
		}
	}
}

package mutation

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// Queues in tables: IDs are given by position, from 1. Messages are mailbox*100+uid; those below uid 50 are upstream.

func ref(n int) Ref { return Ref{mailbox.ID(n / 100), mailbox.UID(n % 100)} }

func upstreamOf(r Ref) uint32 {
	if r.UID == 0 || r.UID >= 50 {
		return 0
	}
	return uint32(r.UID)
}

var (
	seen    = flag.Make(flag.Seen)
	flagged = flag.Make(flag.Flagged)
	work    = flag.Make(0, "$Work")
)

func change(kind Kind, r, source int) Item {
	it := Item{Mutation: Mutation{Kind: kind, Ref: ref(r)}, Upstream: upstreamOf(ref(r)), Body: true}
	if source != 0 {
		it.Source, it.SourceUpstream = ref(source), upstreamOf(ref(source))
	}
	it.Departed = kind == Expunge
	return it
}

func add(r int, f flag.Set) Item {
	it := change(Flags, r, 0)
	it.Op.Add = f
	return it
}

func remove(r int, f flag.Set) Item {
	it := change(Flags, r, 0)
	it.Op.Remove = f
	return it
}

func put(r int) Item              { return change(Append, r, 0) }
func duplicate(from, to int) Item { return change(Copy, to, from) }
func relocate(from, to int) Item  { return change(Move, to, from) }
func drop(r int) Item             { return change(Expunge, r, 0) }

func boxChange(kind Kind, id int, names ...string) Item {
	it := Item{Mutation: Mutation{Kind: kind, Ref: Ref{Mailbox: mailbox.ID(id)}, Name: names[0]}}
	if len(names) > 1 {
		it.To = names[1]
	}
	return it
}

func refused(it Item) Item { it.State = Parked; return it }
func sent(it Item) Item    { it.State = Sent; return it }
func later(it Item) Item   { it.Next = noon.Add(time.Minute); return it }
func bare(it Item) Item    { it.Body = false; return it }
func gone(it Item) Item    { it.Departed, it.Upstream = true, 0; return it }
func cut(it Item) Item     { it.SourceUpstream = 0; return it }

func numbered(items ...Item) []Item {
	for i := range items {
		items[i].ID = ID(i + 1)
	}
	return items
}

// show writes a schedule's stages as "flags 1 2, copy 3 | append 4", and its other parts behind them.
func show(s Schedule) string {
	var stages []string
	for _, st := range s.Stages {
		var batches []string
		for _, b := range st {
			batches = append(batches, strings.TrimSpace(b.Kind.String()+ids(b.Items)))
		}
		stages = append(stages, strings.Join(batches, ", "))
	}
	out := strings.Join(stages, " | ")
	for _, part := range []struct {
		name  string
		items []int
	}{{"moot", s.Moot}, {"lost", s.Lost}, {"unbound", s.Unbound}} {
		if len(part.items) > 0 {
			out += "; " + part.name + ids(part.items)
		}
	}
	return strings.TrimPrefix(out, "; ")
}

func ids(items []int) string {
	s := ""
	for _, i := range items {
		s += fmt.Sprintf(" %d", i+1)
	}
	return s
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name  string
		queue []Item
		want  string
	}{
		{"nothing", nil, ""},
		{"equal changes are one command", numbered(add(101, seen), add(102, seen), add(201, seen)), "flags 1 2, flags 3"},
		{"adding and removing are two", numbered(func() Item { i := add(101, seen); i.Op.Remove = flagged; return i }()), "flags 1, flags 1"},
		{"flags and moves of different messages", numbered(add(101, seen), relocate(102, 250), add(103, seen), relocate(104, 251)),
			"flags 1 3, move 2 4"},
		{"what takes back comes later", numbered(add(101, seen), remove(101, seen), add(101, seen)), "flags 1 | flags 2 | flags 3"},
		{"other flags need not", numbered(add(101, seen), remove(101, flagged)), "flags 1, flags 2"},
		{"a copy has the flags of its moment", numbered(add(101, seen), duplicate(101, 250), add(101, flagged)),
			"flags 1 | copy 2 | flags 3"},
		{"several copies", numbered(duplicate(101, 250), duplicate(101, 251), drop(101)), "copy 1 2 | expunge 3"},
		{"a chain", numbered(put(150), duplicate(150, 250), relocate(250, 350), add(350, seen)), "append 1 | copy 2 | move 3 | flags 4"},
		{"a copy's source is gone upstream", numbered(cut(duplicate(101, 250)), put(251)), "append 1 2"},
		{"a move's source is gone upstream", numbered(cut(relocate(101, 250)), add(250, seen)), "append 1 | flags 2"},
		{"and no body is here", numbered(bare(cut(duplicate(101, 250))), add(250, seen), add(102, seen)), "flags 3; lost 1"},
		{"an append that departed", numbered(gone(put(150)), gone(drop(150)), gone(add(150, seen))), "moot 1 2 3"},
		{"an append that was moved on", numbered(gone(put(150)), relocate(150, 250)), "append 2; moot 1"},
		{"a message that nothing places", numbered(add(150, seen), gone(drop(151)), add(101, seen)), "flags 3; unbound 1 2"},
		{"a change that changes nothing", numbered(change(Flags, 101, 0)), "moot 1"},

		{"a new mailbox first", numbered(boxChange(Create, 9, "A"), put(950), add(101, seen)), "create 1 | flags 3 | append 2"},
		{"renamed after, and before", numbered(add(101, seen), boxChange(Rename, 1, "A", "B"), add(101, flagged)), "flags 1 | rename 2 | flags 3"},
		{"deleted last", numbered(relocate(101, 250), put(151), boxChange(Delete, 1, "A")), "append 2, move 1 | delete 3"},
		{"behind a deletion", numbered(boxChange(Delete, 1, "A"), drop(101)), "delete 1"},
		{"a name used again", numbered(boxChange(Delete, 1, "A"), boxChange(Create, 2, "A"), put(250)), "delete 1 | create 2 | append 3"},
		{"other names", numbered(boxChange(Create, 1, "A"), boxChange(Create, 2, "B"), boxChange(Rename, 3, "C", "D")), "create 1, create 2, rename 3"},
		{"below", numbered(boxChange(Create, 1, "A/x/y"), boxChange(Rename, 2, "A", "B"), boxChange(Create, 3, "B/z"), boxChange(Create, 4, "A/z")),
			"create 1 | rename 2 | create 3, create 4"},
		{"beside, below the same", numbered(boxChange(Create, 1, "A/x"), boxChange(Create, 2, "A/y"), boxChange(Subscribe, 3, "A/z")),
			"create 1, create 2, subscribe 3"},
		{"subscribed when made", numbered(boxChange(Create, 1, "A"), boxChange(Subscribe, 1, "A"), boxChange(Unsubscribe, 1, "A")),
			"create 1 | subscribe 2 | unsubscribe 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := show(Plan(tt.queue, noon)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHeldUp: what is put off or sent holds up all that is ordered behind it, what is parked only what cannot be without.
func TestHeldUp(t *testing.T) {
	for _, tt := range []struct {
		name              string
		first             Item
		behind            Item
		parked, postponed bool // behind is carried out
	}{
		{"another message", add(101, seen), add(102, seen), true, true},
		{"other flags", add(101, seen), add(101, flagged), true, true},
		{"flags taken back", add(101, seen), remove(101, seen), true, false},
		{"copy behind flags", add(101, seen), duplicate(101, 250), true, false},
		{"move behind flags", add(101, seen), relocate(101, 250), true, false},
		{"expunge behind flags", add(101, seen), drop(101), true, false},
		{"flags behind copy", duplicate(101, 250), add(101, seen), true, false},
		{"flags of the copy", duplicate(101, 250), add(250, seen), false, false},
		{"copy of the copy", duplicate(101, 250), duplicate(250, 350), false, false},
		{"expunge behind copy", duplicate(101, 250), drop(101), true, false},
		{"expunge behind copy without body", bare(duplicate(101, 250)), drop(101), false, false},
		{"move behind copy without body", bare(duplicate(101, 250)), relocate(101, 350), false, false},
		{"flags of what is appended", put(150), add(150, seen), false, false},
		{"into a mailbox that is to be made", boxChange(Create, 1, "A"), put(150), false, false},
		{"in a renamed mailbox", boxChange(Rename, 1, "A", "B"), put(150), true, false},
		{"in a mailbox that came back", boxChange(Delete, 1, "A"), add(101, seen), true, false},
		{"name not freed by deletion", boxChange(Delete, 1, "A"), boxChange(Create, 2, "A"), false, false},
		{"name not freed by renaming", boxChange(Rename, 1, "A", "B"), boxChange(Create, 2, "A"), false, false},
		{"below what was not renamed", boxChange(Rename, 1, "A", "B"), boxChange(Create, 2, "B/x"), false, false},
		{"renamed again", boxChange(Rename, 1, "A", "B"), boxChange(Rename, 1, "B", "C"), false, false},
		{"came back, and renamed", boxChange(Delete, 1, "A"), boxChange(Rename, 1, "A", "B"), true, false},
		{"renamed, and deleted", boxChange(Rename, 1, "A", "B"), boxChange(Delete, 1, "B"), false, false},
		{"deleted behind flags", add(101, seen), boxChange(Delete, 1, "A"), true, false},
		{"deleted behind copy", duplicate(101, 250), boxChange(Delete, 1, "A"), true, false},
		{"deleted behind copy without body", bare(duplicate(101, 250)), boxChange(Delete, 1, "A"), false, false},
		{"deleted behind move into it", relocate(201, 150), boxChange(Delete, 1, "A"), false, false},
		{"another name", boxChange(Rename, 1, "A", "B"), boxChange(Create, 2, "C"), true, true},
		{"subscribed again", boxChange(Subscribe, 1, "A"), boxChange(Unsubscribe, 1, "A"), false, false},
		{"made again while it is to be subscribed", boxChange(Subscribe, 1, "A"), boxChange(Create, 1, "A"), true, true},
		{"made above what is to be subscribed", boxChange(Subscribe, 2, "A/x"), boxChange(Create, 1, "A"), true, true},
		{"renamed above what is to be subscribed", boxChange(Subscribe, 2, "A/x"), boxChange(Rename, 1, "A", "B"), true, true},
		{"deleted while it is to be subscribed", boxChange(Subscribe, 1, "A"), boxChange(Delete, 1, "A"), true, false},
		{"deleted under another name while it is to be subscribed", boxChange(Subscribe, 1, "A"), boxChange(Delete, 1, "B"), true, false},
		{"created where subscribing failed", boxChange(Subscribe, 1, "A"), boxChange(Delete, 1, "A"), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			carriedOut := func(first Item) bool {
				items := numbered(first, tt.behind)
				s := show(Plan(items, noon))
				if strings.Contains(s, "1") {
					t.Errorf("what is held is in the schedule %q", s)
				}
				return strings.Contains(s, "2")
			}
			if got := carriedOut(refused(tt.first)); got != tt.parked {
				t.Errorf("behind a parked one: %v", got)
			}
			if got := carriedOut(later(tt.first)); got != tt.postponed {
				t.Errorf("behind one that is not due: %v", got)
			}
			if got := carriedOut(sent(tt.first)); got != tt.postponed {
				t.Errorf("behind one that is sent: %v", got)
			}
		})
	}
}

// TestHeldUpAlong: being held up is handed on, in the stricter way that applies.
func TestHeldUpAlong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		queue []Item
		want  string
	}{
		{"stuck behind a mailbox that is not made, others pass", numbered(refused(boxChange(Create, 2, "B")), duplicate(101, 250), add(101, seen)),
			"flags 3"},
		{"waiting, and all behind it", numbered(later(boxChange(Create, 2, "B")), duplicate(101, 250), add(101, seen)), ""},
		{"a chain from what is parked", numbered(refused(put(150)), duplicate(150, 250), relocate(250, 350), add(350, seen), add(101, seen)),
			"flags 5"},
		{"names that no mailbox has any more, each by itself", numbered(refused(boxChange(Delete, 1, "A")), boxChange(Unsubscribe, 0, "A"),
			boxChange(Unsubscribe, 0, "B")), "unsubscribe 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := show(Plan(tt.queue, noon)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNext(t *testing.T) {
	a, b, c := add(101, seen), add(102, seen), add(103, seen)
	a.Next, b.Next, c.Next = noon.Add(2*time.Second), noon.Add(time.Second), noon
	s := Plan(numbered(a, b, c), noon)
	if got := show(s); got != "flags 3" || !s.Next.Equal(noon.Add(time.Second)) {
		t.Errorf("%q, next at %v", got, s.Next)
	}
	if s := Plan(numbered(c), noon); !s.Next.IsZero() {
		t.Errorf("next is %v though all is due", s.Next)
	}
}

// TestFewBatches: changes of many messages are few commands.
func TestFewBatches(t *testing.T) {
	const k, m = 3, 4
	ops := [k]flag.Op{{Add: seen}, {Add: flagged, Remove: work}, {Remove: seen}}
	var items []Item
	for i := range 1000 {
		it := change(Flags, (i%m+1)*100+1, 0)
		it.Ref.UID = mailbox.UID(1000 + i)
		it.Upstream, it.Op = uint32(1000+i), ops[i%k]
		items = append(items, it)
	}
	s := Plan(numbered(items...), noon)
	if len(s.Stages) != 1 || len(s.Stages[0]) > 2*k*m {
		t.Errorf("%d stages, the first of %d batches", len(s.Stages), len(s.Stages[0]))
	}
	var big []Item
	for i := range 2*maxBatch + 1 {
		it := add(101, seen)
		it.Ref.UID = mailbox.UID(i + 1)
		big = append(big, it)
	}
	s = Plan(numbered(big...), noon)
	if len(s.Stages) != 1 || len(s.Stages[0]) != 3 {
		t.Fatalf("%d stages, the first of %d batches", len(s.Stages), len(s.Stages[0]))
	}
	var all []int
	for _, b := range s.Stages[0] {
		if len(b.Items) > maxBatch || !slices.IsSorted(b.Items) {
			t.Errorf("a batch of %d items", len(b.Items))
		}
		all = append(all, b.Items...)
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != len(big) {
		t.Errorf("%d of %d items", len(all), len(big))
	}
}

// TestSamePlan: the order of a plan does not depend on chance.
func TestSamePlan(t *testing.T) {
	items := benchQueue(2000)
	first := Plan(items, noon)
	for range 5 {
		if !reflect.DeepEqual(first, Plan(items, noon)) {
			t.Fatal("two plans of one queue differ")
		}
	}
}

// benchQueue is changes of many messages in eight mailboxes, some in chains.
func benchQueue(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		r := Ref{mailbox.ID(i%8 + 1), mailbox.UID(i/8 + 1)}
		it := Item{Mutation: Mutation{ID: ID(i + 1), Kind: Flags, Ref: r, Op: flag.Op{Add: seen}}, Upstream: uint32(r.UID), Body: true}
		switch i % 10 {
		case 3:
			it.Kind, it.Source, it.SourceUpstream = Move, r, uint32(r.UID)
			it.Ref, it.Upstream = Ref{mailbox.ID(i%7 + 1), mailbox.UID(1_000_000 + i)}, 0
		case 4:
			it.Op = flag.Op{Add: work, Remove: flagged}
		case 5:
			it.Kind, it.Departed = Expunge, true
		case 6:
			it.Kind, it.Ref.UID, it.Upstream = Append, mailbox.UID(1_000_000+i), 0
		case 7: // of what was just appended
			it.Ref, it.Upstream = items[i-1].Ref, 0
		}
		items[i] = it
	}
	return items
}

func BenchmarkPlan(b *testing.B) {
	items := benchQueue(100_000)
	for b.Loop() {
		Plan(items, noon)
	}
}

func BenchmarkPlanFlags(b *testing.B) {
	items := make([]Item, 100_000)
	for i := range items {
		r := Ref{1, mailbox.UID(i + 1)}
		items[i] = Item{Mutation: Mutation{ID: ID(i + 1), Kind: Flags, Ref: r, Op: flag.Op{Add: seen}}, Upstream: uint32(r.UID)}
	}
	for b.Loop() {
		Plan(items, noon)
	}
}

package mirror

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"imapped/domain/mailbox"
)

func listed(raw string, validity, next, messages uint32) Listed {
	return Listed{Raw: raw, Delimiter: '/', State: &State{UIDValidity: validity, UIDNext: next, Messages: messages}}
}

func here(id mailbox.ID, name string, validity, next, messages uint32) Box {
	return Box{
		ID: id, Name: name, Raw: name, Delimiter: '/', Messages: messages,
		Checkpoint: Checkpoint{UIDValidity: validity, UIDNext: next, Messages: messages},
	}
}

// show writes a plan in one line.
func show(p BoxPlan) string {
	var out []string
	for _, r := range p.Rename {
		out = append(out, fmt.Sprintf("rename %d to %s verify=%v displaced=%v", r.Box.ID, r.Target.Name, r.Verify, r.Displaced))
	}
	for _, b := range p.Evicted {
		out = append(out, fmt.Sprintf("evicted %d", b.ID))
	}
	for _, b := range p.Change {
		out = append(out, fmt.Sprintf("change %d raw=%s attrs=%d", b.ID, b.Raw, b.Attrs))
	}
	for _, c := range p.Create {
		out = append(out, "create "+c.Name)
	}
	for _, id := range p.Missing.ids {
		out = append(out, fmt.Sprintf("missing %d", id))
	}
	return strings.Join(out, "; ")
}

// TestTwoOfOneName tells which of two mailboxes is the one that the upstream has under the name of both.
func TestTwoOfOneName(t *testing.T) {
	other := func(validity, next, messages uint32) Box {
		b := here(4, "Other=~2", validity, next, messages)
		b.Raw = "Other"
		return b
	}
	inbox := listed("INBOX", 1, 5, 4)
	for _, tc := range []struct {
		name  string
		local []Box
		there []Listed
		want  string
	}{
		{"never looked into", []Box{here(2, "Other", 7, 5, 4), other(0, 0, 0)}, []Listed{listed("Other", 7, 5, 4)}, "missing 4"},
		{"taken for the other", []Box{here(2, "Other", 7, 5, 4), other(7, 5, 4)}, []Listed{listed("Other", 7, 5, 4)}, "missing 4"},
		{"in any order", []Box{other(7, 5, 4), here(2, "Other", 7, 5, 4)}, []Listed{listed("Other", 7, 5, 4)}, "missing 4"},
		{"which was renamed", []Box{here(2, "Other", 7, 5, 4), other(9, 1, 0)}, []Listed{listed("Other", 7, 5, 4), listed("n3", 9, 1, 0)}, "rename 4 to n3 verify=false displaced=false"},
		{"the older one is gone", []Box{here(2, "Other", 7, 5, 4), other(9, 1, 0)}, []Listed{listed("Other", 9, 1, 0)}, "missing 2"},
		{"nothing is told", []Box{here(2, "Other", 7, 5, 4), other(9, 1, 0)}, []Listed{{Raw: "Other", Delimiter: '/'}}, "missing 4"},
	} {
		l, _ := NewListing(true, false, append(tc.there, inbox))
		if got := show(PlanBoxes(append(tc.local, here(1, "INBOX", 1, 5, 4)), l)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestSettleNames gives mailboxes the names that the upstream has for them, also where each has another's.
func TestSettleNames(t *testing.T) {
	box := func(id mailbox.ID, name, raw string, renaming bool) Box {
		b := here(id, raw, uint32(id), 5, 4)
		b.Name, b.Renaming = name, renaming
		return b
	}
	for _, tc := range []struct {
		name  string
		local []Box
		want  string
	}{
		{"a chain", []Box{box(2, "b", "c", false), box(3, "a", "b", false)}, "2 c; 3 b"},
		{"a circle", []Box{box(2, "b", "c", false), box(3, "a", "b", false), box(4, "c", "a", false)}, "2 c; 3 b; 4 a"},
		{"one is yet to be renamed", []Box{box(2, "b", "c", true), box(3, "a", "b", false)}, ""},
		{"in a circle", []Box{box(2, "b", "c", false), box(3, "a", "b", true), box(4, "c", "a", false)}, ""},
		{"one is made here", []Box{{ID: 2, Name: "b"}, box(3, "a", "b", false)}, ""},
	} {
		there := []Listed{listed("INBOX", 1, 5, 4)}
		for _, b := range tc.local {
			if b.Raw != "" {
				there = append(there, listed(b.Raw, b.UIDValidity, 5, 4))
			}
		}
		l, _ := NewListing(true, false, there)
		var got []string
		for _, b := range PlanBoxes(append(tc.local, here(1, "INBOX", 1, 5, 4)), l).Change {
			if b.Raw != "b" || b.ID != 2 { // the one that was made here is the upstream's now
				got = append(got, fmt.Sprintf("%d %s", b.ID, b.Name))
			}
		}
		if text := strings.Join(got, "; "); text != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, text, tc.want)
		}
	}
}

func TestPlanBoxes(t *testing.T) {
	inboxHere, inboxThere := here(1, "INBOX", 1, 5, 4), listed("INBOX", 1, 5, 4)
	for _, tc := range []struct {
		name  string
		local []Box
		there []Listed
		want  string
	}{
		{"same", []Box{inboxHere}, []Listed{inboxThere}, ""},
		{"first", nil, []Listed{inboxThere, listed("Work", 2, 1, 0), listed("Work/A", 3, 1, 0)},
			"create INBOX; create Work; create Work/A"},
		{"case", nil, []Listed{listed("inbox", 1, 1, 0), listed("Work", 2, 1, 0), listed("work", 3, 1, 0)},
			"create INBOX; create Work; create work"},
		{"clash", nil, []Listed{inboxThere, listed("Inbox", 2, 1, 0)}, "create INBOX; create INBOX=~2"},
		{"clash of delimiters", nil, []Listed{inboxThere, listed("a/b", 2, 1, 0),
			{Raw: "a.b", Delimiter: '.', State: &State{}}}, "create INBOX; create a/b; create a/b=~2"},
		{"missing", []Box{inboxHere, here(2, "Work", 2, 9, 3)}, []Listed{inboxThere}, "missing 2"},
		{"renamed", []Box{inboxHere, here(2, "Work", 2, 9, 3)}, []Listed{inboxThere, listed("Job", 2, 9, 3)},
			"rename 2 to Job verify=true displaced=false"},
		{"renamed, empty", []Box{inboxHere, here(2, "Work", 2, 1, 0)}, []Listed{inboxThere, listed("Job", 2, 1, 0)},
			"rename 2 to Job verify=false displaced=false"},
		{"another validity", []Box{inboxHere, here(2, "Work", 2, 9, 3)}, []Listed{inboxThere, listed("Job", 3, 9, 3)},
			"create Job; missing 2"},
		{"one that is not told of", []Box{inboxHere, here(2, "Work", 2, 9, 3)},
			[]Listed{inboxThere, {Raw: "Job", Delimiter: '/', Unsure: true}, listed("New", 7, 1, 0)}, "create New"},
		{"not told of, and nothing is gone", []Box{inboxHere}, []Listed{inboxThere, {Raw: "Job", Delimiter: '/', Unsure: true}},
			"create Job"},
		{"made here, renamed since", []Box{inboxHere, {ID: 2, Name: "New", Creating: "Work"}}, []Listed{inboxThere, listed("Work", 2, 1, 0)},
			"change 2 raw=Work attrs=0"},
		{"made here, deleted since", []Box{inboxHere, {ID: 2, Name: "Work", Creating: "Work", Deleting: true}},
			[]Listed{inboxThere, listed("Work", 2, 1, 0)}, "change 2 raw=Work attrs=0"},
		{"UIDNEXT went back", []Box{inboxHere, here(2, "Work", 2, 9, 3)}, []Listed{inboxThere, listed("Job", 2, 8, 3)},
			"create Job; missing 2"},
		{"best of two", []Box{inboxHere, here(2, "Work", 2, 9, 3)},
			[]Listed{inboxThere, listed("Aaa", 2, 20, 7), listed("Job", 2, 9, 3)},
			"rename 2 to Job verify=true displaced=false; create Aaa"},
		{"rotated", []Box{inboxHere, here(2, "Archive", 2, 9, 3)},
			[]Listed{inboxThere, listed("Archive", 7, 1, 0), listed("Archive-2025", 2, 9, 3)},
			"rename 2 to Archive-2025 verify=true displaced=true; create Archive"},
		{"replaced", []Box{inboxHere, here(2, "Archive", 2, 9, 3)}, []Listed{inboxThere, listed("Archive", 7, 1, 0)}, ""},
		{"renamed over one that was deleted", []Box{inboxHere, here(2, "Work", 2, 9, 3), here(3, "Job", 3, 5, 2)},
			[]Listed{inboxThere, listed("Job", 2, 9, 3)}, "rename 2 to Job verify=true displaced=false; evicted 3"},
		{"renamed over one that is being deleted", []Box{inboxHere, here(2, "Work", 2, 9, 3),
			{ID: 3, Name: "Job", Raw: "Job", Delimiter: '/', Deleting: true, Checkpoint: Checkpoint{UIDValidity: 3}}},
			[]Listed{inboxThere, listed("Job", 2, 9, 3)}, "rename 2 to Job verify=true displaced=false; evicted 3"},
		{"renamed over one that was never looked at", []Box{inboxHere, here(2, "Work", 2, 9, 3), {ID: 3, Name: "Job", Raw: "Job", Delimiter: '/'}},
			[]Listed{inboxThere, listed("Job", 2, 9, 3)}, "rename 2 to Job verify=true displaced=false; evicted 3"},
		{"perhaps renamed, and renamed over", []Box{inboxHere, here(2, "Work", 2, 9, 3), here(3, "Job", 3, 5, 2)},
			[]Listed{inboxThere, listed("Job", 2, 9, 3), {Raw: "Old", Delimiter: '/', Unsure: true}}, "create Old"},
		{"swapped", []Box{inboxHere, here(2, "Work", 2, 9, 3), here(3, "Job", 3, 5, 2)},
			[]Listed{inboxThere, listed("Job", 2, 9, 3), listed("Work", 3, 5, 2)},
			"rename 2 to Job verify=true displaced=true; rename 3 to Work verify=true displaced=true"},
		{"INBOX is never renamed", []Box{inboxHere}, []Listed{listed("INBOX", 9, 1, 0), listed("Old", 1, 5, 4)}, "create Old"},
		{"respelled", []Box{inboxHere, {ID: 2, Name: "Entwürfe", Raw: "Entw&APw-rfe", Delimiter: '/', Checkpoint: Checkpoint{UIDValidity: 2}}},
			[]Listed{inboxThere, {Raw: "Entw&APw-rfe", Delimiter: '.', State: &State{}}}, "change 2 raw=Entw&APw-rfe attrs=0"},
		{"attributes", []Box{inboxHere, here(2, "Sent", 2, 1, 0)},
			[]Listed{inboxThere, {Raw: "Sent", Delimiter: '/', Attrs: mailbox.Sent | mailbox.Marked, State: &State{UIDValidity: 2}}},
			fmt.Sprintf("change 2 raw=Sent attrs=%d", mailbox.Sent)},
		{"became a parent only", []Box{inboxHere, here(2, "Work", 2, 9, 3)},
			[]Listed{inboxThere, {Raw: "Work", Delimiter: '/', Attrs: mailbox.NoSelect}}, "missing 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, ok := NewListing(true, false, tc.there)
			if !ok {
				t.Fatal("the listing does not count as complete")
			}
			if got := show(PlanBoxes(tc.local, l)); got != tc.want {
				t.Errorf("plan is %q, want %q", got, tc.want)
			}
		})
	}
}

func TestListingCompleteness(t *testing.T) {
	for _, tc := range []struct {
		answered bool
		boxes    []Listed
		want     bool
	}{
		{true, []Listed{{Raw: "INBOX"}}, true},
		{true, []Listed{{Raw: "inBox"}}, true},
		{false, []Listed{{Raw: "INBOX"}}, false},
		{true, nil, false},
		{true, []Listed{{Raw: "Work"}}, false},
		{true, []Listed{{Raw: "INBOX", NonExist: true}}, false},
	} {
		if _, ok := NewListing(tc.answered, false, tc.boxes); ok != tc.want {
			t.Errorf("NewListing(%v, %v) complete = %v, want %v", tc.answered, tc.boxes, ok, tc.want)
		}
	}
}

func TestRefusedRenameIsConfirmedAsMissing(t *testing.T) {
	local := []Box{here(1, "INBOX", 1, 5, 4), here(2, "Work", 2, 9, 3)}
	l, _ := NewListing(true, false, []Listed{listed("INBOX", 1, 5, 4), listed("Job", 2, 9, 3)})
	p := PlanBoxes(local, l)
	p.Refuse(p.Rename[0], true)
	if got := Confirm(p.Missing, PlanBoxes(local, l)); !reflect.DeepEqual(got, []mailbox.ID{2}) {
		t.Errorf("Confirm = %v, want [2]", got)
	}
	later, _ := NewListing(true, false, []Listed{listed("INBOX", 1, 5, 4), listed("Other", 2, 9, 3)})
	if got := Confirm(p.Missing, PlanBoxes(local, later)); got != nil {
		t.Errorf("Confirm after it was renamed once more = %v, want none", got)
	}
	back, _ := NewListing(true, false, []Listed{listed("INBOX", 1, 5, 4), listed("Work", 2, 9, 3)})
	if got := Confirm(p.Missing, PlanBoxes(local, back)); got != nil {
		t.Errorf("Confirm after it came back = %v, want none", got)
	}
}

// TestPlanBoxesConverges applies plans to random lists and checks that names are unique, that the result is a fixed
// point and that it names exactly what the upstream has.
func TestPlanBoxesConverges(t *testing.T) {
	names := []string{"INBOX", "Inbox", "inbox/a", "INBOX/a", "a", "A", "a/b", "a=2Fb", "&", "&-", "a//b", "=~2"}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		local := map[mailbox.ID]Box{}
		var next mailbox.ID
		for range 4 {
			there := []Listed{listed("INBOX", 1, 1, 0)}
			for _, n := range names[1:] {
				if rnd.IntN(2) == 0 {
					there = append(there, listed(n, 1+uint32(rnd.IntN(20)), 1+uint32(rnd.IntN(3)), uint32(rnd.IntN(2))))
				}
			}
			l, _ := NewListing(true, false, there)
			for range 3 { // a name that a removal frees is given to another mailbox in the next round
				applyPlan(local, &next, PlanBoxes(boxesOf(local), l))
			}
			if got := show(PlanBoxes(boxesOf(local), l)); got != "" {
				t.Fatalf("seed %d: there is still to do: %s", seed, got)
			}
			seen := map[string]bool{}
			for _, b := range local {
				if seen[b.Name] {
					t.Fatalf("seed %d: two mailboxes are named %q", seed, b.Name)
				}
				seen[b.Name] = true
				if l.Find(b.Raw) == nil {
					t.Fatalf("seed %d: %q is not upstream", seed, b.Raw)
				}
			}
			if len(local) != len(l.Boxes()) {
				t.Fatalf("seed %d: %d mailboxes here, %d there", seed, len(local), len(l.Boxes()))
			}
		}
	}
}

func boxesOf(m map[mailbox.ID]Box) (out []Box) {
	for id := mailbox.ID(1); len(out) < len(m); id++ {
		if b, ok := m[id]; ok {
			out = append(out, b)
		}
	}
	return out
}

// applyPlan does what app/syncer does, with every verification passing and healing done.
func applyPlan(local map[mailbox.ID]Box, next *mailbox.ID, p BoxPlan) {
	for _, id := range p.Missing.ids {
		delete(local, id)
	}
	for _, b := range p.Evicted {
		delete(local, b.ID)
	}
	set := func(b Box, t Target) {
		b.Name, b.Raw, b.Delimiter, b.Attrs = t.Name, t.Raw, t.Delimiter, t.Attrs
		b.Checkpoint = Checkpoint{UIDValidity: t.State.UIDValidity, UIDNext: t.State.UIDNext, Messages: t.State.Messages}
		b.Messages = t.State.Messages
		local[b.ID] = b
	}
	for _, r := range p.Rename {
		set(r.Box, r.Target)
	}
	for _, b := range p.Change {
		local[b.ID] = b
	}
	for _, t := range p.Create {
		*next++
		set(Box{ID: *next}, t)
	}
}

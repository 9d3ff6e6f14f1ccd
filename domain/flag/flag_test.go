package flag_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"imapped/domain/flag"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{`\seen`, `\ANSWERED`}, `\Answered \Seen`},
		{[]string{`\Recent`, `\*`, `\NonJunk`, ""}, ""},
		{[]string{"b", "A", "c"}, "A b c"},
		{[]string{"$Junk", "$junk", "$JUNK"}, "$Junk"},
		{[]string{"a b", "x\r\n", "p(q", `q"`, "r]", "s*", "é", "ok"}, "ok"},
		{[]string{"only one"}, ""},
		{[]string{"", "a"}, "a"},
	} {
		if got := flag.Parse(tt.names...).String(); got != tt.want {
			t.Errorf("Parse(%q) = %q, want %q", tt.names, got, tt.want)
		}
	}
}

func TestEqualSetsAreTheSameValue(t *testing.T) {
	a := flag.Make(flag.Seen|flag.Draft, "z", "B", "a")
	b := flag.Make(flag.Draft, "a").Union(flag.Make(flag.Seen, "B", "z"))
	if a != b {
		t.Errorf("%q and %q differ", a, b)
	}
	if c := flag.FromStored(a.Sys, a.KeywordString()); c != a {
		t.Errorf("stored and read back: %q, want %q", c, a)
	}
	if c := flag.FromStored(0, " z  a\tB a "); c.KeywordString() != "a B z" {
		t.Errorf("a store's untidy keywords became %q", c.KeywordString())
	}
	if !flag.Make(0, "$JUNK").Equal(flag.Make(0, "$Junk")) {
		t.Error("the spelling of a keyword counts")
	}
	if !a.HasKeyword("b") || a.HasKeyword("") || a.HasKeyword("a B") {
		t.Error("HasKeyword is wrong")
	}
}

func TestFromStoredOfCanonicalKeywordsDoesNotAllocate(t *testing.T) {
	stored := flag.Make(0, "$Forwarded", "$Junk", "work").KeywordString()
	if n := testing.AllocsPerRun(100, func() { flag.FromStored(flag.Seen, stored) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// model is a set of lower-case names.
type model map[string]bool

func modelOf(s flag.Set) model {
	m := model{}
	for name := range strings.FieldsSeq(s.String()) {
		m[strings.ToLower(name)] = true
	}
	return m
}

func (m model) equal(o model) bool {
	if len(m) != len(o) {
		return false
	}
	for k := range m {
		if !o[k] {
			return false
		}
	}
	return true
}

func TestOperationsFollowTheModel(t *testing.T) {
	seed := seed(t)
	rnd := rand.New(rand.NewPCG(seed, 1))
	names := []string{`\Seen`, `\Deleted`, `\Flagged`, "a", "A", "b", "$Junk", "$junk", "Work"}
	random := func() flag.Set {
		var some []string
		for range rnd.IntN(6) {
			some = append(some, names[rnd.IntN(len(names))])
		}
		return flag.Parse(some...)
	}
	op := func() flag.Op {
		add := random()
		return flag.Op{Add: add, Remove: random().Minus(add)}
	}
	for range 20000 {
		a, b := random(), random()
		union, minus := model{}, model{}
		for k := range modelOf(a) {
			union[k] = true
			if !modelOf(b)[k] {
				minus[k] = true
			}
		}
		for k := range modelOf(b) {
			union[k] = true
		}
		if got := a.Union(b); !modelOf(got).equal(union) {
			t.Fatalf("%q union %q = %q", a, b, got)
		}
		if got := a.Minus(b); !modelOf(got).equal(minus) {
			t.Fatalf("%q minus %q = %q", a, b, got)
		}
		if a.Equal(b) != modelOf(a).equal(modelOf(b)) {
			t.Fatalf("%q equal %q: %v", a, b, a.Equal(b))
		}
		if got := flag.Replace(a, b).Apply(a); !got.Equal(b) {
			t.Fatalf("replace %q by %q gives %q", a, b, got)
		}
		first, second, s := op(), op(), random()
		one := first.Then(second)
		if got, want := one.Apply(s), second.Apply(first.Apply(s)); !got.Equal(want) {
			t.Fatalf("%+v then %+v on %q: %q, want %q", first, second, s, got, want)
		}
		for _, k := range one.Add.Keywords() {
			if one.Remove.HasKeyword(k) {
				t.Fatalf("%+v then %+v adds and removes %q", first, second, k)
			}
		}
		if one.Add.Sys&one.Remove.Sys != 0 {
			t.Fatalf("%+v then %+v adds and removes a system flag", first, second)
		}
		if ks := one.Apply(s).Keywords(); !slices.IsSortedFunc(ks, func(a, b string) int {
			return strings.Compare(strings.ToLower(a), strings.ToLower(b))
		}) {
			t.Fatalf("keywords %q are not sorted", ks)
		}
	}
}

func seed(t *testing.T) uint64 {
	s := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return s
}

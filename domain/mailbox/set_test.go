package mailbox

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// seeded returns a random source and prints the seed that replays it.
func seeded(t testing.TB) *rand.Rand {
	s := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 7))
}

func wellFormed(s Set) bool {
	for i, r := range s {
		if r.First > r.Last || i > 0 && (s[i-1].Last == ^uint32(0) || r.First <= s[i-1].Last+1) {
			return false
		}
	}
	return true
}

func TestSetFollowsTheModel(t *testing.T) {
	rnd := seeded(t)
	// Numbers at both ends of the range, where arithmetic could wrap.
	number := func() uint32 {
		if rnd.IntN(2) == 0 {
			return uint32(rnd.IntN(24))
		}
		return ^uint32(0) - uint32(rnd.IntN(24))
	}
	random := func() (Set, map[uint32]bool) {
		m := map[uint32]bool{}
		if rnd.IntN(2) == 0 {
			var nums []uint32
			for range rnd.IntN(12) {
				n := number()
				nums = append(nums, n)
				m[n] = true
			}
			return SetOf(nums...), m
		}
		var ranges []Range
		for range rnd.IntN(5) {
			n := number()
			other := n + uint32(rnd.IntN(6))
			if other < n {
				other = n
			}
			for k := n; ; k++ {
				m[k] = true
				if k == other {
					break
				}
			}
			if rnd.IntN(2) == 0 {
				n, other = other, n
			}
			ranges = append(ranges, Range{n, other})
		}
		return Normalize(ranges), m
	}
	same := func(what string, s Set, want func(uint32) bool, universe ...map[uint32]bool) {
		t.Helper()
		if !wellFormed(s) {
			t.Fatalf("%s: %v is not normal", what, s)
		}
		var members []uint32
		for _, m := range universe {
			for n := range m {
				if s.Contains(n) != want(n) {
					t.Fatalf("%s: %v contains %d: %v", what, s, n, s.Contains(n))
				}
				if want(n) {
					members = append(members, n)
				}
			}
		}
		slices.Sort(members)
		members = slices.Compact(members)
		if got := slices.Collect(s.All); !slices.Equal(got, members) {
			t.Fatalf("%s: %v holds %v, want %v", what, s, got, members)
		}
		if s.Len() != uint64(len(members)) {
			t.Fatalf("%s: Len %d, want %d", what, s.Len(), len(members))
		}
	}
	for range 8000 {
		a, ma := random()
		b, mb := random()
		before := a.String() + "|" + b.String()
		same("set", a, func(n uint32) bool { return ma[n] }, ma)
		same("union", a.Union(b), func(n uint32) bool { return ma[n] || mb[n] }, ma, mb)
		same("intersect", a.Intersect(b), func(n uint32) bool { return ma[n] && mb[n] }, ma, mb)
		same("minus", a.Minus(b), func(n uint32) bool { return ma[n] && !mb[n] }, ma, mb)
		if after := a.String() + "|" + b.String(); after != before {
			t.Fatalf("operands changed from %s to %s", before, after)
		}
	}
}

func TestSetString(t *testing.T) {
	for _, tt := range []struct {
		set  Set
		want string
	}{
		{nil, ""},
		{SetOf[uint32](7), "7"},
		{SetOf[uint32](3, 1, 2, 9), "1:3,9"},
		{Normalize([]Range{{4294967295, 1}}), "1:4294967295"},
		{Normalize([]Range{{5, 5}, {1, 2}, {3, 4}}), "1:5"},
	} {
		if got := tt.set.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestHugeRangeIsNotExpanded(t *testing.T) {
	all := Normalize([]Range{{1, ^uint32(0)}})
	if got := all.Minus(SetOf[uint32](5)).Intersect(SetOf[uint32](4, 5, 6)).String(); got != "4,6" {
		t.Errorf("got %q", got)
	}
	if all.Len() != 1<<32-1 {
		t.Errorf("Len = %d", all.Len())
	}
}

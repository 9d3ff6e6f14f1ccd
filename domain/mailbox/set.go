// Package mailbox holds what a mailbox is: UIDs, mod-sequences, number sets, the shared snapshot of its messages and
// a session's view of it.
//
// Invariants:
//  1. A Set is sorted, its ranges are disjoint and not adjacent, and First <= Last in each.
//  2. A Snapshot is immutable; Apply returns a new one that shares every chunk that did not change. Messages leave it
//     anywhere and join it only at the end, for UIDs rise.
//  3. A View is immutable too. Sequence numbers move only in Advance, and there only as RFC 9051 section 7.5.1 allows:
//     what Changes tells a client leads from the old view's meaning of every number to the new one's.
//  4. A Set or Snapshot that was handed out is not changed by anybody; results may share memory with operands.
package mailbox

import (
	"slices"
	"strconv"
)

// Range is the numbers First to Last, both included.
type Range struct{ First, Last uint32 }

// Set is a set of message numbers (UIDs or sequence numbers) as sorted, disjoint, non-adjacent ranges. The zero value
// is empty. It never expands a range: 1:4294967295 is one Range.
type Set []Range

// SetFrom returns the numbers from the first on.
func SetFrom(first uint32) Set { return Set{{First: first, Last: ^uint32(0)}} }

// SetOf returns the set of the numbers, in any order.
func SetOf[N ~uint32](nums ...N) Set {
	if len(nums) == 0 {
		return nil
	}
	s := make(Set, 0, len(nums))
	sorted := true
	for _, n := range nums {
		if k := len(s); k > 0 {
			last := s[k-1].Last
			if uint32(n) == last {
				continue
			}
			if last != ^uint32(0) && uint32(n) == last+1 {
				s[k-1].Last++
				continue
			}
			sorted = sorted && uint32(n) > last
		}
		s = append(s, Range{uint32(n), uint32(n)})
	}
	if sorted {
		return s
	}
	return Normalize(s)
}

// Normalize sorts and merges ranges, in place, and returns the set. Ranges with First > Last are turned around.
func Normalize(ranges []Range) Set {
	for i, r := range ranges {
		if r.First > r.Last {
			ranges[i] = Range{r.Last, r.First}
		}
	}
	slices.SortFunc(ranges, func(a, b Range) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	out := ranges[:0]
	for _, r := range ranges {
		if k := len(out); k > 0 && (r.First <= out[k-1].Last || r.First == out[k-1].Last+1) {
			out[k-1].Last = max(out[k-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Contains says whether n is in the set.
func (s Set) Contains(n uint32) bool {
	_, ok := slices.BinarySearchFunc(s, n, func(r Range, n uint32) int {
		switch {
		case r.Last < n:
			return -1
		case r.First > n:
			return 1
		}
		return 0
	})
	return ok
}

// Len returns how many numbers the set holds.
func (s Set) Len() uint64 {
	var n uint64
	for _, r := range s {
		n += uint64(r.Last-r.First) + 1
	}
	return n
}

// Union returns the numbers of either set.
func (s Set) Union(o Set) Set {
	switch {
	case len(o) == 0:
		return s
	case len(s) == 0:
		return o
	}
	return Normalize(append(slices.Clone([]Range(s)), o...))
}

// Intersect returns the numbers in both sets.
func (s Set) Intersect(o Set) Set {
	var out Set
	for i, j := 0, 0; i < len(s) && j < len(o); {
		if first, last := max(s[i].First, o[j].First), min(s[i].Last, o[j].Last); first <= last {
			out = append(out, Range{first, last})
		}
		if s[i].Last < o[j].Last {
			i++
		} else {
			j++
		}
	}
	return out
}

// Minus returns the numbers of s that o has not.
func (s Set) Minus(o Set) Set {
	var out Set
	j := 0
	for _, r := range s {
		for j < len(o) && o[j].Last < r.First {
			j++
		}
		rest, live := r, true
		for k := j; live && k < len(o) && o[k].First <= rest.Last; k++ {
			if o[k].First > rest.First {
				out = append(out, Range{rest.First, o[k].First - 1})
			}
			if live = o[k].Last < rest.Last; live {
				rest.First = o[k].Last + 1
			}
		}
		if live {
			out = append(out, rest)
		}
	}
	return out
}

// All calls yield for each number in order: for n := range s.All.
func (s Set) All(yield func(uint32) bool) {
	for _, r := range s {
		for n := r.First; ; n++ {
			if !yield(n) {
				return
			}
			if n == r.Last {
				break
			}
		}
	}
}

// Append appends the set in sequence-set form (RFC 9051 section 9), for example "1:3,7"; nothing for an empty set.
func (s Set) Append(dst []byte) []byte {
	for i, r := range s {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.First), 10)
		if r.Last != r.First {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Last), 10)
		}
	}
	return dst
}

// String returns the set in sequence-set form.
func (s Set) String() string { return string(s.Append(nil)) }

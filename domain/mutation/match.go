package mutation

import (
	"cmp"
	"slices"

	"imapped/domain/mailbox"
)

// Likeness is what a message can be known by again (message.Identify).
type Likeness struct {
	Email     mailbox.ObjectID // the identity of header, size and date
	MessageID mailbox.ObjectID // the hash of its Message-ID; zero: it has none
	Size      int64
}

// Candidate is a message that the upstream has and that no message here is bound to.
type Candidate struct {
	Upstream uint32
	Likeness
}

// Match finds the messages that were perhaps placed, in the order of their mutations, among the candidates, and returns
// the upstream UID of each, or 0. No candidate is found twice. Equal ones are found in the order of their UIDs.
//
// What has the same identity is the same message. Of the others, since a server may have changed the date or the size:
// what has the same Message-ID, if it is the only one on both sides, else with the same size; without a Message-ID, what
// has the same size.
func Match(placed []Likeness, candidates []Candidate) []uint32 {
	m := matcher{
		placed:     placed,
		candidates: slices.SortedFunc(slices.Values(candidates), func(a, b Candidate) int { return cmp.Compare(a.Upstream, b.Upstream) }),
		found:      make([]uint32, len(placed)),
	}
	m.taken = make([]bool, len(m.candidates))
	m.pass(false, func(l Likeness) Likeness { return Likeness{Email: l.Email} })
	m.pass(false, func(l Likeness) Likeness { return Likeness{MessageID: l.MessageID, Size: l.Size} })
	m.pass(true, func(l Likeness) Likeness { return Likeness{MessageID: l.MessageID} })
	return m.found
}

type matcher struct {
	placed     []Likeness
	candidates []Candidate
	found      []uint32
	taken      []bool
}

// pass finds messages that are alike in the key. Nothing is alike in a zero key. With only, those are left alone of which
// there are several on either side.
func (m *matcher) pass(only bool, key func(Likeness) Likeness) {
	free := map[Likeness][]int{}
	for i, c := range m.candidates {
		if k := key(c.Likeness); !m.taken[i] && k != (Likeness{}) {
			free[k] = append(free[k], i)
		}
	}
	wanted := map[Likeness]int{}
	for i, l := range m.placed {
		if m.found[i] == 0 {
			wanted[key(l)]++
		}
	}
	for i, l := range m.placed {
		k := key(l)
		if m.found[i] != 0 || len(free[k]) == 0 || only && (len(free[k]) > 1 || wanted[k] > 1) {
			continue
		}
		at := free[k][0]
		free[k] = free[k][1:]
		m.found[i], m.taken[at] = m.candidates[at].Upstream, true
	}
}

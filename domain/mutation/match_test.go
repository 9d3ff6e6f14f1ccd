package mutation

import (
	"math/rand/v2"
	"slices"
	"testing"

	"imapped/domain/mailbox"
)

// like names a likeness by the identity, the Message-ID and the size; 0 is none.
func like(email, messageID byte, size int64) Likeness {
	l := Likeness{Size: size}
	if email != 0 {
		l.Email = mailbox.ObjectID{email}
	}
	if messageID != 0 {
		l.MessageID = mailbox.ObjectID{messageID}
	}
	return l
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		name       string
		placed     []Likeness
		candidates []Candidate
		want       []uint32
	}{
		{"nothing there", []Likeness{like(1, 1, 10)}, nil, []uint32{0}},
		{"itself", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 2, 20)}, {8, like(1, 1, 10)}}, []uint32{8}},
		{"equal ones in order", []Likeness{like(1, 1, 10), like(1, 1, 10), like(1, 1, 10)},
			[]Candidate{{9, like(1, 1, 10)}, {7, like(1, 1, 10)}}, []uint32{7, 9, 0}},
		{"the date was changed", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 1, 10)}}, []uint32{7}},
		{"date and size were changed", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 1, 12)}}, []uint32{7}},
		{"one of several drafts, by size", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 1, 12)}, {8, like(3, 1, 10)}}, []uint32{8}},
		{"one of several drafts, changed", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 1, 12)}, {8, like(3, 1, 13)}}, []uint32{0}},
		{"several drafts, one there, changed", []Likeness{like(1, 1, 10), like(2, 1, 11)}, []Candidate{{7, like(3, 1, 12)}}, []uint32{0, 0}},
		{"the sure one first", []Likeness{like(1, 1, 10), like(2, 1, 10)}, []Candidate{{7, like(2, 1, 10)}, {8, like(3, 1, 10)}}, []uint32{8, 7}},
		{"without Message-ID", []Likeness{like(1, 0, 10), like(2, 0, 11)}, []Candidate{{7, like(3, 0, 11)}}, []uint32{0, 7}},
		{"another has no Message-ID", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 0, 10)}}, []uint32{0}},
		{"another Message-ID, same size", []Likeness{like(1, 1, 10)}, []Candidate{{7, like(2, 2, 10)}}, []uint32{0}},
		{"nothing is known", []Likeness{{}}, []Candidate{{7, Likeness{}}}, []uint32{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Match(tt.placed, tt.candidates); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestMatchOnce: whatever is given, nothing is found twice, only what there is is found, and what has the same identity
// as nothing else that was placed is found when it is there.
func TestMatchOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 0))
	random := func() Likeness { return like(byte(rnd.IntN(5)), byte(rnd.IntN(3)), int64(rnd.IntN(3))) }
	for range 5000 {
		placed := make([]Likeness, rnd.IntN(8))
		for i := range placed {
			placed[i] = random()
		}
		candidates := make([]Candidate, rnd.IntN(8))
		given, identities := map[uint32]bool{}, map[mailbox.ObjectID]int{}
		for i := range candidates {
			candidates[i] = Candidate{uint32(100 + i), random()}
			given[candidates[i].Upstream] = true
			identities[candidates[i].Email]++
		}
		rnd.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
		got := Match(placed, candidates)
		if len(got) != len(placed) {
			t.Fatalf("%d answers to %d", len(got), len(placed))
		}
		for i, u := range got {
			if u != 0 && !given[u] {
				t.Fatalf("%d was found twice, or is none of %v", u, candidates)
			}
			delete(given, u)
			if e := placed[i].Email; e != (mailbox.ObjectID{}) {
				if identities[e]--; identities[e] >= 0 && u == 0 {
					t.Fatalf("%v is not found in %v", placed[i], candidates)
				}
			}
		}
	}
}

package search

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// seed returns the seed of a randomised test and prints it: IMAPPED_SEED replays one.
func seed(t testing.TB) uint64 {
	s := uint64(os.Getpid())*1_000_003 + uint64(len(t.Name()))
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return s
}

func TestFold(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"aBc 1.", "ABC 1."},
		{"é", "E\u0301"},
		{"É", "E\u0301"},
		{"e\u0301", "E\u0301"},
		{"ß", "ß"},
		{"ς", "Σ"},
		{"σ", "Σ"},
		{"ǆ", "Dz\u030c"}, // title case, not upper case
		{"ﬁ", "fi"},       // decomposed after the change of case
		{"½", "1\u20442"},
		{"\u00a0", " "},
		{"한", "\u1112\u1161\u11ab"},
		{"ｱ", "ア"},
		{"😀", "😀"},
	} {
		if got := string(fold(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%q: got %+q, want %+q", tt.in, got, tt.want)
		}
	}
}

// slowFold is the definition, character by character.
func slowFold(s string) string {
	var b []byte
	for _, r := range s {
		b = norm.NFKD.AppendString(b, string(unicode.ToTitle(r)))
	}
	return string(b)
}

// TestMatcher cuts texts at random and compares with a search in the whole.
func TestMatcher(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 0))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[r.IntN(2)]
		}
		return b
	}
	for range 20_000 {
		m := matcher{needle: random(1 + r.IntN(8))}
		text := random(r.IntN(40))
		for rest := text; len(rest) > 0; {
			n := 1 + r.IntN(min(len(rest), 7))
			m.feed(rest[:n])
			rest = rest[n:]
		}
		if want := bytes.Contains(text, m.needle); m.found != want {
			t.Fatalf("%s in %s: %v, want %v", m.needle, text, m.found, want)
		}
		if len(m.tail) >= 2*len(m.needle) {
			t.Fatalf("%d octets kept for a needle of %d", len(m.tail), len(m.needle))
		}
	}
}

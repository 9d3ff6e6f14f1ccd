package syntax

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// smallLimits makes every limit easy to reach.
func smallLimits() Limits {
	return Limits{Line: 90, Command: 200, LiteralInline: 40, LiteralStream: 300, LiteralNonSync: 250, Discard: 2000, Literals: 3}
}

// seed returns the seed of a randomised test: IMAPPED_SEED, or a new one, which is logged.
func seed(t testing.TB) uint64 {
	n, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64)
	if err != nil {
		n = rand.Uint64()
	}
	t.Logf("IMAPPED_SEED=%d", n)
	return n
}

// checkFramer compares the framer with the slow one: all at once, octet by octet, and in random pieces.
func checkFramer(t *testing.T, dir Direction, lim Limits, in []byte, rnd *rand.Rand) {
	t.Helper()
	want := (&slowFramer{dir: dir, lim: lim, in: string(in)}).run()
	for name, next := range map[string]func(int) int{
		"at once":          func(left int) int { return left },
		"octet by octet":   func(int) int { return 1 },
		"in random pieces": func(left int) int { return 1 + rnd.IntN(left) },
		"in small pieces":  func(int) int { return 1 + rnd.IntN(7) },
	} {
		if got := runFramer(dir, lim, in, next); !slices.Equal(got, want) {
			t.Fatalf("%s:\n%q\n got %s\nwant %s", name, in, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

func FuzzFramer(f *testing.F) {
	for _, s := range streamSeeds {
		f.Add([]byte(s), uint64(1))
	}
	for _, line := range commandSeeds {
		f.Add([]byte(line+"\r\n"), uint64(2))
	}
	f.Fuzz(func(t *testing.T, in []byte, mode uint64) {
		rnd := rand.New(rand.NewPCG(mode, 0))
		lim := smallLimits()
		if mode&2 != 0 {
			lim = PreAuth()
		}
		checkFramer(t, Direction(mode&1), lim, in, rnd)
	})
}

// TestFramerRandom is FuzzFramer with streams made to reach every state.
func TestFramerRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 1))
	words := []string{
		"A1 ", "NOOP", "* OK ", "* 1 FETCH ", "+ ", "\r\n", "\r\n", "\r\n", "\n", "\r", "{3}\r\n", "{3+}\r\n", "{0}\r\n", "~{5}\r\n",
		"~{6+}\r\n", "{40+}\r\n", "{41+}\r\n", "{250+}\r\n", "{251}\r\n", "{900+}\r\n", "{2001+}\r\n", "{x+}\r\n", "{+}\r\n",
		"{99999999999999999999+}\r\n", "{99999999999999999999}\r\n", "{000000000000000000007+}\r\n", "{9223372036854775807+}\r\n",
		"{9223372036854775808}\r\n", "}", "{", "+}", "1234567890", strings.Repeat("x", 30), strings.Repeat("7", 61) + "+}\r\n",
		strings.Repeat("y", 95), strings.Repeat("z", 400), "\x00", "\xff", "\"",
	}
	wide := smallLimits()
	wide.Line, wide.Command, wide.LiteralInline, wide.Discard = 1000, 1100, 900, 1050
	for range 4000 {
		lim := smallLimits()
		if rnd.IntN(3) == 0 {
			lim = wide
		}
		var in []byte
		for range 1 + rnd.IntN(24) {
			in = append(in, words[rnd.IntN(len(words))]...)
		}
		checkFramer(t, Direction(rnd.IntN(2)), lim, in, rnd)
	}
}

var streamSeeds = []string{
	"", "\r\n", "\n", "A1 NOOP\r\nA2 LOGOUT\r\n", "A1 NOOP\nA2 NOOP\n", "A\rB\r\r\n",
	"A1 LOGIN {3}\r\njoe {6+}\r\nsecret\r\nA2 NOOP\r\n",
	"A1 LOGIN {3+}\r\n\r\n\n \"x\"\r\n",
	"A2 CREATE {50+}\r\nx\r\nEVIL CAPABILITY\r\nyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\nA3 NOOP\r\n",
	"A1 APPEND INBOX (\\Seen) {13}\r\nFrom: a@b\r\n\r\n\r\nA2 NOOP\r\n",
	"A1 APPEND INBOX ~{7+}\r\na\x00b\r\n\r\n {4+}\r\nabcd\r\n",
	"A1 X {18446744073709551619}\r\nA2 NOOP\r\n", "A1 X {18446744073709551619+}\r\nA2 NOOP\r\n",
	"A1 X {4294967296+}\r\n", "A1 X {0}\r\n\r\n", "A1 X {0+}\r\n{0+}\r\n{0+}\r\n{0+}\r\nNOOP\r\nA2 NOOP\r\n",
	"* OK [ALERT] it ends in {3}\r\n* 1 FETCH (BODY[] {3}\r\nabc FLAGS (\\Seen))\r\nA1 OK done {9}\r\n",
	"* BAD\r\n* 2 FETCH (BODY[] ~{5}\r\nabcde)\r\n+ go {2}\r\nServer Unavailable. 15 {4}\r\n",
	strings.Repeat("a", 300) + "{5+}\r\nabcde" + strings.Repeat("b", 100) + "\r\nA2 NOOP\r\n",
	strings.Repeat("9", 300) + "+}\r\nA2 NOOP\r\n",
}

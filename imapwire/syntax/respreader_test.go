package syntax

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestResponseLimits: a body that is longer than the limits is dropped, is seen to be dropped, and what follows is read.
// Whatever else is too long is the end, however the octets arrive, and before the rest of it has come.
func TestResponseLimits(t *testing.T) {
	lim := Upstream()
	lim.Line, lim.Command, lim.LiteralInline, lim.LiteralStream, lim.Discard, lim.Literals = 64, 128, 16, 32, 70, 5
	x := strings.Repeat("x", 1000)
	const fetch = "* 1 FETCH ("
	for _, tc := range []struct {
		name, stream string
		want         []string
	}{
		{"body", fetch + "BODY[] {33}\r\n" + x[:33] + " UID 4)\r\n", []string{"fetch num=1 uid=4 MALFORMED"}},
		{"bodies", fetch + "BODY[] {33}\r\n" + x[:33] + " BODY[TEXT] {37}\r\n" + x[:37] + " UID 4)\r\n" +
			fetch + "BODY[] {70}\r\n" + x[:70] + ")\r\n", []string{"fetch num=1 uid=4 MALFORMED", "fetch num=1 MALFORMED"}},
		{"bodies beyond the bound", fetch + "BODY[] {33}\r\n" + x[:33] + " BODY[TEXT] {38}\r\n",
			[]string{"error: the server announced a literal of 38 octets where no more than 32 are taken"}},
		{"body beyond the bound", fetch + "BODY[] {4294967295}\r\n",
			[]string{"error: the server announced a literal of 4294967295 octets where no more than 32 are taken"}},
		{"body of no size", fetch + "BODY[] {99999999999999999999}\r\n",
			[]string{"error: the server announced a literal of a size that is not a number below 2^63"}},
		{"header", fetch + "UID 4 BODY[HEADER.FIELDS (DATE)] {33}\r\n",
			[]string{"error: the server announced a literal of 33 octets where no more than 32 are taken"}},
		{"header by its old name", fetch + "RFC822.HEADER {33}\r\n",
			[]string{"error: the server announced a literal of 33 octets where no more than 32 are taken"}},
		{"body behind a header", fetch + "BODY[HEADER] {3}\r\nabc RFC822 {33}\r\n" + x[:33] + " UID 4)\r\n",
			[]string{`fetch num=1 uid=4 section{BODY[HEADER] kind=2 origin=-1 size=3 data="abc"} MALFORMED`}},
		{"line", "* SEARCH " + x[:56], []string{"error: the server sent a line longer than 64 octets"}},
		{"tagged line", "A1 OK " + x[:59], []string{"error: the server sent a line longer than 64 octets"}},
		{"line with a literal", "* LIST () \"/\" {3}\r\nabc" + x[:65], []string{"error: the server sent a line longer than 64 octets"}},
		{"name", "* LIST () \"/\" {17}\r\n",
			[]string{"error: the server announced a literal of 17 octets where no more than 16 are taken"}},
		{"response", "* LIST () \"/\" {16}\r\n" + x[:16] + x[:50] + "{16}\r\n" + x[:16] + x[:21],
			[]string{"error: the server sent a response longer than 128 octets"}},
		{"response with a literal", "* LIST () \"/\" {16}\r\n" + x[:16] + x[:50] + "{16}\r\n" + x[:16] + "{16}\r\n",
			[]string{"error: the server sent a response longer than 128 octets"}},
		{"literals", "* LIST " + strings.Repeat("{1}\r\nx", 6),
			[]string{"error: the server sent a response with more than 5 literals"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, step := range []int{1, 7, 1000} {
				stream, want := tc.stream, tc.want
				if !strings.HasPrefix(want[0], "error") {
					stream, want = stream+"* 2 EXISTS\r\n", append(want[:len(want):len(want)], "exists num=2")
				}
				got, err := readResponses([]byte(stream), step, 8, lim)
				compareLines(t, fmt.Sprintf("in pieces of %d", step), got, want)
				var excess *ExcessError
				if err != nil && !errors.As(err, &excess) {
					t.Errorf("%T", err)
				}
			}
		})
	}
}

// TestExcessIsFinal: nothing is read behind what was too much.
func TestExcessIsFinal(t *testing.T) {
	lim := Upstream()
	lim.Line = 16
	rr := NewRespReader(lim, nil, 8)
	feed := func(s string) {
		for len(s) > 0 {
			n := copy(rr.Framer().Reserve(), s)
			rr.Framer().Commit(n)
			s = s[n:]
		}
	}
	feed("* SEARCH 1 2 3 4 5 6 7 8\r\n* 3 EXISTS\r\n")
	_, first := rr.Next()
	feed("* 4 EXISTS\r\n")
	if r, err := rr.Next(); first == nil || err != first || r != nil {
		t.Errorf("%v, then %v, %v", first, r, err)
	}
}

// TestInResponse: padding before a response is not its beginning.
func TestInResponse(t *testing.T) {
	for _, tc := range []struct {
		stream string
		want   bool
	}{
		{"", false}, {"* 1 EXISTS\r\n", false}, {"* 1 EXISTS\r\n\x00\x00 \r", false}, {strings.Repeat("\x00", 2000), true},
		{"\x00*", true}, {"* 1 EXISTS\r", true}, {"* LIST () \"/\" {3}\r\n", true}, {"* LIST () \"/\" {3}\r\nabc", true},
		{"* 1 FETCH (BODY[] {9}\r\n", true}, {"* 1 FETCH (BODY[] {9}\r\n123456789", true},
		{"* 1 FETCH (BODY[] {9}\r\n123456789)\r\n", false},
	} {
		rr := NewRespReader(Upstream(), nil, 8)
		for s := tc.stream; ; {
			r, err := rr.Next()
			if err != nil {
				t.Fatal(err)
			}
			if r != nil {
				continue
			}
			if s == "" {
				break
			}
			n := copy(rr.Framer().Reserve(), s)
			rr.Framer().Commit(n)
			s = s[n:]
		}
		if got := rr.InResponse(); got != tc.want {
			t.Errorf("%.40q: %v", tc.stream, got)
		}
	}
}

package syntax

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func parse(t testing.TB, line string) (*Command, error) {
	t.Helper()
	p := &Parser{Limits: PostAuth()}
	f, _, ok := frameOf(t, p.Limits, []byte(line+"\r\n"))
	if !ok {
		t.Fatalf("%q is no frame", line)
	}
	var c Command
	return &c, p.Parse(f, &c)
}

func mustParse(t testing.TB, line string) *Command {
	t.Helper()
	c, err := parse(t, line)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return c
}

// TestParse shows what commands mean, as the canonical form that they are written back in.
func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"a1 noop ":                                          "a1 NOOP",
		"a login NIL nil":                                   "a LOGIN NIL nil",
		`a LOGIN "a\\b" "c\"d"`:                             `a LOGIN "a\\b" "c\"d"`, // mox refused it
		"a LOGIN {0}\r\n {2}\r\n\"\\":                       "a LOGIN {0+}\r\n {2+}\r\n\"\\",
		"a authenticate plain =":                            "a AUTHENTICATE plain =",
		"a uid fetch 5:3,*:4,*,7 flags":                     "a UID FETCH 3:5,4:*,*,7 (FLAGS)",
		"a FETCH 1 all":                                     "a FETCH 1 ALL",
		"a FETCH 1 fast":                                    "a FETCH 1 FAST",
		"a FETCH 1 full (changedsince 0)":                   "a FETCH 1 FULL (CHANGEDSINCE 0)",
		"a FETCH $ body.peek[1.2.header]<0.5>":              "a FETCH $ (BODY.PEEK[1.2.HEADER]<0.5>)",
		"a FETCH 1 (RFC822.HEADER BODY[TEXT] Preview)":      "a FETCH 1 (RFC822.HEADER BODY[TEXT] PREVIEW)",
		"a STORE 1 -flags.silent \\seen $x":                 "a STORE 1 -FLAGS.SILENT (\\seen $x)",
		"a SEARCH RETURN () (1 not 2) or new all":           "a SEARCH RETURN (ALL) (1 NOT 2) OR NEW ALL",
		"a SEARCH SINCE 01-jan-2024":                        "a SEARCH SINCE 1-Jan-2024",
		"a APPEND x \"1-jan-2024 01:02:03 +0130\" {1}\r\nm": "a APPEND x \" 1-Jan-2024 01:02:03 +0130\" {1+}\r\nm",
		"a STATUS x (size MESSAGES)":                        "a STATUS x (MESSAGES SIZE)",
		"a LIST () \"\" % RETURN (status (unseen))":         "a LIST \"\" (%) RETURN (STATUS (UNSEEN))",
	} {
		if got := string(encodeCommand(mustParse(t, line))); got != want {
			t.Errorf("%q means %q, want %q", line, got, want)
		}
	}
}

// Token kinds stay apart (a defect of Stalwart: NIL and "" were one).
func TestStringKinds(t *testing.T) {
	c := mustParse(t, "a LOGIN NIL \"\"")
	if c.Login.User.Kind != StringAtom || c.Login.User.Text() != "NIL" || c.Login.Password.Kind != StringQuoted {
		t.Errorf("%+v", c.Login)
	}
	c = mustParse(t, "a ID (\"a\" NIL \"b\" \"\" {1}\r\nc {0}\r\n)")
	kinds := [...]StringKind{c.ID[0].Value.Kind, c.ID[1].Value.Kind, c.ID[2].Value.Kind}
	if kinds != [...]StringKind{StringNIL, StringQuoted, StringLiteral} || c.ID[0].Value.Present() || !c.ID[1].Value.Present() {
		t.Errorf("%v", kinds)
	}
	if c := mustParse(t, "a ID NIL"); c.ID != nil {
		t.Errorf("ID NIL: %v", c.ID)
	}
	if c := mustParse(t, "a SEARCH ALL"); c.Search.Charset.Kind != StringAbsent {
		t.Errorf("charset: %+v", c.Search.Charset)
	}
}

func TestParseValues(t *testing.T) {
	c := mustParse(t, `a SELECT "InBox" (QRESYNC (67890007 90060115194045000 41:211,1 (1,2 3,4)) CONDSTORE)`)
	if s := c.Select; !s.CondStore || !s.QResync || s.UIDValidity != 67890007 || s.ModSeq != 90060115194045000 || !s.SeqMatch ||
		fmt.Sprint(s.KnownUIDs.Ranges, s.MatchSeqs.Ranges, s.MatchUIDs.Ranges) != "[{41 211} {1 1}] [{1 1} {2 2}] [{3 3} {4 4}]" {
		t.Errorf("%+v", s)
	}
	if !c.Mailbox.IsInbox() {
		t.Errorf("%+v", c.Mailbox)
	}
	c = mustParse(t, `a APPEND x (\Seen \x kw) "17-Jul-1996 02:44:25 -0730" {2}`+"\r\nab")
	m := c.Append[0]
	if !m.HasDate || !m.Date.Time().Equal(time.Date(1996, 7, 17, 10, 14, 25, 0, time.UTC)) || m.Mode != LiteralInline || string(m.Bytes) != "ab" {
		t.Errorf("%+v", m)
	}
	if m.Flags[0].Bits != FlagSeen || m.Flags[1].Bits != 0 || string(m.Flags[1].Name) != `\x` || string(m.Flags[2].Name) != "kw" {
		t.Errorf("%+v", m.Flags)
	}
	c = mustParse(t, "a SEARCH OR (SEEN 1) NOT YOUNGER 5 SAVEDON 29-Feb-2024")
	var ends []uint32
	for _, k := range c.Search.Keys {
		ends = append(ends, k.End)
	}
	if fmt.Sprint(ends) != "[8 7 5 4 5 7 7 8]" || c.Search.Keys[6].Num != 5 || c.Search.Keys[7].Date.Days() != 19782 {
		t.Errorf("%v %+v", ends, c.Search.Keys)
	}
	c = mustParse(t, "a FETCH 1 BODY[1.2.HEADER.FIELDS (To {2}\r\nCc)]")
	if s := c.Fetch.Items[0].Section; fmt.Sprint(s.Part) != "[1 2]" || s.Spec != SpecHeaderFields || s.Fields[1].Text() != "Cc" {
		t.Errorf("%+v", s)
	}
	if (Date{Year: 1969, Month: 12, Day: 31}).Days() != -1 || (Date{Year: 0, Month: 1, Day: 1}).Days() != -719528 {
		t.Error("days before 1970")
	}
}

// The items of a macro are those that it stands for (RFC 9051 section 6.4.5).
func TestMacros(t *testing.T) {
	for macro, items := range map[string]string{
		"ALL":  "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
		"FAST": "(FLAGS INTERNALDATE RFC822.SIZE)",
		"FULL": "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)",
	} {
		got, want := mustParse(t, "a FETCH 1 "+macro).Fetch.Items, mustParse(t, "a FETCH 1 "+items).Fetch.Items
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v", macro, got)
		}
	}
}

func TestFlagBits(t *testing.T) {
	c := mustParse(t, `a STORE 1 FLAGS (\ANSWERED \flagged \Deleted \Seen \Draft \Recent \Other Seen)`)
	want := []FlagBits{FlagAnswered, FlagFlagged, FlagDeleted, FlagSeen, FlagDraft, FlagRecent, 0, 0}
	for i, f := range c.Store.Flags {
		if f.Bits != want[i] {
			t.Errorf("%s: %b", f.Name, f.Bits)
		}
	}
	if len(c.Store.Flags) != len(want) {
		t.Errorf("%v", c.Store.Flags)
	}
}

func TestRangeResolve(t *testing.T) {
	for _, tc := range []struct {
		r           Range
		top, lo, hi uint32
	}{
		{Range{0, 0}, 9, 9, 9}, {Range{4, 0}, 9, 4, 9}, {Range{12, 0}, 9, 9, 12}, {Range{2, 3}, 9, 2, 3}, {Range{0, 0}, 0, 0, 0},
	} {
		if lo, hi := tc.r.Resolve(tc.top); lo != tc.lo || hi != tc.hi {
			t.Errorf("%v of %d: %d:%d", tc.r, tc.top, lo, hi)
		}
	}
}

// A huge range costs nothing (the Rust predecessor expanded it), and sets, trees and lists are bounded.
func TestLimits(t *testing.T) {
	if c := mustParse(t, "a UID FETCH 1:4294967295,1:* FLAGS"); len(c.Set.Ranges) != 2 {
		t.Errorf("%v", c.Set.Ranges)
	}
	lim := PreAuth()
	long := func(head, one, sep string, n int, tail string) string {
		return head + strings.Repeat(one+sep, n-1) + one + tail
	}
	for _, tc := range []struct {
		name string
		n    int
		line func(n int) string
	}{
		{"ranges", lim.Ranges, func(n int) string { return long("a FETCH ", "1", ",", n, " FLAGS") }},
		{"keys", lim.Keys, func(n int) string { return long("a SEARCH ", "ALL", " ", n, "") }},
		{"depth", lim.Depth, func(n int) string { return "a SEARCH " + strings.Repeat("(", n-1) + "ALL" + strings.Repeat(")", n-1) }},
		{"not", lim.Depth, func(n int) string { return long("a SEARCH ", "NOT", " ", n-1, " ALL") }},
		{"items", lim.Items, func(n int) string { return long("a FETCH 1 (", "UID", " ", n, ")") }},
		{"parts", lim.Parts, func(n int) string { return long("a FETCH 1 BODY[", "1", ".", n, "]") }},
		{"fields", lim.Fields, func(n int) string { return long("a FETCH 1 BODY[HEADER.FIELDS (", "a", " ", n, ")]") }},
		{"flags", lim.Flags, func(n int) string { return long("a STORE 1 FLAGS (", "a", " ", n, ")") }},
		{"capabilities", lim.Args, func(n int) string { return long("a ENABLE ", "a", " ", n, "") }},
		{"patterns", lim.Args, func(n int) string { return long("a LIST x (", "a", " ", n, ")") }},
		{"parameters", lim.Args, func(n int) string { return long("a ID (", "\"a\" NIL", " ", n, ")") }},
		{"special uses", lim.Args, func(n int) string { return long("a CREATE x (USE (", `\a`, " ", n, "))") }},
		{"messages", lim.Messages, func(n int) string { return long("a APPEND x ", "{1}\r\na", " ", n, "") }},
	} {
		p := &Parser{Limits: lim}
		for _, n := range []int{tc.n, tc.n + 1} {
			f, _, ok := frameOf(t, PostAuth(), []byte(tc.line(n)+"\r\n"))
			if !ok {
				t.Fatalf("%s: no frame", tc.name)
			}
			var c Command
			err := p.Parse(f, &c)
			var e Error
			if n > tc.n != (errors.As(err, &e) && e.Limit) || n <= tc.n && err != nil {
				t.Errorf("%s: %d of %d: %v", tc.name, n, tc.n, err)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		line, text string
		verb       Verb
	}{
		{"a1 FETCH 1:x FLAGS", "sequence set at octet 11: expected a number, found a letter", VerbFetch},
		{"a1 LOGIN secret-user", "LOGIN at octet 20: expected a space, found the end of the line", VerbLogin},
		{"a1 XYZZY a b", "command at octet 3: expected a known command, found a letter", VerbUnknown},
		{"a1 UID CREATE a", "UID at octet 7: expected a command with a UID form, found a letter", VerbUnknown},
		{"a1 SEARCH \x00", "search key at octet 10: expected a word, found a control character", VerbSearch},
		{"a1 LOGIN a \"b\xff\"", "LOGIN at octet 12: expected UTF-8, found a letter", VerbLogin},
		{"a1 STATUS a (\"", "STATUS item at octet 13: expected a word, found a quote", VerbStatus},
	} {
		c, err := parse(t, tc.line)
		var e Error
		if !errors.As(err, &e) || e.Error() != tc.text || string(e.Tag) != "a1" || c.Verb != tc.verb {
			t.Errorf("%q: %v (tag %q, verb %v)", tc.line, err, e.Tag, c.Verb)
		}
	}
	for _, line := range []string{"", " x", "+ x", "\"a\" NOOP", "(a"} {
		c, err := parse(t, line)
		var e Error
		if !errors.As(err, &e) || e.Tag != nil || c.Tag != nil {
			t.Errorf("%q: %v, tag %q", line, err, e.Tag)
		}
	}
}

// What stands in arguments never comes back in an error.
func TestErrorsHoldNoArguments(t *testing.T) {
	for _, line := range []string{
		"a LOGIN user Tr0ub4dor Tr0ub4dor", "a LOGIN \"Tr0ub4dor", "a LOGIN user \"Tr0ub4dor\\x\"", "a AUTHENTICATE PLAIN Tr0ub4dor! x",
		"a LOGIN user {9}\r\nTr0ub4dor x", "Tr0ub4dor", "a Tr0ub4dor", "a SEARCH Tr0ub4dor", "a FETCH 1 Tr0ub4dor",
	} {
		if _, err := parse(t, line); err == nil || strings.Contains(strings.ToLower(err.Error()), "tr0ub4dor") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// A Command is used again and again without a trace of what it held before.
func TestCommandReuse(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	var used Command
	rnd := rand.New(rand.NewPCG(seed(t), 2))
	for range 3000 {
		line := commandSeeds[rnd.IntN(len(commandSeeds))]
		f, _, ok := frameOf(t, p.Limits, []byte(line+"\r\n"))
		if !ok {
			continue
		}
		var fresh Command
		err1, err2 := p.Parse(f, &used), p.Parse(f, &fresh)
		if fmt.Sprint(err1) != fmt.Sprint(err2) || err1 == nil && dump(&used) != dump(&fresh) {
			t.Fatalf("%q: used %v %s, fresh %v %s", line, err1, dump(&used), err2, dump(&fresh))
		}
	}
}

// TestCommandRandom is checkCommand over lines that are one edit or a crossing away from right ones.
func TestCommandRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 3))
	p := &Parser{Limits: PostAuth()}
	pick := func() string { return commandSeeds[rnd.IntN(len(commandSeeds))] }
	for range 20000 {
		line := []byte(pick())
		for range 1 + rnd.IntN(2) {
			at, end := rnd.IntN(len(line)+1), 0
			switch rnd.IntN(4) {
			case 0:
				line = append(line[:at:at], append([]byte{" ()\"\\{}%*]$0aN:,.<>[\x00\xc3+-~"[rnd.IntN(25)]}, line[at:]...)...)
			case 1:
				end = min(len(line), at+1+rnd.IntN(3))
				line = append(line[:at:at], line[end:]...)
			case 2:
				other := pick()
				line = append(line[:at:at], other[rnd.IntN(len(other)+1):]...)
			case 3:
				line = append(line[:at:at], strings.ToUpper(string(line[at:]))...)
			}
		}
		checkCommand(t, p, append(line, "\r\n"...))
	}
}

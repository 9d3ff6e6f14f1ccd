package syntax

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAppendStrings(t *testing.T) {
	long := strings.Repeat("x", maxQuoted+1)
	for _, tc := range []struct {
		in                  string
		utf8ok              bool
		astring, str, quote string
	}{
		{"INBOX", false, "INBOX", `"INBOX"`, `"INBOX"`},
		{"", false, `""`, `""`, `""`},
		{"NIL", false, `"NIL"`, `"NIL"`, `"NIL"`},
		{"nil", false, `"nil"`, `"nil"`, `"nil"`},
		{"a b", false, `"a b"`, `"a b"`, `"a b"`},
		{`a"\`, false, `"a\"\\"`, `"a\"\\"`, `"a\"\\"`},
		{"a]", false, `"a]"`, `"a]"`, `"a]"`},
		{"é", false, "{2}\r\né", "{2}\r\né", ""},
		{"é", true, `"é"`, `"é"`, `"é"`},
		{"\xe9", true, "{1}\r\n\xe9", "{1}\r\n\xe9", ""},
		{"a\r\nb", false, "{4}\r\na\r\nb", "{4}\r\na\r\nb", ""},
		{"a\x00b", false, "{3}\r\na\x80b", "{3}\r\na\x80b", ""},
		{long, false, long, "{1001}\r\n" + long, ""},
	} {
		if got := string(AppendAString([]byte("<"), tc.in, tc.utf8ok)); got != "<"+tc.astring {
			t.Errorf("astring %q: %q", tc.in, got)
		}
		if got := string(AppendString(nil, []byte(tc.in), tc.utf8ok)); got != tc.str {
			t.Errorf("string %q: %q", tc.in, got)
		}
		if CanQuote(tc.in, tc.utf8ok) != (tc.quote != "") {
			t.Errorf("quoted %q: %v", tc.in, tc.quote == "")
		}
	}
	if got := string(AppendNString(AppendNString(nil, nil, false), []byte{}, false)); got != `NIL""` {
		t.Errorf("nstring: %q", got)
	}
	if got := string(AppendLiteral8Header(nil, 5)); got != "~{5}\r\n" {
		t.Errorf("literal8: %q", got)
	}
	for name, want := range map[string]string{"Entwürfe": "Entw&APw-rfe", "a b&": `"a b&-"`, "INBOX": "INBOX"} {
		if got := string(AppendMailbox(nil, name, false)); got != want {
			t.Errorf("mailbox %q: %q", name, got)
		}
	}
	if got := string(AppendMailbox(nil, "Entwürfe", true)); got != `"Entwürfe"` {
		t.Errorf("mailbox in UTF-8: %q", got)
	}
}

func TestAppendDates(t *testing.T) {
	for want, at := range map[string]time.Time{
		`"17-Jul-1996 02:44:25 -0700"`: time.Date(1996, 7, 17, 2, 44, 25, 0, time.FixedZone("", -7*3600)),
		`" 1-Jan-2024 00:00:00 +0530"`: time.Date(2024, 1, 1, 0, 0, 0, 999, time.FixedZone("", 5*3600+1800)),
		`" 1-Jan-0000 00:00:00 +0000"`: time.Date(-5, 3, 4, 5, 6, 7, 8, time.UTC),
		`"31-Dec-9999 23:59:59 +0000"`: time.Date(12000, 3, 4, 5, 6, 7, 8, time.UTC),
		`" 5-Mar-2024 01:02:03 -0030"`: time.Date(2024, 3, 5, 1, 2, 3, 0, time.FixedZone("", -1800)),
	} {
		if got := string(AppendInternalDate(nil, at)); got != want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
	if got := string(AppendDate(nil, Date{2024, 2, 9})); got != "9-Feb-2024" {
		t.Errorf("date: %s", got)
	}
}

func TestAppendSets(t *testing.T) {
	for want, s := range map[string]NumSet{
		"1:5,7,9:*,*": {Ranges: []Range{{1, 5}, {7, 7}, {9, 0}, {0, 0}}}, "$": {Saved: true}, "": {},
	} {
		if got := string(AppendSet(nil, s)); got != want {
			t.Errorf("%v: %q", s, got)
		}
	}
	if got := string(AppendFlags(nil, []Flag{{FlagSeen, []byte(`\Seen`)}, {0, []byte("x")}})); got != `(\Seen x)` {
		t.Errorf("flags: %s", got)
	}
}

func TestCommandWriter(t *testing.T) {
	write := func(w *CommandWriter) string {
		w.Reset()
		w.Begin("A1", "LOGIN").SP().AString([]byte("joe")).SP().String([]byte("pä\"ss")).SP().NString(nil).SP()
		w.Mailbox([]byte("a b")).SP().Set(NumSet{Ranges: []Range{{1, 0}}}).SP().Number(7).SP().LiteralHeader(5000, true).End()
		return string(w.Buf)
	}
	for _, tc := range []struct {
		w     CommandWriter
		want  string
		parts []string // of what is sent in one piece, the ends
	}{
		{CommandWriter{}, "A1 LOGIN joe {6}\r\npä\"ss NIL \"a b\" 1:* 7 ~{5000}\r\n\r\n", []string{"{6}\r\n", "{5000}\r\n"}},
		{CommandWriter{LiteralMinus: true}, "A1 LOGIN joe {6+}\r\npä\"ss NIL \"a b\" 1:* 7 ~{5000}\r\n\r\n", []string{"{5000}\r\n"}},
		{CommandWriter{LiteralPlus: true}, "A1 LOGIN joe {6+}\r\npä\"ss NIL \"a b\" 1:* 7 ~{5000+}\r\n\r\n", nil},
		{CommandWriter{UTF8: true, LiteralPlus: true}, "A1 LOGIN joe \"pä\\\"ss\" NIL \"a b\" 1:* 7 ~{5000+}\r\n\r\n", nil},
	} {
		if write(&tc.w); write(&tc.w) != tc.want || len(tc.w.Splits) != len(tc.parts) {
			t.Errorf("%q, splits %v", tc.w.Buf, tc.w.Splits)
			continue
		}
		for i, at := range tc.w.Splits {
			if !bytes.HasSuffix(tc.w.Buf[:at], []byte(tc.parts[i])) {
				t.Errorf("split %d after %q", i, tc.w.Buf[:at])
			}
		}
	}
}

// What the encoder writes as a string, the parser reads as the same octets, except NUL.
func TestStringsSurvive(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	for _, s := range []string{"", "NIL", "a", "a b", "\\\"", "{3}", "é", "\xff", "\r\n", "\x01\x7f", "(", strings.Repeat("x ", 600)} {
		for _, w := range []CommandWriter{{LiteralPlus: true}, {LiteralPlus: true, UTF8: true}, {}} {
			w.Begin("a", "LOGIN").SP().AString([]byte(s)).SP().String([]byte(s)).End()
			f, _, ok := frameOf(t, p.Limits, w.Buf)
			var c Command
			if !ok || p.Parse(f, &c) != nil || c.Login.User.Text() != s || c.Login.Password.Text() != s {
				t.Errorf("%q is written as %q and read as %q, %q", s, w.Buf, c.Login.User.Bytes, c.Login.Password.Bytes)
			}
			if c.Login.Password.Kind == StringAtom || !slices.Contains([]StringKind{StringQuoted, StringLiteral}, c.Login.Password.Kind) {
				t.Errorf("%q: kind %d", s, c.Login.Password.Kind)
			}
		}
	}
}

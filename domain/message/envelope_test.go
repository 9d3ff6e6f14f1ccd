package message

import (
	"fmt"
	"strings"
	"testing"
)

func TestEnvelope(t *testing.T) {
	for _, tt := range []struct{ name, raw, want string }{
		{"nothing", "\n", `(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"empty fields", "From:\nSubject: \nDate:\nMessage-ID: \nSender:\nReply-To:\n\n", `("" "" NIL NIL NIL NIL NIL NIL NIL "")`},
		{"sender and reply-to are from", "From: a@b\nSender:\n\n",
			`(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL)`},
		{"own sender and reply-to", "From: a@b\nSender: c@d\nReply-To: e@f\n\n",
			`(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "c" "d")) ((NIL NIL "e" "f")) NIL NIL NIL NIL NIL)`},
		{"white space and folding", "Subject:  \t x \t y  \n\tz \nDate:   d \n e\tf\nMessage-ID:\n <a@b>\nIn-Reply-To: <a>\n\t<b> \n\n",
			`("d  e` + "\t" + `f" "x y z" NIL NIL NIL NIL NIL NIL "<a>` + "\t" + `<b> " " <a@b>")`},
		{"doubled fields", "From: a@b\nFrom: c@d\nSubject: one\nSubject: two\nDate: 1\nDate: 2\n\n",
			`("2" "two" ((NIL NIL "a" "b")(NIL NIL "c" "d")) ((NIL NIL "a" "b")(NIL NIL "c" "d")) ` +
				`((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL NIL)`},
		{"encoded words stay", "Subject: =?utf-8?q?=C3=A9?= \"q\" \\\n\n", `(NIL "=?utf-8?q?=C3=A9?= \"q\" \\" NIL NIL NIL NIL NIL NIL NIL NIL)`},
		{"8-bit and NUL", "Subject: \xe9\nDate: a\x00b\n\n", "({5}\r\na\uFFFDb {1}\r\n\xe9 NIL NIL NIL NIL NIL NIL NIL NIL)"},
		{"names of fields", "DATE : d\nsubject\n x: y\nTo\t: a@b\n\n", `("d" NIL NIL NIL NIL ((NIL NIL "a" "b")) NIL NIL NIL NIL)`},
		{"leading white space is no field", "  Subject: x\nDate: d\n\n", `("d" NIL NIL NIL NIL NIL NIL NIL NIL NIL)`},
	} {
		raw := crlfed(tt.raw)
		f := mustParse(t, raw)
		if err := check(raw, f); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !sameValue(string(f.Envelope), tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, f.Envelope, tt.want)
		}
	}
}

// TestAddresses holds the address parser against what Dovecot 2.3.19 makes of the same lists, except where noted.
func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{``, ``},
		{`a@b`, `- - a b`},
		{`Foo Bar <a@b>`, `Foo Bar - a b`},
		{`(c) Foo Bar (d) <a@b> (e)`, `Foo Bar - a b`},
		{`"q r" <s@t>`, `q r - s t`},
		{`"x\"y\\z" <a@b>`, `x"y\z - a b`},
		{"\"a\r\n b\" <c@d>", `a b - c d`},
		{`"a" "b" <c@d>, a "b" c <d@e>, "a"b <c@d>`, `a b - c d|a b c - d e|a b - c d`},
		{`John Q. Public <john@x>`, `John Q. Public - john x`},
		{`=?utf-8?q?a_b?= <a@b>`, `=?utf-8?q?a_b?= - a b`},
		{`y@z (a (nested) \) b)`, `a (nested) ) b - y z`},
		{`<y@z> (after)`, `- - y z`},
		{`a@b (x) (y)`, `y - a b`},
		{`<@r1,@r2:w@x>`, `- @r1,@r2 w x`},
		{`<@bad w@x>`, `- INVALID_ROUTE w x`},
		{`"a b"@c`, `- - a b c`},
		{`a@[1.2.3.4]`, `- - a [1.2.3.4]`},
		{`<a.@b>, .a@b, a..b@c, <....@d>`, `- - a. b|- - .a b|- - a..b c|- - .... d`},
		{`group: a@b, c@d;, e@f`, `- - group -|- - a b|- - c d|- - - -|- - e f`},
		{`undisclosed-recipients:;`, `- - undisclosed-recipients -|- - - -`},
		{`empty:; , x@y`, `- - empty -|- - - -|- - x y`},
		{`open: a@b`, `- - open -|- - a b|- - - -`},
		{`z`, `- - z MISSING_DOMAIN`},
		{`"q"`, `q - MISSING_MAILBOX MISSING_DOMAIN`},
		{`x y z`, `x y z - MISSING_MAILBOX MISSING_DOMAIN`},
		{`<>`, `- - MISSING_MAILBOX MISSING_DOMAIN`},
		{`foo <bar`, `foo - bar SYNTAX_ERROR`},
		{`foo@, @bar`, `- - foo MISSING_DOMAIN|- - MISSING_MAILBOX bar`},
		{`a@b,,c@d`, `- - a b|- - MISSING_MAILBOX MISSING_DOMAIN|- - c d`},
		{`a@b@c, d@e`, `- - a b`},
		{`a@b; c@d`, `- - a b`},
		{`a b c <d@e> f g, h@i`, `a b c - d e`},
		{`a@b, (unterminated`, `- - a b|- - MISSING_MAILBOX MISSING_DOMAIN`},
		{`a . b @ c . d`, `- - a.b c.d`}, // RFC 5322 section 4.4
		{`a@b.`, `- - a b.`},             // Dovecot: no domain
	} {
		var p addressParser
		var got []string
		for _, a := range p.parse(nil, []byte(tt.in), 100) {
			var parts []string
			for _, s := range [][]byte{a.name, a.route, a.mailbox, a.domain} {
				if s == nil {
					s = []byte("-")
				}
				parts = append(parts, string(s))
			}
			got = append(got, strings.Join(parts, " "))
		}
		if g := strings.Join(got, "|"); g != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.in, g, tt.want)
		}
	}
}

func TestAddressText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Foo\r\n Bar <a@b>, c@d (N. N.)", `"Foo Bar" <a@b>, "N. N." <c@d>`},
		{`O'Brien <o.b@x>`, `O'Brien <o.b@x>`},
		{`=?utf-8?q?a_b?= <@r:a b@c>`, `=?utf-8?q?a_b?= <@r:a@SYNTAX_ERROR>`},
		{`g: a@b, "x y"@c;, d@e`, `g: <a@b>, <"x y"@c>;, <d@e>`},
		{`empty:;`, `empty:;`},
	} {
		var r AddressReader
		if got := string(r.Text(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	raw := fmt.Appendf(nil, "From: %s\r\n\r\n", strings.Repeat("a,", maxField/2-10))
	f := mustParse(t, raw)
	if n := strings.Count(string(f.Envelope), "MISSING_DOMAIN"); n > 3*maxAddresses || n < 1000 {
		t.Errorf("%d addresses", n)
	}
}

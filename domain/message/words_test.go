package message

import (
	"strings"
	"testing"
)

func TestHeaderDecoder(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain text", "plain text"},
		{"folded\r\n text\r\n\tmore", "folded text more"},
		{"=?utf-8?Q?caf=C3=A9?=", "café"},
		{"=?ISO-8859-1?q?a_b=E9?=", "a bé"},
		{"=?utf-8?B?Y2Fmw6k=?=", "café"},
		{"=?utf-8?b?Y2Fmw6k?=", "café"},
		{"a =?utf-8?q?b?= c", "a b c"},
		{"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"=?utf-8?q?a?=\r\n =?iso-8859-1?q?=E9?=", "aé"},
		{"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"}, // a character cut in two
		{"\"=?utf-8?q?a?=\"", "\"a\""},           // not allowed in quotes, but done
		{"x=?utf-8?q?a?=y", "xay"},
		{"=?utf-8*en?q?a?=", "a"},
		{"=?utf-8?q?a b?=", "a b"},
		{"=?nonsense?q?a=E9?=", "aé"},
		{"=?utf-8?q?=E9?=", "\uFFFD"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?utf-8?q?a", "=?utf-8?q?a"},
		{"=?utf-8?q?a?", "=?utf-8?q?a?"},
		{"=?", "=?"},
		{"=??q?a?=", "=??q?a?="},
		{"=?utf-8?q?a=4?=", "a=4"},
		{"raw \xc3\xa9 and \xe9", "raw é and é"},
		{"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?gb2312?b?1tDOxA==?=", "中文"},
		{"=?utf-7?q?+AOk-?=", "é"},
		{"=?utf-16be?b?AOk=?=", "é"},
	} {
		var d HeaderDecoder
		if got := string(d.Decode(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTextDecoder(t *testing.T) {
	for _, tt := range []struct{ charset, in, want string }{
		{"utf-8", "a\xc3\xa9\xff", "aé\uFFFD"},
		{"", "a\xc3\xa9\xe9\x80", "aéé€"},
		{"US-ASCII", "\x93", "“"},
		{"x-unknown", "\xe9", "é"},
		{"\"iso-8859-15\"", "\xa4", "€"},
		{"koi8-r", "\xf0\xd2\xc9", "При"},
		{"Shift_JIS", "\x93\xfa\x96\x7b", "日本"},
		{"iso-2022-jp", "\x1b$BF|\x1b(Bx", "日x"},
		{"euc-kr", "\xc7\xd1", "한"},
		{"big5", "\xa4\xa4", "中"},
		{"hz-gb-2312", "~{VPND~}", "中文"},
		{"utf-7", "a+AOk-b+-c+2D3eAA-", "aéb+c😀"},
		{"utf-16le", "a\x00\xe9\x00", "aé"},
		{"gb18030", "\x81\x30\x81\x30", "\u0080"},
	} {
		var whole, pieces TextDecoder
		whole.Reset(tt.charset)
		pieces.Reset(tt.charset)
		got := string(whole.Flush(whole.Decode(nil, []byte(tt.in))))
		if got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.charset, tt.in, got, tt.want)
		}
		var slow []byte
		for i := range len(tt.in) {
			slow = pieces.Decode(slow, []byte(tt.in[i:i+1]))
		}
		if slow = pieces.Flush(slow); string(slow) != got {
			t.Errorf("%s %q: %q at once, %q octet by octet", tt.charset, tt.in, got, slow)
		}
	}
}

func TestDecodeHeaderIsLinear(t *testing.T) {
	// Each of these made a decoder that looks ahead quadratic.
	for _, piece := range []string{"=?", "=?a?q?", "=?a?q?b", "=?utf-8?q?a?= ", "=?utf-8?b?", "\xff"} {
		in := []byte(strings.Repeat(piece, 1<<20/len(piece)))
		var d HeaderDecoder
		if out := d.Decode(nil, in); len(out) > 3*len(in) {
			t.Errorf("%q: %d octets from %d", piece, len(out), len(in))
		}
	}
}

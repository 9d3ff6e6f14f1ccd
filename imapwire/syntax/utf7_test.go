package syntax

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	for name, want := range map[string]string{
		"":                   "",
		"INBOX":              "INBOX",
		"Entwürfe":           "Entw&APw-rfe",
		"a&b":                "a&-b",
		"&":                  "&-",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"é&é":                "&AOk-&-&AOk-",
		"😀":                  "&2D3eAA-",
		"\u0001":             "&AAE-",
		"\u007f~":            "&AH8-~",
		"é":                  "&AOk-",
		"éé":                 "&AOkA6Q-",
		"ééé":                "&AOkA6QDp-",
		"\uffff":             "&,,8-",
	} {
		if got := string(EncodeUTF7(nil, name)); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		got, err := DecodeUTF7([]byte("x"), want)
		if string(got) != "x"+name || err != nil {
			t.Errorf("%q: decoded as %q, %v", want, got, err)
		}
	}
	if got := EncodeUTF7(nil, "a\xffb"); string(got) != "a&,,0-b" {
		t.Errorf("%q", got)
	}
}

// Names that two spellings could have are decoded from one spelling only.
func TestUTF7Strict(t *testing.T) {
	for _, in := range []string{
		"&", "a&", "&AOk", "&AOk=-", "&AO-", "&A-", "&AOkA-", "&AOl-x&", "&AEE-", "&ACY-", "&AOk-&AOk-", "&2D0-", "&3gA-", "&2D0AQQ-",
		"\xc3\xa9", "a\x00", "\t", "&AOk/-", "&AOm-", "&AAAA-", "&2D3eAAA-", "\x7f", "&AOl-",
	} {
		got, err := DecodeUTF7([]byte("x"), in)
		if !errors.Is(err, ErrUTF7) || string(got) != "x" {
			t.Errorf("%q: decoded as %q, %v", in, got, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct {
		raw    string
		utf8ok bool
		want   string
	}{
		{"INBOX", false, "INBOX"},
		{"Entw&APw-rfe", false, "Entwürfe"},
		{"Entw&APw-rfe", true, "Entw&APw-rfe"},
		{"Entwürfe", true, "Entwürfe"},
		{"Entwürfe", false, "Entw\U0010fec3\U0010febcrfe"},
		{"a&b", false, "a\U0010fe26b"},
		{"Caf\xe9", true, "Caf\U0010fee9"},
		{"&AOk-&AOk-", false, "\U0010fe26AOk-\U0010fe26AOk-"},
		{string(EncodeUTF7(nil, "x\U0010fe26")), false, "x\U0010fe262,,eJg-"},
	} {
		got := DecodeName([]byte("x"), []byte(tc.raw), tc.utf8ok)
		if string(got) != "x"+tc.want {
			t.Errorf("%q: %q, want %q", tc.raw, got[1:], tc.want)
		}
		if back := EncodeName(nil, got[1:], tc.utf8ok); string(back) != tc.raw {
			t.Errorf("%q: came back as %q", tc.raw, back)
		}
	}
	if got := EncodeName(nil, []byte("a\U0010fe26b/é"), false); string(got) != "a&b/&AOk-" {
		t.Errorf("a name below one that does not decode: %q", got)
	}
}

// checkUTF7 holds the oracles: decoding is the inverse of encoding in both directions, and the reversible pair is
// reversible and one to one for any octets.
func checkUTF7(t *testing.T, in []byte) {
	t.Helper()
	if dec, err := DecodeUTF7(nil, in); err == nil {
		if !utf8.Valid(dec) || !bytes.Equal(EncodeUTF7(nil, dec), in) {
			t.Fatalf("%q: decodes to %q, which encodes to %q", in, dec, EncodeUTF7(nil, dec))
		}
	} else if utf8.Valid(in) && isPlainASCII(in) {
		t.Fatalf("%q: plain ASCII is refused: %v", in, err)
	}
	name := []byte(strings.ToValidUTF8(string(in), "\ufffd"))
	enc := EncodeUTF7(nil, name)
	if dec, err := DecodeUTF7(nil, enc); err != nil || !bytes.Equal(dec, name) {
		t.Fatalf("%q: encodes to %q, which decodes to %q, %v", name, enc, dec, err)
	}
	for _, c := range enc {
		if c < 0x20 || c >= 0x7f {
			t.Fatalf("%q: encodes to %q", name, enc)
		}
	}
	for _, utf8ok := range []bool{false, true} {
		dec := DecodeName(nil, in, utf8ok)
		if back := EncodeName(nil, dec, utf8ok); !utf8.Valid(dec) || !bytes.Equal(back, in) {
			t.Fatalf("%q (%v): kept as %q, which comes back as %q", in, utf8ok, dec, back)
		}
	}
}

func isPlainASCII(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '&' }) < 0
}

func TestUTF7Random(t *testing.T) {
	rnd := rand.New(rand.NewPCG(seed(t), 4))
	const from = "&&-AOk,+/x2D3eé台😀\x00\x7f\xff\xed\xa0\x80 "
	for range 20000 {
		in := make([]byte, rnd.IntN(14))
		for i := range in {
			in[i] = from[rnd.IntN(len(from))]
		}
		checkUTF7(t, in)
	}
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{
		"", "INBOX", "&", "&-", "&AOk-", "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "&2D3eAA-", "&2D0-", "&AOk-&AOk-", "&AEE-", "Entwürfe", "\xff", "😀&é",
		"\U0010fe26", "a\U0010fe80\xff", "&2,,eJg-", "&AAAA-",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) { checkUTF7(t, in) })
}

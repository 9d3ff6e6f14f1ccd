package syntax

import (
	"strings"
	"testing"
)

// TestClasses compares every octet with the ABNF of RFC 9051 section 9 (RFC 5234 for the core rules), spelled out.
func TestClasses(t *testing.T) {
	const (
		specials = "(){ %*\"\\]"
		alnum    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	)
	var printable strings.Builder // 0x21 to 0x7e
	for c := byte(0x21); c < 0x7f; c++ {
		printable.WriteByte(c)
	}
	without := func(s, drop string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(drop, r) {
				return -1
			}
			return r
		}, s)
	}
	var char7 strings.Builder // CHAR: 0x01 to 0x7f
	for c := byte(1); c <= 0x7f; c++ {
		char7.WriteByte(c)
	}
	atom := without(printable.String(), specials)
	for name, tc := range map[string]struct {
		cls  uint16
		want string
	}{
		"ATOM-CHAR":    {clsAtom, atom},
		"ASTRING-CHAR": {clsAString, atom + "]"},
		"tag":          {clsTag, without(atom, "+") + "]"},
		"list-char":    {clsList, atom + "%*]"},
		"quoted":       {clsQuoted, without(char7.String(), "\r\n\"\\")},
		"TEXT-CHAR":    {clsText, without(char7.String(), "\r\n")},
		"DIGIT":        {clsDigit, "0123456789"},
		"ALPHA":        {clsAlpha, without(alnum, "0123456789")},
		"base64":       {clsBase64, alnum + "+/"},
		"objectid":     {clsObject, alnum + "_-"},
		"keyword":      {clsKeyword, alnum + ".-=_"},
		"mUTF-7":       {clsMUTF7, alnum + "+,"},
	} {
		for i := range 256 {
			want := strings.IndexByte(tc.want, byte(i)) >= 0
			if is(byte(i), tc.cls) != want {
				t.Errorf("%s: octet 0x%02x: %v, want %v", name, i, !want, want)
			}
		}
	}
}

func TestEqualFold(t *testing.T) {
	for _, tc := range []struct {
		b, upper string
		want     bool
	}{
		{"inbox", "INBOX", true}, {"InBoX", "INBOX", true}, {"INBO", "INBOX", false}, {"", "", true}, {"@", "`", false},
		{"[", "{", false}, {"a\xff", "A\xff", true}, {"ı", "I", false}, {"\x00", " ", false},
	} {
		if got := EqualFold([]byte(tc.b), tc.upper); got != tc.want {
			t.Errorf("EqualFold(%q, %q) = %v", tc.b, tc.upper, got)
		}
	}
}

func TestVerbs(t *testing.T) {
	for v := VerbCapability; v <= VerbReplace; v++ {
		name := v.String()
		if name == "" || LookupVerb([]byte(name)) != v || LookupVerb([]byte(strings.ToLower(name))) != v {
			t.Errorf("verb %d is %q, which is verb %d", v, name, LookupVerb([]byte(name)))
		}
	}
	for _, name := range []string{"", "NOO", "NOOPS", "UID", "AUTHENTICATED", strings.Repeat("A", 1000), "N\xcfOP"} {
		if v := LookupVerb([]byte(name)); v != VerbUnknown {
			t.Errorf("%q is verb %v", name, v)
		}
	}
}

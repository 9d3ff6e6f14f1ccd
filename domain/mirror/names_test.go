package mirror

import (
	"strings"
	"testing"
	"unicode/utf8"

	"imapped/domain/fault"
)

func TestClientNames(t *testing.T) {
	slash, dot, flat := Codec{Delimiter: '/'}, Codec{Delimiter: '.'}, Codec{}
	u8 := Codec{Delimiter: '/', UTF8: true}
	for _, tc := range []struct {
		codec     Codec
		raw, want string
	}{
		{slash, "Work", "Work"},
		{slash, "work", "work"},
		{slash, "inbox", "INBOX"},
		{slash, "Inbox/sub", "INBOX/sub"},
		{slash, "a/Inbox", "a/Inbox"},
		{dot, "INBOX.Sent", "INBOX/Sent"},
		{dot, "a.b/c", "a/b=2Fc"},
		{flat, "a/b.c", "a=2Fb.c"},
		{flat, "iNBOX", "INBOX"},
		{slash, "Entw&APw-rfe", "Entwürfe"},
		{slash, "R&-D", "R&D"},
		{slash, "R&D", "=!R&D"},
		{slash, "Entwürfe", "=!Entwürfe"},
		{slash, "x\xffy", "=!x=FFy"},
		{u8, "Entwürfe", "Entwürfe"},
		{u8, "R&D", "R&D"},
		{u8, "x\xffy", "=!x=FFy"},
		{slash, "&2DzYfA-", "=!&2DzYfA-"}, // a lone surrogate
		{slash, "&2D3eAA-", "😀"},
		{slash, "a=b", "a=b"},
		{slash, "a=2F", "a=3D2F"},
		{slash, "=!x", "=3D!x"},
		{slash, "x=~2", "x=3D~2"},
		{slash, "=-", "=3D-"},
		{slash, "a//b/", "a/=-/b/=-"},
		{slash, "trailing ", "trailing "},
		{slash, "tab\there", "=!tab=09here"},
		{slash, "&AAk-", "=09"},
		{slash, "50%*", "50%*"},
	} {
		if got := tc.codec.Client(tc.raw); got != tc.want {
			t.Errorf("%+v: Client(%q) = %q, want %q", tc.codec, tc.raw, got, tc.want)
		}
	}
}

func TestRawRefuses(t *testing.T) {
	for _, tc := range []struct {
		codec  Codec
		client string
	}{
		{Codec{}, "a/b"},
		{Codec{Delimiter: '.'}, "a.b"},
		{Codec{Delimiter: '/'}, "a//b"},
		{Codec{Delimiter: '/'}, "a/"},
		{Codec{Delimiter: '/'}, "=FF"},
		{Codec{Delimiter: '/'}, "a=2Fb"},
	} {
		if got, err := tc.codec.Raw(tc.client); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: Raw(%q) = %q, %v, want fault.Invalid", tc.codec, tc.client, got, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"INBOX", "a/b.c", "Entw&APw-rfe", "&", "&-", "=", "==41", "=!", "=~1", "=-", "//", "\x00", "x\xff/ü"} {
		f.Add(s, byte('/'), false)
		f.Add(s, byte('.'), true)
		f.Add(s, byte(0), false)
	}
	f.Fuzz(func(t *testing.T, raw string, delim byte, u8 bool) {
		if raw == "" {
			return
		}
		c := Codec{Delimiter: delim, UTF8: u8}
		client := c.Client(raw)
		if !utf8.ValidString(client) || strings.ContainsFunc(client, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Fatalf("Client(%q) = %q is not fit to be shown", raw, client)
		}
		if base(client) != client {
			t.Fatalf("Client(%q) = %q reads as a numbered name", raw, client)
		}
		for _, n := range []int{1, 2, 12} {
			back, err := c.Raw(nth(client, n))
			if err != nil {
				t.Fatalf("Raw(Client(%q)) with %+v: %v", raw, c, err)
			}
			if back != raw && !(strings.HasPrefix(client, inbox) && strings.EqualFold(back, raw)) {
				t.Fatalf("Raw(Client(%q)) = %q with %+v", raw, back, c)
			}
		}
	})
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"", "a&b", "Entwürfe", "🐀 x", "&APw-", "\x00\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) {
			if back, ok := decodeUTF7(encodeUTF7(s)); !ok || back != s {
				t.Fatalf("%q -> %q -> %q %v", s, encodeUTF7(s), back, ok)
			}
		}
		if text, ok := decodeUTF7(s); ok && encodeUTF7(text) != s {
			t.Fatalf("%q -> %q -> %q", s, text, encodeUTF7(text))
		}
	})
}

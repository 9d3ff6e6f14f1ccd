package mirror

import (
	"encoding/base64"
	"unicode/utf16"
	"unicode/utf8"
)

// modified is the base64 alphabet of mailbox names: ',' for '/', no padding (RFC 3501 section 5.1.3).
var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// direct says whether a character stands for itself in modified UTF-7.
func direct(r rune) bool { return r >= 0x20 && r <= 0x7e && r != '&' }

// encodeUTF7 writes valid UTF-8 in modified UTF-7.
func encodeUTF7(text string) string {
	out := make([]byte, 0, len(text))
	var units []uint16
	flush := func() {
		if len(units) == 0 {
			return
		}
		raw := make([]byte, 0, 2*len(units))
		for _, u := range units {
			raw = append(raw, byte(u>>8), byte(u))
		}
		out = append(modified.AppendEncode(append(out, '&'), raw), '-')
		units = units[:0]
	}
	for _, r := range text {
		switch {
		case r == '&':
			flush()
			out = append(out, '&', '-')
		case direct(r):
			flush()
			out = append(out, byte(r))
		default:
			units = utf16.AppendRune(units, r)
		}
	}
	flush()
	return string(out)
}

// decodeUTF7 reads modified UTF-7. It fails for everything that encodeUTF7 would have written another way, so that
// decoding and encoding again always gives the same bytes.
func decodeUTF7(raw string) (string, bool) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c := raw[i]
		i++
		if c != '&' {
			if !direct(rune(c)) {
				return "", false
			}
			out = append(out, c)
			continue
		}
		end := i
		for end < len(raw) && raw[end] != '-' {
			end++
		}
		if end == len(raw) {
			return "", false
		}
		if end == i {
			out = append(out, '&')
		} else if text, ok := decodeUnits(raw[i:end]); ok {
			out = append(out, text...)
		} else {
			return "", false
		}
		i = end + 1
	}
	text := string(out)
	return text, encodeUTF7(text) == raw
}

func decodeUnits(b64 string) (string, bool) {
	raw, err := modified.DecodeString(b64)
	if err != nil || len(raw)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) {
			if i+1 == len(units) {
				return "", false
			}
			if r = utf16.DecodeRune(r, rune(units[i+1])); r == utf8.RuneError {
				return "", false
			}
			i++
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), true
}

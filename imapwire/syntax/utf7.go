package syntax

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 says that octets are not a name in modified UTF-7.
var ErrUTF7 = errors.New("not modified UTF-7")

const base64UTF7 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

// EncodeUTF7 appends a name, given in UTF-8, in modified UTF-7 (RFC 3501 section 5.1.3). What is no UTF-8 in it is
// encoded as U+FFFD. dst and name must not overlap.
func EncodeUTF7[S Octets](dst []byte, name S) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		switch {
		case c == '&':
			dst = append(dst, '&', '-')
			i++
		case c >= 0x20 && c < 0x7f:
			dst = append(dst, c)
			i++
		default:
			end := i
			for end < len(name) && (name[end] < 0x20 || name[end] >= 0x7f) {
				end++
			}
			dst = encodeShift(dst, string(name[i:end]))
			i = end
		}
	}
	return dst
}

// encodeShift appends a run of characters that do not stand for themselves.
func encodeShift(dst []byte, run string) []byte {
	dst = append(dst, '&')
	var acc uint32
	var bits uint
	put := func(unit uint16) {
		acc = acc<<16 | uint32(unit)
		for bits += 16; bits >= 6; {
			bits -= 6
			dst = append(dst, base64UTF7[acc>>bits&0x3f])
		}
	}
	for _, r := range run {
		if r > 0xffff {
			hi, lo := utf16.EncodeRune(r)
			put(uint16(hi))
			put(uint16(lo))
		} else {
			put(uint16(r))
		}
	}
	if bits > 0 {
		dst = append(dst, base64UTF7[acc<<(6-bits)&0x3f])
	}
	return append(dst, '-')
}

// DecodeUTF7 appends a name, given in modified UTF-7, in UTF-8. It accepts exactly what EncodeUTF7 writes, so that no
// two names decode to one: no printable ASCII in base64, no base64 that could have been left out or joined, no padding
// bits, no lone surrogates, no 8-bit octets, no controls. Otherwise it returns dst as it was, and ErrUTF7.
func DecodeUTF7[S Octets](dst []byte, name S) ([]byte, error) {
	start := len(dst)
	afterShift := false
	for i := 0; i < len(name); {
		c := name[i]
		i++
		switch {
		case c < 0x20 || c >= 0x7f:
			return dst[:start], ErrUTF7
		case c != '&':
			dst, afterShift = append(dst, c), false
			continue
		}
		end := i
		for end < len(name) && is(name[end], clsMUTF7) {
			end++
		}
		if end == len(name) || name[end] != '-' {
			return dst[:start], ErrUTF7
		}
		if end == i {
			dst, afterShift = append(dst, '&'), false
		} else {
			var ok bool
			if dst, ok = decodeShift(dst, string(name[i:end])); !ok || afterShift {
				return dst[:start], ErrUTF7
			}
			afterShift = true
		}
		i = end + 1
	}
	return dst, nil
}

// decodeShift appends what stands between "&" and "-".
func decodeShift(dst []byte, b64 string) ([]byte, bool) {
	var acc uint32
	var bits uint
	var high rune // a high surrogate that waits for its low one
	for i := range len(b64) {
		acc = acc<<6 | uint32(decode64(b64[i]))
		if bits += 6; bits < 16 {
			continue
		}
		bits -= 16
		unit := rune(acc >> bits & 0xffff)
		acc &= 1<<bits - 1
		switch {
		case high != 0:
			r := utf16.DecodeRune(high, unit)
			if r == utf8.RuneError {
				return dst, false
			}
			dst, high = utf8.AppendRune(dst, r), 0
		case unit >= 0xd800 && unit < 0xdc00:
			high = unit
		case utf16.IsSurrogate(unit), unit >= 0x20 && unit < 0x7f:
			return dst, false
		default:
			dst = utf8.AppendRune(dst, unit)
		}
	}
	return dst, high == 0 && bits < 6 && acc == 0
}

func decode64(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26
	case c >= '0' && c <= '9':
		return c - '0' + 52
	case c == '+':
		return 62
	}
	return 63
}

// rawBase is where the octets of names that do not decode are kept: octet b is the private character rawBase+b. The
// block U+10FE00 to U+10FEFF was chosen because nobody is known to use it.
const rawBase rune = 0x10fe00

func isRaw(r rune) bool { return r >= rawBase && r <= rawBase+0xff }

// DecodeName appends a server's mailbox name in UTF-8; it never fails, and EncodeName gives back the same octets. utf8ok
// says that the server sends UTF-8 (RFC 6855), else it is modified UTF-7. A name that is not what it should be, or that
// contains a character of the private block below, is kept octet by octet: printable ASCII other than "&" stands for
// itself, and any other octet b is the private character U+10FE00+b.
func DecodeName(dst, raw []byte, utf8ok bool) []byte {
	start := len(dst)
	ok := false
	if utf8ok {
		if ok = utf8.Valid(raw); ok {
			dst = append(dst, raw...)
		}
	} else {
		var err error
		dst, err = DecodeUTF7(dst, raw)
		ok = err == nil
	}
	if ok && bytes.IndexFunc(dst[start:], isRaw) < 0 {
		return dst
	}
	dst = dst[:start]
	for _, c := range raw {
		if c >= 0x20 && c < 0x7f && c != '&' {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, rawBase+rune(c))
		}
	}
	return dst
}

// EncodeName appends the octets that the server knows a name by, for a name in UTF-8 that DecodeName gave, or that a
// user made up, perhaps below such a name: private characters become their octets, the rest is encoded.
func EncodeName(dst, name []byte, utf8ok bool) []byte {
	for len(name) > 0 {
		i := bytes.IndexFunc(name, isRaw)
		if i < 0 {
			i = len(name)
		}
		if utf8ok {
			dst = append(dst, name[:i]...)
		} else {
			dst = EncodeUTF7(dst, name[:i])
		}
		for name = name[i:]; len(name) > 0; {
			r, size := utf8.DecodeRune(name)
			if !isRaw(r) {
				break
			}
			dst = append(dst, byte(r-rawBase))
			name = name[size:]
		}
	}
	return dst
}

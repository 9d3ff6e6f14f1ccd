package message

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// utf7 decodes UTF-7 (RFC 2152).
type utf7 struct {
	shifted bool // after "+"
	fresh   bool // nothing has followed the "+" yet
	bits    uint32
	n       uint8  // bits that are in bits
	high    uint16 // a high surrogate whose partner is to come
}

// Reset implements transform.Transformer.
func (u *utf7) Reset() { *u = utf7{} }

// Transform implements transform.Transformer.
func (u *utf7) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for _, c := range src {
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nSrc++
		if !u.shifted {
			switch {
			case c == '+':
				*u = utf7{shifted: true, fresh: true}
			case c >= utf8.RuneSelf:
				nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
			default:
				dst[nDst] = c
				nDst++
			}
			continue
		}
		if v := base64Values[c]; v >= 0 {
			u.fresh = false
			u.bits, u.n = u.bits<<6|uint32(v), u.n+6
			if u.n >= 16 {
				u.n -= 16
				nDst += u.unit(dst[nDst:], uint16(u.bits>>u.n))
				u.bits &= 1<<u.n - 1
			}
			continue
		}
		if u.high != 0 {
			nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
		}
		fresh := u.fresh
		*u = utf7{}
		switch {
		case c == '-' && fresh:
			c = '+'
		case c == '-':
			continue
		case c >= utf8.RuneSelf:
			nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
			continue
		}
		dst[nDst] = c
		nDst++
	}
	return nDst, nSrc, nil
}

// unit writes what a UTF-16 unit, with the one before it, is.
func (u *utf7) unit(dst []byte, v uint16) int {
	switch r := rune(v); {
	case u.high != 0:
		pair := utf16.DecodeRune(rune(u.high), r)
		u.high = 0
		n := utf8.EncodeRune(dst, pair)
		if pair == utf8.RuneError && !utf16.IsSurrogate(r) {
			n += utf8.EncodeRune(dst[n:], r)
		}
		return n
	case r >= 0xD800 && r < 0xDC00:
		u.high = v
		return 0
	default:
		return utf8.EncodeRune(dst, r)
	}
}

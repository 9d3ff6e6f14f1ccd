package search

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// folded holds what the characters below its length become: title case, decomposed (RFC 5051 section 2).
var folded = func() (t [0x600]string) {
	for r := range t {
		t[r] = foldRune(rune(r))
	}
	return t
}()

func foldRune(r rune) string {
	return string(norm.NFKD.AppendString(nil, string(unicode.ToTitle(r))))
}

var upper = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		t[c] = byte(unicode.ToTitle(rune(c)))
	}
	return t
}()

// fold appends UTF-8 text in the form in which it is compared. Whole characters only: a caller that has text in pieces
// cuts it between characters.
func fold(dst, text []byte) []byte {
	for {
		dst = slices.Grow(dst, len(text))
		run := dst[len(dst) : len(dst)+len(text)]
		n := 0
		for ; n < len(text) && text[n] < utf8.RuneSelf; n++ {
			run[n] = upper[text[n]]
		}
		dst, text = dst[:len(dst)+n], text[n:]
		if len(text) == 0 {
			return dst
		}
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		switch {
		case int(r) < len(folded):
			dst = append(dst, folded[r]...)
		case r == utf8.RuneError:
			dst = utf8.AppendRune(dst, r)
		default:
			var store [utf8.UTFMax]byte
			dst = norm.NFKD.Append(dst, store[:utf8.EncodeRune(store[:], unicode.ToTitle(r))]...)
		}
	}
}

package search

import (
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

// fold appends UTF-8 text in the form in which it is compared. Whole characters only: a caller that has text in pieces
// cuts it between characters.
func fold(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch {
		case int(r) < len(folded):
			dst = append(dst, folded[r]...)
		case r == utf8.RuneError:
			dst = utf8.AppendRune(dst, r)
		default:
			t := unicode.ToTitle(r)
			var store [utf8.UTFMax]byte
			dst = norm.NFKD.Append(dst, store[:utf8.EncodeRune(store[:], t)]...)
		}
	}
	return dst
}

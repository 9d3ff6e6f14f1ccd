package message

import "bytes"

// state is how a lexer function ended.
type state int8

const (
	stBad  state = iota - 1 // what was expected is not there, or has no end
	stEnd                   // the input ended
	stMore                  // there is input left, at a token
)

// lexer reads the tokens of structured header fields (RFC 5322 section 3.2, RFC 2045 section 5.1) from a folded value.
// Octets above 127 count as letters. Its functions append what they read to dst.
type lexer struct {
	s       []byte
	i       int
	comment []byte // the text of the last comment, where keep is set
	keep    bool
}

const (
	clAtom  = 1 << iota // atext: what atoms and phrases are made of
	clToken             // what MIME tokens are made of, but for the dot
)

var classes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
			t[c] = clAtom | clToken
		}
	}
	for _, c := range []byte("!#$%&'*+-^_`{|}~") {
		t[c] = clAtom | clToken
	}
	for _, c := range []byte("/=?") {
		t[c] = clAtom
	}
	return t
}()

func (l *lexer) left() state {
	if l.i < len(l.s) {
		return stMore
	}
	return stEnd
}

// at says whether the next octet is c.
func (l *lexer) at(c byte) bool { return l.i < len(l.s) && l.s[l.i] == c }

// space passes white space, line breaks and comments.
func (l *lexer) space() state {
	for l.i < len(l.s) {
		switch l.s[l.i] {
		case ' ', '\t', '\r', '\n':
			l.i++
		case '(':
			if l.passComment() == stBad {
				return stBad
			}
		default:
			return stMore
		}
	}
	return stEnd
}

func (l *lexer) passComment() state {
	l.comment = l.comment[:0]
	depth := 0
	for ; l.i < len(l.s); l.i++ {
		switch c := l.s[l.i]; c {
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				l.i++
				return l.left()
			}
		case '\\':
			if l.i++; l.i == len(l.s) {
				return stBad
			}
		}
		if l.keep {
			l.comment = append(l.comment, l.s[l.i])
		}
	}
	l.comment = l.comment[:0]
	return stBad
}

// run returns the octets of the class (and, with dot, dots) that come next.
func (l *lexer) run(class uint8, dot bool) []byte {
	start := l.i
	for l.i < len(l.s) && (classes[l.s[l.i]]&class != 0 || dot && l.s[l.i] == '.') {
		l.i++
	}
	return l.s[start:l.i]
}

func (l *lexer) atom(dst []byte) ([]byte, state) {
	run := l.run(clAtom, false)
	if len(run) == 0 {
		return dst, stBad
	}
	return append(dst, run...), l.space()
}

// dotAtom reads atoms with single or several dots between and after them (with lead, before them too), and white space
// around the dots.
func (l *lexer) dotAtom(dst []byte, lead bool) ([]byte, state) {
	if l.i == len(l.s) || classes[l.s[l.i]]&clAtom == 0 && !(lead && l.at('.')) {
		return dst, stBad
	}
	for {
		dst = append(dst, l.run(clAtom, false)...)
		if st := l.space(); st != stMore {
			return dst, st
		}
		if !l.at('.') {
			return dst, stMore
		}
		l.i++
		dst = append(dst, '.')
		if st := l.space(); st != stMore {
			return dst, st
		}
	}
}

// token reads a MIME token, which may be empty.
func (l *lexer) token(dst []byte) ([]byte, state) {
	dst = append(dst, l.run(clToken, true)...)
	return dst, l.space()
}

// quoted reads a quoted string without its quotes, escapes and line breaks.
func (l *lexer) quoted(dst []byte) ([]byte, state) {
	for l.i++; l.i < len(l.s); l.i++ {
		switch c := l.s[l.i]; c {
		case '"':
			l.i++
			return dst, l.space()
		case '\n':
			if n := len(dst); l.s[l.i-1] == '\r' && n > 0 && dst[n-1] == '\r' {
				dst = dst[:n-1]
			}
		case '\\':
			if l.i++; l.i == len(l.s) {
				return dst, stBad
			}
			dst = append(dst, l.s[l.i])
		default:
			dst = append(dst, c)
		}
	}
	return dst, stBad
}

// phrase reads words, with one space between each two of them.
func (l *lexer) phrase(dst []byte) ([]byte, state) {
	if l.i == len(l.s) {
		return dst, stEnd
	}
	if l.at('.') {
		return dst, stBad
	}
	for {
		var st state
		if l.at('"') {
			dst, st = l.quoted(dst)
		} else {
			dst = append(dst, l.run(clAtom, true)...)
			st = l.space()
		}
		if st != stMore {
			return dst, st
		}
		if c := l.s[l.i]; classes[c]&clAtom == 0 && c != '"' && c != '.' {
			return dst, stMore
		}
		dst = append(dst, ' ')
	}
}

// domain reads "@" and a domain or a domain literal.
func (l *lexer) domain(dst []byte) ([]byte, state) {
	l.i++
	if l.space() != stMore {
		return dst, stBad
	}
	if !l.at('[') {
		return l.dotAtom(dst, false)
	}
	start := l.i
	for ; l.i < len(l.s); l.i++ {
		switch l.s[l.i] {
		case '\\':
			l.i++
		case ']':
			l.i++
			return append(dst, l.s[start:l.i]...), l.space()
		}
	}
	l.i = len(l.s)
	return dst, stBad
}

// contentType reads a media type (RFC 2045 section 5.1) and returns its two halves as parts of dst. ok is false for a
// broken one, which counts as text/plain without parameters (RFC 2045 section 5.2).
func (l *lexer) contentType(dst []byte) (typ, subtype []byte, ok bool) {
	start := len(dst)
	if l.space() != stMore {
		return nil, nil, false
	}
	dst, st := l.token(dst)
	slash := len(dst)
	if st != stMore || !l.at('/') || slash == start {
		return nil, nil, false
	}
	l.i++
	if l.space() != stMore {
		return nil, nil, false
	}
	dst, st = l.token(dst)
	if st == stBad || len(dst) == slash || st == stMore && !l.at(';') {
		return nil, nil, false
	}
	return dst[start:slash:slash], dst[slash:], true
}

// equalFold compares ASCII text without regard to case; name is a constant of this package.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if d := name[i]; c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// parseEncoding returns a Content-Transfer-Encoding's value in lower case; "" for a broken one.
func parseEncoding(value []byte) string {
	lx := lexer{s: value}
	lx.space()
	var store [32]byte
	token, st := lx.token(store[:0])
	if st != stEnd || len(token) == 0 {
		return ""
	}
	return internLower(token)
}

// internLower returns b in lower case, without allocating for the words that mail is full of.
func internLower(b []byte) string {
	var store [32]byte
	if len(b) > len(store) {
		return string(bytes.ToLower(b))
	}
	low := store[:len(b)]
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	for _, word := range common {
		if word == string(low) {
			return word
		}
	}
	return string(low)
}

// internCharset returns b as a string, without allocating for common names.
func internCharset(b []byte) string {
	for _, word := range commonCharsets {
		if word == string(b) {
			return word
		}
	}
	return string(b)
}

var common = [...]string{
	"text", "plain", "multipart", "html", "7bit", "quoted-printable", "base64", "8bit", "mixed", "alternative",
	"application", "image", "related", "octet-stream", "message", "rfc822", "signed", "pgp-signature", "jpeg", "gif",
	"png", "pdf", "binary", "digest", "report", "delivery-status", "pkcs7-signature", "calendar",
}

var commonCharsets = [...]string{
	"us-ascii", "utf-8", "iso-8859-1", "UTF-8", "US-ASCII", "ISO-8859-1", "windows-1252", "iso-8859-15", "Windows-1252",
}

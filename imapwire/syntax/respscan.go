package syntax

import "math"

// respScan reads the tokens of one response part leniently: it never fails, it skips what it does not understand and
// remembers in bad that it did.
type respScan struct {
	b     []byte
	i     int
	bad   bool
	back  bool      // a range was written backwards
	off   int       // of b in the frame
	lits  []Literal // those of the frame that may still come, in order
	arena *[]byte   // where strings with escapes are unescaped to; growing it leaves older views as they are
}

// foldPrefix says whether b begins with the upper-case ASCII string s in any case.
func foldPrefix(b []byte, s string) bool { return len(b) >= len(s) && EqualFold(b[:len(s)], s) }

// blank says whether servers put c where a space belongs, or where nothing does.
func blank(c byte) bool { return c == ' ' || c == '\t' || c == 0 || c == '\r' || c == '\n' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// trim returns b without blanks around it.
func trim(b []byte) []byte {
	for len(b) > 0 && blank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && blank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func (s *respScan) end() bool { return s.i >= len(s.b) }

// peek returns the next byte, or 0 at the end.
func (s *respScan) peek() byte {
	if s.end() {
		return 0
	}
	return s.b[s.i]
}

// sp skips blanks.
func (s *respScan) sp() {
	for s.i < len(s.b) && blank(s.b[s.i]) {
		s.i++
	}
}

// take consumes c if it is next.
func (s *respScan) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// rest consumes and returns everything left, without blanks around it.
func (s *respScan) rest() []byte {
	r := trim(s.b[min(s.i, len(s.b)):])
	s.i = len(s.b)
	return r
}

// word consumes up to the next blank, parenthesis, quote or literal header.
func (s *respScan) word() []byte {
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case blank(c), c == '(', c == ')', c == '"':
			return s.b[start:s.i]
		}
		s.i++
	}
	return s.b[start:s.i]
}

// number reads a non-negative number. Negative numbers are 0, fractions are cut off, numbers beyond limit are limit;
// ok is false for all three but the fraction, and when there is no number.
func (s *respScan) number(limit uint64) (n uint64, ok bool) {
	negative := s.take('-')
	start := s.i
	ok = true
	for ; s.i < len(s.b) && isDigit(s.b[s.i]); s.i++ {
		d := uint64(s.b[s.i] - '0')
		if n > (limit-d)/10 {
			n, ok = limit, false
			for s.i < len(s.b) && isDigit(s.b[s.i]) {
				s.i++
			}
			break
		}
		n = n*10 + d
	}
	if s.i == start {
		return 0, false
	}
	if s.i+1 < len(s.b) && s.b[s.i] == '.' && isDigit(s.b[s.i+1]) {
		for s.i++; s.i < len(s.b) && isDigit(s.b[s.i]); s.i++ {
			continue
		}
	}
	if negative {
		return 0, false
	}
	return n, ok
}

// number32 is number for message numbers and counts.
func (s *respScan) number32() (uint32, bool) {
	n, ok := s.number(math.MaxUint32)
	return uint32(n), ok
}

// literal takes a literal's header, with its line end, when one begins here.
func (s *respScan) literal() (Literal, bool) {
	at := uint32(s.off + s.i)
	for len(s.lits) > 0 && s.lits[0].Head < at {
		s.lits = s.lits[1:]
	}
	if len(s.lits) == 0 || s.lits[0].Head != at {
		return Literal{}, false
	}
	lit := s.lits[0]
	s.i = int(lit.Off) - s.off
	return lit, true
}

// octets takes the octets of the literal whose header was taken. Of one that is not in the frame there are none.
func (s *respScan) octets(lit Literal) []byte {
	if lit.Mode != LiteralInline || lit.Size > uint64(len(s.b)-s.i) {
		s.bad = s.bad || lit.Size > 0
		return nil
	}
	v := s.b[s.i : s.i+int(lit.Size) : s.i+int(lit.Size)]
	s.i += int(lit.Size)
	return v
}

// quoted reads a quoted string whose opening quote is next. Without escapes it is a view; else it is unescaped into the
// arena; a backslash before anything but a quote or a backslash stands for itself, as servers write "\Seen". Without a
// closing quote it is everything up to the end.
func (s *respScan) quoted() []byte {
	s.i++
	start := s.i
	for s.i < len(s.b) && s.b[s.i] != '"' && s.b[s.i] != '\\' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '"' {
		s.i++
		return s.b[start : s.i-1 : s.i-1]
	}
	from := len(*s.arena)
	*s.arena = append(*s.arena, s.b[start:s.i]...)
	closed := false
	for s.i < len(s.b) && !closed {
		c := s.b[s.i]
		s.i++
		if c == '"' {
			closed = true
			break
		}
		if c == '\\' && s.i < len(s.b) && (s.b[s.i] == '"' || s.b[s.i] == '\\') {
			c = s.b[s.i]
			s.i++
		}
		*s.arena = append(*s.arena, c)
	}
	s.bad = s.bad || !closed
	return (*s.arena)[from:len(*s.arena):len(*s.arena)]
}

// str reads a string in any form: quoted, literal, NIL or a bare word. isNil is set for a bare NIL only.
func (s *respScan) str() (v []byte, isNil bool) {
	if s.peek() == '"' {
		return s.quoted(), false
	}
	if lit, ok := s.literal(); ok {
		return s.octets(lit), false
	}
	v = s.word()
	return v, EqualFold(v, "NIL")
}

// skipValue consumes one value of any form: a string, a word or a parenthesised list with everything in it.
func (s *respScan) skipValue() {
	depth := 0
	for {
		s.sp()
		switch c := s.peek(); {
		case s.end():
			s.bad = s.bad || depth > 0
			return
		case c == '(':
			depth++
			s.i++
		case c == ')':
			if depth == 0 {
				return
			}
			depth--
			s.i++
		default:
			before := s.i
			s.str()
			if s.i == before {
				s.i++
			}
		}
		if depth == 0 {
			return
		}
	}
}

// words reads a parenthesised list of strings into dst; NIL is an empty list, and a single word without parentheses
// is a list of one. Lists in the list are skipped.
func (s *respScan) words(dst [][]byte) [][]byte {
	s.sp()
	if !s.take('(') {
		if v, isNil := s.str(); !isNil && len(v) > 0 {
			dst = append(dst, v)
		}
		return dst
	}
	return s.wordsUntil(dst, ')')
}

// wordsUntil reads strings into dst up to and including the closing byte or the end.
func (s *respScan) wordsUntil(dst [][]byte, closing byte) [][]byte {
	for {
		s.sp()
		switch c := s.peek(); {
		case s.end():
			s.bad = s.bad || closing != 0
			return dst
		case c == closing && closing != 0:
			s.i++
			return dst
		case c == '(':
			s.skipValue()
		case c == ')':
			s.i++
			s.bad = true
		default:
			before := s.i
			v, _ := s.str()
			dst = append(dst, v)
			if s.i == before {
				s.i++
			}
		}
	}
}

// set reads a sequence set ("1:3,7,9") into dst, turning ranges around that are written backwards. Anything else in
// it, "*" too, makes the scan bad.
func (s *respScan) set(dst []Range) []Range {
	for {
		first, ok := s.number32()
		last := first
		if ok && s.take(':') {
			last, ok = s.number32()
		}
		if !ok || first == 0 || last == 0 {
			s.bad = true
			s.word()
			return dst
		}
		s.back = s.back || last < first
		dst = appendRange(dst, min(first, last), max(first, last))
		if !s.take(',') {
			if !s.end() && !blank(s.peek()) && s.peek() != ')' && s.peek() != ']' {
				s.bad = true
				s.word()
			}
			return dst
		}
	}
}

// appendRange appends first:last, to the last range where it goes on from it.
func appendRange(dst []Range, first, last uint32) []Range {
	if k := len(dst); k > 0 && dst[k-1].Last != math.MaxUint32 && first == dst[k-1].Last+1 {
		dst[k-1].Last = last
		return dst
	}
	return append(dst, Range{first, last})
}

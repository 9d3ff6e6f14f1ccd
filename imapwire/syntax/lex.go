package syntax

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// cursor reads one frame from left to right. Its error is sticky: fail cuts off the rest of the frame, so that
// everything after it sees the end, and only the first failure is kept.
type cursor struct {
	b       []byte
	p       int
	lits    []Literal // those not read yet
	read    int       // how many literals were read
	lim     *Limits
	c       *Command
	prod    string // the command's name
	err     Error
	failed  bool
	probing bool
	verdict LiteralVerdict
}

func (c *cursor) fail(production, want string) { c.failAt(c.p, production, want) }

func (c *cursor) failAt(off int, production, want string) {
	if c.failed {
		return
	}
	c.failed = true
	c.err.Off, c.err.Production, c.err.Want, c.err.Got = off, production, want, gotOf(c.b[off:])
	c.b = c.b[:c.p]
}

// failLimit fails because there is more of something than Limits allow.
func (c *cursor) failLimit(production string) {
	if !c.failed {
		c.fail(production, "less")
		c.err.Limit = true
	}
}

func (c *cursor) atEnd() bool { return c.p >= len(c.b) }

// peek returns the next octet, and 0 at the end: NUL is in no production outside of literals.
func (c *cursor) peek() byte {
	if c.atEnd() {
		return 0
	}
	return c.b[c.p]
}

// eat takes the octet if it is next.
func (c *cursor) eat(ch byte) bool {
	if c.p < len(c.b) && c.b[c.p] == ch {
		c.p++
		return true
	}
	return false
}

func (c *cursor) expect(ch byte, production, want string) {
	if !c.eat(ch) {
		c.fail(production, want)
	}
}

func (c *cursor) sp(production string)    { c.expect(' ', production, "a space") }
func (c *cursor) open(production string)  { c.expect('(', production, `"("`) }
func (c *cursor) close(production string) { c.expect(')', production, `")"`) }

// more takes a space if anything but spaces follows it: another, optional argument.
func (c *cursor) more() bool {
	if c.peek() != ' ' {
		return false
	}
	for _, ch := range c.b[c.p:] {
		if ch != ' ' {
			c.p++
			return true
		}
	}
	return false
}

// span takes the octets of the class, perhaps none.
func (c *cursor) span(cls uint16) []byte {
	from := c.p
	for c.p < len(c.b) && class[c.b[c.p]]&cls != 0 {
		c.p++
	}
	return c.b[from:c.p:c.p]
}

// keyword takes a word that the protocol defines; the caller looks it up.
func (c *cursor) keyword(production string) []byte {
	w := c.span(clsKeyword)
	if len(w) == 0 {
		c.fail(production, "a word")
	}
	return w
}

// atom takes an atom.
func (c *cursor) atom(production string) []byte {
	a := c.span(clsAtom)
	if len(a) == 0 {
		c.fail(production, "an atom")
	}
	return a
}

// astring takes an astring: the words NIL and "{0}" are strings like others here, and stay apart by their Kind.
func (c *cursor) astring(production string) String { return c.stringOf(clsAString, production) }

// stringOf takes a quoted string, a literal, or an atom of the class; with class 0, no atom.
func (c *cursor) stringOf(cls uint16, production string) String {
	switch c.peek() {
	case '"':
		return c.quoted(production)
	case '{':
		return c.literal(production)
	}
	if a := c.span(cls); len(a) > 0 {
		return String{StringAtom, a}
	}
	c.fail(production, "a string")
	return String{}
}

// nstring takes a string or NIL.
func (c *cursor) nstring(production string) String {
	from := c.p
	s := c.stringOf(clsAtom, production)
	if s.Kind == StringAtom {
		if !EqualFold(s.Bytes, "NIL") {
			c.failAt(from, production, "a string or NIL")
			return String{}
		}
		return String{Kind: StringNIL}
	}
	return s
}

// quoted takes a quoted string. Without an escape it is a view of the frame.
func (c *cursor) quoted(production string) String {
	c.p++
	from, escapes, ascii := c.p, false, true
	for ; ; c.p++ {
		if c.atEnd() {
			c.fail(production, "a closing quote")
			return String{}
		}
		ch := c.b[c.p]
		switch {
		case is(ch, clsQuoted):
			continue
		case ch >= 0x80:
			ascii = false
			continue
		case ch == '\\':
			escapes = true
			c.p++
			if n := c.peek(); n != '"' && n != '\\' {
				c.fail(production, "an escaped quote or backslash")
				return String{}
			}
			continue
		case ch == '"':
		default:
			c.fail(production, "a character of a quoted string")
			return String{}
		}
		break
	}
	s := c.b[from:c.p:c.p]
	if !ascii && !utf8.Valid(s) {
		c.failAt(from, production, "UTF-8")
		return String{}
	}
	c.p++
	if escapes {
		s = c.unescape(s)
	}
	return String{StringQuoted, s}
}

func (c *cursor) unescape(s []byte) []byte {
	a := &c.c.arena
	from := len(a.octets)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		a.octets = append(a.octets, s[i])
	}
	return a.octets[from:len(a.octets):len(a.octets)]
}

// nextLiteral returns the literal whose header is next, and moves past it and past its octets if they are inline. ok is
// false when there is none, or when it was the one that was probed for.
func (c *cursor) nextLiteral(production string, verdict LiteralVerdict) (lit Literal, text []byte, ok bool) {
	if c.failed || len(c.lits) == 0 || int(c.lits[0].Head) != c.p {
		c.fail(production, "a literal")
		return lit, nil, false
	}
	lit = c.lits[0]
	switch lit.Mode {
	case LiteralPending:
		if c.probing {
			c.verdict = verdict
		}
		c.fail(production, "a literal that was received")
		return lit, nil, false
	case LiteralSkipped:
		c.fail(production, "a literal that was received")
		return lit, nil, false
	case LiteralInline:
		end := uint64(lit.Off) + lit.Size
		if end > uint64(len(c.b)) {
			c.fail(production, "a complete literal")
			return lit, nil, false
		}
		text = c.b[lit.Off:end:end]
		c.p = int(end)
	default:
		c.p = int(lit.Off)
	}
	c.lits = c.lits[1:]
	c.read++
	return lit, text, true
}

// literal takes a literal as a string.
func (c *cursor) literal(production string) String {
	if len(c.lits) > 0 && c.lits[0].Mode == LiteralStreamed {
		c.fail(production, "a literal that is inline")
		return String{}
	}
	from := c.p
	_, text, ok := c.nextLiteral(production, LiteralAsText)
	if !ok {
		return String{}
	}
	if bytes.IndexByte(text, 0) >= 0 {
		c.failAt(from, production, "a literal without NUL")
		return String{}
	}
	return String{StringLiteral, text}
}

// number takes a number of at most top.
func (c *cursor) number(top uint64, production string) uint64 {
	from := c.p
	var n uint64
	for _, ch := range c.span(clsDigit) {
		d := uint64(ch - '0')
		if n > (top-d)/10 {
			c.failAt(from, production, "a smaller number")
			return 0
		}
		n = n*10 + d
	}
	if c.p == from {
		c.fail(production, "a number")
	}
	return n
}

// nzNumber takes a number from 1 to top, without leading zeros.
func (c *cursor) nzNumber(top uint64, production string) uint64 {
	if c.peek() == '0' {
		c.fail(production, "a number above zero")
		return 0
	}
	return c.number(top, production)
}

// setForm says which forms of a sequence set are meant.
type setForm uint8

const (
	setSaved  setForm = iota // a set, or "$"
	setNoStar                // a set without "*"
	setSingle                // one number, or "*"
)

const prodSet = "sequence set"

// set takes a sequence set.
func (c *cursor) set(form setForm) NumSet {
	if form == setSaved && c.eat('$') {
		return NumSet{Saved: true}
	}
	a := &c.c.arena
	from := len(a.ranges)
	for {
		if len(a.ranges) >= c.lim.Ranges {
			c.failLimit(prodSet)
			return NumSet{}
		}
		r := Range{First: c.seqNumber(form)}
		r.Last = r.First
		if form != setSingle && c.eat(':') {
			r.Last = c.seqNumber(form)
			if r.First == 0 || r.Last != 0 && r.First > r.Last {
				r.First, r.Last = r.Last, r.First
			}
		}
		if c.failed {
			return NumSet{}
		}
		a.ranges = append(a.ranges, r)
		if form == setSingle || !c.eat(',') {
			return NumSet{Ranges: a.ranges[from:len(a.ranges):len(a.ranges)]}
		}
	}
}

func (c *cursor) seqNumber(form setForm) uint32 {
	if form != setNoStar && c.eat('*') {
		return 0
	}
	return uint32(c.nzNumber(math.MaxUint32, prodSet))
}

const prodFlag = "flag"

// flag takes a flag: a keyword, or a backslash and an atom.
func (c *cursor) flag() {
	a := &c.c.arena
	if len(a.flags) >= c.lim.Flags {
		c.failLimit(prodFlag)
		return
	}
	from := c.p
	system := c.eat('\\')
	c.atom(prodFlag)
	if c.failed {
		return
	}
	f := Flag{Name: c.b[from:c.p:c.p]}
	if system {
		f.Bits = flagBits(f.Name[1:])
	}
	a.flags = append(a.flags, f)
}

// flagList takes flags in parentheses, perhaps none.
func (c *cursor) flagList() []Flag {
	c.open(prodFlag)
	a := &c.c.arena
	from := len(a.flags)
	if !c.eat(')') {
		for c.flag(); c.eat(' '); {
			c.flag()
		}
		c.close(prodFlag)
	}
	return a.flags[from:len(a.flags):len(a.flags)]
}

func flagBits(name []byte) FlagBits {
	var up [8]byte
	if len(name) > len(up) {
		return 0
	}
	switch string(upperInto(up[:], name)) {
	case "ANSWERED":
		return FlagAnswered
	case "FLAGGED":
		return FlagFlagged
	case "DELETED":
		return FlagDeleted
	case "SEEN":
		return FlagSeen
	case "DRAFT":
		return FlagDraft
	case "RECENT":
		return FlagRecent
	}
	return 0
}

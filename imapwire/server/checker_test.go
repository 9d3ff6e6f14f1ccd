package server

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checkStream holds what a server sent against the grammar of RFC 9051 section 9 (and of the extensions that it knows).
// It shares no code with package syntax. It returns the tags that were answered, in order.
func checkStream(b []byte) (tags []string, err error) {
	c := &checker{b: b}
	defer func() {
		if v := recover(); v != nil {
			e, is := v.(checkError)
			if !is {
				panic(v)
			}
			from := max(0, c.p-80)
			err = fmt.Errorf("octet %d: %s: ...%q << here >> %.80q", c.p, string(e), b[from:c.p], b[c.p:])
		}
	}()
	for c.p < len(b) {
		c.response()
	}
	return c.tags, nil
}

type checkError string

type checker struct {
	b    []byte
	p    int
	tags []string
}

func (c *checker) fail(format string, args ...any) { panic(checkError(fmt.Sprintf(format, args...))) }

func (c *checker) peek() byte {
	if c.p >= len(c.b) {
		c.fail("the stream ends inside a response")
	}
	return c.b[c.p]
}

func (c *checker) has(s string) bool {
	if bytes.HasPrefix(c.b[c.p:], []byte(s)) {
		c.p += len(s)
		return true
	}
	return false
}

func (c *checker) want(s string) {
	if !c.has(s) {
		c.fail("want %q", s)
	}
}

// word takes octets up to a space, a parenthesis, a bracket or a line end.
func (c *checker) word() string {
	from := c.p
	for c.p < len(c.b) && !strings.ContainsRune(" ()[]{\r\n\"<", rune(c.b[c.p])) && c.b[c.p] < 0x7f && c.b[c.p] > 0x20 {
		c.p++
	}
	if c.p == from {
		c.fail("want a word")
	}
	return string(c.b[from:c.p])
}

func (c *checker) number() uint64 {
	from := c.p
	for c.p < len(c.b) && c.b[c.p] >= '0' && c.b[c.p] <= '9' {
		c.p++
	}
	n, err := strconv.ParseUint(string(c.b[from:c.p]), 10, 63)
	if err != nil {
		c.fail("want a number")
	}
	return n
}

func (c *checker) positive() {
	if c.number() == 0 {
		c.fail("want a number above zero")
	}
}

// text takes the text of a response with its line end.
func (c *checker) text() {
	from := c.p
	for c.peek() >= 0x20 && c.peek() < 0x7f {
		c.p++
	}
	if c.p == from {
		c.fail("want text")
	}
	c.want("\r\n")
}

func (c *checker) respText() {
	if c.has("[") {
		c.code(c.word())
		c.want("] ")
	}
	c.text()
}

// code takes what stands behind a response code's name.
func (c *checker) code(name string) {
	switch name {
	case "APPENDUID":
		c.want(" ")
		c.positive()
		c.want(" ")
		c.set()
	case "COPYUID":
		c.want(" ")
		c.positive()
		c.want(" ")
		c.set()
		c.want(" ")
		c.set()
	case "MODIFIED":
		c.want(" ")
		c.set()
	case "UIDVALIDITY", "UIDNEXT", "UNSEEN", "HIGHESTMODSEQ":
		c.want(" ")
		c.positive()
	case "MAILBOXID":
		c.want(" ")
		c.list(func() { c.word() })
	case "PERMANENTFLAGS":
		c.want(" ")
		c.list(func() {
			if !c.has(`\*`) {
				c.flag()
			}
		})
	case "BADCHARSET":
		c.want(" ")
		c.list(c.astring)
	case "CAPABILITY":
		for c.has(" ") {
			c.word()
		}
	}
}

func (c *checker) quoted() {
	c.want(`"`)
	from := c.p
	for c.peek() != '"' {
		switch ch := c.peek(); {
		case ch == '\\':
			c.p++
			if c.peek() != '"' && c.peek() != '\\' {
				c.fail("escape")
			}
		case ch == 0 || ch == '\r' || ch == '\n':
			c.fail("control in a quoted string")
		}
		c.p++
	}
	if !utf8.Valid(c.b[from:c.p]) {
		c.fail("quoted string without UTF-8")
	}
	c.p++
}

func (c *checker) literal(nul bool) {
	c.want("{")
	n := c.number()
	c.want("}\r\n")
	if n > uint64(len(c.b)-c.p) {
		c.fail("literal of %d octets in a stream of %d more", n, len(c.b)-c.p)
	}
	text := c.b[c.p : c.p+int(n)]
	if !nul && bytes.IndexByte(text, 0) >= 0 {
		c.fail("NUL in a literal")
	}
	c.p += int(n)
}

func (c *checker) str() {
	if c.peek() == '"' {
		c.quoted()
	} else {
		c.literal(false)
	}
}

func (c *checker) nstring() {
	if !c.has("NIL") {
		c.str()
	}
}

func (c *checker) astring() {
	if ch := c.peek(); ch == '"' || ch == '{' {
		c.str()
		return
	}
	from := c.p
	for ch := c.peek(); ch > ' ' && ch < 0x7f && !strings.ContainsRune(`(){%*"\`, rune(ch)); ch = c.peek() {
		c.p++
	}
	if c.p == from {
		c.fail("want an astring")
	}
}

// list takes a list of what f takes, separated by single spaces, perhaps empty.
func (c *checker) list(f func()) {
	c.want("(")
	if c.has(")") {
		return
	}
	for f(); !c.has(")"); f() {
		c.want(" ")
	}
}

func (c *checker) flag() {
	c.has(`\`)
	from := c.p
	for ch := c.peek(); ch > ' ' && ch < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(ch)); ch = c.peek() {
		c.p++
	}
	if c.p == from {
		c.fail("want a flag")
	}
}

// value takes a value of ENVELOPE or BODYSTRUCTURE: parentheses stand in them without a space between.
func (c *checker) value() {
	switch ch := c.peek(); {
	case ch == '(':
		c.p++
		for c.value(); !c.has(")"); c.value() {
			if c.peek() != '(' || c.b[c.p-1] != ')' {
				c.want(" ")
			}
		}
	case ch >= '0' && ch <= '9':
		c.number()
	default:
		c.nstring()
	}
}

func (c *checker) set() {
	for {
		c.positive()
		if c.has(":") {
			c.positive()
		}
		if !c.has(",") {
			return
		}
	}
}

func (c *checker) date() {
	from := c.p
	c.quoted()
	if c.p-from != 28 {
		c.fail("date-time")
	}
}

func (c *checker) section() {
	c.want("[")
	for c.peek() != ']' {
		switch c.peek() {
		case '(':
			c.list(c.astring)
		case ' ', '.':
			c.p++
		default:
			c.word()
		}
	}
	c.p++
	if c.has("<") {
		c.number()
		c.want(">")
	}
	c.want(" ")
}

func (c *checker) fetchItem() {
	switch name := c.word(); name {
	case "FLAGS":
		c.want(" ")
		c.list(c.flag)
	case "UID":
		c.want(" ")
		c.positive()
	case "RFC822.SIZE":
		c.want(" ")
		c.number()
	case "INTERNALDATE":
		c.want(" ")
		c.date()
	case "SAVEDATE":
		c.want(" ")
		if !c.has("NIL") {
			c.date()
		}
	case "MODSEQ":
		c.want(" (")
		c.positive()
		c.want(")")
	case "EMAILID", "THREADID":
		c.want(" ")
		if !c.has("NIL") {
			c.want("(")
			c.word()
			c.want(")")
		}
	case "ENVELOPE", "BODYSTRUCTURE":
		c.want(" ")
		c.value()
	case "PREVIEW", "RFC822", "RFC822.HEADER", "RFC822.TEXT":
		c.want(" ")
		c.nstring()
	case "BODY":
		if c.peek() == '[' {
			c.section()
			c.nstring()
		} else {
			c.want(" ")
			c.value()
		}
	case "BINARY":
		c.section()
		if c.has("~") {
			c.literal(true)
		} else {
			c.nstring()
		}
	case "BINARY.SIZE":
		c.section()
		c.number()
	default:
		c.fail("unknown FETCH item %q", name)
	}
}

func (c *checker) response() {
	switch {
	case c.has("+ "):
		if !c.has("\r\n") {
			c.text()
		}
		return
	case c.has("* "):
		c.untagged()
		return
	}
	from := c.p
	for ch := c.peek(); ch > ' ' && ch < 0x7f && !strings.ContainsRune(`(){%*"\+`, rune(ch)); ch = c.peek() {
		c.p++
	}
	if c.p == from {
		c.fail("want a tag")
	}
	c.tags = append(c.tags, string(c.b[from:c.p]))
	c.want(" ")
	if s := c.word(); !slices.Contains([]string{"OK", "NO", "BAD"}, s) {
		c.fail("tagged %q", s)
	}
	c.want(" ")
	c.respText()
}

func (c *checker) untagged() {
	if ch := c.peek(); ch >= '0' && ch <= '9' {
		c.number()
		c.want(" ")
		switch name := c.word(); name {
		case "EXISTS", "RECENT", "EXPUNGE":
		case "FETCH":
			c.want(" ")
			c.list(c.fetchItem)
		default:
			c.fail("unknown message data %q", name)
		}
		c.want("\r\n")
		return
	}
	switch name := c.word(); name {
	case "OK", "NO", "BAD", "BYE":
		c.want(" ")
		c.respText()
		return
	case "CAPABILITY", "ENABLED":
		for c.has(" ") {
			c.word()
		}
	case "LIST", "LSUB":
		c.want(" ")
		c.list(c.flag)
		c.want(` "/" `)
		c.astring()
		if c.has(` ("CHILDINFO" `) {
			c.list(c.quoted)
			c.want(")")
		}
	case "STATUS":
		c.want(" ")
		c.astring()
		c.want(" ")
		c.list(func() {
			if c.word() == "MAILBOXID" {
				c.want(" (")
				c.word()
				c.want(")")
				return
			}
			c.want(" ")
			c.number()
		})
	case "QUOTAROOT":
		c.want(" ")
		c.astring()
		for c.has(" ") {
			c.astring()
		}
	case "QUOTA":
		c.want(" ")
		c.astring()
		c.want(" (STORAGE ")
		c.number()
		c.want(" ")
		c.number()
		c.want(")")
	case "SEARCH":
		for c.has(" ") {
			if c.has("(MODSEQ ") {
				c.positive()
				c.want(")")
				break
			}
			c.positive()
		}
	case "ESEARCH":
		c.want(" (TAG ")
		c.str()
		c.want(")")
		c.has(" UID")
		for c.has(" ") {
			if c.word() == "ALL" {
				c.want(" ")
				c.set()
				continue
			}
			c.want(" ")
			c.number()
		}
	case "FLAGS":
		c.want(" ")
		c.list(c.flag)
	case "ID":
		c.want(" ")
		if !c.has("NIL") {
			c.list(c.nstring)
		}
	case "NAMESPACE":
		c.want(` (("" "/")) NIL NIL`)
	case "VANISHED":
		c.has(" (EARLIER)")
		c.want(" ")
		c.set()
	default:
		c.fail("unknown response %q", name)
	}
	c.want("\r\n")
}

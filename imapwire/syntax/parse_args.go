package syntax

import (
	"bytes"
	"math"
)

// authenticate takes a mechanism and perhaps an initial response (RFC 4959 section 7).
func (c *cursor) authenticate() {
	auth := &c.c.Auth
	auth.Mechanism = String{StringAtom, c.atom(c.prod)}
	if !c.more() {
		return
	}
	auth.HasInitial = true
	if c.eat('=') {
		return
	}
	from := c.p
	if len(c.span(clsBase64)) == 0 {
		c.fail(c.prod, "base64")
		return
	}
	for i := 0; i < 2 && c.eat('='); i++ {
		continue
	}
	auth.Initial = c.b[from:c.p:c.p]
}

// word takes an atom and appends it to list.
func (c *cursor) word(list []String) []String {
	a := &c.c.arena
	if len(a.strings) >= c.lim.Args {
		c.failLimit(c.prod)
		return list
	}
	from := len(a.strings) - len(list) // list is the arena's last run
	a.strings = append(a.strings, String{StringAtom, c.atom(c.prod)})
	return a.strings[from:len(a.strings):len(a.strings)]
}

// words takes one or more atoms.
func (c *cursor) words() {
	cmd := c.c
	cmd.Words = c.word(cmd.Words)
	for c.more() {
		cmd.Words = c.word(cmd.Words)
	}
}

// id takes NIL or a list of fields and values (RFC 2971 section 4).
func (c *cursor) id() {
	if c.peek() != '(' {
		if from := c.p; !EqualFold(c.span(clsAtom), "NIL") {
			c.failAt(from, c.prod, `"(" or NIL`)
		}
		return
	}
	c.p++
	a := &c.c.arena
	c.c.ID = a.id
	if c.eat(')') {
		return
	}
	for {
		if len(a.id) >= c.lim.Args {
			c.failLimit(c.prod)
			return
		}
		key := c.stringOf(0, c.prod)
		c.sp(c.prod)
		a.id = append(a.id, IDParam{key, c.nstring(c.prod)})
		if !c.eat(' ') {
			break
		}
	}
	c.close(c.prod)
	c.c.ID = a.id
}

// selectParams takes SELECT's parameters (RFC 7162 section 7; the list's form: RFC 4466 section 2.4).
func (c *cursor) selectParams() {
	sel := &c.c.Select
	c.open(c.prod)
	for {
		from := c.p
		switch w := c.keyword(c.prod); {
		case EqualFold(w, "CONDSTORE") && !sel.CondStore:
			sel.CondStore = true
		case EqualFold(w, "QRESYNC") && !sel.QResync:
			sel.QResync = true
			c.sp(c.prod)
			c.qresync(sel)
		default:
			c.failAt(from, c.prod, "CONDSTORE or QRESYNC, once")
		}
		if !c.eat(' ') {
			break
		}
	}
	c.close(c.prod)
}

func (c *cursor) qresync(sel *SelectArgs) {
	const prod = "QRESYNC"
	c.open(prod)
	sel.UIDValidity = uint32(c.nzNumber(math.MaxUint32, prod))
	c.sp(prod)
	sel.ModSeq = c.nzNumber(math.MaxInt64, prod)
	if c.eat(' ') {
		if c.peek() != '(' {
			sel.KnownUIDs = c.set(setNoStar)
			if c.eat(' ') {
				c.seqMatch(sel)
			}
		} else {
			c.seqMatch(sel)
		}
	}
	c.close(prod)
}

func (c *cursor) seqMatch(sel *SelectArgs) {
	const prod = "QRESYNC"
	c.open(prod)
	sel.SeqMatch = true
	sel.MatchSeqs = c.set(setNoStar)
	c.sp(prod)
	sel.MatchUIDs = c.set(setNoStar)
	c.close(prod)
}

// createParams takes CREATE's special uses (RFC 6154 section 6).
func (c *cursor) createParams() {
	c.open(c.prod)
	if from := c.p; !EqualFold(c.keyword(c.prod), "USE") {
		c.failAt(from, c.prod, "USE")
	}
	c.sp(c.prod)
	c.open(c.prod)
	a := &c.c.arena
	first := len(a.strings)
	for !c.failed && c.peek() != ')' {
		if len(a.strings) > first {
			c.sp(c.prod)
		}
		if len(a.strings) >= c.lim.Args {
			c.failLimit(c.prod)
		}
		from := c.p
		c.expect('\\', c.prod, "a special use")
		c.atom(c.prod)
		a.strings = append(a.strings, String{StringAtom, c.b[from:c.p:c.p]})
	}
	c.close(c.prod)
	c.close(c.prod)
	c.c.Words = a.strings[first:len(a.strings):len(a.strings)]
}

// list takes LIST's arguments, basic or extended (RFC 9051 section 9, list).
func (c *cursor) list() {
	l := &c.c.List
	if c.eat('(') {
		l.Extended = true
		if !c.eat(')') {
			for c.listSelect(); c.eat(' '); {
				c.listSelect()
			}
			from := c.p
			c.close(c.prod)
			if l.Select&ListSelectRecursiveMatch != 0 && l.Select&(ListSelectSubscribed|ListSelectSpecialUse) == 0 {
				c.failAt(from, c.prod, "an option that RECURSIVEMATCH goes with")
			}
		}
		c.sp(c.prod)
	}
	l.Reference = c.astring(c.prod)
	c.sp(c.prod)
	c.patterns(true)
	if !c.more() {
		return
	}
	l.Extended = true
	if from := c.p; !EqualFold(c.keyword(c.prod), "RETURN") {
		c.failAt(from, c.prod, "RETURN")
	}
	c.sp(c.prod)
	c.open(c.prod)
	if c.eat(')') {
		return
	}
	for c.listReturn(); c.eat(' '); {
		c.listReturn()
	}
	c.close(c.prod)
}

func (c *cursor) listSelect() {
	from := c.p
	switch w := c.keyword(c.prod); {
	case EqualFold(w, "SUBSCRIBED"):
		c.c.List.Select |= ListSelectSubscribed
	case EqualFold(w, "REMOTE"):
		c.c.List.Select |= ListSelectRemote
	case EqualFold(w, "RECURSIVEMATCH"):
		c.c.List.Select |= ListSelectRecursiveMatch
	case EqualFold(w, "SPECIAL-USE"):
		c.c.List.Select |= ListSelectSpecialUse
	default:
		c.failAt(from, c.prod, "a selection option")
	}
}

func (c *cursor) listReturn() {
	l := &c.c.List
	from := c.p
	switch w := c.keyword(c.prod); {
	case EqualFold(w, "SUBSCRIBED"):
		l.Return |= ListReturnSubscribed
	case EqualFold(w, "CHILDREN"):
		l.Return |= ListReturnChildren
	case EqualFold(w, "SPECIAL-USE"):
		l.Return |= ListReturnSpecialUse
	case EqualFold(w, "STATUS"):
		l.Return |= ListReturnStatus
		c.sp(c.prod)
		l.Status |= c.statusItems()
	default:
		c.failAt(from, c.prod, "a return option")
	}
}

// patterns takes one pattern or, with many, also a list of them.
func (c *cursor) patterns(many bool) {
	a := &c.c.arena
	first := len(a.strings)
	pattern := func() {
		if len(a.strings) >= c.lim.Args {
			c.failLimit(c.prod)
			return
		}
		a.strings = append(a.strings, c.stringOf(clsList, c.prod))
	}
	if many && c.eat('(') {
		c.c.List.Extended = true
		for pattern(); c.eat(' '); {
			pattern()
		}
		c.close(c.prod)
	} else {
		pattern()
	}
	c.c.List.Patterns = a.strings[first:len(a.strings):len(a.strings)]
}

// statusItems takes STATUS items in parentheses, one or more.
func (c *cursor) statusItems() (items StatusItems) {
	const prod = "STATUS item"
	c.open(prod)
	for {
		from := c.p
		item := statusItem(c.keyword(prod))
		if item == 0 {
			c.failAt(from, prod, "a known item")
		}
		items |= item
		if !c.eat(' ') {
			break
		}
	}
	c.close(prod)
	return items
}

func statusItem(name []byte) StatusItems {
	var up [15]byte
	if len(name) > len(up) {
		return 0
	}
	switch string(upperInto(up[:], name)) {
	case "MESSAGES":
		return StatusMessages
	case "RECENT":
		return StatusRecent
	case "UIDNEXT":
		return StatusUIDNext
	case "UIDVALIDITY":
		return StatusUIDValidity
	case "UNSEEN":
		return StatusUnseen
	case "DELETED":
		return StatusDeleted
	case "SIZE":
		return StatusSize
	case "HIGHESTMODSEQ":
		return StatusHighestModSeq
	case "MAILBOXID":
		return StatusMailboxID
	case "APPENDLIMIT":
		return StatusAppendLimit
	case "DELETED-STORAGE":
		return StatusDeletedStorage
	}
	return 0
}

// message takes one message of APPEND (RFC 9051 section 9, append; RFC 3502, RFC 3516 and RFC 6855 section 4).
func (c *cursor) message() {
	a := &c.c.arena
	if len(a.messages) >= c.lim.Messages {
		c.failLimit(c.prod)
		return
	}
	var m AppendMsg
	if c.peek() == '(' {
		m.Flags = c.flagList()
		c.sp(c.prod)
	}
	if c.peek() == '"' {
		m.HasDate, m.Date = true, c.dateTime()
		c.sp(c.prod)
	}
	if c.peek()|0x20 == 'u' {
		if from := c.p; !EqualFold(c.keyword(c.prod), "UTF8") {
			c.failAt(from, c.prod, "UTF8")
		}
		c.sp(c.prod)
		c.open(c.prod)
		m.UTF8 = true
	}
	m.Lit = c.read
	from := c.p
	if c.peek() != '{' && c.peek() != '~' || m.UTF8 && c.peek() != '~' {
		c.fail(c.prod, "a literal")
	}
	lit, text, ok := c.nextLiteral(c.prod, LiteralAsData)
	if !lit.Binary && ok && lit.Mode == LiteralInline && bytes.IndexByte(text, 0) >= 0 {
		c.failAt(from, c.prod, "a literal without NUL")
	}
	m.Binary, m.Mode, m.Size, m.Bytes = lit.Binary, lit.Mode, lit.Size, text
	if m.UTF8 {
		c.close(c.prod)
	}
	a.messages = append(a.messages, m)
	c.c.Append = a.messages
}

package syntax

import "math"

// fetch takes FETCH's items and modifiers (RFC 9051 section 9, fetch; RFC 7162 section 7).
func (c *cursor) fetch() {
	cmd := c.c
	f := &cmd.Fetch
	if c.eat('(') {
		for c.fetchItem(false); c.eat(' '); {
			c.fetchItem(false)
		}
		c.close(c.prod)
	} else {
		c.fetchItem(true)
	}
	f.Items = cmd.arena.items
	if !c.more() {
		return
	}
	c.open(c.prod)
	for {
		from := c.p
		switch w := c.keyword(c.prod); {
		case EqualFold(w, "CHANGEDSINCE") && !f.HasChangedSince:
			c.sp(c.prod)
			f.HasChangedSince, f.ChangedSince = true, c.number(math.MaxInt64, c.prod)
		case EqualFold(w, "VANISHED") && cmd.UID && !f.Vanished:
			f.Vanished = true
		default:
			c.failAt(from, c.prod, "a modifier, once")
		}
		if !c.eat(' ') {
			break
		}
	}
	if f.Vanished && !f.HasChangedSince {
		c.fail(c.prod, "CHANGEDSINCE beside VANISHED")
	}
	c.close(c.prod)
}

func (c *cursor) fetchItem(macros bool) {
	var up [16]byte
	from := c.p
	name := c.keyword(c.prod)
	if len(name) > len(up) {
		c.failAt(from, c.prod, "a known item")
		return
	}
	bracket := c.peek() == '['
	it := FetchItem{}
	switch string(upperInto(up[:], name)) {
	case "ALL", "FAST", "FULL":
		if macros {
			c.macro(up[1])
			return
		}
		c.failAt(from, c.prod, "an item, not a macro")
	case "FLAGS":
		it.Kind = FetchFlags
	case "INTERNALDATE":
		it.Kind = FetchInternalDate
	case "RFC822.SIZE":
		it.Kind = FetchRFC822Size
	case "ENVELOPE":
		it.Kind = FetchEnvelope
	case "BODY":
		it.Kind = FetchBody
		if bracket {
			it.Kind = FetchBodySection
			c.bodySection(&it)
		}
	case "BODY.PEEK":
		it.Kind, it.Peek = FetchBodySection, true
		c.bodySection(&it)
	case "BODYSTRUCTURE":
		it.Kind = FetchBodyStructure
	case "UID":
		it.Kind = FetchUID
	case "MODSEQ":
		it.Kind = FetchModSeq
	case "EMAILID":
		it.Kind = FetchEmailID
	case "THREADID":
		it.Kind = FetchThreadID
	case "SAVEDATE":
		it.Kind = FetchSaveDate
	case "PREVIEW":
		it.Kind = FetchPreview
		it.Lazy = c.lazy()
	case "RFC822":
		it.Kind = FetchRFC822
	case "RFC822.PEEK":
		it.Kind, it.Peek = FetchRFC822, true
	case "RFC822.HEADER":
		it.Kind, it.Peek = FetchRFC822Header, true
	case "RFC822.TEXT":
		it.Kind = FetchRFC822Text
	case "BINARY":
		it.Kind = FetchBinary
		c.binary(&it)
	case "BINARY.PEEK":
		it.Kind, it.Peek = FetchBinary, true
		c.binary(&it)
	case "BINARY.SIZE":
		it.Kind = FetchBinarySize
		c.binary(&it)
	default:
		c.failAt(from, c.prod, "a known item")
	}
	c.item(it)
}

func (c *cursor) item(it FetchItem) {
	a := &c.c.arena
	if len(a.items) >= c.lim.Items {
		c.failLimit(c.prod)
		return
	}
	a.items = append(a.items, it)
}

// macro expands the macro whose second letter is given: aLl, fAst, fUll.
func (c *cursor) macro(second byte) {
	f := &c.c.Fetch
	c.item(FetchItem{Kind: FetchFlags})
	c.item(FetchItem{Kind: FetchInternalDate})
	c.item(FetchItem{Kind: FetchRFC822Size})
	switch second {
	case 'A':
		f.Macro = MacroFast
		return
	case 'L':
		f.Macro = MacroAll
	case 'U':
		f.Macro = MacroFull
	}
	c.item(FetchItem{Kind: FetchEnvelope})
	if second == 'U' {
		c.item(FetchItem{Kind: FetchBody})
	}
}

// lazy takes PREVIEW's modifier (RFC 8970 section 3.2). After a lone PREVIEW, "(" may also begin FETCH's modifiers.
func (c *cursor) lazy() bool {
	const mod = " (LAZY)"
	if c.p+len(mod) > len(c.b) || !EqualFold(c.b[c.p:c.p+len(mod)], mod) {
		return false
	}
	c.p += len(mod)
	return true
}

const prodSection = "section"

// bodySection takes a section in brackets and a partial (RFC 9051 section 9, section).
func (c *cursor) bodySection(it *FetchItem) {
	s := &it.Section
	c.expect('[', prodSection, `"["`)
	from := c.p
	dot := c.part(s)
	if dot || c.p == from && c.peek() != ']' {
		from = c.p
		c.sectionText(s, from)
	}
	c.expect(']', prodSection, `"]"`)
	c.partial(it)
}

// part takes a part path: numbers with dots between them. dot says that it ended in a dot, so that a text follows.
func (c *cursor) part(s *BodySection) (dot bool) {
	a := &c.c.arena
	from := len(a.numbers)
	for is(c.peek(), clsDigit) {
		if len(a.numbers)-from >= c.lim.Parts {
			c.failLimit(prodSection)
			return false
		}
		a.numbers = append(a.numbers, uint32(c.nzNumber(math.MaxUint32, prodSection)))
		if dot = c.eat('.'); !dot {
			break
		}
	}
	if len(a.numbers) > from {
		s.Part = a.numbers[from:len(a.numbers):len(a.numbers)]
	}
	return dot
}

func (c *cursor) sectionText(s *BodySection, from int) {
	switch w := c.keyword(prodSection); {
	case EqualFold(w, "HEADER"):
		s.Spec = SpecHeader
	case EqualFold(w, "TEXT"):
		s.Spec = SpecText
	case EqualFold(w, "MIME") && len(s.Part) > 0:
		s.Spec = SpecMIME
	case EqualFold(w, "HEADER.FIELDS"):
		s.Spec = SpecHeaderFields
		c.fields(s)
	case EqualFold(w, "HEADER.FIELDS.NOT"):
		s.Spec = SpecHeaderFieldsNot
		c.fields(s)
	default:
		c.failAt(from, prodSection, "a known section")
	}
}

// fields takes a list of header field names.
func (c *cursor) fields(s *BodySection) {
	a := &c.c.arena
	from := len(a.strings)
	c.sp(prodSection)
	c.open(prodSection)
	for {
		if len(a.strings) >= c.lim.Fields {
			c.failLimit(prodSection)
			return
		}
		a.strings = append(a.strings, c.astring(prodSection))
		if !c.eat(' ') {
			break
		}
	}
	c.close(prodSection)
	s.Fields = a.strings[from:len(a.strings):len(a.strings)]
}

// partial takes <offset.length>, if it is there.
func (c *cursor) partial(it *FetchItem) {
	const prod = "partial"
	if !c.eat('<') {
		return
	}
	it.Partial.Set = true
	it.Partial.Offset = c.number(math.MaxInt64, prod)
	c.expect('.', prod, `"."`)
	it.Partial.Length = c.nzNumber(math.MaxInt64, prod)
	c.expect('>', prod, `">"`)
}

// binary takes a part path in brackets, and a partial where BINARY has one (RFC 3516 section 7).
func (c *cursor) binary(it *FetchItem) {
	c.expect('[', prodSection, `"["`)
	if c.part(&it.Section) {
		c.fail(prodSection, "a part number")
	}
	c.expect(']', prodSection, `"]"`)
	if it.Kind == FetchBinary {
		c.partial(it)
	}
}

// store takes STORE's modifier, action and flags (RFC 9051 section 9, store; RFC 7162 section 7).
func (c *cursor) store() {
	st := &c.c.Store
	if c.eat('(') {
		if from := c.p; !EqualFold(c.keyword(c.prod), "UNCHANGEDSINCE") {
			c.failAt(from, c.prod, "UNCHANGEDSINCE")
		}
		c.sp(c.prod)
		st.HasUnchangedSince, st.UnchangedSince = true, c.number(math.MaxInt64, c.prod)
		c.close(c.prod)
		c.sp(c.prod)
	}
	if c.eat('+') {
		st.Action = StoreAdd
	} else if c.eat('-') {
		st.Action = StoreRemove
	}
	from := c.p
	switch w := c.keyword(c.prod); {
	case EqualFold(w, "FLAGS"):
	case EqualFold(w, "FLAGS.SILENT"):
		st.Silent = true
	default:
		c.failAt(from, c.prod, "FLAGS or FLAGS.SILENT")
	}
	c.sp(c.prod)
	if c.peek() == '(' {
		st.Flags = c.flagList()
		return
	}
	for c.flag(); c.more(); {
		c.flag()
	}
	st.Flags = c.c.arena.flags
}

package syntax

// bodyContext follows the octets of a frame between its literals, each once, to tell which literals are bodies: a
// forward scan that needs no look back, so that a frame of many literals costs no more than its length.
type bodyContext struct {
	started bool
	fetch   bool // the frame is a FETCH response
	quoted  bool
	bracket bool // inside BODY[...] at depth 1
	section bool // the item that is being read has a bracket that belongs to a body
	body    bool // at depth 1, the item before is a body item whose value comes next
	header  bool // and what it holds is a header
	depth   int
}

// literal takes the octets up to the header of the frame's last literal and says whether that literal is a body, and
// whether one that holds a header.
func (c *bodyContext) literal(f *Frame) (body, header bool) {
	k := len(f.Lits) - 1
	if k < 0 {
		return false, false
	}
	from := 0
	if k > 0 {
		prev := f.Lits[k-1]
		if from = int(prev.Off); prev.Mode == LiteralInline {
			from += int(prev.Size)
		}
	}
	text := f.Data[from:f.Lits[k].Head]
	if !c.started {
		c.started = true
		s := respScan{b: text}
		s.sp()
		if s.take('*') {
			s.sp()
			_, numbered := s.number32()
			s.sp()
			c.fetch = numbered && EqualFold(s.word(), "FETCH")
		}
		text = text[s.i:]
	}
	if !c.fetch {
		return false, false
	}
	c.scan(text)
	body = c.body && !c.quoted && !c.bracket && c.depth == 1
	if !c.quoted && !c.bracket {
		c.body = false // this literal is the value
	}
	return body, body && c.header
}

// scan follows the text between two literals.
func (c *bodyContext) scan(text []byte) {
	start := 0
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case c.quoted:
			switch ch {
			case '\\':
				i++
			case '"':
				c.quoted = false
				if !c.bracket {
					start, c.body = i+1, false
				}
			}
		case ch == '"':
			c.quoted = true
		case c.bracket:
			if ch == ']' {
				c.bracket, c.section = false, true
			}
		case ch == '[' && c.depth == 1 && isBodyItem(text[start:i]):
			c.bracket, c.header = true, foldPrefix(text[i+1:], "HEADER")
		case ch == '(' || ch == ')':
			if c.depth++; ch == ')' {
				c.depth -= 2
			}
			start, c.body, c.section = i+1, false, false
		case blank(ch):
			c.word(text[start:i])
			start = i + 1
		}
	}
	if !c.quoted && !c.bracket {
		c.word(text[start:])
	}
}

// word takes an item's name or another bare word that ended.
func (c *bodyContext) word(w []byte) {
	if len(w) == 0 && !c.section {
		return
	}
	if !c.section {
		c.header = EqualFold(w, "RFC822.HEADER")
	}
	c.body = c.depth == 1 && (c.section || foldPrefix(w, "RFC822") && isBodyItem(w))
	c.section = false
}

// isBodyItem says whether the item, without its section, is one whose value is octets of a message.
func isBodyItem(name []byte) bool {
	for _, n := range [...]string{
		"BODY", "BODY.PEEK", "BINARY", "BINARY.PEEK", "RFC822", "RFC822.HEADER", "RFC822.TEXT",
	} {
		if EqualFold(name, n) {
			return true
		}
	}
	return false
}

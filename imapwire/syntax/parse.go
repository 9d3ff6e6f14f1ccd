package syntax

import "strconv"

// Parser turns frames into Commands. It holds nothing but its limits: one may serve many connections, one at a time.
type Parser struct {
	Limits Limits
}

// LiteralVerdict says what the grammar does with a literal.
type LiteralVerdict uint8

// The verdicts.
const (
	LiteralNotHere LiteralVerdict = iota // with an error
	LiteralAsText                        // a string argument: to be kept inline
	LiteralAsData                        // a message: to be streamed, or kept inline
)

// Parse reads a complete command (RFC 9051 section 9, command; RFC 3501 where that is wider; the extensions that the
// fields of Command name) into c, which it resets first. The error is an Error.
//
// Beyond the grammar it accepts: spaces at the end; UTF-8 in quoted strings, enabled or not; RFC822.PEEK; CHANGEDSINCE 0;
// a one-digit day in a date-time.
func (p *Parser) Parse(f *Frame, c *Command) error {
	cur := cursor{b: f.Data, lits: f.Lits, lim: &p.Limits, c: c}
	cur.command()
	if cur.failed {
		return cur.err
	}
	return nil
}

// Probe reads a command up to its last literal, which has been announced but not decided on (EventLiteral): would the
// grammar take a literal there, and which kind? c holds what stands before it, until the framer's buffer moves
// (Framer.Reserve); with LiteralAsData the last of c.Append describes the message that was announced.
func (p *Parser) Probe(f *Frame, c *Command) (LiteralVerdict, error) {
	cur := cursor{b: f.Data, lits: f.Lits, lim: &p.Limits, c: c, probing: true}
	cur.command()
	if cur.verdict != LiteralNotHere {
		return cur.verdict, nil
	}
	if !cur.failed { // a command that was complete before the literal
		cur.fail("command", "end of line")
	}
	return LiteralNotHere, cur.err
}

// Error says where and why a command is not in the grammar. It never holds octets of an argument.
type Error struct {
	Off        int    // offset in the frame: 0 to its length
	Production string // what was being read
	Want       string // what was expected
	Got        Got    // what stood there
	Limit      bool   // the grammar accepts it, Limits do not
	Tag        []byte // the command's tag when it could be read, else nil; a view of the frame
}

// Error returns a text for the client and the log.
func (e Error) Error() string {
	s := e.Production + " at octet " + strconv.Itoa(e.Off)
	if e.Limit {
		return s + ": too many, or too deep"
	}
	return s + ": expected " + e.Want + ", found " + e.Got.String()
}

// Got is the class of the octet that an error is about.
type Got uint8

// The classes.
const (
	GotEnd Got = iota
	GotSpace
	GotLetter
	GotDigit
	GotParen
	GotQuote
	GotLiteral
	GotPunct
	GotControl
	GotEightBit
	gotCount
)

var gotText = [gotCount]string{
	"the end of the line", "a space", "a letter", "a digit", "a parenthesis", "a quote", "a literal", "punctuation",
	"a control character", "an 8-bit octet",
}

// String returns the class as a text for people.
func (g Got) String() string {
	if g < gotCount {
		return gotText[g]
	}
	return "something else"
}

func gotOf(b []byte) Got {
	if len(b) == 0 {
		return GotEnd
	}
	switch c := b[0]; {
	case c >= 0x80:
		return GotEightBit
	case c == ' ':
		return GotSpace
	case c < 0x20 || c == 0x7f:
		return GotControl
	case is(c, clsAlpha):
		return GotLetter
	case is(c, clsDigit):
		return GotDigit
	case c == '(' || c == ')':
		return GotParen
	case c == '"':
		return GotQuote
	case c == '{':
		return GotLiteral
	}
	return GotPunct
}

func (c *cursor) command() {
	cmd := c.c
	cmd.Reset()
	tag := c.span(clsTag)
	if len(tag) == 0 || !c.atEnd() && c.peek() != ' ' {
		c.fail("tag", "a tag and a space")
		return
	}
	cmd.Tag, c.err.Tag = tag, tag
	c.sp("command")
	at := c.p
	verb := LookupVerb(c.keyword("command"))
	if verb == VerbUnknown && EqualFold(c.b[at:c.p], "UID") {
		cmd.UID = true
		c.sp("UID")
		at = c.p
		verb = LookupVerb(c.keyword("UID"))
		if verb != VerbUnknown && !hasUIDForm(verb) {
			c.failAt(at, "UID", "a command with a UID form")
			return
		}
	}
	if verb == VerbUnknown {
		c.failAt(at, "command", "a known command")
		return
	}
	cmd.Verb = verb
	c.prod = verb.String()
	c.arguments(verb)
	for !c.atEnd() && c.peek() == ' ' {
		c.p++
	}
	if !c.atEnd() {
		c.fail(c.prod, "end of line")
	}
}

func hasUIDForm(v Verb) bool {
	switch v {
	case VerbFetch, VerbStore, VerbSearch, VerbCopy, VerbMove, VerbExpunge, VerbReplace:
		return true
	}
	return false
}

// arguments reads what follows a command's name, with the space before it.
func (c *cursor) arguments(verb Verb) {
	cmd := c.c
	switch verb {
	case VerbCapability, VerbNoop, VerbLogout, VerbStartTLS, VerbNamespace, VerbIdle, VerbCheck, VerbClose, VerbUnselect:
		return
	case VerbExpunge:
		if cmd.UID {
			c.sp(c.prod)
			cmd.Set = c.set(setSaved)
		}
		return
	}
	c.sp(c.prod)
	switch verb {
	case VerbAuthenticate:
		c.authenticate()
	case VerbLogin:
		cmd.Login.User = c.astring(c.prod)
		c.sp(c.prod)
		cmd.Login.Password = c.astring(c.prod)
	case VerbEnable:
		c.words()
	case VerbCompress:
		cmd.Words = c.word(cmd.Words)
	case VerbID:
		c.id()
	case VerbSelect, VerbExamine:
		cmd.Mailbox = c.astring(c.prod)
		if c.more() {
			c.selectParams()
		}
	case VerbCreate:
		cmd.Mailbox = c.astring(c.prod)
		if c.more() {
			c.createParams()
		}
	case VerbDelete, VerbSubscribe, VerbUnsubscribe, VerbGetQuotaRoot:
		cmd.Mailbox = c.astring(c.prod)
	case VerbRename:
		cmd.Mailbox = c.astring(c.prod)
		c.sp(c.prod)
		cmd.To = c.astring(c.prod)
	case VerbGetQuota:
		cmd.Root = c.astring(c.prod)
	case VerbList:
		c.list()
	case VerbLsub:
		cmd.List.Reference = c.astring(c.prod)
		c.sp(c.prod)
		c.patterns(false)
	case VerbStatus:
		cmd.Mailbox = c.astring(c.prod)
		c.sp(c.prod)
		cmd.Status = c.statusItems()
	case VerbAppend:
		cmd.Mailbox = c.astring(c.prod)
		c.sp(c.prod)
		c.message()
		for c.more() {
			c.message()
		}
	case VerbReplace:
		cmd.Set = c.set(setSingle)
		c.sp(c.prod)
		cmd.Mailbox = c.astring(c.prod)
		c.sp(c.prod)
		c.message()
	case VerbCopy, VerbMove:
		cmd.Set = c.set(setSaved)
		c.sp(c.prod)
		cmd.Mailbox = c.astring(c.prod)
	case VerbSearch:
		c.search()
	case VerbFetch:
		cmd.Set = c.set(setSaved)
		c.sp(c.prod)
		c.fetch()
	case VerbStore:
		cmd.Set = c.set(setSaved)
		c.sp(c.prod)
		c.store()
	}
}

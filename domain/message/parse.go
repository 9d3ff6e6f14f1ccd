package message

import (
	"bytes"
	"io"
)

// Parse computes a message's fragments from its raw bytes in one pass, holding a bounded amount of memory whatever the
// message's size; size is a hint (0 when unknown). The error is r's own, never about the content: every sequence of
// octets is a message.
func Parse(r io.Reader, size int64) (Fragments, error) {
	var p Parser
	return p.Parse(r, size)
}

// Parser parses message after message with the same buffers. The zero value is ready; a Parser is for one goroutine at
// a time.
type Parser struct {
	walker   Walker
	composer composer
}

// Parse is the function Parse. The fragments share no memory with the parser.
func (p *Parser) Parse(r io.Reader, size int64) (Fragments, error) {
	c := &p.composer
	c.reset()
	if err := p.walker.Walk(r, size, c); err != nil {
		return Fragments{}, err
	}
	return c.fragments(), nil
}

// composer collects, during a walk, what the fragments are rendered from.
type composer struct {
	nodes     []node
	envelopes []([envFields]span)
	arena     []byte // header values, one after the other
	headers   []byte // Fragments.Headers; over is set when they are too many
	over      bool
	preview   previewer

	// What rendering needs.
	addresses addressParser
	addressed int
	list      []address
	scratch   []byte
	token     [64]byte
	out       []byte
}

// node is what is kept of an entity.
type node struct {
	kind              Kind
	global            bool // message/global
	opaque            bool // a multipart or message nested too deep to be taken apart
	first, last, next int32
	envelope          int32 // index into envelopes, for messages; else -1
	header, body, end int64
	lines             int64
	content           [contentFields]span
	encoding          string
	depth             int32 // how many enclosed messages the entity is in
}

// span is a part of the arena. The zero value is "not there"; off is counted from 1.
type span struct{ off, len int32 }

func (s span) set() bool { return s.off != 0 }

// value returns the span's bytes; nil for one that is not set, never nil otherwise.
func (c *composer) value(s span) []byte {
	if !s.set() {
		return nil
	}
	return c.arena[s.off-1 : s.off-1+s.len]
}

// keep copies a header value. When the arena is full the value counts as absent.
func (c *composer) keep(value []byte) span {
	if len(c.arena)+len(value) > maxArena {
		return span{}
	}
	off := len(c.arena)
	c.arena = append(c.arena, value...)
	if bytes.IndexByte(value, 0) >= 0 {
		c.arena = append(c.arena[:off], replaceNULs(value)...)
	}
	return span{int32(off) + 1, int32(len(c.arena) - off)}
}

// join keeps two address lists as one span, with a NUL, which values do not contain, between them.
func (c *composer) join(first span, value []byte) span {
	off := len(c.arena)
	if off+int(first.len)+1+len(value) > maxArena {
		return first
	}
	c.arena = append(append(c.arena, c.value(first)...), 0)
	c.keep(value)
	return span{int32(off) + 1, int32(len(c.arena) - off)}
}

func (c *composer) reset() {
	if c.arena == nil {
		c.arena = make([]byte, 0, 2048) // never nil: an empty value is not an absent one
	}
	c.nodes, c.envelopes, c.arena = c.nodes[:0], c.envelopes[:0], c.arena[:0]
	c.headers, c.over = c.headers[:0], false
	c.addressed = 0
	c.preview.reset()
}

// node returns the entity's node, made when the entity is first heard of.
func (c *composer) node(e *Entity) *node {
	if e.Index < len(c.nodes) {
		return &c.nodes[e.Index]
	}
	n := node{envelope: -1, header: e.Header}
	if e.Parent < 0 || c.nodes[e.Parent].kind == Enclosing {
		n.envelope = int32(len(c.envelopes))
		c.envelopes = append(c.envelopes, [envFields]span{})
	}
	if e.Parent >= 0 {
		n.depth = c.nodes[e.Parent].depth
		if n.envelope >= 0 {
			n.depth++
		}
	}
	c.nodes = append(c.nodes, n)
	if e.Parent >= 0 {
		p := &c.nodes[e.Parent]
		if p.first == 0 {
			p.first = int32(e.Index)
		} else {
			c.nodes[p.last].next = int32(e.Index)
		}
		p.last = int32(e.Index)
	}
	return &c.nodes[e.Index]
}

// Field implements Visitor.
func (c *composer) Field(e *Entity, f Field) bool {
	n := c.node(e)
	if e.Index == 0 && isCommon(f.Name) {
		if len(c.headers)+len(f.Raw) > maxHeaders || !f.Whole {
			c.over = true
		} else {
			c.headers = append(c.headers, f.Raw...)
			if f.Raw[len(f.Raw)-1] != '\n' {
				c.headers = append(c.headers, "\r\n"...)
			}
		}
	}
	if f.Value == nil {
		return true // not a field
	}
	if i := contentField(f.Name); i >= 0 {
		s := &n.content[i]
		if !s.set() || i == cfDisposition && !c.hasParams(*s) || i == cfEncoding && parseEncoding(c.value(*s)) == "" {
			*s = c.keep(f.Value)
		}
	} else if n.envelope >= 0 {
		if i := envelopeField(f.Name); i >= 0 {
			s := &c.envelopes[n.envelope][i]
			if s.set() && i >= envFrom && i <= envBcc {
				*s = c.join(*s, f.Value)
			} else {
				*s = c.keep(f.Value) // of several the last one counts
			}
		}
	}
	return true
}

// hasParams says whether a kept disposition has parameters: one without gives way to a later one.
func (c *composer) hasParams(s span) bool {
	lx := lexer{s: c.value(s)}
	lx.space()
	if _, st := lx.token(nil); st == stBad {
		return false
	}
	for range lx.params() {
		return true
	}
	return false
}

// Start implements Visitor.
func (c *composer) Start(e *Entity) bool {
	n := c.node(e)
	n.kind, n.body, n.encoding = e.Kind, e.Body, e.Encoding
	n.global = e.Kind == Enclosing && e.Subtype == "global"
	n.opaque = e.Kind == Leaf && e.compound()
	if !e.MIME {
		n.content = [contentFields]span{}
	}
	c.preview.start(e, c.hidden(n, e))
	return true
}

// hidden says whether the entity is an attachment or inside an enclosed message.
func (c *composer) hidden(n *node, e *Entity) bool {
	if n.depth > 0 {
		return true
	}
	lx := lexer{s: c.value(n.content[cfDisposition])}
	lx.space()
	token, _ := lx.token(c.token[:0])
	return e.Index > 0 && equalFold(token, "attachment")
}

// Body implements Visitor.
func (c *composer) Body(e *Entity, b []byte) bool {
	c.preview.body(e, b)
	return true
}

// End implements Visitor.
func (c *composer) End(e *Entity) bool {
	n := &c.nodes[e.Index]
	n.end, n.lines = e.End, e.Lines
	c.preview.end(e)
	return true
}

func (c *composer) fragments() Fragments {
	var f Fragments
	c.out = c.appendEnvelope(c.out[:0], &c.envelopes[0])
	env := len(c.out)
	c.addressed = 0
	c.out = c.appendStructure(c.out, 0, false)
	body := len(c.out)
	c.addressed = 0
	c.out = c.appendStructure(c.out, 0, true)
	structure := len(c.out)
	c.out = c.appendIndex(c.out)
	index := len(c.out)
	if !c.over {
		c.out = append(c.out, c.headers...)
	}
	headers := len(c.out)
	c.out = c.preview.appendTo(c.out)
	all := bytes.Clone(c.out) // one allocation for all fragments: they live and are stored together
	f.Envelope = all[:env:env]
	f.Body = all[env:body:body]
	f.BodyStructure = all[body:structure:structure]
	f.Parts = all[structure:index:index]
	f.Headers = all[index:headers:headers]
	f.Preview = all[headers:]
	return f
}

// isCommon says whether the field is one of CommonFields.
func isCommon(name []byte) bool {
	if len(name) < 2 || len(name) > 12 {
		return false
	}
	for _, n := range CommonFields {
		if equalFold(name, n) {
			return true
		}
	}
	return false
}

package message

import (
	"bytes"
	"io"
)

// Kind is how an entity is composed.
type Kind uint8

// The kinds.
const (
	Leaf      Kind = iota // it has content only
	Multipart             // its children are its parts (RFC 2046 section 5.1)
	Enclosing             // message/rfc822 or message/global: its one child is the enclosed message
)

// Entity is one MIME entity (RFC 2045 section 2.4) as a walk sees it. Offsets are octets from the message's start; Body
// is known from Visitor.Start on, End and Lines in Visitor.End.
type Entity struct {
	Index    int // the entity's number in the walk; 0 is the message
	Parent   int // the parent's Index; -1 for the message
	Kind     Kind
	MIME     bool   // the header says MIME, or a multipart holds the entity: its Content-* fields count
	Type     string // media type and subtype in lower case; "text", "plain" for an entity without Content-Type
	Subtype  string
	Charset  string // as in the source; "" for none
	Encoding string // Content-Transfer-Encoding in lower case; "" for none
	Header   int64  // where the header starts
	Body     int64  // where the body starts, after the header's blank line
	End      int64  // where the body ends
	Lines    int64  // line feeds between Body and End

	seen       bool // a Content-Type field has been read
	digest     bool // multipart/digest: the default type of its parts is message/rfc822
	startLines int64
	depth      int
}

// Field is one header field. All slices are valid during the call only.
type Field struct {
	Name  []byte // without the white space before the colon; the whole line where there is no colon
	Value []byte // after the colon, folded, without the last line break; nil where there is no colon
	Raw   []byte // the whole field with its line breaks
	Whole bool   // false when the field was longer than is looked at and Raw is its beginning
}

// Visitor is told what a walk comes upon, in the order of the message. Each method returns false to end the walk. The
// Entity is valid during the call only.
type Visitor interface {
	Field(e *Entity, f Field) bool
	Start(e *Entity) bool          // the header is complete
	Body(e *Entity, b []byte) bool // a piece of a leaf's content, still encoded; multiparts' own text is not told
	End(e *Entity) bool
}

// Walker takes messages apart. The zero value is ready; a Walker is for one goroutine at a time and keeps its buffers
// from message to message.
type Walker struct {
	src      source
	v        Visitor
	entities []Entity
	open     []int      // the entities from the message to the current one
	bounds   []boundary // of the open multiparts, outermost first
	text     []byte     // the boundaries' text, one after the other
	pending  []byte     // the boundary parameter of the header being read; nil for none
	scratch  []byte
	steps    int // boundary comparisons and lines looked at: what tests hold against the size
}

type boundary struct {
	text   []byte
	entity int
}

// Walk reads r to its end, or until v has had enough, and tells v what the message is composed of. size is a hint. The
// error is r's.
func (w *Walker) Walk(r io.Reader, size int64, v Visitor) error {
	w.src.reset(r, size)
	w.v = v
	w.entities, w.open, w.bounds, w.text = w.entities[:0], w.open[:0], w.bounds[:0], w.text[:0]
	w.steps = 0
	done := w.walk()
	err := w.src.err
	if !done {
		err = nil // the visitor ended the walk; what comes after does not matter
	}
	w.v, w.src.r = nil, nil
	return err
}

// walk returns false when the visitor ended the walk.
func (w *Walker) walk() bool {
	cur, ok := w.begin(), true
	for ok {
		var at int
		var more bool
		if at, more, ok = w.header(cur); !ok {
			return false
		}
		if more && w.entities[cur].Kind == Enclosing {
			cur = w.begin() // a boundary cut the header short: the enclosed message is empty
			if ok = w.start(&w.entities[cur]); !ok {
				return false
			}
		}
		if !more {
			if w.entities[cur].Kind == Enclosing {
				cur = w.begin()
				continue
			}
			if at, more, ok = w.body(cur, w.entities[cur].Kind == Leaf); !ok {
				return false
			}
		}
		// A boundary may end several entities, and the text after a closing boundary may be ended by another one.
		for more {
			var part bool
			if cur, part, ok = w.boundary(at); !ok {
				return false
			}
			if part {
				cur = w.begin()
				break
			}
			if at, more, ok = w.body(cur, false); !ok {
				return false
			}
		}
		if !more {
			return w.close(0)
		}
	}
	return ok
}

// begin opens an entity inside the innermost open one, at the present offset.
func (w *Walker) begin() int {
	i, parent := len(w.entities), -1
	mime := false
	if len(w.open) > 0 {
		parent = w.open[len(w.open)-1]
		mime = w.entities[parent].Kind == Multipart
	}
	w.entities = append(w.entities, Entity{
		Index: i, Parent: parent, MIME: mime, Type: "text", Subtype: "plain",
		Header: w.src.off, Body: w.src.off, End: w.src.off, depth: len(w.open),
	})
	w.open = append(w.open, i)
	return i
}

// close ends the open entities from the depth on at the present offset, innermost first.
func (w *Walker) close(depth int) bool {
	for len(w.open) > depth {
		e := &w.entities[w.open[len(w.open)-1]]
		w.open = w.open[:len(w.open)-1]
		e.End, e.Lines = w.src.off, w.src.lines-e.startLines
		if !w.v.End(e) {
			return false
		}
	}
	return true
}

// header reads the header of entity i. found says that a boundary of an enclosing multipart cut it short: at is which.
func (w *Walker) header(i int) (at int, found, ok bool) {
	w.pending = nil
	eol := 0 // the length of the last line break
	for {
		win := w.src.window()
		if len(win) < 2 && w.src.fill(bufferSize) {
			continue
		}
		if len(win) == 0 {
			break
		}
		if len(w.bounds) > 0 {
			if at, found = w.boundaryAt(0); found {
				break
			}
			win = w.src.window()
		}
		if win[0] == '\n' {
			w.src.consume(1)
			break
		}
		if win[0] == '\r' && len(win) > 1 && win[1] == '\n' {
			w.src.consume(2)
			break
		}
		n, whole := w.src.field()
		raw := w.src.window()[:n]
		var f Field
		f, eol = splitField(raw)
		f.Whole = whole
		if !w.field(i, f) {
			return 0, false, false
		}
		w.src.consume(n)
		if !whole {
			w.src.skipField()
			eol = 0
		}
	}
	if found && eol > 0 {
		w.src.unread(eol) // the line break before the boundary is the boundary's
	}
	return at, found, w.start(&w.entities[i])
}

// start ends the entity's header at the present offset.
func (w *Walker) start(e *Entity) bool {
	e.Body, e.startLines = w.src.off, w.src.lines
	w.settle(e)
	return w.v.Start(e)
}

// splitField takes a field apart and returns the length of its last line break.
func splitField(raw []byte) (f Field, eol int) {
	f.Raw = raw
	text := raw
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text, eol = text[:n-1], 1
		if n > 1 && text[n-2] == '\r' {
			text, eol = text[:n-2], 2
		}
	}
	first := text
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		first = text[:i]
	}
	colon := bytes.IndexByte(first, ':')
	if colon < 0 {
		f.Name = bytes.TrimSuffix(first, cr)
		return f, eol
	}
	f.Value = text[colon+1:]
	for colon > 0 && (first[colon-1] == ' ' || first[colon-1] == '\t') {
		colon--
	}
	f.Name = first[:colon]
	return f, eol
}

// field notes what of the field matters to the walk and tells the visitor.
func (w *Walker) field(i int, f Field) bool {
	e := &w.entities[i]
	w.steps++
	switch {
	case f.Value == nil: // not a field
	case len(f.Name) == 12 && equalFold(f.Name, "MIME-Version"):
		e.MIME = true
	case len(f.Name) == 12 && equalFold(f.Name, "Content-Type"):
		e.MIME = true
		if !e.seen {
			e.seen = true
			w.contentType(e, f.Value)
		}
	case len(f.Name) == 25 && equalFold(f.Name, "Content-Transfer-Encoding"):
		if e.Encoding == "" {
			e.Encoding = parseEncoding(f.Value)
		}
	}
	return w.v.Field(e, f)
}

func (w *Walker) contentType(e *Entity, value []byte) {
	lx := lexer{s: value}
	lx.space()
	typ, subtype, ok := lx.contentType(w.scratch[:0])
	if !ok {
		return
	}
	e.Type, e.Subtype = internLower(typ), internLower(subtype)
	w.scratch = typ[:0]
	multipart := e.Type == "multipart"
	for name, value := range lx.params() {
		switch {
		case e.Charset == "" && equalFold(name, "charset"):
			e.Charset = internCharset(value)
		case multipart && w.pending == nil && len(value) > 0 && equalFold(name, "boundary"):
			start := len(w.text)
			w.text = append(w.text, value[:min(len(value), maxBoundary)]...)
			w.pending = w.text[start:len(w.text):len(w.text)]
		}
	}
}

// settle decides, at the end of its header, what the entity is.
func (w *Walker) settle(e *Entity) {
	if !e.MIME {
		e.Type, e.Subtype, e.Charset, e.Encoding = "text", "plain", "", ""
		w.pending = nil
	}
	if (!e.seen || !e.MIME) && e.Parent >= 0 && w.entities[e.Parent].digest {
		e.Type, e.Subtype = "message", "rfc822"
	}
	if !e.compound() || e.depth >= maxDepth || len(w.entities) >= maxParts {
		return
	}
	if e.Type == "message" {
		e.Kind = Enclosing
		return
	}
	e.Kind, e.digest = Multipart, e.Subtype == "digest"
	if w.pending != nil {
		w.bounds = append(w.bounds, boundary{text: w.pending, entity: e.Index})
	}
}

// compound says whether entities of this type are taken apart.
func (e *Entity) compound() bool {
	return e.Type == "multipart" || e.Type == "message" && (e.Subtype == "rfc822" || e.Subtype == "global")
}

package search

import (
	"bytes"
	"io"
	"strings"

	"imapped/domain/message"
)

// scanner decides, in one pass over a message, the leaves that its header or its text decides.
type scanner struct {
	fields []*leaf // undecided leaves about header fields of the message
	texts  []*leaf // undecided Text and Body leaves

	header    message.HeaderDecoder
	addresses message.AddressReader
	walker    message.Walker
	decoder   message.Decoder
	charset   message.TextDecoder
	reading   int // the entity whose text is being read; -1 for none
	dated     bool

	line, text, raw, decoded, folded []byte // scratch
}

// begin takes the program's undecided leaves up to the level.
func (s *scanner) begin(p *Program, most level) {
	s.fields, s.texts = s.fields[:0], s.texts[:0]
	s.reading, s.dated = -1, false
	for i := range p.leaves {
		l := &p.leaves[i]
		if l.verdict != Unknown || l.level > most || l.level < byHeaders {
			continue
		}
		l.matcher.found = false
		l.matcher.reset()
		if l.Op == Text || l.Op == Body {
			s.texts = append(s.texts, l)
		} else {
			s.fields = append(s.fields, l)
		}
	}
}

// field looks at a field of the message's own header.
func (s *scanner) field(f message.Field) {
	if f.Value == nil {
		return
	}
	for _, l := range s.fields {
		if l.verdict == Unknown && s.matches(l, f) {
			l.verdict = Yes
		}
	}
	s.dated = s.dated || equalFold(f.Name, "Date")
}

func (s *scanner) matches(l *leaf, f message.Field) bool {
	switch l.Op {
	case SentBefore, SentOn, SentSince:
		if s.dated || !equalFold(f.Name, "Date") { // of several the first one counts
			return false
		}
		t, ok := message.ParseDate(f.Value)
		return ok && day(l.Op-SentBefore, message.Day(t), l.Day)
	case From, To, Cc, Bcc:
		if !equalFold(f.Name, addressNames[l.Op-From]) {
			return false
		}
		if l.Text == "" {
			return true
		}
		s.line = s.addresses.Text(s.line[:0], f.Value)
	case Subject:
		if !equalFold(f.Name, "Subject") {
			return false
		}
		s.line = collapse(s.line[:0], f.Value)
	default:
		if !equalFold(f.Name, l.Field) {
			return false
		}
		s.line = message.Unfold(s.line[:0], f.Value)
	}
	if l.Text == "" {
		return true
	}
	s.text = s.header.Decode(s.text[:0], s.line)
	s.folded = fold(s.folded[:0], s.text)
	return bytes.Contains(s.folded, l.matcher.needle)
}

var addressNames = [...]string{"From", "To", "Cc", "Bcc"}

// collapse appends a value with each run of white space as one space, and none at the start.
func collapse(dst, value []byte) []byte {
	gap := false
	for _, c := range value {
		switch c {
		case ' ', '\t', '\r', '\n':
			if !gap && len(dst) > 0 {
				dst = append(dst, ' ')
			}
			gap = true
		default:
			dst = append(dst, c)
			gap = false
		}
	}
	return dst
}

// endHeader decides the leaves that no field matched.
func (s *scanner) endHeader() {
	for _, l := range s.fields {
		if l.verdict == Unknown {
			l.verdict = No
		}
	}
	s.fields = s.fields[:0]
}

// run reads the message until everything is decided.
func (s *scanner) run(r io.Reader, size int64) error {
	err := s.walker.Walk(r, size, s)
	if err == nil {
		s.endHeader()
		for _, l := range s.texts {
			l.verdict = verdict(l.matcher.found)
		}
	}
	return err
}

// open says whether anything is left to be decided.
func (s *scanner) open() bool {
	if len(s.fields) > 0 {
		return true
	}
	for _, l := range s.texts {
		if !l.matcher.found {
			return true
		}
	}
	return false
}

// Field implements message.Visitor.
func (s *scanner) Field(e *message.Entity, f message.Field) bool {
	if e.Index == 0 {
		s.field(f)
	}
	wanted := false
	for _, l := range s.texts {
		wanted = wanted || l.Op == Text && !l.matcher.found
	}
	if !wanted {
		return true
	}
	// The name, the colon and the value as they stand, but for encoded words and folding.
	s.text = append(s.text[:0], f.Name...)
	if f.Value != nil {
		value := bytes.TrimLeft(f.Value, " \t\r\n")
		s.text = append(s.text, ':')
		if len(value) < len(f.Value) {
			s.text = append(s.text, ' ')
		}
		s.line = message.Unfold(s.line[:0], value)
		s.text = s.header.Decode(s.text, s.line)
	}
	s.folded = fold(s.folded[:0], s.text)
	for _, l := range s.texts {
		if l.Op == Text {
			l.matcher.reset()
			l.matcher.feed(s.folded)
			l.matcher.reset()
		}
	}
	return true
}

// Start implements message.Visitor.
func (s *scanner) Start(e *message.Entity) bool {
	if e.Index == 0 {
		s.endHeader()
	}
	if !s.open() {
		return false
	}
	s.reading = -1
	if e.Kind != message.Leaf || e.Type != "text" && e.Type != "message" {
		return true
	}
	if d, ok := message.NewDecoder(e.Encoding); ok {
		s.reading, s.decoder = e.Index, d
		s.charset.Reset(e.Charset)
		for _, l := range s.texts {
			l.matcher.reset()
		}
	}
	return true
}

// Body implements message.Visitor.
func (s *scanner) Body(e *message.Entity, b []byte) bool {
	if s.reading != e.Index {
		return true
	}
	for len(b) > 0 {
		n := min(len(b), 8192)
		s.raw = s.decoder.Decode(s.raw[:0], b[:n])
		s.decoded = s.charset.Decode(s.decoded[:0], s.raw)
		s.feed(s.decoded)
		b = b[n:]
	}
	return s.open()
}

// End implements message.Visitor.
func (s *scanner) End(e *message.Entity) bool {
	if s.reading != e.Index {
		return true
	}
	s.raw = s.decoder.Flush(s.raw[:0])
	s.decoded = s.charset.Flush(s.charset.Decode(s.decoded[:0], s.raw))
	s.feed(s.decoded)
	s.reading = -1
	return s.open()
}

// feed goes on with a part's text.
func (s *scanner) feed(text []byte) {
	s.folded = fold(s.folded[:0], text)
	for _, l := range s.texts {
		l.matcher.feed(s.folded)
	}
}

func equalFold(b []byte, name string) bool {
	return len(b) == len(name) && strings.EqualFold(string(b), name)
}

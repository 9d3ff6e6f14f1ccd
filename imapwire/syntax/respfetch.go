package syntax

import (
	"bytes"
	"math"
)

// fetchItems parses the items of a FETCH response up to its closing parenthesis or to a streamed section.
func (s *respScan) fetchItems(f *FetchData, stream int64) {
	f.More = stream >= 0
	for {
		s.sp()
		if s.end() {
			// No closing parenthesis, or a literal that is streamed without its item having been understood.
			s.bad = true
			if stream >= 0 {
				f.Sections = append(f.Sections, Section{Origin: -1, Streamed: true, Size: stream})
			}
			return
		}
		if s.take(')') {
			if stream < 0 {
				if len(s.rest()) > 0 {
					s.bad = true
				}
				return
			}
			s.bad = true
			continue
		}
		if s.fetchItem(f, stream) {
			return
		}
	}
}

// fetchItem parses one item; it returns true after the header of the streamed literal.
func (s *respScan) fetchItem(f *FetchData, stream int64) bool {
	start := s.i
	name := s.itemName()
	switch {
	case len(name) == 0:
		s.bad = true
		if s.peek() == '(' || s.peek() == '"' {
			s.skipValue()
		}
		if s.i == start {
			s.i++
		}
		return false
	case s.peek() == '[':
		return s.section(f, start, name, stream)
	case EqualFold(name, "RFC822"), EqualFold(name, "RFC822.HEADER"), EqualFold(name, "RFC822.TEXT"):
		return s.section(f, start, name, stream)
	}
	s.sp()
	switch {
	case EqualFold(name, "UID"):
		var ok bool
		f.UID, ok = s.number32()
		s.have(f, HasUID, ok && f.UID > 0)
	case EqualFold(name, "FLAGS"):
		f.Flags = s.words(f.Flags)
		f.Has |= HasFlags
	case EqualFold(name, "INTERNALDATE"):
		v, isNil := s.str()
		if f.Date = v; !isNil && len(v) > 0 {
			f.Has |= HasDate
		}
	case EqualFold(name, "RFC822.SIZE"):
		n, ok := s.number(math.MaxInt64)
		f.Size = int64(n)
		s.have(f, HasSize, ok)
	case EqualFold(name, "MODSEQ"):
		n, ok := s.wrappedNumber(math.MaxInt64)
		f.ModSeq = n
		s.have(f, HasModSeq, ok)
	case EqualFold(name, "EMAILID"):
		f.EmailID = s.wrappedString()
		s.have(f, HasEmailID, len(f.EmailID) > 0)
	case EqualFold(name, "THREADID"):
		if f.ThreadID = s.wrappedString(); len(f.ThreadID) > 0 { // NIL is allowed
			f.Has |= HasThreadID
		}
	case EqualFold(name, "X-GM-MSGID"):
		var ok bool
		f.GmailMessage, ok = s.number(math.MaxUint64)
		s.have(f, HasGmailMessage, ok)
	case EqualFold(name, "X-GM-THRID"): //nolint:misspell // that is its name
		var ok bool
		f.GmailThread, ok = s.number(math.MaxUint64)
		s.have(f, HasGmailThread, ok)
	case EqualFold(name, "X-GM-LABELS"):
		f.GmailLabels = s.words(f.GmailLabels)
		f.Has |= HasGmailLabels
	default:
		s.skipValue()
		return false
	}
	// What is left of a value that was no number, for example.
	if c := s.peek(); !blank(c) && c != ')' && !s.end() {
		s.bad = true
		s.skipValue()
	}
	return false
}

// have records an item that was understood; one that was not makes the response malformed.
func (s *respScan) have(f *FetchData, item FetchHas, ok bool) {
	if ok {
		f.Has |= item
	} else {
		s.bad = true
	}
}

// itemName reads a data item's name, without a section.
func (s *respScan) itemName() []byte {
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case blank(c), c == '(', c == ')', c == '"', c == '[', c == ']', c == '{':
			return s.b[start:s.i]
		}
		s.i++
	}
	return s.b[start:s.i]
}

// wrappedNumber reads a number that stands in parentheses, or should.
func (s *respScan) wrappedNumber(limit uint64) (uint64, bool) {
	wrapped := s.take('(')
	s.sp()
	n, ok := s.number(limit)
	if wrapped {
		for s.sp(); !s.end() && s.peek() != ')'; s.sp() {
			ok = false
			s.skipValue()
		}
		s.take(')')
	}
	return n, ok
}

// wrappedString reads a string that stands in parentheses, or should; nil for NIL.
func (s *respScan) wrappedString() []byte {
	wrapped := s.take('(')
	s.sp()
	v, isNil := s.str()
	if wrapped {
		for s.sp(); !s.end() && s.peek() != ')'; s.sp() {
			s.bad = true
			s.skipValue()
		}
		s.take(')')
	}
	if isNil {
		return nil
	}
	return v
}

// section parses a BODY[...], BINARY[...] or RFC822 item; its name has been read and "[", if any, is next. It returns
// true when its bytes are streamed.
func (s *respScan) section(f *FetchData, start int, name []byte, stream int64) bool {
	sec := Section{Origin: -1}
	var spec []byte
	if s.take('[') {
		spec = s.sectionSpec()
		for s.peek() == ' ' && s.i+1 < len(s.b) && s.b[s.i+1] == '<' {
			s.i++
		}
		if s.take('<') {
			n, ok := s.number(math.MaxInt64)
			sec.Origin, s.bad = int64(n), s.bad || !ok
			for !s.end() && !s.take('>') {
				s.i++
			}
		}
	}
	sec.Name = s.b[start:s.i:s.i]
	sec.Kind = sectionKind(name, spec)
	s.sp()
	if EqualFold(name, "BINARY.SIZE") {
		s.skipValue()
		return false
	}
	switch lit, ok := s.literal(); {
	case ok && lit.Mode == LiteralStreamed:
		sec.Streamed, sec.Size = true, int64(lit.Size)
		f.Sections = append(f.Sections, sec)
		return stream >= 0 && s.end()
	case ok && lit.Mode == LiteralSkipped: // too large: the answer has no such item
		s.octets(lit)
		return false
	case ok:
		sec.Data = s.octets(lit)
	case s.end() || s.peek() == '(' || s.peek() == ')':
		s.bad = true
		s.skipValue()
		return false
	default:
		if sec.Data, sec.Nil = s.str(); sec.Nil {
			sec.Data = nil
		}
	}
	sec.Size = int64(len(sec.Data))
	f.Sections = append(f.Sections, sec)
	return false
}

// sectionSpec reads a section up to and including its closing bracket; header field names may be quoted or literals.
func (s *respScan) sectionSpec() []byte {
	start := s.i
	for !s.end() {
		switch s.b[s.i] {
		case ']':
			spec := s.b[start:s.i]
			s.i++
			return spec
		case '"':
			s.quoted()
		case '{':
			if lit, ok := s.literal(); ok {
				s.octets(lit)
			} else {
				s.i++
			}
		default:
			s.i++
		}
	}
	s.bad = true
	return s.b[start:]
}

// sectionKind classifies a section by the item's name and what stands in the brackets.
func sectionKind(name, spec []byte) SectionKind {
	switch {
	case EqualFold(name, "RFC822.HEADER"), foldPrefix(spec, "HEADER"):
		return HoldsHeader
	case EqualFold(name, "RFC822.TEXT"), EqualFold(spec, "TEXT"):
		return HoldsText
	case EqualFold(name, "RFC822"):
		return HoldsMessage
	case EqualFold(name, "BODY"), EqualFold(name, "BODY.PEEK"):
		if len(bytes.TrimSpace(spec)) == 0 {
			return HoldsMessage
		}
	}
	return HoldsOther
}

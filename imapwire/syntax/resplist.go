package syntax

import "math"

// list parses a LIST response behind its name.
func (s *respScan) list(l *ListData) {
	l.Attrs = s.words(l.Attrs)
	s.sp()
	l.Delimiter = s.delimiter()
	s.sp()
	switch s.peek() {
	case '"':
		l.Name, _ = s.str()
	case '{', '~':
		if lit, ok := s.literal(); ok {
			l.Name = s.octets(lit)
		} else {
			l.Name = s.bareName()
		}
	default:
		l.Name = s.bareName()
	}
	s.sp()
	if s.take('(') {
		s.listExtended(l)
	}
	if len(s.rest()) > 0 {
		s.bad = true
	}
}

// delimiter reads a hierarchy delimiter: a quoted character or NIL. A backslash may come without its escape.
func (s *respScan) delimiter() byte {
	if rest := s.b[s.i:]; len(rest) > 3 && string(rest[:3]) == `"\"` && blank(rest[3]) {
		s.i += 3
		return '\\'
	}
	v, isNil := s.str()
	if isNil || len(v) == 0 {
		return 0
	}
	if len(v) > 1 {
		s.bad = true
	}
	return v[0]
}

// bareName reads a mailbox name that is neither quoted nor a literal, as some servers write names with spaces or
// other forbidden characters: everything up to the end, or up to what looks like extended data.
func (s *respScan) bareName() []byte {
	rest := s.b[s.i:]
	for i := 0; i+2 < len(rest); i++ {
		if rest[i] != ' ' || rest[i+1] != '(' {
			continue
		}
		if in := rest[i+2:]; foldPrefix(in, `"CHILDINFO"`) || foldPrefix(in, `"OLDNAME"`) ||
			foldPrefix(in, "CHILDINFO") || foldPrefix(in, "OLDNAME") {
			s.i += i
			return trim(rest[:i])
		}
	}
	s.i = len(s.b)
	return trim(rest)
}

// listExtended parses the extended data of a LIST response (RFC 5258 section 3.5); its parenthesis has been read.
func (s *respScan) listExtended(l *ListData) {
	for {
		s.sp()
		if s.end() {
			s.bad = true
			return
		}
		if s.take(')') {
			return
		}
		before := s.i
		tag, _ := s.str()
		s.sp()
		switch {
		case EqualFold(tag, "CHILDINFO"):
			l.ChildInfo = true
			s.skipValue()
		case EqualFold(tag, "OLDNAME"):
			l.OldName = s.wrappedString()
		default:
			s.skipValue()
		}
		if s.i == before {
			s.i++
		}
	}
}

// mailbox parses a STATUS response behind its name.
func (s *respScan) mailbox(m *MailboxData) {
	s.sp()
	if c := s.peek(); c == '"' || c == '{' {
		m.Name, _ = s.str()
	} else {
		m.Name = s.bareStatusName()
	}
	s.sp()
	if !s.take('(') {
		s.bad = true
		return
	}
	for {
		s.sp()
		if s.end() {
			s.bad = true
			return
		}
		if s.take(')') {
			return
		}
		before := s.i
		s.statusItem(m)
		if s.i == before {
			s.i++
		}
	}
}

// bareStatusName reads a mailbox name that is neither quoted nor a literal: everything up to the last list.
func (s *respScan) bareStatusName() []byte {
	rest := s.b[s.i:]
	end, depth := len(rest), 0
	for i := len(rest) - 1; i >= 0; i-- {
		switch rest[i] {
		case ')':
			depth++
		case '(':
			depth--
		}
		if depth == 0 && rest[i] == '(' {
			end = i
			break
		}
	}
	s.i += end
	return trim(rest[:end])
}

// statusItem parses one item of a STATUS response and its value.
func (s *respScan) statusItem(m *MailboxData) {
	name := s.word()
	if len(name) == 0 {
		s.bad = true
		s.skipValue()
		return
	}
	s.sp()
	small := func(dst *uint32, has StatusHas) {
		if n, ok := s.number32(); ok {
			*dst = n
			m.Has |= has
		} else {
			s.statusJunk()
		}
	}
	switch {
	case EqualFold(name, "MESSAGES"):
		small(&m.Messages, HasMessages)
	case EqualFold(name, "RECENT"):
		small(&m.Recent, HasRecent)
	case EqualFold(name, "UIDNEXT"):
		small(&m.UIDNext, HasUIDNext)
	case EqualFold(name, "UIDVALIDITY"):
		small(&m.UIDValidity, HasUIDValidity)
	case EqualFold(name, "UNSEEN"):
		small(&m.Unseen, HasUnseen)
	case EqualFold(name, "DELETED"):
		small(&m.Deleted, HasDeleted)
	case EqualFold(name, "SIZE"):
		if n, ok := s.number(math.MaxInt64); ok {
			m.Size = int64(n)
			m.Has |= HasTotalSize
		} else {
			s.statusJunk()
		}
	case EqualFold(name, "HIGHESTMODSEQ"):
		if n, ok := s.number(math.MaxInt64); ok {
			m.HighestModSeq = n
			m.Has |= HasHighestModSeq
		} else {
			s.statusJunk()
		}
	case EqualFold(name, "MAILBOXID"):
		if m.MailboxID = s.wrappedString(); len(m.MailboxID) > 0 {
			m.Has |= HasMailboxID
		}
	default:
		s.skipValue()
	}
}

// statusJunk skips a value that should have been a number: what is there belongs to the item only when it cannot be
// the next item's name.
func (s *respScan) statusJunk() {
	s.bad = true
	if c := s.peek(); c == '(' || c == '"' || c == '-' || isDigit(c) {
		s.skipValue()
		return
	}
	from := s.i
	if !EqualFold(s.word(), "NIL") {
		s.i = from
	}
}

// namespaces parses one of the three lists of a NAMESPACE response.
func (s *respScan) namespaces(dst []Namespace) []Namespace {
	s.sp()
	if !s.take('(') {
		if v, isNil := s.str(); !isNil || len(v) == 0 {
			s.bad = true
		}
		return dst
	}
	for {
		s.sp()
		if s.end() {
			s.bad = true
			return dst
		}
		if s.take(')') {
			return dst
		}
		if !s.take('(') {
			s.bad = true
			before := s.i
			s.skipValue()
			if s.i == before {
				s.i++
			}
			continue
		}
		var n Namespace
		s.sp()
		prefix, isNil := s.str()
		if !isNil {
			n.Prefix = prefix
		}
		s.sp()
		n.Delimiter = s.delimiter()
		dst = append(dst, n)
		for s.sp(); !s.end() && s.peek() != ')'; s.sp() {
			s.skipValue()
		}
		s.bad = !s.take(')') || s.bad
	}
}

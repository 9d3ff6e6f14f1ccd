package syntax

import "math"

// RespParser parses the responses of one connection (RFC 9051 section 7). It keeps only what a FETCH response that
// comes in several parts needs. The zero value is ready. It never fails: see Response.
type RespParser struct {
	resp  Response
	arena []byte // strings that had to be unescaped
	more  bool   // the part before was the beginning of a FETCH response,
	from  int    // and this part begins here
	body  bodyContext
}

// Parse parses a frame, or, with more, the part of a FETCH response that ends with the header of a literal that is
// streamed; what follows that literal is the next part. The result, and the views in it, are valid as long as the
// frame and until the next call.
func (p *RespParser) Parse(f *Frame, more bool) *Response {
	r := &p.resp
	r.reset()
	p.arena = p.arena[:0]
	if p.from > len(f.Data) {
		p.more, p.from = false, 0
	}
	s := respScan{b: f.Data[p.from:], off: p.from, lits: f.Lits, arena: &p.arena}
	if p.more {
		r.Kind = RespFetch
		r.Fetch.Continued = true
	} else {
		p.start(&s)
	}
	stream := int64(-1)
	if k := len(f.Lits); more && k > 0 {
		stream = int64(f.Lits[k-1].Size)
	}
	if r.Kind == RespFetch {
		s.fetchItems(&r.Fetch, stream)
	}
	if p.more = r.Kind == RespFetch && stream >= 0; p.more {
		p.from = len(f.Data)
	} else {
		p.from, p.body = 0, bodyContext{}
	}
	r.Malformed = r.Malformed || s.bad
	return r
}

// IsBody says, after EventLiteral, whether the literal is what the grammar says is a body: the value of a BODY[...],
// BINARY[...] or RFC822 item of a FETCH response. Only such a literal may be streamed. It is called for every literal
// of a frame, in order, before the framer is told what to do with it. header says that the body is a message's header,
// or fields of it.
func (p *RespParser) IsBody(f *Frame) (body, header bool) {
	return p.body.literal(f)
}

// reset empties the response and keeps its storage.
func (r *Response) reset() {
	*r = Response{
		Num: 0, Nums: r.Nums[:0], Words: r.Words[:0],
		Code: RespCode{Words: r.Code.Words[:0], Source: r.Code.Source[:0], Dest: r.Code.Dest[:0]},
		Fetch: FetchData{
			Flags: r.Fetch.Flags[:0], GmailLabels: r.Fetch.GmailLabels[:0], Sections: r.Fetch.Sections[:0],
		},
		List: ListData{Attrs: r.List.Attrs[:0]},
		Namespaces: [3][]Namespace{
			r.Namespaces[0][:0], r.Namespaces[1][:0], r.Namespaces[2][:0],
		},
	}
}

// start parses a response from its first byte; of a FETCH, what stands before its items.
func (p *RespParser) start(s *respScan) {
	r := &p.resp
	s.sp()
	switch {
	case s.peek() == '*' && (s.i+1 == len(s.b) || blank(s.b[s.i+1])):
		s.i++
		s.sp()
		p.untagged(s)
		return
	case s.peek() == '+':
		s.i++
		r.Kind, r.Text = RespContinue, s.rest()
		return
	}
	from := s.i
	r.Tag = s.word()
	s.sp()
	if p.status(s) {
		r.Kind = RespTagged
		return
	}
	r.Tag = nil
	s.i = from
	r.Kind, r.Text = RespGarbage, s.rest()
}

// status parses a condition with its code and text when one is next.
func (p *RespParser) status(s *respScan) bool {
	r := &p.resp
	from := s.i
	for s.i < len(s.b) && !blank(s.b[s.i]) && s.b[s.i] != '[' {
		s.i++
	}
	word := s.b[from:s.i]
	for k := StatusOK; k <= StatusPREAUTH; k++ {
		if EqualFold(word, k.String()) {
			r.Status = k
			s.sp()
			if s.peek() == '[' {
				p.code(s)
			}
			r.Text = s.rest()
			return true
		}
	}
	s.i = from
	return false
}

// untagged parses what follows "* ".
func (p *RespParser) untagged(s *respScan) {
	r := &p.resp
	if isDigit(s.peek()) || s.peek() == '-' {
		p.numbered(s)
		return
	}
	if p.status(s) {
		r.Kind = RespStatus
		return
	}
	r.Name = s.word()
	switch name := r.Name; {
	case EqualFold(name, "CAPABILITY"):
		r.Kind = RespCapability
		r.Words = s.wordsUntil(r.Words, 0)
	case EqualFold(name, "ENABLED"):
		r.Kind = RespEnabled
		r.Words = s.wordsUntil(r.Words, 0)
	case EqualFold(name, "LIST"), EqualFold(name, "XLIST"), EqualFold(name, "LSUB"):
		r.Kind = RespList
		r.List.LSub = EqualFold(name, "LSUB")
		s.list(&r.List)
	case EqualFold(name, "STATUS"):
		r.Kind = RespMailbox
		s.mailbox(&r.Mailbox)
	case EqualFold(name, "SEARCH"):
		r.Kind = RespSearch
		p.search(s)
	case EqualFold(name, "ESEARCH"):
		r.Kind = RespESearch
		p.esearch(s)
	case EqualFold(name, "FLAGS"):
		r.Kind = RespFlags
		r.Words = s.words(r.Words)
	case EqualFold(name, "VANISHED"):
		r.Kind = RespVanished
		p.vanished(s)
	case EqualFold(name, "ID"):
		r.Kind = RespID
		s.sp()
		r.Words = s.words(r.Words)
	case EqualFold(name, "NAMESPACE"):
		r.Kind = RespNamespace
		for i := range r.Namespaces {
			r.Namespaces[i] = s.namespaces(r.Namespaces[i])
		}
	default:
		r.Kind = RespOther
		r.Text = s.rest()
	}
}

// numbered parses what follows "* " when it begins with a number.
func (p *RespParser) numbered(s *respScan) {
	r := &p.resp
	from := s.i
	n, ok := s.number32()
	r.Num, s.bad = n, s.bad || !ok
	s.sp()
	switch name := s.word(); {
	case EqualFold(name, "EXISTS"):
		r.Kind = RespExists
	case EqualFold(name, "RECENT"):
		r.Kind = RespRecent
	case EqualFold(name, "EXPUNGE"):
		r.Kind = RespExpunge
	case EqualFold(name, "FETCH"):
		r.Kind = RespFetch
		s.sp()
		s.bad = !s.take('(') || s.bad
	default:
		s.i = from
		r.Kind, r.Num, r.Name, r.Text = RespOther, 0, name, s.rest()
		s.bad = true
	}
}

// search parses the numbers of a SEARCH response; a number cut short or anything unknown makes it malformed.
func (p *RespParser) search(s *respScan) {
	r := &p.resp
	for {
		s.sp()
		switch {
		case s.end():
			return
		case s.take('('):
			s.sp()
			if EqualFold(s.word(), "MODSEQ") {
				s.sp()
				r.ModSeq, _ = s.number(math.MaxInt64)
			}
			s.sp()
			s.bad = !s.take(')') || s.bad
		default:
			n, ok := s.number32()
			if !ok || (!s.end() && !blank(s.peek())) {
				s.bad = true
				if len(s.word()) == 0 && !s.end() {
					s.i++
				}
				continue
			}
			if n > 0 {
				r.Nums = appendRange(r.Nums, n, n)
			}
		}
	}
}

// esearch parses an ESEARCH response.
func (p *RespParser) esearch(s *respScan) {
	r := &p.resp
	s.sp()
	if s.take('(') {
		s.sp()
		if EqualFold(s.word(), "TAG") {
			s.sp()
			r.ESearch.Tag, _ = s.str()
		}
		for s.sp(); !s.end() && s.peek() != ')'; s.sp() {
			s.skipValue()
		}
		s.bad = !s.take(')') || s.bad
	}
	for {
		s.sp()
		if s.end() {
			return
		}
		before := s.i
		name := s.word()
		if EqualFold(name, "UID") {
			r.ESearch.UID = true
			continue
		}
		s.sp()
		var ok bool
		switch {
		case EqualFold(name, "ALL"):
			r.ESearch.All = true
			r.Nums = s.set(r.Nums)
			ok = true
		case EqualFold(name, "COUNT"):
			var n uint64
			n, ok = s.number(math.MaxInt64)
			r.ESearch.Count = int64(n)
		case EqualFold(name, "MIN"):
			r.ESearch.Min, ok = s.number32()
		case EqualFold(name, "MAX"):
			r.ESearch.Max, ok = s.number32()
		case EqualFold(name, "MODSEQ"):
			r.ModSeq, ok = s.number(math.MaxInt64)
		default:
			s.skipValue()
			ok = len(name) > 0
		}
		s.bad = s.bad || !ok
		if s.i == before {
			s.i++
		}
	}
}

// vanished parses a VANISHED response.
func (p *RespParser) vanished(s *respScan) {
	r := &p.resp
	s.sp()
	if s.take('(') {
		for s.sp(); !s.end() && s.peek() != ')'; s.sp() {
			before := s.i
			r.Earlier = EqualFold(s.word(), "EARLIER") || r.Earlier
			if s.i == before {
				s.i++
			}
		}
		s.bad = !s.take(')') || s.bad
		s.sp()
	}
	r.Nums = s.set(r.Nums)
	if len(s.rest()) > 0 {
		s.bad = true
	}
}

// code parses a response code; its opening bracket is next.
func (p *RespParser) code(s *respScan) {
	c := &p.resp.Code
	s.i++
	// The code ends at the first bracket outside of quotes and parentheses: flag names may hold one.
	start, depth, quoted := s.i, 0, false
	end := len(s.b)
scan:
	for i := s.i; i < len(s.b); i++ {
		switch ch := s.b[i]; {
		case quoted && ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == '(':
			depth++
		case ch == ')':
			depth--
		case ch == ']' && depth <= 0:
			end = i
			break scan
		}
	}
	if end == len(s.b) { // unbalanced: take the first bracket, whatever is around it
		for i := s.i; i < len(s.b); i++ {
			if s.b[i] == ']' {
				end = i
				break
			}
		}
	}
	s.i = min(end+1, len(s.b))
	s.bad = s.bad || end == len(s.b)

	in := respScan{b: s.b[start:end], arena: s.arena}
	in.sp()
	c.Name = in.word()
	if len(c.Name) == 0 {
		return
	}
	c.ID = codeID(c.Name)
	in.sp()
	c.Arg = trim(in.b[in.i:])
	ok := true
	switch c.ID {
	case CodeCapability:
		c.Words = in.wordsUntil(c.Words, 0)
	case CodePermanentFlags, CodeBadCharset:
		c.Words = in.words(c.Words)
	case CodeAppendUID:
		if c.Num, ok = in.number(math.MaxUint32); ok {
			in.sp()
			c.Dest = in.set(c.Dest)
		}
	case CodeCopyUID:
		if c.Num, ok = in.number(math.MaxUint32); ok {
			in.sp()
			c.Source = in.set(c.Source)
			in.sp()
			c.Dest = in.set(c.Dest)
			ok = !in.back // which message is which would be a guess
		}
	case CodeUIDNext, CodeUIDValidity, CodeUnseen:
		c.Num, ok = in.number(math.MaxUint32)
	case CodeHighestModSeq:
		c.Num, ok = in.number(math.MaxInt64)
	}
	s.bad = s.bad || in.bad || !ok
}

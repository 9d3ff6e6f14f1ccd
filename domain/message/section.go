package message

// SectionKind is what of a part a section names (RFC 9051 section 6.4.5.1).
type SectionKind uint8

// The kinds of sections.
const (
	SectionWhole  SectionKind = iota // BODY[] and BODY[1.2]: the message, or a part's content without its MIME header
	SectionHeader                    // HEADER; also what HEADER.FIELDS and HEADER.FIELDS.NOT select from (FilterHeader)
	SectionText                      // TEXT
	SectionMIME                      // MIME: the part's own header
)

// Span is a range of octets of the raw message.
type Span struct{ Off, Len int64 }

// Section returns where the section of the part at path is; an empty path is the message. ok is false when the message
// has no such part or the part no such section (HEADER and TEXT exist for the message and for message/rfc822 parts
// only, MIME for parts only): the answer is then NIL. The header's blank line belongs to the header.
func (ix *Index) Section(path []uint32, kind SectionKind) (s Span, ok bool) {
	i, ok := ix.find(path)
	if !ok {
		return Span{}, false
	}
	p := &ix.parts[i]
	switch kind {
	case SectionWhole:
		if len(path) == 0 {
			return Span{p.header, p.end - p.header}, true
		}
		return Span{p.body, p.end - p.body}, true
	case SectionMIME:
		return Span{p.header, p.body - p.header}, len(path) > 0
	}
	if len(path) > 0 { // the header and the text of the message that the part encloses
		if p.kind != Enclosing {
			return Span{}, false
		}
		p = &ix.parts[p.kids[0]]
	}
	if kind == SectionHeader {
		return Span{p.header, p.body - p.header}, true
	}
	return Span{p.body, p.end - p.body}, true
}

// Encoding returns the Content-Transfer-Encoding, in lower case, of the part at path: what DecodedReader takes. It is
// "7bit" for a part that has none and for a multipart. ok is false when there is no such part.
func (ix *Index) Encoding(path []uint32) (encoding string, ok bool) {
	i, ok := ix.find(path)
	if !ok {
		return "", false
	}
	p := &ix.parts[i]
	if len(path) == 0 || p.kind == Multipart || p.encoding == "" {
		return "7bit", true
	}
	return p.encoding, true
}

// find returns the part at path. The parts of a multipart are numbered from 1; a message that is no multipart has one
// part, 1, which is its own content (RFC 9051 section 6.4.5.1). The parts of an enclosed message are numbered below
// the part that encloses it.
func (ix *Index) find(path []uint32) (i int32, ok bool) {
	message := true // what is to be numbered next is the parts of the message i
	for _, n := range path {
		p := &ix.parts[i]
		if p.kind == Enclosing && !message {
			i, message = p.kids[0], true
			p = &ix.parts[i]
		}
		switch {
		case p.kind == Multipart:
			if n == 0 || uint64(n) > uint64(len(p.kids)) {
				return 0, false
			}
			i = p.kids[n-1]
		case !message || n != 1:
			return 0, false
		}
		message = false
	}
	return i, true
}

// FilterHeader appends to dst the lines of header, byte for byte, whose field names are in fields (or, with not, are
// not in it), and the blank line that ends every such section (RFC 9051 section 6.4.5.1). Names match in any case.
func FilterHeader(dst, header []byte, fields []string, not bool) []byte {
	for f := range Fields(header) {
		if (f.Value != nil && in(f.Name, fields)) != not {
			dst = append(dst, f.Raw...)
			if n := len(f.Raw); f.Raw[n-1] != '\n' {
				dst = append(dst, crlf...)
			}
		}
	}
	return append(dst, crlf...)
}

func in(name []byte, fields []string) bool {
	for _, f := range fields {
		if equalFold(name, f) {
			return true
		}
	}
	return false
}

package message

import "strconv"

// The Content-* fields that a body structure shows.
const (
	cfType = iota
	cfID
	cfDescription
	cfEncoding
	cfMD5
	cfDisposition
	cfLanguage
	cfLocation
	contentFields
)

var contentNames = [contentFields]string{
	"Content-Type", "Content-ID", "Content-Description", "Content-Transfer-Encoding", "Content-MD5",
	"Content-Disposition", "Content-Language", "Content-Location",
}

// contentField returns the content field with the name, or -1.
func contentField(name []byte) int {
	if len(name) < 10 || len(name) > 25 || name[7] != '-' || !equalFold(name[:8], "Content-") {
		return -1
	}
	for i, n := range contentNames {
		if equalFold(name, n) {
			return i
		}
	}
	return -1
}

const defaultParams = `("charset" "us-ascii")`

// appendStructure appends the body structure of entity i (RFC 9051 section 7.5.2, "BODYSTRUCTURE"), or its
// non-extensible form.
func (c *composer) appendStructure(dst []byte, i int, extended bool) []byte {
	n := &c.nodes[i]
	dst = append(dst, '(')
	if n.kind == Multipart {
		dst = c.appendMultipart(dst, n, extended)
	} else {
		dst = c.appendPart(dst, n, extended)
	}
	return append(dst, ')')
}

func (c *composer) appendMultipart(dst []byte, n *node, extended bool) []byte {
	if n.first == 0 {
		// The grammar asks for at least one part: an empty text stands for it.
		dst = append(dst, `("text" "plain" `+defaultParams+` NIL NIL "7bit" 0 0`...)
		if extended {
			dst = append(dst, ` NIL NIL NIL NIL`...)
		}
		dst = append(dst, ')')
	}
	for k := n.first; k != 0; k = c.nodes[k].next {
		dst = c.appendStructure(dst, int(k), extended)
	}
	lx := lexer{s: c.value(n.content[cfType])}
	_, subtype, _ := lx.contentType(c.token[:0])
	dst = append(dst, ' ')
	dst = appendString(dst, subtype)
	if !extended {
		return dst
	}
	dst = append(dst, ' ')
	dst = c.appendParams(dst, &lx, false)
	return c.appendExtension(dst, n)
}

func (c *composer) appendPart(dst []byte, n *node, extended bool) []byte {
	lx := lexer{s: c.value(n.content[cfType])}
	typ, subtype, ok := lx.contentType(c.token[:0])
	text := false
	switch {
	case n.kind == Enclosing && n.global:
		dst = append(dst, `"message" "global"`...)
	case n.kind == Enclosing:
		dst = append(dst, `"message" "rfc822"`...)
	case n.opaque:
		dst = append(dst, `"application" "octet-stream"`...)
		ok = false
	case !ok:
		text = true
		dst = append(dst, `"text" "plain"`...)
	default:
		text = equalFold(typ, "text")
		dst = appendString(dst, typ)
		dst = append(dst, ' ')
		dst = appendString(dst, subtype)
	}
	dst = append(dst, ' ')
	if !ok {
		lx.i = len(lx.s)
	}
	dst = c.appendParams(dst, &lx, text)
	dst = append(dst, ' ')
	dst = c.appendUnfolded(dst, c.value(n.content[cfID]))
	dst = append(dst, ' ')
	dst = c.appendUnfolded(dst, c.value(n.content[cfDescription]))
	dst = append(dst, ' ')
	dst = c.appendEncoding(dst, n)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, n.end-n.body, 10)
	switch {
	case text:
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, n.lines, 10)
	case n.kind == Enclosing:
		dst = append(dst, ' ')
		child := &c.nodes[n.first]
		dst = c.appendEnvelope(dst, &c.envelopes[child.envelope])
		dst = append(dst, ' ')
		dst = c.appendStructure(dst, int(n.first), extended)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, n.lines, 10)
	}
	if !extended {
		return dst
	}
	dst = append(dst, ' ')
	dst = c.appendUnfolded(dst, c.value(n.content[cfMD5]))
	return c.appendExtension(dst, n)
}

func (c *composer) appendEncoding(dst []byte, n *node) []byte {
	lx := lexer{s: c.value(n.content[cfEncoding])}
	lx.space()
	token, st := lx.token(c.token[:0])
	if st != stEnd || len(token) == 0 {
		return append(dst, `"7bit"`...)
	}
	return appendString(dst, token)
}

// appendExtension appends the disposition, the languages and the location.
func (c *composer) appendExtension(dst []byte, n *node) []byte {
	dst = append(dst, ' ')
	dst = c.appendDisposition(dst, c.value(n.content[cfDisposition]))
	dst = append(dst, ' ')
	dst = c.appendLanguages(dst, c.value(n.content[cfLanguage]))
	dst = append(dst, ' ')
	return c.appendUnfolded(dst, c.value(n.content[cfLocation]))
}

func (c *composer) appendDisposition(dst, value []byte) []byte {
	lx := lexer{s: value}
	lx.space()
	token, st := lx.token(c.token[:0])
	if value == nil || st == stBad {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	dst = appendString(dst, token)
	dst = append(dst, ' ')
	dst = c.appendParams(dst, &lx, false)
	return append(dst, ')')
}

func (c *composer) appendLanguages(dst, value []byte) []byte {
	lx := lexer{s: value}
	lx.space()
	sep := byte('(')
	for {
		tag, st := lx.atom(c.token[:0])
		if len(tag) == 0 || st == stBad {
			break
		}
		dst = append(dst, sep)
		dst = appendString(dst, tag)
		sep = ' '
		if !lx.at(',') {
			break
		}
		lx.i++
		lx.space()
	}
	if sep == '(' {
		return append(dst, "NIL"...)
	}
	return append(dst, ')')
}

// appendParams appends the parameters that lx is at; with text, a charset is made up for where there is none.
func (c *composer) appendParams(dst []byte, lx *lexer, text bool) []byte {
	sep, charset := byte('('), false
	for name, value := range lx.params() {
		charset = charset || equalFold(name, "charset")
		dst = append(dst, sep)
		dst = appendString(dst, name)
		dst = append(dst, ' ')
		dst = appendString(dst, value)
		sep = ' '
	}
	if text && !charset {
		dst = append(dst, sep)
		dst = append(dst, `"charset" "us-ascii"`...)
		sep = ' '
	}
	if sep == '(' {
		return append(dst, "NIL"...)
	}
	return append(dst, ')')
}

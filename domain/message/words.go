package message

import "bytes"

// HeaderDecoder decodes header fields' text. The zero value is ready; it is for one goroutine at a time.
type HeaderDecoder struct {
	text    TextDecoder
	base64  base64Decoder
	line    []byte
	content []byte // the decoded octets of adjacent encoded words
	charset []byte // and their charset
}

// Decode appends a folded field value as one line of UTF-8: line breaks are dropped, encoded words (RFC 2047) are
// decoded wherever they stand, also where the RFC does not allow them, and white space between adjacent ones goes.
// Malformed ones stay as they are.
func (d *HeaderDecoder) Decode(dst, value []byte) []byte {
	if bytes.IndexByte(value, '\n') >= 0 {
		d.line = Unfold(d.line[:0], value)
		value = d.line
	}
	d.content = d.content[:0]
	for {
		i := bytes.Index(value, []byte("=?"))
		if i < 0 {
			break
		}
		w, ok := splitWord(value[i:])
		if !ok {
			// The "=?" is text; the next one is not looked for inside it again.
			dst = d.flush(dst)
			dst = d.plain(dst, value[:i+2])
			value = value[i+2:]
			continue
		}
		if len(bytes.Trim(value[:i], " \t\r")) > 0 || len(d.charset) == 0 && i > 0 {
			dst = d.flush(dst)
			dst = d.plain(dst, value[:i])
		}
		if !bytes.EqualFold(d.charset, w.charset) {
			dst = d.flush(dst)
			d.charset = append(d.charset[:0], w.charset...)
		}
		if w.q {
			d.content = appendQ(d.content, w.text)
		} else {
			d.content = d.base64.Decode(d.content, w.text)
			d.content = d.base64.Flush(d.content)
		}
		value = value[i+w.size:]
	}
	dst = d.flush(dst)
	return d.plain(dst, value)
}

// plain appends text that is not encoded.
func (d *HeaderDecoder) plain(dst, text []byte) []byte {
	if len(text) == 0 {
		return dst
	}
	d.text.Reset("")
	return d.text.Flush(d.text.Decode(dst, text))
}

// flush appends the encoded words read so far.
func (d *HeaderDecoder) flush(dst []byte) []byte {
	if len(d.charset) == 0 {
		return dst
	}
	d.text.Reset(internCharset(d.charset))
	dst = d.text.Flush(d.text.Decode(dst, d.content))
	d.content, d.charset = d.content[:0], d.charset[:0]
	return dst
}

type word struct {
	charset, text []byte
	q             bool
	size          int // of the whole encoded word
}

// splitWord takes apart the encoded word that b starts with: =?charset*language?encoding?text?=.
func splitWord(b []byte) (w word, ok bool) {
	rest := b[2:]
	i := bytes.IndexByte(rest, '?')
	if i <= 0 || i > 64 || len(rest) < i+3 || rest[i+2] != '?' {
		return w, false
	}
	w.charset, _, _ = bytes.Cut(rest[:i], []byte{'*'})
	switch rest[i+1] {
	case 'q', 'Q':
		w.q = true
	case 'b', 'B':
	default:
		return w, false
	}
	rest = rest[i+3:]
	n := bytes.IndexByte(rest, '?')
	if n < 0 || n+1 >= len(rest) || rest[n+1] != '=' || len(w.charset) == 0 {
		return w, false
	}
	w.text, w.size = rest[:n], len(b)-len(rest)+n+2
	return w, true
}

// appendQ decodes the "Q" encoding (RFC 2047 section 4.2).
func appendQ(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(text) && hexValue(text[i+1]) >= 0 && hexValue(text[i+2]) >= 0:
			dst = append(dst, byte(hexValue(text[i+1])<<4|hexValue(text[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

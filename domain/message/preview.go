package message

import (
	"unicode"
	"unicode/utf8"
)

// maxPreview is how many characters a preview has at most (RFC 8970 section 4).
const maxPreview = 200

// previewer makes the preview: the beginning of the first text part that has any text, with white space collapsed and
// without quoted lines. Attachments and enclosed messages are not looked into; encrypted mail has none.
type previewer struct {
	part    int // the entity being read; -1 for none
	done    bool
	decoder Decoder
	text    TextDecoder
	html    bool
	strip   htmlText
	raw     []byte // scratch: without the transfer encoding
	decoded []byte // scratch: UTF-8
	plain   []byte // scratch: without markup

	out     []byte
	chars   int
	gap     bool   // white space is due before the next character
	bol     bool   // at the start of a line
	quoted  bool   // in a quoted line
	partial []byte // the beginning of a character that the next piece ends
}

func (p *previewer) reset() {
	p.part, p.done = -1, false
	p.out, p.chars, p.gap = p.out[:0], 0, false
}

// start looks whether the entity is to be read.
func (p *previewer) start(e *Entity, attachment bool) {
	p.part = -1
	if p.done || len(p.out) > 0 {
		return
	}
	switch {
	case e.Type == "multipart" && e.Subtype == "encrypted", e.Type == "application" && isEncrypted(e.Subtype):
		p.done = true // what follows is not for reading
		return
	case e.Kind != Leaf || e.Type != "text" || attachment:
		return
	case e.Subtype != "plain" && e.Subtype != "html" && e.Subtype != "enriched":
		return
	}
	d, ok := NewDecoder(e.Encoding)
	if !ok {
		return
	}
	p.part, p.decoder, p.html, p.strip = e.Index, d, e.Subtype != "plain", htmlText{token: p.strip.token[:0]}
	p.text.Reset(e.Charset)
	p.gap, p.bol, p.quoted, p.partial = false, true, false, p.partial[:0]
}

func isEncrypted(subtype string) bool {
	switch subtype {
	case "pkcs7-mime", "x-pkcs7-mime", "pgp-encrypted":
		return true
	}
	return false
}

func (p *previewer) body(e *Entity, b []byte) {
	if p.part != e.Index || p.done {
		return
	}
	for len(b) > 0 && !p.done { // in small pieces: mostly the first one is enough
		n := min(len(b), 2048)
		p.raw = p.decoder.Decode(p.raw[:0], b[:n])
		b = b[n:]
		p.decoded = p.text.Decode(p.decoded[:0], p.raw)
		p.add(p.decoded)
	}
}

func (p *previewer) end(e *Entity) {
	if p.part != e.Index {
		return
	}
	if !p.done {
		p.raw = p.decoder.Flush(p.raw[:0])
		p.decoded = p.text.Flush(p.text.Decode(p.decoded[:0], p.raw))
		p.add(p.decoded)
	}
	p.part = -1
}

// add appends text in UTF-8, with or without markup.
func (p *previewer) add(text []byte) {
	if p.html {
		p.plain = p.strip.Write(p.plain[:0], text)
		text = p.plain
	}
	if len(p.partial) > 0 {
		text = append(p.partial, text...)
		p.partial = text[:0]
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 && !utf8.FullRune(text) {
			p.partial = append(p.partial[:0], text...)
			return
		}
		text = text[n:]
		switch {
		case r == '\n' && !p.html:
			p.gap, p.bol, p.quoted = true, true, false
			continue
		case unicode.IsSpace(r) || unicode.IsControl(r):
			p.gap = true
			continue
		case unfit(r):
			continue
		case p.bol && r == '>' && !p.html:
			p.quoted = true
		}
		if p.bol = false; p.quoted {
			continue
		}
		if p.gap && len(p.out) > 0 {
			p.out = append(p.out, ' ')
			p.chars++
		}
		if p.gap = false; p.chars >= maxPreview {
			p.done = true
			return
		}
		p.out = utf8.AppendRune(p.out, r)
		p.chars++
	}
}

// unfit says whether a character shows nothing: preheaders are padded with such.
func unfit(r rune) bool {
	return unicode.Is(unicode.Cf, r) && r != 0x200D || r == 0x034F || r == 0xFFFC
}

// appendTo appends the preview.
func (p *previewer) appendTo(dst []byte) []byte {
	out := p.out
	for len(out) > 0 && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return append(dst, out...)
}

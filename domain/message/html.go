package message

import (
	"bytes"
	"html"
)

// htmlText takes the text out of HTML piece by piece, in one pass and constant memory: tags become nothing or, where
// they separate, a space; comments and the content of scripts, styles and titles are dropped; character references are
// decoded. It is for previews: what it does with broken HTML need only be harmless.
type htmlText struct {
	state htmlState
	quote byte    // in a tag: the quote of the attribute value
	close bool    // in a tag: it is an end tag
	tail  [2]byte // in a comment: its last two octets
	token []byte  // the tag's name, or a character reference; at most maxToken octets
	skip  string  // the element whose content is being dropped
}

type htmlState uint8

const (
	inText htmlState = iota
	inTagOpen
	inTagName
	inTag
	inComment
	inMarkup // <! or <? and not a comment
	inReference
)

const maxToken = 32

// dropped elements have no text that belongs to the message.
var dropped = [...]string{"script", "style", "title", "template", "noframes"}

// inline elements do not separate words.
var inline = [...]string{
	"a", "b", "i", "u", "s", "em", "strong", "span", "font", "big", "small", "sub", "sup", "tt", "code", "strike", "abbr",
	"wbr", "o:p", "ins", "del", "mark", "label",
}

// Write appends the text of a piece of HTML.
func (h *htmlText) Write(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		c := src[i]
		switch h.state {
		case inText:
			n := bytes.IndexAny(src[i:], "<&")
			if n < 0 {
				n = len(src) - i
			}
			if h.skip == "" {
				dst = append(dst, src[i:i+n]...)
			}
			if i += n; i == len(src) {
				return dst
			}
			h.token = h.token[:0]
			if h.state = inTagOpen; src[i] == '&' {
				h.state = inReference
			}
		case inTagOpen:
			dst = h.open(dst, c)
		case inTagName:
			switch {
			case c == '>':
				dst = h.end(dst)
			case c <= ' ' || c == '/':
				h.state = inTag
			case len(h.token) < maxToken:
				h.token = append(h.token, lower(c))
			}
		case inTag:
			switch {
			case h.quote != 0:
				if c == h.quote {
					h.quote = 0
				}
			case c == '>':
				dst = h.end(dst)
			case h.skip == "" && (c == '"' || c == '\''):
				h.quote = c
			}
		case inComment:
			if c == '>' && h.tail == [2]byte{'-', '-'} {
				h.state = inText
			}
			h.tail = [2]byte{h.tail[1], c}
		case inMarkup:
			switch {
			case c == '>':
				h.state = inText
			case c == '-' && len(h.token) == 1 && h.token[0] == '-':
				h.state, h.tail = inComment, [2]byte{}
			case len(h.token) < 2:
				h.token = append(h.token, c)
			}
		case inReference:
			if done := h.reference(&dst, c); done {
				i-- // c is text again
			}
		}
	}
	return dst
}

// open goes on after "<".
func (h *htmlText) open(dst []byte, c byte) []byte {
	switch {
	case c == '/' && !h.close:
		h.close = true
		return dst
	case c == '!' || c == '?':
		h.state, h.token = inMarkup, h.token[:0]
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		h.state, h.token = inTagName, append(h.token[:0], lower(c))
		return dst
	default: // a lone "<"
		if h.skip == "" {
			dst = append(dst, '<')
			if c != '<' {
				dst = append(dst, c)
			}
		}
		if h.state = inText; c == '<' {
			h.state = inTagOpen
		}
	}
	h.close = false
	return dst
}

// end goes on after a tag.
func (h *htmlText) end(dst []byte) []byte {
	name, isEnd := h.token, h.close
	h.state, h.quote, h.close = inText, 0, false
	if h.skip != "" {
		if isEnd && string(name) == h.skip {
			h.skip = ""
		}
		return dst
	}
	for _, d := range dropped {
		if !isEnd && string(name) == d {
			h.skip = d
			return append(dst, ' ')
		}
	}
	for _, in := range inline {
		if string(name) == in {
			return dst
		}
	}
	return append(dst, ' ')
}

// reference goes on with a character reference; done is true when it had ended before c.
func (h *htmlText) reference(dst *[]byte, c byte) (done bool) {
	fits := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '#' && len(h.token) == 0
	if fits && len(h.token) < maxToken {
		h.token = append(h.token, c)
		return false
	}
	h.state = inText
	if h.skip != "" {
		return c != ';'
	}
	if c == ';' {
		*dst = append(*dst, html.UnescapeString("&"+string(h.token)+";")...)
		return false
	}
	*dst = append(*dst, html.UnescapeString("&"+string(h.token))...)
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

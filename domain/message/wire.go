package message

import (
	"bytes"
	"strconv"
)

// maxQuoted is how long a quoted string gets before a literal is used instead, so that lines stay short.
const maxQuoted = 1000

// appendString appends s as an IMAP string (RFC 9051 section 4.3): quoted where that is possible, else as a literal.
// NULs, which neither may hold, become U+FFFD.
func appendString(dst, s []byte) []byte {
	escapes := 0
	for _, c := range s {
		switch {
		case c == 0:
			return appendString(dst, replaceNULs(s))
		case c == '\r' || c == '\n' || c >= 0x80:
			return appendLiteral(dst, s)
		case c == '"' || c == '\\':
			escapes++
		}
	}
	switch {
	case len(s)+escapes > maxQuoted:
		return appendLiteral(dst, s)
	case escapes == 0:
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func appendLiteral(dst, s []byte) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, s...)
}

// appendNString appends NIL for nil and a string for everything else, the empty string included.
func appendNString(dst, s []byte) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

// replaceNULs returns s with each NUL as U+FFFD in UTF-8.
func replaceNULs(s []byte) []byte { return bytes.ReplaceAll(s, []byte{0}, []byte("\uFFFD")) }

// appendUnfolded appends a header field's value as a string without its line breaks; the white space stays.
func (c *composer) appendUnfolded(dst, value []byte) []byte {
	if value == nil {
		return append(dst, "NIL"...)
	}
	value = trimStart(value)
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return appendString(dst, value)
	}
	c.scratch = c.scratch[:0]
	for _, b := range value {
		if b != '\r' && b != '\n' {
			c.scratch = append(c.scratch, b)
		}
	}
	return appendString(dst, c.scratch)
}

// appendReadable appends text that people read (a subject, a name): runs of white space and line breaks become one
// space, none stays at the ends.
func (c *composer) appendReadable(dst, s []byte) []byte {
	c.scratch = appendCollapsed(c.scratch[:0], s)
	return appendString(dst, c.scratch)
}

// appendCollapsed appends s with each run of white space as one space and none at the ends.
func appendCollapsed(dst, s []byte) []byte {
	start := len(dst)
	gap := false
	for _, c := range s {
		switch c {
		case ' ', '\t', '\r', '\n':
			gap = true
		default:
			if gap && len(dst) > start {
				dst = append(dst, ' ')
			}
			gap = false
			dst = append(dst, c)
		}
	}
	return dst
}

// trimStart returns the value without the white space that follows the colon; of a value that is white space only, the
// first is dropped.
func trimStart(value []byte) []byte {
	rest := bytes.TrimLeft(value, " \t")
	if len(rest) == 0 && len(value) > 0 {
		return value[1:]
	}
	return rest
}

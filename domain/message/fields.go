package message

import (
	"bytes"
	"iter"
)

// Fields returns the fields of a header in order, up to its blank line or its end. The slices are parts of header.
func Fields(header []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for len(header) > 0 && header[0] != '\n' && !bytes.HasPrefix(header, crlf) {
			n := fieldEnd(header)
			f, _ := splitField(header[:n:n])
			f.Whole = true
			if !yield(f) {
				return
			}
			header = header[n:]
		}
	}
}

// fieldEnd returns the length of the field that b starts with.
func fieldEnd(b []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return len(b)
		}
		n += i + 1
		if n == len(b) || b[n] != ' ' && b[n] != '\t' {
			return n
		}
	}
}

// Unfold appends a field's value as one line, without the white space before it: line breaks are dropped, a tab after
// one is a space.
func Unfold(dst, value []byte) []byte {
	value = bytes.TrimLeft(value, " \t\r\n")
	for {
		i := bytes.IndexByte(value, '\n')
		if i < 0 {
			return append(dst, value...)
		}
		dst = append(dst, bytes.TrimSuffix(value[:i], cr)...)
		if value = value[i+1:]; len(value) > 0 && value[0] == '\t' {
			dst = append(dst, ' ')
			value = value[1:]
		}
	}
}

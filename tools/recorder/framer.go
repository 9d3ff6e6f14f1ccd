package recorder

import (
	"bytes"
	"strconv"
	"strings"
)

const (
	// maxLine is how much of a line (without its literals) is kept; what is longer loses its middle.
	maxLine = 64 << 10
	tail    = 1 << 10
)

// framer cuts one direction of an IMAP connection into lines and literals (RFC 9051 section 2.2). A logical line
// reaches fragment piece by piece: each piece ends in CRLF, and literal is the size of the literal that its end
// announces, or -1.
type framer struct {
	fragment func(text []byte, literal int64, synchronising bool)

	line []byte
	left int64 // bytes of the literal that are still to come
}

func (f *framer) feed(b []byte) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, int64(len(b)))
			f.left -= n
			b = b[n:]
			continue
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			f.keep(b)
			return
		}
		f.keep(b[:i])
		b = b[i+1:]
		text := bytes.TrimSuffix(f.line, []byte("\r"))
		size, synchronising := announced(text)
		f.left = max(size, 0)
		f.fragment(text, size, synchronising)
		f.line = f.line[:0]
	}
}

func (f *framer) keep(b []byte) {
	f.line = append(f.line, b...)
	if len(f.line) > maxLine {
		f.line = append(f.line[:maxLine-tail], f.line[len(f.line)-tail:]...)
	}
}

// announced returns the size of the literal that a line announces at its end, or -1; {N+} is one that does not wait
// (RFC 7888), ~{N} one that may hold NUL (RFC 3516).
func announced(text []byte) (size int64, synchronising bool) {
	if !bytes.HasSuffix(text, []byte("}")) {
		return -1, false
	}
	open := bytes.LastIndexByte(text, '{')
	if open < 0 {
		return -1, false
	}
	digits, plus := strings.CutSuffix(string(text[open+1:len(text)-1]), "+")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return -1, false
	}
	return n, !plus
}

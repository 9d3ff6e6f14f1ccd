package search

import "bytes"

// matcher looks for a needle in text that comes in pieces.
type matcher struct {
	needle []byte // folded; not empty
	tail   []byte // the last octets seen, fewer than the needle has
	found  bool
}

// reset forgets the text before: a match does not reach over a reset.
func (m *matcher) reset() { m.tail = m.tail[:0] }

// feed goes on with a piece of folded text.
func (m *matcher) feed(text []byte) {
	if m.found || len(text) == 0 {
		return
	}
	keep := len(m.needle) - 1
	if len(m.tail) > 0 {
		m.tail = append(m.tail, text[:min(len(text), keep)]...)
		if bytes.Contains(m.tail, m.needle) {
			m.found = true
			return
		}
	}
	if bytes.Contains(text, m.needle) {
		m.found = true
		return
	}
	if len(text) >= keep {
		m.tail = append(m.tail[:0], text[len(text)-keep:]...)
		return
	}
	// The piece is shorter than what is kept: all of it is in tail already where there was a tail.
	if len(m.tail) == 0 {
		m.tail = append(m.tail, text...)
	} else if extra := len(m.tail) - keep; extra > 0 {
		m.tail = m.tail[:copy(m.tail, m.tail[extra:])]
	}
}

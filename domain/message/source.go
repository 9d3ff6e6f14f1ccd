package message

import (
	"bytes"
	"io"
)

// source is a buffered reader that knows its offset and how many line feeds it has passed. The window is what has been
// read and not been consumed yet.
type source struct {
	r     io.Reader
	buf   []byte
	start int // the window is buf[start:end]
	end   int
	off   int64 // offset in the message of buf[start]
	lines int64 // line feeds before off
	eof   bool  // the reader has ended; the window is all that is left
	err   error // the reader's error, other than io.EOF
}

func (s *source) reset(r io.Reader, size int64) {
	want := bufferSize
	if size > 0 && size < bufferSize {
		want = int(size) + 1 // one more, so that the end is seen without growing
	}
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	*s = source{r: r, buf: s.buf[:cap(s.buf)]}
}

// window returns the unconsumed bytes; they are valid until the next fill.
func (s *source) window() []byte { return s.buf[s.start:s.end] }

// fill adds bytes to the window, moving it to the front of the buffer and growing the buffer up to limit when it is
// full. It returns false when nothing was added: the reader has ended, or the buffer has reached limit. The two octets
// before the window stay, so that a consumed line break can be taken back.
func (s *source) fill(limit int) bool {
	if s.eof {
		return false
	}
	if keep := min(s.start, 2); s.start > keep {
		copy(s.buf, s.buf[s.start-keep:s.end])
		s.end -= s.start - keep
		s.start = keep
	}
	if s.end == len(s.buf) {
		if s.end >= limit {
			return false
		}
		grown := make([]byte, min(limit, max(2*len(s.buf), 512)))
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	for range 100 { // a reader that returns nothing and no error for so long has ended
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if err != nil {
			s.eof = true
			if err != io.EOF {
				s.err = err
			}
		}
		if n > 0 || s.eof {
			return n > 0
		}
	}
	s.eof, s.err = true, io.ErrNoProgress
	return false
}

// unread takes back the line break of n octets that was consumed last.
func (s *source) unread(n int) {
	s.start -= n
	s.off -= int64(n)
	s.lines--
}

// consume passes the first n bytes of the window.
func (s *source) consume(n int) {
	s.lines += int64(bytes.Count(s.buf[s.start:s.start+n], lf))
	s.start += n
	s.off += int64(n)
}

// skipLine passes everything up to and with the next line feed; it returns false when the message ended before one.
func (s *source) skipLine() bool {
	for {
		w := s.window()
		if i := bytes.IndexByte(w, '\n'); i >= 0 {
			s.consume(i + 1)
			return true
		}
		s.consume(len(w))
		if !s.fill(bufferSize) {
			return false
		}
	}
}

// field returns the length of the header field at the start of the window, its folded lines and its line break
// included (RFC 5322 section 2.2.3). whole is false when the field is longer than what the window can hold.
func (s *source) field() (n int, whole bool) {
	scan := 0
	for {
		w := s.window()
		if i := bytes.IndexByte(w[scan:], '\n'); i >= 0 {
			next := scan + i + 1
			switch {
			case next < len(w) && w[next] != ' ' && w[next] != '\t':
				return next, true
			case next < len(w):
				scan = next
				continue
			case s.eof:
				return next, true
			}
			scan = next - 1 // only the next octet tells whether the field goes on
		} else {
			if s.eof {
				return len(w), true
			}
			scan = len(w)
		}
		if !s.fill(maxField) && !s.eof {
			return s.end - s.start - 1, false // the last octet may be the line break: skipField is to see it
		}
	}
}

// skipField passes the rest of a header field.
func (s *source) skipField() {
	for {
		w := s.window()
		i := bytes.IndexByte(w, '\n')
		switch {
		case i < 0:
			s.consume(len(w))
		case i+1 < len(w):
			s.consume(i + 1)
			if w[i+1] != ' ' && w[i+1] != '\t' {
				return
			}
			continue
		case s.eof:
			s.consume(i + 1)
			return
		default:
			s.consume(i)
		}
		if !s.fill(maxField) && s.start == s.end {
			return
		}
	}
}

var lf = []byte{'\n'}

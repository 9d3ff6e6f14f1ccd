package message

import "bytes"

// boundaryLine is how many octets of a line can matter for finding a boundary: two dashes, the boundary, two dashes and
// the line break.
const boundaryLine = 2 + maxBoundary + 2 + 2

// body passes the body of entity i, telling it to the visitor where tell is set, up to the line break before the next
// boundary of an open multipart. found is false when the message ended first.
func (w *Walker) body(i int, tell bool) (at int, found, ok bool) {
	if len(w.bounds) == 0 || len(w.entities) >= maxParts {
		return 0, false, w.drain(i, tell)
	}
	s := &w.src
	for len(s.window()) < 2 && s.fill(bufferSize) {
	}
	if at, found = w.boundaryAt(0); found {
		return at, true, true
	}
	scan := 0
	for {
		win := s.window()
		cand := bytes.Index(win[scan:], lineDashes)
		if cand < 0 {
			// "\r\n--" may begin in the last three octets.
			n := len(win)
			if !s.eof {
				n = max(0, n-3)
			}
			if !w.pass(i, n, tell) {
				return 0, false, false
			}
			if scan = 0; !s.fill(bufferSize) && len(s.window()) == 0 {
				return 0, false, true
			}
			continue
		}
		cand += scan
		if rest := win[cand+1:]; len(rest) < boundaryLine && !s.eof && bytes.IndexByte(rest, '\n') < 0 {
			if !w.pass(i, max(0, cand-1), tell) {
				return 0, false, false
			}
			scan = 0
			s.fill(bufferSize)
			continue
		}
		if at, found = w.match(win[cand+1:]); !found {
			scan = cand + 1
			continue
		}
		if cand > 0 && win[cand-1] == '\r' {
			cand--
		}
		return at, true, w.pass(i, cand, tell)
	}
}

// drain passes everything to the end of the message.
func (w *Walker) drain(i int, tell bool) bool {
	for {
		if !w.pass(i, len(w.src.window()), tell) {
			return false
		}
		if !w.src.fill(bufferSize) {
			return true
		}
	}
}

// pass consumes n octets of entity i's body.
func (w *Walker) pass(i, n int, tell bool) bool {
	if n == 0 {
		return true
	}
	if tell && !w.v.Body(&w.entities[i], w.src.window()[:n]) {
		return false
	}
	w.src.consume(n)
	return true
}

// boundaryAt says whether a boundary line starts at pos in the window, filling the window as far as that takes.
func (w *Walker) boundaryAt(pos int) (at int, found bool) {
	for {
		win := w.src.window()[pos:]
		if len(win) >= 2 && (win[0] != '-' || win[1] != '-') {
			return 0, false
		}
		if len(win) >= boundaryLine || w.src.eof || bytes.IndexByte(win, '\n') >= 0 {
			return w.match(win)
		}
		w.src.fill(bufferSize)
	}
}

// match says which of the open multiparts' boundaries the line is: at is its place in w.bounds. Only the beginning of
// the line need be the boundary (RFC 2046 section 5.1.1 lets white space follow, and mail programs add more). When the
// text of several begins the line, an exact one wins, then the longest, then the innermost.
func (w *Walker) match(line []byte) (at int, found bool) {
	if len(line) < 2 || line[0] != '-' || line[1] != '-' || len(w.entities) >= maxParts {
		return 0, false
	}
	line = line[2:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = bytes.TrimSuffix(line[:i], cr)
	}
	exact := len(line)
	closing := exact > 2 && line[exact-1] == '-' && line[exact-2] == '-'
	best := -1
	for i := len(w.bounds) - 1; i >= 0; i-- {
		w.steps++
		text := w.bounds[i].text
		if (best >= 0 && len(text) <= len(w.bounds[best].text)) || !bytes.HasPrefix(line, text) {
			continue
		}
		best = i
		if len(text) == exact || closing && len(text) == exact-2 {
			break
		}
	}
	return best, best >= 0
}

// boundary passes the boundary line that the window starts with, its preceding line break included, and ends what it
// ends. part says that a part of entity i follows; otherwise i's closing boundary was found and its epilogue follows,
// or the message ended with the line.
func (w *Walker) boundary(at int) (i int, part, ok bool) {
	b := w.bounds[at]
	if !w.close(w.entities[b.entity].depth + 1) {
		return 0, false, false
	}
	s := &w.src
	for len(s.window()) < boundaryLine+2 && s.fill(bufferSize) {
	}
	win := s.window()
	skip := 0
	if bytes.HasPrefix(win, crlf) {
		skip = 2
	} else if bytes.HasPrefix(win, lf) {
		skip = 1
	}
	closing := bytes.HasPrefix(win[min(len(win), skip+2+len(b.text)):], dashes)
	s.consume(skip)
	if !s.skipLine() {
		closing = true
	}
	if closing {
		w.bounds = w.bounds[:at]
	} else {
		w.bounds = w.bounds[:at+1]
	}
	return b.entity, !closing, true
}

var (
	cr         = []byte{'\r'}
	crlf       = []byte("\r\n")
	dashes     = []byte("--")
	lineDashes = []byte("\n--")
)

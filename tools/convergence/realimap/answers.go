package realimap

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"
)

// ownTag is the tag of commands of the proxy itself.
const ownTag = "proxy"

var (
	placed    = regexp.MustCompile(`\[(APPENDUID|COPYUID) [^\]]*\] `)
	permanent = regexp.MustCompile(`\[PERMANENTFLAGS \([^)]*\)\]`)
	offered   = regexp.MustCompile(`CAPABILITY [^\]\r\n]*`)
)

// answers passes on what the server says, to the end of the connection.
func (l *link) answers() {
	for {
		line, err := readLine(l.from)
		if err != nil {
			return
		}
		word, rest, _ := bytes.Cut(line, []byte(" "))
		tag := string(word)
		if tag == ownTag {
			l.mu.Lock()
			l.own--
			l.changedLocked()
			l.mu.Unlock()
			continue
		}
		l.mu.Lock()
		c := l.pending[tag]
		l.mu.Unlock()
		if !l.pass(tag, l.s.filter(line)) {
			return
		}
		switch {
		case tag == "+":
			l.mu.Lock()
			if l.lastPlus {
				l.lastPlus, l.mute = false, true
			}
			waiting := false // for something else than a literal
			for _, p := range l.pending {
				waiting = waiting || p.verb == "IDLE" || p.verb == "AUTHENTICATE"
			}
			if !waiting {
				l.pluses++
			}
			l.changedLocked()
			l.mu.Unlock()
		case c != nil:
			l.s.log("upstream: %v: %s", c, bytes.TrimRight(rest, "\r\n"))
			l.answered(c)
		}
		for n, _, more := literal(line); more; n, _, more = literal(line) {
			if line, err = l.literal(n); err != nil {
				return
			}
		}
	}
}

// answered notes that a command has its answer.
func (l *link) answered(c *sent) {
	l.mu.Lock()
	delete(l.pending, c.tag)
	l.changedLocked()
	l.mu.Unlock()
	if _, none := c.class(); !none {
		l.s.touch(1)
	}
}

// literal passes on a literal of the server, and what follows it in the line.
func (l *link) literal(n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(l.from, b); err != nil {
		return nil, err
	}
	line, err := readLine(l.from)
	if err == nil && !(l.pass("*", b) && l.pass("*", line)) {
		err = io.ErrClosedPipe
	}
	return line, err
}

// pass writes to our process what the server says, unless a fault is in the way. It says whether the connection lives.
func (l *link) pass(tag string, b []byte) bool {
	l.mu.Lock()
	held, mute, cut := l.held, l.mute, l.cut
	l.mu.Unlock()
	if held != nil {
		select {
		case <-held.Done():
			l.mu.Lock()
			l.held = nil
			l.mu.Unlock()
		case <-l.hung:
			mute = true
		case <-l.closed:
			return false
		}
	}
	if mute {
		return true
	}
	if cut != "" {
		if tag == cut {
			l.cutAt = min(l.cutAt, len(b)/2)
		}
		if len(b) > l.cutAt {
			b = b[:l.cutAt]
		} else {
			l.cutAt -= len(b)
			cut = ""
		}
	}
	l.writing.Lock()
	_, err := l.client.Write(b)
	l.writing.Unlock()
	if err != nil {
		l.hangUp() // what is still to be answered is read nevertheless
	}
	return cut == ""
}

// filter takes out of a line what our processes are not to see.
func (s *Server) filter(line []byte) []byte {
	h := s.c.Hide
	if h.UIDPlus && placed.Match(line) {
		line = placed.ReplaceAll(line, nil)
	}
	if s.c.Only != nil && permanent.Match(line) {
		flags := append([]string{`\Answered`, `\Flagged`, `\Deleted`, `\Seen`, `\Draft`}, s.c.Only...)
		line = permanent.ReplaceAllLiteral(line, []byte("[PERMANENTFLAGS ("+strings.Join(flags, " ")+")]"))
	}
	if !bytes.Contains(line, []byte("CAPABILITY ")) {
		return line
	}
	hidden := []string{"COMPRESS=DEFLATE"}
	for name, hide := range map[string]bool{
		"UIDPLUS": h.UIDPlus, "MOVE": h.Move, "CONDSTORE": h.CondStore, "QRESYNC": h.QResync || h.CondStore,
		"LIST-STATUS": h.ListStatus, "IDLE": h.Idle, "LITERAL+": h.LiteralPlus, "LITERAL-": h.LiteralPlus,
		"ESEARCH": h.ESearch, "UNSELECT": h.Unselect,
	} {
		if hide {
			hidden = append(hidden, name)
		}
	}
	return offered.ReplaceAllFunc(line, func(b []byte) []byte {
		words := slices.DeleteFunc(strings.Fields(string(b)), func(w string) bool { return slices.Contains(hidden, w) })
		return []byte(strings.Join(words, " "))
	})
}

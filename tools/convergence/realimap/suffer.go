package realimap

import (
	"fmt"
	"io"
	"time"

	"imapped/tools/convergence/upstreamsim"
)

// ghostly is how long a command may take to arrive that takes effect behind one whose answer is lost.
const ghostly = 20 * time.Millisecond

// suffer makes a command go wrong. It says whether the connection lives.
func (l *link) suffer(f *upstreamsim.Fault, c *sent) bool {
	if !l.quiet() {
		return false
	}
	if l.s.Past(f) {
		return l.forward(c)
	}
	if f.Told != nil { // it may wait for whoever waits for us to be still
		l.leave()
		f.Told(c.String())
		l.enter()
	}
	switch f.Do {
	case upstreamsim.CutBefore:
		l.s.touch(1)
		return false
	case upstreamsim.CutHalf:
		return l.half(c)
	case upstreamsim.Busy:
		return l.refuse(c, "[UNAVAILABLE] not now")
	case upstreamsim.Refuse:
		return l.refuse(c, "[CANNOT] "+f.Text)
	case upstreamsim.BlackHole:
		l.leave()
		_, _ = io.Copy(io.Discard, l.in)
		return false
	case upstreamsim.HoldBefore:
		l.leave()
		alive := l.wait(l.s.Hold(f.N))
		l.enter()
		return alive && !l.gone() && l.forward(c)
	case upstreamsim.HoldAfter:
		l.mu.Lock()
		l.held = l.s.Hold(f.N)
		l.mu.Unlock()
		return l.forward(c)
	case upstreamsim.Interpose:
		l.leave()
		f.Hook()
		l.enter()
		return !l.gone() && l.forward(c)
	}
	l.unheard(c, f.N)
	return false
}

// half loses the connection in the middle of a command, or of its answer.
func (l *link) half(c *sent) bool {
	n, wait, ok := literal(c.line)
	class, _ := c.class()
	switch {
	case ok:
		l.sending(c)
		if _, err := l.server.Write(c.line); err != nil {
			return false
		}
		if wait {
			if asked, _ := l.plus(c.tag); !asked {
				return false
			}
		}
		_, _ = io.CopyN(l.server, l.in, int64(l.s.random(int(n)+1)))
		return false
	case class == upstreamsim.ClassRead || class == upstreamsim.ClassFetch:
		l.mu.Lock()
		l.cut, l.cutAt = c.tag, l.s.random(2000)
		l.mu.Unlock()
		return l.forward(c)
	}
	_, _ = l.server.Write(c.line[:l.s.random(len(c.line))])
	return false
}

// refuse answers NO, and nothing else happens.
func (l *link) refuse(c *sent, text string) bool {
	if n, wait, ok := literal(c.line); ok && !wait {
		if _, err := io.CopyN(io.Discard, l.in, n); err != nil {
			return false
		}
		if _, err := readLine(l.in); err != nil {
			return false
		}
	}
	if c.verb == "SELECT" || c.verb == "EXAMINE" { // nothing is selected then
		l.mu.Lock()
		l.own++
		l.mu.Unlock()
		if _, err := fmt.Fprintf(l.server, "%s UNSELECT\r\n", ownTag); err != nil || !l.quiet() {
			return false
		}
	}
	l.writing.Lock()
	_, err := fmt.Fprintf(l.client, "%s NO %s\r\n", c.tag, text)
	l.writing.Unlock()
	l.s.touch(1)
	return err == nil
}

// unheard lets a command take effect, and up to n of those that follow it at once, and passes no answer on.
func (l *link) unheard(c *sent, n int) {
	l.mu.Lock()
	l.mute = true
	l.mu.Unlock()
	if _, wait, ok := literal(c.line); ok && wait {
		l.mu.Lock()
		l.mute = false // the "+" has to arrive
		l.mu.Unlock()
		l.muteAfterPlus()
	}
	if !l.forward(c) || !l.quiet() {
		return
	}
	for range n {
		if l.in.Buffered() == 0 && !l.intake.wait(time.After(ghostly)) {
			return
		}
		line, err := readLine(l.in)
		if err != nil {
			return
		}
		ghost := parse(line)
		if class, none := ghost.class(); none || class < upstreamsim.ClassWrite {
			if _, _, ok := literal(line); ok {
				return
			}
			continue
		}
		if _, wait, ok := literal(line); ok && wait {
			return
		}
		l.s.log("upstream: unheard: %v", ghost)
		if !l.forward(ghost) || !l.quiet() {
			return
		}
	}
}

// muteAfterPlus makes that the next "+" is the last that is passed on.
func (l *link) muteAfterPlus() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastPlus = true
}

// goneWithin is how long it takes at most to see that our process has hung up.
const goneWithin = time.Millisecond

// gone says whether our process has hung up: then what it has not got through has no effect.
func (l *link) gone() bool {
	t := time.NewTimer(goneWithin)
	defer t.Stop()
	select {
	case <-l.intake.over:
		return true
	case <-t.C:
		return false
	}
}

// wait waits for a hold's end, and says no when our process loses the connection before.
func (l *link) wait(h *upstreamsim.Hold) bool {
	select {
	case <-h.Done():
		return true
	case <-l.intake.over:
	case <-l.closed:
	}
	return false
}

package realimap

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"

	"imapped/tools/convergence/upstreamsim"
)

// link is a connection of our processes through the proxy. One goroutine reads what they send, and carries out faults;
// another reads what the server answers.
type link struct {
	s              *Server
	client, server net.Conn
	intake         *intake       // what client says
	in, from       *bufio.Reader // what client and server say

	// These belong to the goroutine of what is sent.
	idling   bool
	torn     bool // a fault loses it
	selected string
	looked   map[string]int // the count of commands when it asked last for what is in a mailbox
	asked    int            // and for what is marked

	mu      sync.Mutex
	dead    bool
	closed  chan struct{}    // with dead
	hung    chan struct{}    // closed with left
	pending map[string]*sent // sent and not answered
	pluses  int              // how many were not taken by a literal that waits
	changed chan struct{}    // closed and replaced with each answer
	mute    bool             // nothing of what the server says is passed on
	// lastPlus says that nothing is passed on after the next "+".
	lastPlus bool
	held     *upstreamsim.Hold
	cut      string // the tag of the command in whose answer the connection is lost
	cutAt    int    // after so many octets of answers; at the latest in the middle of the tagged line
	left     bool   // our process has hung up, or was made to
	busy     bool   // a command is on its way to the server
	own      int    // commands of the proxy itself that are still to be answered

	writing sync.Mutex // to client
}

func newLink(s *Server, client, server net.Conn) *link {
	t := newIntake()
	return &link{
		s: s, client: client, server: server, intake: t, in: bufio.NewReader(t), from: bufio.NewReader(server),
		looked: map[string]int{}, closed: make(chan struct{}), hung: make(chan struct{}), pending: map[string]*sent{}, changed: make(chan struct{}),
	}
}

// run serves the connection until it ends, on either side, and the server has done what it was told. It returns how many
// commands were not answered.
func (l *link) run() (lost int) {
	var wg sync.WaitGroup
	wg.Go(func() { l.intake.fill(l.client) })
	wg.Go(func() {
		l.answers()
		l.reset()
	})
	l.commands()
	l.mu.Lock()
	l.left, l.mute, l.busy = true, true, false
	close(l.hung)
	l.changedLocked()
	l.mu.Unlock()
	_ = l.client.Close()
	if !l.torn && !l.await(l.restsLocked) && !l.isDead() { // the server finishes what it has
		l.s.fail(ErrStalled)
	}
	l.reset()
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// hangUp loses the connection for our process alone. It may be called under Server.mu.
func (l *link) hangUp() { _ = l.client.Close() }

// reset loses the connection.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.dead = true
	close(l.closed)
	for _, c := range []net.Conn{l.client, l.server} {
		_ = c.Close()
	}
}

// changedLocked tells of an answer; l.mu is held.
func (l *link) changedLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// await waits until ok, which is called with l.mu held, says so. It says no when the connection ends before.
func (l *link) await(ok func() bool) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		l.mu.Lock()
		done, changed := ok(), l.changed
		l.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-l.closed:
			return false
		case <-timer.C:
			return false
		}
	}
}

// commands passes on what our process sends. What it has not got through when it hangs up has no effect.
func (l *link) commands() {
	for {
		line, err := readLine(l.in)
		if err != nil {
			return
		}
		if l.idling {
			l.idling = false
			if _, err := l.server.Write(line); err != nil {
				return
			}
			continue
		}
		c := parse(line)
		class, none := c.class()
		var f *upstreamsim.Fault
		if !none {
			f = l.s.Take(class)
		}
		l.enter()
		if l.intake.ended() {
			l.leave()
			return
		}
		alive := false
		if f == nil {
			alive = l.forward(c)
		} else {
			alive = l.suffer(f, c)
		}
		l.leave()
		if !alive {
			l.torn = f != nil
			return
		}
	}
}

// sending notes a command that is about to be sent on.
func (l *link) sending(c *sent) {
	now, _ := l.s.Commands()
	switch c.verb {
	case "SELECT", "EXAMINE":
		l.selected = c.name
		l.looked[c.name] = now
	case "STATUS":
		l.looked[c.name] = now
	case "UID SEARCH":
		if class, _ := c.class(); class == upstreamsim.ClassExpunge {
			l.asked = now
		} else {
			l.looked[l.selected] = now
		}
	case "DELETE":
		l.s.loses(loss{name: c.name, all: true, since: l.looked[c.name]})
	case "EXPUNGE":
		l.s.loses(loss{name: l.selected, since: l.asked})
	case "IDLE":
		l.idling = true
	}
	l.mu.Lock()
	l.pending[c.tag] = c
	l.mu.Unlock()
}

// loses notes a command that removes whatever is there.
func (s *Server) loses(what loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shadow.lost = append(s.shadow.lost, what)
}

// forward sends a command on, with its literals.
func (l *link) forward(c *sent) bool {
	l.sending(c)
	if _, err := l.server.Write(c.line); err != nil {
		return false
	}
	for line := c.line; ; {
		n, wait, ok := literal(line)
		if !ok {
			return true
		}
		if wait { // whoever is refused sends no literal
			if asked, alive := l.plus(c.tag); !alive || !asked {
				return alive
			}
		}
		_, err := io.CopyN(l.server, l.in, n)
		if err == nil {
			line, err = readLine(l.in)
		}
		if err != nil { // what is not whole has no effect, and no answer
			l.mu.Lock()
			delete(l.pending, c.tag)
			l.mu.Unlock()
			return false
		}
		if _, err := l.server.Write(line); err != nil {
			return false
		}
	}
}

// plus waits until the server asks for a literal, or answers the command instead.
func (l *link) plus(tag string) (asked, alive bool) {
	alive = l.await(func() bool {
		if l.pluses > 0 {
			l.pluses--
			asked = true
		}
		return asked || l.pending[tag] == nil
	})
	return asked, alive
}

// quiet waits until everything that was sent is answered.
func (l *link) quiet() bool { return l.await(func() bool { return len(l.pending) == 0 && l.own == 0 }) }

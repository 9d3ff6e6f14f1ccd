package realimap

import "time"

// Still waits until nothing of what our processes sent is under way, and keeps back what they send until release is
// called: what the other client does meanwhile is one moment. What is in a fault's hands stays there.
func (s *Server) Still() (release func()) {
	s.mu.Lock()
	s.still++
	links := make([]*link, 0, len(s.links))
	for l := range s.links {
		links = append(links, l)
	}
	s.mu.Unlock()
	for _, l := range links {
		l.await(l.restsLocked)
	}
	return func() {
		s.mu.Lock()
		s.still--
		s.mu.Unlock()
		s.touch(0)
	}
}

// Drain waits for the end of the connections that our processes have hung up: the server finishes what it has begun.
func (s *Server) Drain() {
	for until := time.Now().Add(patience); time.Now().Before(until); {
		time.Sleep(time.Millisecond) // the end of a connection takes a moment to be seen
		s.mu.Lock()
		open, changed := 0, s.changed
		for l := range s.links {
			l.mu.Lock()
			if l.left || l.intake.ended() {
				open++
			}
			l.mu.Unlock()
		}
		s.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// restsLocked says whether nothing is under way; l.mu is held.
func (l *link) restsLocked() bool {
	for _, c := range l.pending {
		if c.verb != "IDLE" && l.held == nil {
			return false
		}
	}
	return !l.busy
}

// enter comes before a command is sent on, and waits while all is to be still.
func (l *link) enter() {
	for {
		l.s.mu.Lock()
		still, changed := l.s.still > 0, l.s.changed
		if !still {
			l.mark(true)
		}
		l.s.mu.Unlock()
		if !still {
			return
		}
		select {
		case <-changed:
		case <-time.After(patience):
		}
	}
}

// leave comes when a command was sent on, or is in a fault's hands.
func (l *link) leave() { l.mark(false) }

func (l *link) mark(busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = busy
	l.changedLocked()
}

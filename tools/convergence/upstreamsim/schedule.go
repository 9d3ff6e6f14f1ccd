package upstreamsim

import "sync"

// Schedule is the faults that are still to happen, and what is held back. Its zero value is empty. It is safe for
// concurrent use.
type Schedule struct {
	mu     sync.Mutex
	faults []*Fault
	holds  map[*Hold]bool
	calms  int // how often Calm was called
}

// Hold holds something back until it is let go.
type Hold struct {
	steps int
	done  chan struct{}
}

// Done returns a channel that is closed when the hold ends.
func (h *Hold) Done() <-chan struct{} { return h.done }

// Arm adds a fault.
func (s *Schedule) Arm(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Calm takes back all faults that have not happened, and lets everything go on that is held. Connections that are dead
// stay dead.
func (s *Schedule) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.calms++
	s.step(1 << 30)
}

// Past says whether Calm was called since the fault was taken.
func (s *Schedule) Past(f *Fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.calms < s.calms
}

// Step lets go of what has been held for long enough.
func (s *Schedule) Step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step(1)
}

// Release lets go of everything that is held.
func (s *Schedule) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step(1 << 30)
}

func (s *Schedule) step(n int) {
	for h := range s.holds {
		if h.steps -= n; h.steps <= 0 {
			delete(s.holds, h)
			close(h.done)
		}
	}
}

// Hold returns a hold for some steps.
func (s *Schedule) Hold(steps int) *Hold {
	h := &Hold{steps: max(steps, 1), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds == nil {
		s.holds = map[*Hold]bool{}
	}
	s.holds[h] = true
	return h
}

// Take returns the fault that happens to a command of the class now; nil: none.
func (s *Schedule) Take(class Class) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit *Fault
	kept := s.faults[:0]
	for _, f := range s.faults {
		switch {
		case hit != nil || !f.On.has(class):
		case f.Skip == 0:
			hit, f.calms = f, s.calms
			continue
		default:
			f.Skip--
		}
		kept = append(kept, f)
	}
	s.faults = kept
	return hit
}

package memory

import (
	"slices"
	"sync"

	"imapped/domain/account"
	"imapped/ports/wake"
)

var _ wake.Bus = (*Wakes)(nil)

// maxWoken is how many accounts a subscription of Wakes holds: 16 KB.
const maxWoken = 1024

// Wakes is a wake.Bus within one process. The zero value is ready to use.
type Wakes struct {
	mu   sync.Mutex
	subs map[*wakes]struct{}
}

// wakes is one subscription; its fields but c belong to bus.mu.
type wakes struct {
	bus      *Wakes
	c        chan struct{}
	accounts map[account.ID]struct{} // at most maxWoken; empty when all is set
	all      bool
}

// Publish implements wake.Bus.
func (w *Wakes) Publish(id account.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		if !s.all {
			s.accounts[id] = struct{}{}
		}
		if len(s.accounts) > maxWoken {
			s.everything()
		}
		s.ring()
	}
}

// PublishAll says that wake-ups may have been missed: every account is to be looked at.
func (w *Wakes) PublishAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		s.everything()
		s.ring()
	}
}

// Subscribe implements wake.Bus.
func (w *Wakes) Subscribe() wake.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.subs == nil {
		w.subs = map[*wakes]struct{}{}
	}
	s := &wakes{bus: w, c: make(chan struct{}, 1), accounts: map[account.ID]struct{}{}}
	w.subs[s] = struct{}{}
	return s
}

// everything forgets which accounts there were. bus.mu is held.
func (s *wakes) everything() {
	s.all = true
	clear(s.accounts)
}

// ring is called with bus.mu held.
func (s *wakes) ring() {
	select {
	case s.c <- struct{}{}:
	default: // it has one already
	}
}

// C implements wake.Subscription.
func (s *wakes) C() <-chan struct{} { return s.c }

// Take implements wake.Subscription.
func (s *wakes) Take() ([]account.ID, bool) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	select {
	case <-s.c: // it is about what is taken now
	default:
	}
	ids := make([]account.ID, 0, len(s.accounts))
	for id := range s.accounts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	all := s.all
	s.all = false
	clear(s.accounts)
	return ids, all
}

// Close implements wake.Subscription.
func (s *wakes) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	delete(s.bus.subs, s)
}

package syncer

import (
	"context"
	"slices"
	"sync"
)

// shared is how many of an account's connections are not for listening: one each for rounds, for replay and for bodies that
// somebody waits for.
const shared = 3

// places bounds how many connections to an account's upstream are open at the same time. Where there are fewer than who
// needs one, they take turns: who waits first is served first, and who has a place gives it up when it next can. A place is
// waited for without any turn of a mailbox (box.turn), and given up without one, so that who has a turn never waits for who
// waits for it.
type places struct {
	mu      sync.Mutex
	free    int
	holders []*place
	waiting []*place
}

// place is the right to one connection.
type place struct {
	of   *places
	tell func()        // says that somebody waits; it never blocks; nil: nobody is told
	had  chan struct{} // closed when it is had
}

func newPlaces(n int) *places { return &places{free: n} }

// take waits for a place, which the caller gives back by leave. tell may be called as long as it is held.
func (p *places) take(ctx context.Context, tell func()) (*place, error) {
	s := &place{of: p, tell: tell, had: make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, s)
	p.grant()
	var told []*place
	if len(p.waiting) > 0 {
		told = slices.Clone(p.holders)
	}
	p.mu.Unlock()
	for _, h := range told {
		if h.tell != nil {
			h.tell()
		}
	}
	select {
	case <-s.had:
		return s, nil
	case <-ctx.Done():
		s.leave() // it may have been granted meanwhile
		return nil, ctx.Err()
	}
}

// grant gives free places to those who wait; p.mu is held.
func (p *places) grant() {
	for p.free > 0 && len(p.waiting) > 0 {
		s := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.free--
		p.holders = append(p.holders, s)
		close(s.had)
	}
}

// wanted says whether somebody waits for a place, so that this one is to be given up.
func (s *place) wanted() bool {
	if s == nil {
		return false
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return len(s.of.waiting) > 0
}

// leave gives the place back, once, or ends the waiting for it.
func (s *place) leave() {
	if s == nil {
		return
	}
	p := s.of
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.holders, s); i >= 0 {
		p.holders = slices.Delete(p.holders, i, i+1)
		p.free++
		p.grant()
	} else if i := slices.Index(p.waiting, s); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
}

// placesOf returns the places of an account: those of its guest here, or of its runner that is about to end, where there is
// one, for their connections count. m.mu is held.
func (m *Manager) placesOf(r *runner) *places {
	if g := m.visiting[r.account.ID]; g != nil {
		return g.owner.places
	}
	if old := m.runners[r.account.ID]; old != nil {
		return old.places
	}
	return newPlaces(min(m.cfg.Connections, shared))
}

// squeeze tells the main loop that somebody waits for its connection's place.
func (r *runner) squeeze() {
	select {
	case r.squeezed <- struct{}{}:
	default:
	}
}

// giveWay ends the connection if somebody waits for its place; comeBack is to be called before it is used again. Nothing is
// under way on it, and the caller has no turn.
func (l *link) giveWay() {
	if l.place.wanted() {
		_ = l.Close() // what there is to say about a connection that ends was said by its commands
		l.away = true
	}
}

// comeBack connects again if the link gave way.
func (o *owner) comeBack(ctx context.Context, l *link) error {
	if !l.away {
		return nil
	}
	fresh, err := o.dial(ctx, o.places, o.squeeze)
	if err != nil {
		return err
	}
	l.Conn, l.server, l.features, l.place, l.end = fresh.Conn, fresh.server, fresh.features, fresh.place, fresh.end
	l.selected, l.opened, l.away = nil, false, false
	return nil
}

// makeRoom lets those go first who wait for the link's place.
func (o *owner) makeRoom(ctx context.Context, l *link) error {
	l.giveWay()
	return o.comeBack(ctx, l)
}

// roundToken waits until one more round may run in this process. Others may be at it for hours: meanwhile the link's place
// is for who needs it.
func (o *owner) roundToken(ctx context.Context, l *link) (release func(), err error) {
	for {
		l.giveWay()
		select {
		case o.m.rounds <- struct{}{}:
			release = func() { <-o.m.rounds }
			if err := o.comeBack(ctx, l); err != nil {
				release()
				return nil, err
			}
			return release, nil
		case <-o.squeezed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

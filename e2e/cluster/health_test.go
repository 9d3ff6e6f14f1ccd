package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// need is a part that something cannot be done without.
type need int

const (
	node     need = 1 << iota // the node itself
	database                  // its way to Postgres, and Postgres
	objects                   // its way to the S3 store
)

// session is what every command needs. Redis and the upstream are not among it: without them everything goes on.
const session = node | database

const (
	// patience is how long a client waits at most whose node has what it needs. Most of it is the 5 s after which Postgres ends
	// a transaction whose process stands still, and with it the lock of that account.
	patience = 10 * time.Second
	// recovery is for how long after a fault its consequences are excused.
	recovery = 3 * time.Second
)

// window is a time in which a part was broken.
type window struct {
	node     int // -1: for all nodes
	part     need
	from, to time.Time // to is zero while it lasts
}

// incident is something that must not happen to a client whose node has what it needs.
type incident struct {
	node     int
	needs    need
	from, to time.Time // it began in this time
	what     string
}

// health knows what was broken when, and what happened to clients.
type health struct {
	mu        sync.Mutex
	windows   []*window
	incidents []incident
	waits     []incident // answers that took notable
}

// notable is how long an answer takes at least to be noted.
const notable = 100 * time.Millisecond

// broken notes that a part is broken from now on, until the function is called that it returns.
func (h *health) broken(node int, part need, now func() time.Time) (healed func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &window{node: node, part: part, from: now()}
	h.windows = append(h.windows, w)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		w.to = now()
	}
}

// whole says whether nothing of a node is broken now.
func (h *health) whole(node int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(h.windows, func(w *window) bool { return w.node == node && w.to.IsZero() })
}

// happened notes an incident.
func (h *health) happened(i incident) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.incidents = append(h.incidents, i)
}

// answered notes that a command was answered.
func (h *health) answered(node int, needs need, from, to time.Time) {
	if to.Sub(from) < notable {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits = append(h.waits, incident{node, needs, from, to, ""})
}

// slowest returns how long the slowest answers took for which nothing is an excuse, the slowest first.
func (h *health) slowest() (all []time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.waits {
		if !h.excuses(w) {
			all = append(all, w.to.Sub(w.from))
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}

// judge returns the incidents that nothing excuses, and how many were.
func (h *health) judge() (all []string, excused int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range h.incidents {
		if h.excuses(i) {
			excused++
			continue
		}
		all = append(all, fmt.Sprintf("node %d, %s to %s: %s", i.node, i.from.Format(clockForm), i.to.Format(clockForm), i.what))
	}
	return all, excused
}

const clockForm = "15:04:05.000"

func (h *health) excuses(i incident) bool {
	for _, w := range h.windows {
		if w.part&i.needs == 0 || w.node >= 0 && w.node != i.node {
			continue
		}
		if !i.to.Before(w.from) && (w.to.IsZero() || i.from.Before(w.to.Add(recovery))) {
			return true
		}
	}
	return false
}

func TestHealth(t *testing.T) {
	base := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return base.Add(time.Duration(s) * time.Second) }
	clock := at(10)
	now := func() time.Time { return clock }
	h := &health{}
	healed := h.broken(1, database, now)
	clock = at(20)
	healed()
	clock = at(30)
	h.broken(-1, objects, now)
	for _, c := range []struct {
		i       incident
		excused bool
	}{
		{incident{1, session, at(5), at(9), "before"}, false},
		{incident{1, session, at(5), at(11), "into it"}, true},
		{incident{1, session, at(15), at(16), "while it lasts"}, true},
		{incident{1, session, at(22), at(40), "recovering"}, true},
		{incident{1, session, at(24), at(40), "after it"}, false},
		{incident{1, objects, at(15), at(16), "other part"}, false},
		{incident{2, session, at(15), at(16), "other node"}, false},
		{incident{2, session | objects, at(50), at(51), "all nodes, for ever"}, true},
		{incident{2, session, at(50), at(51), "not needed"}, false},
	} {
		one := &health{windows: h.windows}
		one.happened(c.i)
		all, excused := one.judge()
		if got := excused == 1; got != c.excused || len(all)+excused != 1 {
			t.Errorf("%s: excused %t, want %t", c.i.what, got, c.excused)
		}
		if !c.excused && !strings.Contains(all[0], c.i.what) {
			t.Errorf("%q does not say %q", all[0], c.i.what)
		}
	}
}

package syncer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"imapped/domain/mailbox"
)

// history plays random changes at the upstream.
type history struct {
	w    *world
	rnd  *rand.Rand
	n    int
	made int
	// resets is how often a UIDVALIDITY was changed: at the eighth time in a day a mailbox is left alone for an hour.
	resets int
}

func (h *history) names() []string {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	var names []string
	for name := range h.w.boxes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (h *history) uid(name string) uint32 {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if b := h.w.boxes[name]; len(b.msgs) > 0 {
		return b.msgs[h.rnd.IntN(len(b.msgs))].uid
	}
	return 0
}

func (h *history) step() string {
	names := h.names()
	name := names[h.rnd.IntN(len(names))]
	flags := [][]string{nil, {`\Seen`}, {`\Flagged`, "$Work"}, {`\Deleted`, `\Answered`, "a", "B"}}[h.rnd.IntN(4)]
	switch k := h.rnd.IntN(100); {
	case k < 45:
		for range 1 + h.rnd.IntN(8) {
			h.n++
			size := h.rnd.IntN(2000)
			if h.rnd.IntN(60) == 0 {
				size = 1<<20 + h.rnd.IntN(100_000)
			}
			n := h.n
			if h.rnd.IntN(15) == 0 {
				n, size = 1, 50 // copies
			}
			h.w.deliver(name, mail(n, size), flags...)
		}
		return "deliver " + name
	case k < 65:
		h.w.setFlags(name, h.uid(name), flags...)
		return "flags " + name
	case k < 80:
		h.w.expunge(name, h.uid(name), h.uid(name))
		return "expunge " + name
	case k < 86 && len(names) < 12:
		h.made++
		h.w.create(fmt.Sprintf("%s/box%d", []string{"INBOX", "Work", "work", "a&b"}[h.rnd.IntN(4)], h.made), '/')
		return "create"
	case k < 92 && name != "INBOX":
		h.made++
		h.w.rename(name, fmt.Sprintf("renamed%d", h.made))
		return "rename " + name
	case k < 95 && name != "INBOX" && len(names) > 3:
		h.w.remove(name)
		return "remove " + name
	case k < 98 && h.resets < 7:
		h.resets++
		h.w.reset(name, 1+uint32(h.rnd.IntN(500)))
		return "reset " + name
	}
	return "nothing"
}

// TestHistories plays random histories with connections that break at random moments, and checks that what is here
// ends up as what is there, that no UID is ever given to another message, and that nothing is fetched for nothing.
func TestHistories(t *testing.T) {
	playSeeds(t, 12, 3, func(t *testing.T, seed uint64) { playHistory(t, rand.New(rand.NewPCG(seed, 2))) })
}

// playSeeds plays a number of seeds side by side, in short mode a smaller one.
func playSeeds(t *testing.T, runs, short uint64, play func(t *testing.T, seed uint64)) {
	_, first := seed(t)
	if testing.Short() {
		runs = short
	}
	for i := range runs {
		t.Run(fmt.Sprint(first+i), func(t *testing.T) {
			t.Parallel()
			play(t, first+i)
		})
	}
}

func playHistory(t *testing.T, rnd *rand.Rand) {
	w := newWorld()
	w.server.CondStore = rnd.IntN(3) > 0
	w.server.QResync = w.server.CondStore && rnd.IntN(2) == 0
	w.server.ListStatus = rnd.IntN(2) == 0
	w.server.Idle = rnd.IntN(2) == 0
	if rnd.IntN(4) == 0 {
		w.server.Capabilities = []string{"X-GM-EXT-1"}
	}
	h := &history{w: w, rnd: rnd}
	r := newRig(t, w)
	faults := rand.New(rand.NewPCG(rnd.Uint64(), 3)) // used under w.mu
	given := map[string]string{}                     // what each (mailbox, UID) was, by Message-ID and size
	r.start()
	for round := range 12 {
		broken := rnd.IntN(3) > 0
		w.change(func() {
			w.budget = nil
			if broken {
				w.budget = func() int { return faults.IntN(80) }
			}
		})
		for range 1 + rnd.IntN(10) {
			what := h.step()
			if rnd.IntN(4) == 0 {
				_ = r.try() // in the middle of things, faults and all
			}
			t.Logf("round %d: %s", round, what)
		}
		if broken && rnd.IntN(4) == 0 {
			r.halt() // as if killed, but for what the contexts stop
			r.start()
		}
		w.change(func() { w.budget = nil })
		r.settle()
		r.compare()
		for _, m := range r.mirrored() {
			for _, l := range r.local(m.ID) {
				key := fmt.Sprint(m.ID, "/", l.uid)
				if was, ok := given[key]; ok && was != l.raw {
					t.Fatalf("mailbox %s: UID %d was given to another message", m.Name, l.uid)
				}
				given[key] = l.raw
			}
		}
		if t.Failed() {
			return
		}
	}
}

// settle forces rounds until one succeeds that finds nothing left to do.
func (r *rig) settle() {
	r.t.Helper()
	var err error
	for range 200 {
		if err = r.try(); err == nil {
			if err = r.try(); err == nil {
				return
			}
		}
	}
	r.t.Fatalf("does not settle: %v", err)
}

func (r *rig) uids(name string) []mailbox.UID {
	var uids []mailbox.UID
	for _, l := range r.local(r.mirrored()[name].ID) {
		uids = append(uids, l.uid)
	}
	return uids
}

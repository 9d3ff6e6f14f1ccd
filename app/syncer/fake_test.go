package syncer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/upstream"
)

// world is a model of an IMAP server, spoken to through ports/upstream. Its fields may be changed between runs.
type world struct {
	mu       sync.Mutex
	server   upstream.Server
	boxes    map[string]*mbox
	validity uint32
	changed  chan struct{} // closed and replaced at each change
	counts   map[string]int
	bodies   map[string]int // bodies sent, by content
	dials    int
	idling   int
	open     int // connections
	peak     int // of open

	// Faults.
	down      error                                 // Dial fails
	budget    func() int                            // events until a new connection is cut; nil: never
	refuse    func(cmd upstream.Command) error      // a command's refusal
	misname   func(string) string                   // damages a name on its way; nil: none
	listOnly  int                                   // LIST forgets the rest; 0: complete
	lieExists func(name string) int                 // added to EXISTS
	lieState  func(opened bool, s *upstream.Status) // changes what STATUS, or SELECT, tells
	spoil     func(string) string                   // damages headers on their way; nil: none
	noFetch   map[string]bool                       // by content: FETCH answers nothing for it
	poison    string                                // the content whose body breaks the connection
	noBody    map[string]bool                       // by content: FETCH answers with an empty body
	hang      chan struct{}                         // commands wait for it; nil: they do not
	slow      chan struct{}                         // bodies stop half-way until it is closed

	// Writing.
	noKeywords bool
	most       int // connections; 0: any number
	subscribed map[string]bool
	before     func(cmd upstream.Command)      // called before a writing command takes effect: somebody else is faster
	cutAfter   func(cmd upstream.Command) bool // called after a command's effect: its answer is lost
	ghost      func() bool                     // whether what was sent behind a cut is carried out
}

type mbox struct {
	name     string
	delim    byte
	attrs    mailbox.Attr
	validity uint32
	next     uint32
	modseq   uint64
	msgs     []*fmsg
	vanished []fmsg
}

type fmsg struct {
	uid    uint32
	flags  flag.Set
	modseq uint64
	date   time.Time
	raw    string
}

func newWorld() *world {
	w := &world{
		server:   upstream.Server{CondStore: true, QResync: true, ListStatus: true, Idle: true, UIDPlus: true, Move: true, ESearch: true},
		boxes:    map[string]*mbox{},
		validity: 1000,
		changed:  make(chan struct{}),
		counts:   map[string]int{},
		bodies:   map[string]int{},
		noFetch:  map[string]bool{},
		noBody:   map[string]bool{},

		subscribed: map[string]bool{},
	}
	w.create("INBOX", '/')
	return w
}

// change runs fn on the model and wakes those who idle.
func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) create(name string, delim byte) {
	w.change(func() {
		w.validity++
		w.boxes[name] = &mbox{name: name, delim: delim, validity: w.validity, next: 1, modseq: 1}
	})
}

func (w *world) deliver(name, raw string, flags ...string) (uid uint32) {
	w.change(func() { uid = w.boxes[name].add(raw, flag.Parse(flags...), w.boxes[name].modseq+1) })
	return uid
}

func (b *mbox) add(raw string, flags flag.Set, modseq uint64) uint32 {
	b.modseq = modseq
	m := &fmsg{uid: b.next, flags: flags, modseq: modseq, raw: raw, date: time.Unix(1e9+int64(len(raw)), 0).UTC()}
	b.next++
	b.msgs = append(b.msgs, m)
	return m.uid
}

func (w *world) setFlags(name string, uid uint32, flags ...string) {
	w.change(func() {
		b := w.boxes[name]
		if m := b.find(uid); m != nil {
			b.modseq++
			m.flags, m.modseq = flag.Parse(flags...), b.modseq
		}
	})
}

func (w *world) expunge(name string, uids ...uint32) {
	w.change(func() {
		b := w.boxes[name]
		for _, uid := range uids {
			if m := b.find(uid); m != nil {
				b.modseq++
				b.vanished = append(b.vanished, fmsg{uid: uid, modseq: b.modseq})
				b.msgs = slices.DeleteFunc(b.msgs, func(x *fmsg) bool { return x == m })
			}
		}
	})
}

// reset gives the mailbox a new UIDVALIDITY and its messages new UIDs, from first on.
func (w *world) reset(name string, first uint32) {
	w.change(func() {
		b := w.boxes[name]
		w.validity++
		b.validity, b.next, b.vanished = w.validity, first, nil
		b.modseq = 1
		for _, m := range b.msgs {
			m.uid, m.modseq = b.next, 1
			b.next++
		}
	})
}

func (w *world) rename(from, to string) {
	w.change(func() {
		b := w.boxes[from]
		delete(w.boxes, from)
		b.name = to
		w.boxes[to] = b
	})
}

func (w *world) remove(name string) { w.change(func() { delete(w.boxes, name) }) }

func (b *mbox) find(uid uint32) *fmsg {
	for _, m := range b.msgs {
		if m.uid == uid {
			return m
		}
	}
	return nil
}

// commands returns how many commands were sent since the last call, and what they were.
func (w *world) commands() (n int, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.counts {
		n += c
	}
	what = fmt.Sprint(w.counts)
	w.counts = map[string]int{}
	return n, what
}

// Dial implements upstream.Dialer.
func (w *world) Dial(ctx context.Context, t upstream.Target) (upstream.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	if w.down != nil {
		return nil, w.down
	}
	if string(t.Password) != "secret" {
		return nil, &upstream.StepError{Step: upstream.StepLogin, Err: fault.New(fault.Denied, "login", "wrong password")}
	}
	if w.most > 0 && w.open >= w.most {
		return nil, &upstream.StepError{Step: upstream.StepLogin, Err: fault.New(fault.Unavailable, "login", "too many connections")}
	}
	w.open++
	w.peak = max(w.peak, w.open)
	c := &fconn{w: w, budget: -1}
	if w.budget != nil {
		c.budget = w.budget()
	}
	return c, nil
}

package syncer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
)

// box is a mailbox of the account, as the syncer keeps it between passes. The fields below turn are guarded by
// runner.mu; up and what follows it are changed only by who holds the turn.
type box struct {
	id mailbox.ID
	mu *sync.Mutex // runner.mu
	// turn is held (by a value in the channel) by whoever turns the upstream's answers into changes of this mailbox, or
	// changes it upstream: rounds, push connections, replay. Who takes several takes them in ascending id. It is not a
	// lock on memory; waiting for it can be given up.
	turn chan struct{}

	name     string
	attrs    mailbox.Attr
	upstream uint32 // messages there
	rows     uint32 // messages here
	bound    uint32 // messages of the upstream's that are known here: what its count is compared with
	placed   bool   // replay put messages there since the last pass, whose bodies are here
	due      bool   // replay asks for a look
	full     bool   // and for a complete comparison
	bodies   uint32
	came     int64 // bytes of bodies, in this round
	pending  int64
	trouble  string
	pushed   bool   // its news comes by push now
	reborn   int    // how often it was healed: who had it selected before listens to what is no more
	listed   uint32 // its UIDVALIDITY in the last listing; 0 when that told none
	doubted  bool   // that listing left open which mailbox is which
	strange  int    // how often it had another than that listing told
	info     metadata.Mirrored

	up         metadata.Upstream
	confirmed  uint64 // a HIGHESTMODSEQ that was looked behind twice (mirror.Features.Lags)
	looked     uint64 // the same after the first look
	distrusted *link  // there CHANGEDSINCE or QRESYNC was refused: compare instead
	fullAt     time.Time
	flagsAt    time.Time
	heals      []time.Time // of UIDVALIDITY changes in the last day
	halves     int         // looks after a UIDVALIDITY change that brought too little to believe, in a row
	gaps       mailbox.Set // upstream UIDs that exist but cannot be fetched
	gapTries   int
	gapsAt     time.Time
	wary       bool        // asking for news with its bodies broke the connection: the next time without
	suspect    mailbox.Set // an implausible departure that waits for its confirmation
}

// turn returns the turn of a mailbox, known or not.
func (r *runner) turn(id mailbox.ID) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turnOf(id)
}

// turnOf is turn for who holds r.mu.
func (r *runner) turnOf(id mailbox.ID) chan struct{} {
	t := r.turns[id]
	if t == nil {
		t = make(chan struct{}, 1)
		r.turns[id] = t
	}
	return t
}

// take waits for the box's turn; the caller gives it back by calling the returned function.
func (b *box) take(ctx context.Context) (release func(), err error) {
	select {
	case b.turn <- struct{}{}:
		return func() { <-b.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// try is take for who does not wait.
func (b *box) try() (release func(), ok bool) {
	select {
	case b.turn <- struct{}{}:
		return func() { <-b.turn }, true
	default:
		return nil, false
	}
}

// turns is the turns of several mailboxes.
type turns struct {
	boxes    []*box
	releases []func()
}

// takeAll waits for the turns of all the boxes.
func takeAll(ctx context.Context, boxes []*box) (*turns, error) {
	t := &turns{}
	for _, b := range slices.SortedFunc(slices.Values(boxes), func(a, b *box) int { return cmp.Compare(a.id, b.id) }) {
		release, err := b.take(ctx)
		if err != nil {
			t.giveBack()
			return nil, err
		}
		t.boxes, t.releases = append(t.boxes, b), append(t.releases, release)
	}
	return t, nil
}

// keep gives back the turns of those boxes for which wanted says no.
func (t *turns) keep(wanted func(*box) bool) {
	for i, b := range t.boxes {
		if t.releases[i] != nil && !wanted(b) {
			t.releases[i]()
			t.releases[i] = nil
		}
	}
}

func (t *turns) giveBack() { t.keep(func(*box) bool { return false }) }

// raw is the mailbox's name upstream.
func (b *box) raw() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.info.Upstream.Name
}

// selectable says whether the mailbox can be looked at; runner.mu is held.
func (b *box) selectable() bool {
	return b.info.Upstream.Name != "" && b.info.Attrs&mailbox.NoSelect == 0
}

// wanted says whether the mailbox is to be mirrored; runner.mu is held. One that a client deleted is looked at only when
// replay asks: what waits for it may need its UIDs. Nothing new is taken into it.
func (b *box) wanted() bool { return b.selectable() && !b.info.Deleting }

// refresh reads from the store what may have changed since the last pass over the mailboxes, whose turns the caller has.
// It returns those that may be looked at: what is new in one that is uncertain may be the result of a change that was
// sent; it is left alone until replay has found out, which then asks for a look.
func (o *owner) refresh(ctx context.Context, boxes []*box) ([]*box, error) {
	infos, err := o.m.Mirror.Mirrored(ctx, o.account.ID)
	if err != nil {
		return nil, fault.Wrap("read mailboxes", err)
	}
	byID := make(map[mailbox.ID]metadata.Mirrored, len(infos))
	for _, info := range infos {
		byID[info.ID] = info
	}
	ready := make([]*box, 0, len(boxes))
	o.note(func() {
		for _, b := range boxes {
			info, ok := byID[b.id]
			if !ok {
				continue // it is gone
			}
			b.info, b.up = info, info.Upstream
			b.rows, b.bound, b.bodies = info.Messages, info.Bound, info.Bodies
			if b.selectable() && !info.Uncertain {
				b.due = false
				ready = append(ready, b)
			}
		}
	})
	return ready, nil
}

// atRest says whether the upstream says of all the mailboxes, whose turns the caller has, what it said when they were looked at
// last, and nothing else calls for a look: then the store need not be asked about them.
func (o *owner) atRest(l *link, boxes []*box, states map[string]*mirror.State) bool {
	now := o.m.Clock.Now()
	return !slices.ContainsFunc(boxes, func(b *box) bool {
		odd := false
		o.note(func() { odd = b.due || b.trouble != "" })
		st := states[b.raw()]
		return odd || st == nil || len(b.gaps) > 0 || mirror.PlanMailbox(o.known(b, now, false, false), *st, b.features(l)) != mirror.Nothing
	})
}

// loadBoxes reads the account's mailboxes from the store into r.boxes; what is remembered of a mailbox stays.
func (o *owner) loadBoxes(ctx context.Context) ([]metadata.Mirrored, error) {
	infos, err := o.m.Mirror.Mirrored(ctx, o.account.ID)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.boxes
	o.boxes = make(map[mailbox.ID]*box, len(infos))
	o.order = o.order[:0:0]
	for _, info := range infos {
		b := known[info.ID]
		if b == nil {
			b = &box{id: info.ID, mu: &o.mu, turn: o.turnOf(info.ID), up: info.Upstream}
			b.upstream, b.bound = info.Upstream.Messages, info.Bound
		}
		b.info, b.name, b.attrs, b.rows, b.bodies = info, info.Name, info.Attrs, info.Messages, info.Bodies
		o.boxes[b.id] = b
		if b.wanted() {
			o.order = append(o.order, b)
		}
	}
	slices.SortFunc(o.order, func(a, b *box) int {
		return cmp.Or(cmp.Compare(mirror.Rank(a.name, a.attrs), mirror.Rank(b.name, b.attrs)), cmp.Compare(a.name, b.name))
	})
	return infos, nil
}

// ordered returns the mailboxes to mirror, the most wanted first.
func (r *runner) ordered() []*box {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

// box returns the mailbox with the id, or nil.
func (r *runner) box(id mailbox.ID) *box {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.boxes[id]
}

// note changes what the box shows of itself.
func (r *runner) note(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// plannerBox is a mailbox for mirror.PlanBoxes.
func plannerBox(m metadata.Mirrored) mirror.Box {
	return mirror.Box{
		ID: m.ID, Name: m.Name, Raw: m.Upstream.Name, Delimiter: m.Upstream.Delimiter, Attrs: m.Attrs,
		Messages: m.Bound, Here: m.Messages > 0, Uncertain: m.Uncertain, Creating: m.Creating, Renaming: m.Renaming,
		Deleting:   m.Deleting,
		Checkpoint: mirror.Checkpoint(m.Upstream.Checkpoint),
	}
}

package syncer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
)

// box is a mailbox of the account, as the syncer keeps it between passes. The fields below turn are guarded by
// runner.mu; up and what follows it are changed only by who holds the turn.
type box struct {
	id mailbox.ID
	mu *sync.Mutex // runner.mu
	// turn is held (by a value in the channel) by whoever turns the upstream's answers into changes of this mailbox:
	// rounds and the push connection. It is not a lock on memory; waiting for it can be given up.
	turn chan struct{}

	name     string
	attrs    mailbox.Attr
	upstream uint32 // messages there
	rows     uint32 // messages here
	bodies   uint32
	came     int64 // bytes of bodies, in this round
	pending  int64
	trouble  string
	pushed   bool // its news comes by push now
	reborn   int  // how often it was healed: who had it selected before listens to what is no more
	info     metadata.Mirrored

	up         metadata.Upstream
	confirmed  uint64 // a HIGHESTMODSEQ that was looked behind twice (mirror.Features.Lags)
	looked     uint64 // the same after the first look
	distrusted *link  // there CHANGEDSINCE or QRESYNC was refused: compare instead
	fullAt     time.Time
	flagsAt    time.Time
	heals      []time.Time // of UIDVALIDITY changes in the last day
	gaps       mailbox.Set // upstream UIDs that exist but cannot be fetched
	gapTries   int
	gapsAt     time.Time
	wary       bool        // asking for news with its bodies broke the connection: the next time without
	suspect    mailbox.Set // an implausible departure that waits for its confirmation
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

// raw is the mailbox's name upstream.
func (b *box) raw() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.info.Upstream.Name
}

// selectable says whether the mailbox is there to be mirrored; runner.mu is held.
func (b *box) selectable() bool {
	return b.info.Upstream.Name != "" && b.info.Attrs&mailbox.NoSelect == 0
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
			b = &box{id: info.ID, mu: &o.mu, turn: make(chan struct{}, 1), up: info.Upstream}
			b.upstream, b.rows = info.Upstream.Messages, info.Messages
		}
		b.info, b.name, b.attrs, b.bodies = info, info.Name, info.Attrs, info.Bodies
		o.boxes[b.id] = b
		if b.selectable() {
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
		Messages: m.Messages, Checkpoint: mirror.Checkpoint(m.Upstream.Checkpoint),
	}
}

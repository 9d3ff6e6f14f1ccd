package syncer

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/upstream"
)

// pushes listens to INBOX and to what clients have open, each on a connection of its own and at most Config.Push of
// them, until ctx is done. A mailbox that nobody has open any more is listened to for Config.Linger longer, unless its
// place is needed: clients come back.
func (o *owner) pushes(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[mailbox.ID]*listener{}
	for {
		now := o.m.Clock.Now()
		wanted, limit := o.listenTo()
		for id, p := range running {
			switch {
			case o.stale(id, p):
				p.stop()
				delete(running, id)
			case slices.Contains(wanted, id):
				p.left = time.Time{}
			case p.left.IsZero():
				p.left = now
			}
		}
		var wake <-chan time.Time
		for id, p := range running {
			switch {
			case p.left.IsZero():
			case now.Sub(p.left) >= o.m.cfg.Linger || len(running) > limit || len(running) >= limit && !contains(running, wanted):
				p.stop()
				delete(running, id)
			default:
				wake = time.After(o.m.cfg.Linger)
			}
		}
		for _, id := range wanted {
			if running[id] != nil || len(running) >= limit {
				continue
			}
			ctx, stop := context.WithCancel(ctx)
			p := &listener{stop: stop}
			o.note(func() { p.reborn = o.heals(id) })
			running[id] = p
			wg.Go(func() {
				defer stop()
				o.push(ctx, id, p)
			})
		}
		select {
		case <-ctx.Done():
			for _, p := range running {
				p.stop()
			}
			return
		case <-o.opened:
		case <-wake:
		}
	}
}

// listener is one mailbox that is listened to.
type listener struct {
	stop   context.CancelFunc
	reborn int       // box.reborn when it last looked; guarded by runner.mu
	left   time.Time // since when nobody wants it; zero: somebody does
}

func contains(running map[mailbox.ID]*listener, wanted []mailbox.ID) bool {
	return !slices.ContainsFunc(wanted, func(id mailbox.ID) bool { return running[id] == nil })
}

// stale says whether the mailbox was healed on another connection since p looked: p listens to what is no more.
func (o *owner) stale(id mailbox.ID, p *listener) (yes bool) {
	o.note(func() { yes = p.reborn != o.heals(id) })
	return yes
}

// heals returns how often the mailbox was healed; r.mu is held.
func (r *runner) heals(id mailbox.ID) int {
	if b := r.boxes[id]; b != nil {
		return b.reborn
	}
	return 0
}

// listenTo returns the mailboxes to listen to, INBOX first, then those that clients have open by rank, and how many may
// be listened to now.
func (o *owner) listenTo() (ids []mailbox.ID, limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	limit = o.m.cfg.Push - o.crowded
	for _, b := range o.order {
		switch {
		case b.name == "INBOX":
			ids = slices.Insert(ids, 0, b.id)
		case o.watches[b.id] > 0:
			ids = append(ids, b.id)
		}
	}
	return ids[:min(len(ids), limit)], limit
}

// push listens to a mailbox and brings news in at once, until ctx is done. That it fails is no failure of the account:
// the rounds go on, and it tries again.
func (o *owner) push(ctx context.Context, id mailbox.ID, self *listener) {
	covered := func(yes bool) {
		o.note(func() {
			if b := o.boxes[id]; b != nil {
				b.pushed = yes
			}
		})
	}
	attempt := 0
	for ctx.Err() == nil {
		err := o.listen(ctx, id, func() {
			attempt = 0
			o.note(func() { self.reborn = o.heals(id) })
			covered(true)
		})
		covered(false)
		if ctx.Err() != nil || fault.Is(err, fault.Invalid) {
			return
		}
		o.pushFailed(ctx, id, attempt, err)
		attempt++
	}
}

// pushFailed waits until a push connection is to be tried again.
func (o *owner) pushFailed(ctx context.Context, id mailbox.ID, attempt int, err error) {
	delay := max(diagnose(err).retry, mirror.Backoff(attempt, o.m.cfg.RetryMin, o.m.cfg.RetryMax, rand.Float64()))
	o.log.Info("push connection ended", "mailbox", int64(id), "error", err, "retry", delay)
	o.pause(ctx, delay, false)
}

// listen is one push connection: look, then wait for news, again and again. It calls good when the connection works.
func (o *owner) listen(ctx context.Context, id mailbox.ID, good func()) error {
	l, err := o.dial(ctx, o.pushing, nil)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	// When this is over nobody waits for the upstream to end its IDLE: it may be why.
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var heard *upstream.Event // nil: nothing yet
	for {
		if err := o.lookAndOpen(ctx, l, id, heard, good); err != nil {
			return err
		}
		if heard, err = hear(ctx, l); err != nil {
			return err
		}
	}
}

// lookAndOpen brings the mailbox up to date after what was heard, and selects it. It calls good when the connection works.
func (o *owner) lookAndOpen(ctx context.Context, l *link, id mailbox.ID, heard *upstream.Event, good func()) error {
	b := o.box(id)
	if b == nil {
		return fault.New(fault.Unavailable, "listen", "the mailbox is gone")
	}
	var state mirror.State // what is supposed: when nothing was heard, or not only of a new message, nothing, so that the SELECT decides
	changed := heard != nil && (heard.Expunge || heard.Flags)
	if heard != nil && !changed {
		state = b.grown(ctx)
	}
	before := b.uidNext(ctx)
	if err := o.syncOne(ctx, l, b, state, changed); err != nil {
		return err
	}
	good()
	// What was missing before is the rounds' business.
	if b.uidNext(ctx) != before && before != 0 {
		if err := o.bodies(ctx, l, []*box{b}, before, false); err != nil {
			return err
		}
	}
	if l.selected != nil && l.selected.box == b {
		return nil
	}
	open := l.reopen(b)
	if err := l.do(ctx, &open.Select); err != nil {
		return err
	}
	if open.Err != nil {
		l.forget()
		return fault.As(fault.Unavailable, "open mailbox", open.Err)
	}
	return nil
}

// hear waits for news of the selected mailbox.
func hear(ctx context.Context, l *link) (*upstream.Event, error) {
	news := &upstream.Event{}
	err := l.Idle(ctx, func(e upstream.Event) bool {
		news.Exists, news.Expunge, news.Flags = news.Exists || e.Exists, news.Expunge || e.Expunge, news.Flags || e.Flags
		return false
	})
	if err != nil {
		return nil, fault.Wrap("wait for news", err)
	}
	return news, ctx.Err()
}

// uidNext returns the mailbox's upstream UIDNEXT as it is mirrored.
func (b *box) uidNext(ctx context.Context) uint32 {
	release, err := b.take(ctx)
	if err != nil {
		return 0
	}
	defer release()
	return b.up.UIDNext
}

// grown is what the upstream would say of the mailbox if one message had come since the last pass.
func (b *box) grown(ctx context.Context) mirror.State {
	release, err := b.take(ctx)
	if err != nil {
		return mirror.State{}
	}
	defer release()
	return mirror.State{Messages: b.up.Messages + 1, UIDNext: b.up.UIDNext + 1, UIDValidity: b.up.UIDValidity}
}

// lookAtWatched brings mailboxes up to date that clients have open and that push does not cover.
func (o *owner) lookAtWatched(ctx context.Context, l *link) error {
	var open []*box
	o.note(func() {
		for _, b := range o.order {
			if o.watches[b.id] > 0 && !b.pushed {
				open = append(open, b)
			}
		}
	})
	return o.lookAt(ctx, l, open)
}

// lookAtDue brings mailboxes up to date about which replay asks.
func (o *owner) lookAtDue(ctx context.Context, l *link) error {
	var due []*box
	o.note(func() {
		for _, b := range o.boxes {
			if b.due && b.selectable() {
				b.due = false
				due = append(due, b)
			}
		}
	})
	slices.SortFunc(due, func(a, b *box) int { return cmp.Compare(a.id, b.id) })
	if len(due) == 0 {
		return nil
	}
	err := o.lookAt(ctx, l, due)
	o.replay.Resume()
	return err
}

// lookAt brings mailboxes up to date, outside of a round.
func (o *owner) lookAt(ctx context.Context, l *link, open []*box) error {
	if len(open) == 0 {
		return nil
	}
	if err := o.comeBack(ctx, l); err != nil {
		return err
	}
	if _, err := o.loadBoxes(ctx); err != nil { // replay may have renamed some
		return err
	}
	cmds := l.leave()
	first := len(cmds)
	for _, b := range open {
		cmds = append(cmds, &upstream.Status{Name: b.raw()})
	}
	if err := l.do(ctx, cmds...); err != nil {
		return err
	}
	states := map[string]*mirror.State{}
	var moved []*box
	for i, b := range open {
		if st := cmds[first+i].(*upstream.Status); st.Err == nil {
			states[st.Name] = &mirror.State{
				Messages: st.Messages, UIDNext: st.UIDNext, UIDValidity: st.UIDValidity, HighestModSeq: st.HighestModSeq,
			}
			moved = append(moved, b)
		}
	}
	if _, err := o.passes(ctx, l, moved, states, false); err != nil {
		return err
	}
	return o.bodies(ctx, l, moved, 0, false)
}

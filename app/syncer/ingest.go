package syncer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// chunk is how many new messages are written in one transaction.
const chunk = 500

// upstreamMessage is a message of which everything but the body is known.
type upstreamMessage = metadata.NewMessage

// newUpstreamMessage takes what FETCH gave of a message.
func newUpstreamMessage(m *upstream.Message) upstreamMessage {
	_, zone := m.Date.Zone()
	return upstreamMessage{
		Upstream: m.UID, Flags: m.Flags, Size: max(0, m.Size), Date: m.Date.Unix(), Zone: int16(zone / 60),
		Identity: m.Identity(),
	}
}

// applier writes what the callbacks of one flush hand to it, while the answers go on coming.
type applier struct {
	o    *owner
	ctx  context.Context
	work chan batch
	done chan struct{}
	err  error // the first; read after done
	fail chan struct{}
	all  []*ingest

	stored sync.WaitGroup // bodies that the store has not finished
	mu     sync.Mutex
	lost   error // the first error of the store
}

// batch is messages to be written, and those of their bodies that came with them, by upstream UID.
type batch struct {
	in     *ingest
	msgs   []metadata.NewMessage
	bodies map[uint32]*arrival
}

// ingest is the new messages of one pass. Its fields are used by the callbacks, then by who called close.
type ingest struct {
	a     *applier
	p     *pass
	batch     // what is to be handed over next
	fresh int // messages that were handed over
	// skipped says that some were known already: an interrupted pass had stored them. Set before done is closed.
	skipped bool
	uids    []uint32
}

func newApplier(ctx context.Context, o *owner) *applier {
	a := &applier{o: o, ctx: ctx, work: make(chan batch, 2), done: make(chan struct{}), fail: make(chan struct{})}
	go func() {
		defer close(a.done)
		for w := range a.work {
			if a.err == nil {
				if a.err = a.write(w); a.err != nil {
					close(a.fail)
				}
			}
			for _, body := range w.bodies { // those that write did not pass on
				a.o.store.finish(body, a.err)
			}
		}
	}()
	return a
}

func (a *applier) ingest(p *pass) *ingest {
	in := &ingest{a: a, p: p}
	in.next()
	a.all = append(a.all, in)
	return in
}

// close hands over what is left of the ingests whose answers were good so far, waits until all is written and returns
// the first error.
func (a *applier) close() error {
	for _, in := range a.all {
		if in.p.open == nil || in.p.open.Err != nil {
			in.msgs = nil
		}
		a.work <- in.batch
		in.next()
	}
	close(a.work)
	<-a.done
	a.stored.Wait()
	return cmp.Or(a.err, a.lost)
}

// next begins a new batch.
func (in *ingest) next() { in.batch = batch{in: in, bodies: map[uint32]*arrival{}} }

// add takes a new message, and its body if that came with it; it waits while too many are waiting to be written.
func (in *ingest) add(m metadata.NewMessage, body *arrival) error {
	in.fresh++
	if m.Upstream >= in.p.known.UIDNext {
		in.uids = append(in.uids, m.Upstream)
	}
	in.msgs = append(in.msgs, m)
	if body != nil {
		if twice := in.bodies[m.Upstream]; twice != nil {
			in.a.o.store.finish(twice, nil)
		}
		in.bodies[m.Upstream] = body
	}
	if len(in.msgs) < chunk {
		return nil
	}
	select {
	case in.a.work <- in.batch:
		in.next()
		return nil
	case <-in.a.fail:
		return fault.New(fault.Internal, "store messages", "the store failed")
	case <-in.a.ctx.Done():
		return in.a.ctx.Err()
	}
}

// beyond returns how many of the new messages have a UID at or above the UIDNEXT that SELECT had told.
func (in *ingest) beyond(uidNext uint32) (n uint32) {
	if uidNext == 0 {
		return 0
	}
	slices.Sort(in.uids)
	in.uids = slices.Compact(in.uids)
	for _, uid := range in.uids {
		if uid >= uidNext {
			n++
		}
	}
	return n
}

// write stores one chunk, and passes on the bodies of what is new. During a first mirror its checkpoint says how far the
// messages are, so that the next attempt goes on from there; that it has not ended is said by Synced.
func (a *applier) write(w batch) error {
	if len(w.msgs) == 0 {
		return nil
	}
	p := w.in.p
	slices.SortFunc(w.msgs, func(x, y metadata.NewMessage) int { return cmp.Compare(x.Upstream, y.Upstream) })
	u := metadata.Update{Mailbox: p.b.id, Now: p.at, New: w.msgs}
	if p.step == mirror.First {
		u.Checkpoint = &metadata.Checkpoint{
			UIDValidity: p.open.UIDValidity, UIDNext: w.msgs[len(w.msgs)-1].Upstream + 1, Messages: p.open.Messages,
		}
	}
	applied, err := a.o.apply(a.ctx, p.b, u)
	if err != nil {
		return err
	}
	for i, uid := range applied.UIDs {
		m := &w.msgs[i]
		body := w.bodies[m.Upstream]
		switch {
		case uid == 0:
			w.in.skipped = true
		case body != nil:
			delete(w.bodies, m.Upstream)
			body.box, body.uid, body.claimed = p.b.id, uid, m.Size
			a.stored.Add(1)
			body.done = func(err error) {
				body.close(err)
				a.finished(err)
			}
			a.o.store.put(a.ctx, body)
		}
	}
	return nil
}

// finished is told of every body that was passed on.
func (a *applier) finished(err error) {
	defer a.stored.Done()
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.lost = cmp.Or(a.lost, err)
	}
}

// hold reads a body that came with its message, to be stored when the message has a UID here. It waits for nothing,
// since it would keep others waiting: what there is no room for comes another time, and nil is returned.
func (p *pass) hold(m *upstream.Message) *arrival {
	if m.Body == nil || len(p.in.bodies) >= wholeTail || m.BodySize == 0 && m.Size > 0 {
		return nil
	}
	if m.BodySize <= maxWhole && !p.o.m.memory.TryAcquire(weight(m.BodySize)) {
		return nil
	}
	a, err := p.o.read(p.in.a.ctx, p.l, m.Body, m.BodySize)
	if err != nil {
		return nil // the connection's end comes to light without this
	}
	a.done = a.close
	return a
}

// apply writes an update of a mailbox, keeps what is remembered of it in step and tells the sessions. The caller has
// the mailbox's turn.
func (o *owner) apply(ctx context.Context, b *box, u metadata.Update) (metadata.Applied, error) {
	applied, err := o.m.Mirror.Apply(ctx, o.fence, u)
	if err != nil {
		return applied, fault.Wrap("store changes", err)
	}
	added := 0
	for _, uid := range applied.UIDs {
		if uid != 0 {
			added++
		}
	}
	o.note(func() {
		b.rows += uint32(added)
		b.bound += uint32(added)
		b.rows -= min(b.rows, uint32(u.Expunge.Len()))
	})
	if u.Checkpoint != nil {
		b.up.Checkpoint = *u.Checkpoint
	}
	if applied.Changed {
		o.hint(b.id, applied.ModSeq)
	}
	return applied, nil
}

// fetchMissing gets the messages that the upstream has and that are not known here. Those that answer to a message
// which lost its upstream UID get it back; what the upstream has but does not give is remembered as a gap, and left
// alone for a while. all says that missing is all that there is.
func (p *pass) fetchMissing(ctx context.Context, missing mailbox.Set, all bool) error {
	b := p.b
	if all {
		b.gaps = b.gaps.Intersect(missing)
	}
	if !p.gapsDue() {
		missing = missing.Minus(b.gaps)
	}
	if len(missing) == 0 {
		return nil
	}
	var got []metadata.NewMessage
	open, cmds := p.l.open(b)
	fetch := &upstream.Fetch{UIDs: missing, Items: upstream.ItemMeta, OnMessage: func(m upstream.Message) error {
		p.l.touch()
		if open.Err == nil && open.UIDValidity == p.open.UIDValidity && m.Has&upstream.ItemMeta == upstream.ItemMeta &&
			missing.Contains(m.UID) {
			got = append(got, newUpstreamMessage(&m))
		}
		return nil
	}}
	if err := p.l.do(ctx, append(cmds, fetch)...); err != nil {
		return err
	}
	if open.Err != nil || open.UIDValidity != p.open.UIDValidity {
		p.l.forget()
		return wrongBox{fault.As(fault.Unavailable, "open", cmp.Or(open.Err, mirror.ErrIncomplete))}
	}
	if fetch.Err != nil && len(got) == 0 && diagnose(fetch.Err).retry > 0 {
		return wrongBox{fetch.Err}
	}
	rows, err := p.readRows(ctx, true)
	if err != nil {
		return err
	}
	slices.SortFunc(got, func(x, y metadata.NewMessage) int { return cmp.Compare(x.Upstream, y.Upstream) })
	got = slices.CompactFunc(got, func(x, y metadata.NewMessage) bool { return x.Upstream == y.Upstream })
	for part := range slices.Chunk(got, chunk) {
		if _, err := p.o.apply(ctx, b, bindOrAdd(b.id, p, rows, part)); err != nil {
			return err
		}
		p.loaded = false
		if rows, err = p.readRows(ctx, true); err != nil {
			return err
		}
	}
	var have []uint32
	for _, m := range got {
		have = append(have, m.Upstream)
		p.maxUID = max(p.maxUID, m.Upstream)
	}
	came := mailbox.SetOf(have...)
	gaps := missing.Minus(came)
	if len(gaps) == 0 {
		if b.gaps = b.gaps.Minus(came); len(b.gaps) == 0 {
			b.gapTries = 0
		}
		return nil
	}
	b.gaps = b.gaps.Minus(came).Union(gaps)
	b.gapsAt = p.at.Add(retryAfter(b.gapTries))
	b.gapTries++
	p.o.log.Warn("upstream does not give messages", "mailbox", int64(b.id), "uids", gaps.String())
	return nil
}

// bindOrAdd is the update for messages that are not known by their upstream UID: known ones that have none get it.
func bindOrAdd(id mailbox.ID, p *pass, rows []mirror.Row, msgs []metadata.NewMessage) metadata.Update {
	u := metadata.Update{Mailbox: id, Now: p.at}
	unbound := slices.DeleteFunc(slices.Clone(rows), func(r mirror.Row) bool { return r.Upstream != 0 || r.Placing })
	pairs, _, _ := mirror.Match(unbound, idents(msgs))
	bound := map[uint32]bool{}
	for _, pair := range pairs {
		u.Rebind = append(u.Rebind, metadata.Rebind(pair))
		bound[pair.Upstream] = true
	}
	for _, m := range msgs {
		if !bound[m.Upstream] {
			u.New = append(u.New, m)
		}
	}
	return u
}

func idents(msgs []metadata.NewMessage) []mirror.Ident {
	out := make([]mirror.Ident, len(msgs))
	for i, m := range msgs {
		out[i] = mirror.Ident{Upstream: m.Upstream, Email: m.Identity.Email}
	}
	return out
}

// finishHeal gives known messages their new upstream UIDs after the old ones became meaningless. It is one
// transaction: before it the old state stands, after it the new one.
func (p *pass) finishHeal(ctx context.Context) error {
	b, sel := p.b, &p.open.Select
	slices.SortStableFunc(p.heal, func(x, y metadata.NewMessage) int { return cmp.Compare(x.Upstream, y.Upstream) })
	p.heal = slices.CompactFunc(p.heal, func(x, y metadata.NewMessage) bool { return x.Upstream == y.Upstream })
	p.loaded = false
	rows, err := p.readRows(ctx, true)
	if err != nil {
		return err
	}
	pairs, left, fresh := mirror.Match(rows, idents(p.heal))
	late := p.lateHeal(sel.UIDNext)
	_, err = mirror.NewCensus(&p.obs, true, sel.Messages+late)
	complete := err == nil && len(p.heal) == p.obs.Len()
	if !complete && len(rows) > 0 && 2*len(pairs) < len(p.heal) && b.halves < mostPuzzles {
		// Little of it is known here, and it is not all: rather damaged on the way than another mailbox.
		b.halves++
		return wrongBox{fault.As(fault.Unavailable, "compare after a UIDVALIDITY change", mirror.ErrIncomplete)}
	}
	b.halves = 0
	u := metadata.Update{Mailbox: b.id, Now: p.at, Reset: true}
	flags := map[mailbox.UID]int{}
	for i, r := range rows {
		flags[r.UID] = i
	}
	byUpstream := map[uint32]*metadata.NewMessage{}
	for i := range p.heal {
		byUpstream[p.heal[i].Upstream] = &p.heal[i]
	}
	for _, pair := range pairs {
		u.Rebind = append(u.Rebind, metadata.Rebind(pair))
		if m := byUpstream[pair.Upstream]; !m.Flags.Equal(rows[flags[pair.UID]].Flags) {
			u.Flags = append(u.Flags, metadata.FlagChange{UID: pair.UID, Flags: m.Flags})
		}
	}
	for uid := range fresh.All {
		u.New = append(u.New, *byUpstream[uid])
	}
	u.Checkpoint = p.checkpoint(late)
	u.Checkpoint.UIDNext = max(sel.UIDNext, p.maxUID+1)
	u.Checkpoint.ModSeq = mirror.NextModSeq(0, sel.HighestModSeq, p.modSeq, p.l.features)
	if complete {
		u.Expunge = left
	} else {
		// What is not matched may be among what the upstream did not give: a later comparison decides.
		u.Checkpoint.Synced, u.Checkpoint.ModSeq = time.Time{}, 0
	}
	if err := p.apply(ctx, u); err != nil {
		return err
	}
	if p.known.UIDValidity != sel.UIDValidity && p.known.UIDValidity != 0 {
		b.heals = append(b.heals, p.at)
		p.o.note(func() { b.reborn, b.strange = b.reborn+1, 0 })
		p.o.log.Info("mailbox healed after a UIDVALIDITY change", "mailbox", int64(b.id), "matched", len(pairs),
			"new", len(u.New), "gone", u.Expunge.Len())
	}
	b.fullAt, b.flagsAt, b.gaps, b.suspect, b.looked, b.confirmed = p.at, p.at, nil, nil, 0, 0
	p.o.note(func() { b.trouble, b.placed, b.full = "", false, false })
	p.o.reconsider()
	return nil
}

func (p *pass) lateHeal(uidNext uint32) (n uint32) {
	for _, m := range p.heal {
		if uidNext != 0 && m.Upstream >= uidNext {
			n++
		}
	}
	return n
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package syncer

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// everything is UID 1:*.
var everything = mailbox.Set{{First: 1, Last: ^uint32(0)}}

// flushBoxes is how many mailboxes' first commands are sent in one flush.
const flushBoxes = 32

// pass is one attempt to bring one mailbox's messages and flags up to date. The callbacks of its commands fill it;
// finish draws the conclusions.
type pass struct {
	o     *owner
	l     *link
	b     *box
	step  mirror.Step
	known mirror.Known
	at    time.Time

	asked     bool // somebody asked for a look: what failed before is tried again at once
	expectNew bool // commands are to ask for new messages too
	empty     bool // there is nothing to ask for: some servers refuse 1:* in an empty mailbox

	open    *opening
	fetches []*upstream.Fetch
	obs     mirror.Observation
	in      *ingest // nil where nothing new can come
	heal    []upstreamMessage
	maxUID  uint32
	modSeq  uint64 // the highest of an answer
	rows    []mirror.Row
	loaded  bool
}

// passes brings the mailboxes up to date, the first commands of many in one flush.
func (o *owner) passes(ctx context.Context, l *link, boxes []*box, states map[string]*mirror.State, asked bool) error {
	for group := range slices.Chunk(boxes, flushBoxes) {
		if err := o.passGroup(ctx, l, group, states, asked); err != nil {
			return err
		}
	}
	return nil
}

func (o *owner) passGroup(ctx context.Context, l *link, group []*box, states map[string]*mirror.State, asked bool) error {
	var ps []*pass
	var cmds []upstream.Command
	for _, b := range group {
		release, err := b.take(ctx)
		if err != nil {
			return err
		}
		defer release()
		st, ok := states[b.raw()]
		if !ok {
			continue // it came after the listing
		}
		var state mirror.State
		if st != nil {
			state = *st
		}
		p := o.newPass(l, b, asked, false)
		if st != nil {
			o.note(func() { b.upstream = state.Messages })
		}
		if p.plan(state); p.step == mirror.Nothing {
			continue
		}
		ps = append(ps, p)
		cmds = append(cmds, p.commands()...)
	}
	if len(ps) == 0 {
		return nil
	}
	run := newApplier(ctx, o)
	for _, p := range ps {
		p.in = run.ingest(p)
	}
	err := l.do(ctx, cmds...)
	if err := cmp.Or(err, run.close()); err != nil {
		return err
	}
	for _, p := range ps {
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// syncOne brings one mailbox up to date on a connection of its own; state is what is supposed of the upstream, asked
// says that flags may have changed. The caller has no turn.
func (o *owner) syncOne(ctx context.Context, l *link, b *box, state mirror.State, asked bool) error {
	release, err := b.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	p := o.newPass(l, b, asked, true)
	if p.plan(state); p.step == mirror.Compare || p.step == mirror.Heal {
		// What is supposed is not enough to do something expensive: look first.
		open := l.reopen(b)
		if err := l.do(ctx, &open.Select); err != nil {
			return err
		}
		if open.Err != nil {
			l.forget()
			return p.failed(open.Err)
		}
		if p.plan(stateOf(&open.Select)); p.step == mirror.Nothing {
			return nil
		}
	}
	if p.step == mirror.Nothing {
		return nil
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	return p.settle(ctx)
}

func (o *owner) newPass(l *link, b *box, asked, quick bool) *pass {
	now := o.m.Clock.Now()
	if b.fullAt.IsZero() {
		b.fullAt = now.Add(time.Duration((rand.Float64() - 1) * 0.9 * float64(o.m.cfg.Full)))
	}
	return &pass{o: o, l: l, b: b, at: now, asked: asked, known: mirror.Known{
		Checkpoint: mirror.Checkpoint(b.up.Checkpoint),
		Rows:       b.rows,
		FullDue:    now.Sub(b.fullAt) >= o.m.cfg.Full || len(b.suspect) > 0,
		FlagsDue:   asked || now.Sub(b.flagsAt) >= o.m.cfg.Poll/2,
		Quick:      quick,
		Confirmed:  b.confirmed,
	}}
}

// plan chooses the step for what the upstream says.
func (p *pass) plan(u mirror.State) {
	f := p.l.features
	if p.b.distrusted == p.l {
		f = mirror.Features{}
	}
	p.step = mirror.PlanMailbox(p.known, u, f)
	switch {
	case p.gapsDue() && !p.known.Quick && (p.step == mirror.Nothing || p.step == mirror.Changes || p.step == mirror.Resync):
		p.step = mirror.Compare
	case p.step == mirror.Nothing && len(p.b.gaps) == 0:
		p.o.note(func() { p.b.trouble = "" })
	case p.step == mirror.Heal && u.UIDValidity != p.known.UIDValidity && p.healTooOften():
		p.step = mirror.Nothing
	}
	p.expectNew = u.UIDNext != p.known.UIDNext || u.UIDNext == 0
	p.empty = u.Messages == 0 && (u.UIDNext != 0 || u.Opened)
}

// gapsDue says whether what the upstream did not give is to be asked for again.
func (p *pass) gapsDue() bool {
	return len(p.b.gaps) > 0 && (p.asked || !p.at.Before(p.b.gapsAt))
}

// healTooOften says whether the mailbox changes its UIDVALIDITY so often that healing it must wait.
func (p *pass) healTooOften() bool {
	b := p.b
	b.heals = slices.DeleteFunc(b.heals, func(t time.Time) bool { return p.at.Sub(t) > 24*time.Hour })
	if len(b.heals) == 0 || p.at.Sub(b.heals[len(b.heals)-1]) >= mirror.HealDelay(len(b.heals)) {
		return false
	}
	p.o.note(func() {
		b.trouble = "the upstream changes the mailbox's UIDVALIDITY again and again; it is looked at once an hour"
	})
	return true
}

func stateOf(s *upstream.Select) mirror.State {
	return mirror.State{
		Messages: s.Messages, UIDNext: s.UIDNext, UIDValidity: s.UIDValidity, HighestModSeq: s.HighestModSeq, Opened: true,
	}
}

// commands returns the commands of the step, the SELECT first.
func (p *pass) commands() []upstream.Command {
	p.open = p.l.reopen(p.b)
	p.fetches = nil
	fetch := func(f upstream.Fetch) {
		f.OnMessage = p.heard
		p.fetches = append(p.fetches, &f)
	}
	from := max(1, p.known.UIDNext)
	tail := mailbox.Set{{First: from, Last: ^uint32(0)}}
	switch p.step {
	case mirror.First, mirror.Heal:
		fetch(upstream.Fetch{UIDs: everything, Open: true, Items: upstream.ItemMeta})
	case mirror.New:
		fetch(upstream.Fetch{UIDs: tail, Open: true, Items: upstream.ItemMeta})
	case mirror.Changes:
		items := upstream.ItemFlags
		if p.expectNew {
			items = upstream.ItemMeta
		}
		fetch(upstream.Fetch{UIDs: everything, Open: true, Items: items, ChangedSince: p.known.ModSeq})
	case mirror.Resync:
		p.open.Resync = &upstream.Resync{UIDValidity: p.known.UIDValidity, ModSeq: p.known.ModSeq}
		p.open.OnChange = p.changed
		if p.expectNew {
			fetch(upstream.Fetch{UIDs: tail, Open: true, Items: upstream.ItemMeta})
		}
	case mirror.Compare:
		fetch(upstream.Fetch{UIDs: everything, Open: true, Items: upstream.ItemFlags})
		fetch(upstream.Fetch{UIDs: tail, Open: true, Items: upstream.ItemMeta})
	}
	if p.empty {
		p.fetches = nil
	}
	cmds := []upstream.Command{&p.open.Select}
	for _, f := range p.fetches {
		cmds = append(cmds, f)
	}
	return cmds
}

// observe notes what is heard of a message.
func (p *pass) observe(m upstream.Message) {
	p.maxUID = max(p.maxUID, m.UID)
	p.modSeq = max(p.modSeq, m.ModSeq)
	p.obs.Add(m.UID, m.Flags, m.Has&upstream.ItemFlags != 0)
}

// changed is the callback of a SELECT with QRESYNC, which is not answered yet: judge looks at its UIDVALIDITY.
func (p *pass) changed(m upstream.Message) error {
	p.l.touch()
	p.observe(m)
	return nil
}

// heard is the callback of the FETCHes of a pass. The SELECT before them has been answered.
func (p *pass) heard(m upstream.Message) error {
	p.l.touch()
	if p.open.Err != nil {
		return errStale
	}
	if p.open.UIDValidity != p.known.UIDValidity && p.step != mirror.First && p.step != mirror.Heal {
		return errStale
	}
	p.observe(m)
	if m.Has&upstream.ItemMeta != upstream.ItemMeta {
		return nil
	}
	if p.step == mirror.Heal {
		p.heal = append(p.heal, newUpstreamMessage(&m))
		return nil
	}
	if m.UID < p.known.UIDNext && p.step != mirror.First {
		return nil // known, or a gap that finish will find
	}
	return p.in.add(newUpstreamMessage(&m))
}

// wrongBox is a failure that concerns one mailbox, not the connection.
type wrongBox struct{ error }

func (w wrongBox) Unwrap() error { return w.error }

// failed notes what is wrong with this mailbox. It returns the error when it concerns the whole account.
func (p *pass) failed(err error) error {
	if t := diagnose(err); t.state == account.StateThrottle {
		return err
	}
	p.o.log.Warn("mailbox pass failed", "mailbox", int64(p.b.id), "step", p.step.String(), "error", err)
	p.o.note(func() { p.b.trouble = err.Error() })
	return nil
}

// flush sends the commands of the step and waits for their answers and for what they brought to be stored.
func (p *pass) flush(ctx context.Context) error {
	p.obs, p.heal, p.maxUID, p.modSeq, p.loaded = mirror.Observation{}, nil, 0, 0, false
	run := newApplier(ctx, p.o)
	p.in = run.ingest(p)
	err := p.l.do(ctx, p.commands()...)
	return cmp.Or(err, run.close())
}

// settle judges what the commands brought and carries it out, with further commands where they are needed.
func (p *pass) settle(ctx context.Context) error {
	const attempts = 3
	for n := 0; ; n++ {
		again, err := p.judge(ctx)
		var wrong wrongBox
		switch {
		case errors.As(err, &wrong):
			return p.failed(wrong.error)
		case err != nil || !again:
			return err
		case n == attempts:
			return p.failed(fault.New(fault.Unavailable, "synchronize", "the upstream contradicts itself"))
		}
		if p.plan(stateOf(&p.open.Select)); p.step == mirror.Nothing {
			return nil
		}
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
}

// judge looks at the answers of one flush; again asks for another flush, planned from what the SELECT said.
func (p *pass) judge(ctx context.Context) (again bool, err error) {
	b, sel := p.b, &p.open.Select
	if sel.Err != nil {
		p.l.forget()
		if p.step == mirror.Resync {
			return true, p.distrust(ctx) // some servers refuse the QRESYNC that they advertise
		}
		return false, wrongBox{fault.As(fault.Unavailable, "open", sel.Err)}
	}
	p.o.note(func() { b.upstream = sel.Messages })
	stable := p.step == mirror.First || p.step == mirror.Heal
	if sel.UIDValidity != p.known.UIDValidity && !stable {
		return true, nil
	}
	if p.empty && sel.Messages > 0 {
		return true, nil
	}
	for _, f := range p.fetches {
		if f.Err == nil {
			continue
		}
		if p.step == mirror.Changes {
			return true, p.distrust(ctx)
		}
		return false, wrongBox{fault.As(fault.Unavailable, "fetch", f.Err)}
	}
	switch p.step {
	case mirror.Heal:
		return false, p.finishHeal(ctx)
	case mirror.Resync:
		if !p.expectNew && sel.UIDNext != p.known.UIDNext {
			return true, nil // more came than the STATUS had told
		}
	case mirror.Changes:
		if !p.expectNew && sel.UIDNext != p.known.UIDNext {
			return true, nil
		}
	}
	return false, p.finish(ctx)
}

// distrust gives up CONDSTORE and QRESYNC for the mailbox on this connection, and selects it without.
func (p *pass) distrust(ctx context.Context) error {
	p.b.distrusted = p.l
	p.open = p.l.reopen(p.b)
	if err := p.l.do(ctx, &p.open.Select); err != nil {
		return err
	}
	if p.open.Err != nil {
		p.l.forget()
		return wrongBox{fault.As(fault.Unavailable, "open", p.open.Err)}
	}
	return nil
}

// finish applies flag changes and departures, looks for what the upstream has beyond what it gave, and writes the
// checkpoint.
func (p *pass) finish(ctx context.Context) error {
	b, sel := p.b, &p.open.Select
	u := metadata.Update{Mailbox: b.id, Now: p.at}
	vanished := sel.Vanished
	for _, f := range p.fetches {
		vanished = vanished.Union(f.Gone)
	}
	rows, err := p.readRows(ctx, p.step == mirror.Compare || len(vanished) > 0 || p.in.skipped || p.obs.Len() > p.in.fresh)
	if err != nil {
		return err
	}
	changes, unknown := mirror.Differences(rows, &p.obs)
	for _, c := range changes {
		u.Flags = append(u.Flags, metadata.FlagChange(c))
	}
	if !p.loaded {
		unknown = nil // everything heard of was new, and was stored as it came
	}
	u.Expunge = mirror.Named(rows, vanished)
	if p.step != mirror.Compare { // else census does it
		if err := p.fetchMissing(ctx, unknown, false); err != nil {
			return err
		}
	}
	here := uint64(b.rows) - min(uint64(b.rows), u.Expunge.Len())
	late := p.in.beyond(sel.UIDNext) // came while the commands ran: not in the SELECT's count
	if p.step == mirror.Compare || here+b.gaps.Len() != uint64(sel.Messages)+uint64(late) {
		if err := p.census(ctx, &u, late); err != nil {
			if applyErr := p.apply(ctx, u); applyErr != nil {
				return applyErr
			}
			return err
		}
	}
	u.Checkpoint = p.checkpoint(late)
	if err := p.apply(ctx, u); err != nil {
		return err
	}
	if p.step == mirror.Compare {
		b.fullAt = p.at
	}
	if p.step != mirror.New {
		b.flagsAt = p.at
	}
	p.o.note(func() {
		if b.trouble = ""; len(b.gaps) > 0 {
			b.trouble = "the upstream does not give " + plural(b.gaps.Len(), "message")
		}
	})
	return nil
}

// readRows reads the mailbox's messages once, when they are needed.
func (p *pass) readRows(ctx context.Context, need bool) ([]mirror.Row, error) {
	if p.loaded || !need {
		return p.rows, nil
	}
	rows, err := p.o.rows(ctx, p.b.id)
	if err != nil {
		return nil, err
	}
	p.rows, p.loaded = rows, true
	p.o.note(func() { p.b.rows = uint32(len(rows)) })
	return rows, nil
}

// census finds what is gone, where the counts do not agree or everything is compared. It adds to u.
func (p *pass) census(ctx context.Context, u *metadata.Update, late uint32) error {
	b := p.b
	obs, answered, exists := &p.obs, true, p.open.Messages+late
	if p.step != mirror.Compare || uint64(obs.Len()) != uint64(exists) {
		open := p.l.reopen(b)
		enum := &upstream.Enumerate{}
		if err := p.l.do(ctx, &open.Select, enum); err != nil {
			return err
		}
		if open.Err != nil || open.UIDValidity != p.open.UIDValidity {
			p.l.forget()
			return wrongBox{fault.As(fault.Unavailable, "open", cmp.Or(open.Err, mirror.ErrIncomplete))}
		}
		obs = &mirror.Observation{}
		obs.AddSet(enum.UIDs)
		answered, exists = enum.Err == nil, open.Messages
	}
	c, incomplete := mirror.NewCensus(obs, answered, exists)
	p.loaded = false
	rows, err := p.readRows(ctx, true)
	if err != nil {
		return err
	}
	_, unknown := mirror.Differences(rows, obs)
	if err := p.fetchMissing(ctx, unknown, incomplete == nil); err != nil {
		return err
	}
	if incomplete != nil {
		return wrongBox{fault.As(fault.Unavailable, "compare", incomplete)}
	}
	rows = p.rows
	gone := mirror.Gone(rows, c)
	if gone.Implausible && gone.UIDs.String() != b.suspect.String() {
		b.suspect = gone.UIDs
		p.o.note(func() { p.o.doubtful = true })
		return wrongBox{fault.Newf(fault.Unavailable, "compare",
			"%s disappeared at once; waiting for the upstream to say so again", plural(gone.UIDs.Len(), "message"))}
	}
	b.suspect = nil
	u.Expunge = u.Expunge.Union(gone.UIDs)
	if len(b.gaps) == 0 { // else an unbound message may be one that the upstream does not give
		u.Expunge = u.Expunge.Union(mirror.Unbound(rows, c))
	}
	return nil
}

// checkpoint is what a successful pass reached.
func (p *pass) checkpoint(late uint32) *metadata.Checkpoint {
	b, sel := p.b, &p.open.Select
	cp := &metadata.Checkpoint{
		UIDValidity: sel.UIDValidity,
		UIDNext:     max(sel.UIDNext, p.maxUID+1),
		Messages:    sel.Messages + late,
		ModSeq:      mirror.NextModSeq(p.known.ModSeq, sel.HighestModSeq, p.modSeq, p.l.features),
		Synced:      p.at,
	}
	if p.step == mirror.New { // it did not look at changes
		cp.ModSeq = p.known.ModSeq
	}
	if p.known.UIDValidity == cp.UIDValidity {
		cp.UIDNext = max(cp.UIDNext, p.known.UIDNext)
	}
	if p.l.features.Lags && cp.ModSeq < sel.HighestModSeq {
		if b.looked == sel.HighestModSeq {
			b.confirmed = b.looked
		}
		b.looked = sel.HighestModSeq
	}
	return cp
}

// apply writes the update and tells the sessions.
func (p *pass) apply(ctx context.Context, u metadata.Update) error {
	_, err := p.o.apply(ctx, p.b, u)
	return err
}

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
	"imapped/ports/upstream"
)

// everything is UID 1:*.
var everything = mailbox.SetFrom(1)

// wholeTail is up to how many new messages are asked for with their bodies: it saves a command and a round trip. Of more,
// and where somebody waits, what a list of messages shows comes first; and replay, which may want the mailbox's turn, is
// not to wait for many bodies.
const wholeTail = 100

// flushBoxes is how many mailboxes' first commands are sent in one flush, and flushNews how many new messages more than
// one of them may have together.
const (
	flushBoxes = 32
	flushNews  = 2000
)

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
	whole     bool // so little is new that its bodies are asked for with it
	empty     bool // there is nothing to ask for: some servers refuse 1:* in an empty mailbox
	strange   bool // what has its name now may be another mailbox

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

// passes brings the mailboxes up to date, the first commands of many in one flush. It says whether there was anything to do.
func (o *owner) passes(ctx context.Context, l *link, boxes []*box, states map[string]*mirror.State, asked bool) (bool, error) {
	did := false
	for len(boxes) > 0 {
		n := together(boxes, states)
		some, err := o.passGroup(ctx, l, boxes[:n], states, asked)
		if err != nil {
			return false, err
		}
		did = did || some
		if boxes = boxes[n:]; len(boxes) == 0 {
			break
		}
		if err := o.makeRoom(ctx, l); err != nil {
			return false, err
		}
	}
	return did, nil
}

// together returns how many of the mailboxes are looked at in one flush, and so keep their turns until it has ended: one
// that has much to tell keeps no others waiting.
func together(boxes []*box, states map[string]*mirror.State) int {
	sum := uint64(0)
	for i, b := range boxes {
		b.mu.Lock()
		st, next := states[b.info.Upstream.Name], b.info.Upstream.UIDNext
		b.mu.Unlock()
		if st != nil && st.UIDNext > next {
			sum += uint64(min(st.Messages, st.UIDNext-next))
		}
		if i == flushBoxes || i > 0 && sum > flushNews {
			return i
		}
	}
	return len(boxes)
}

func (o *owner) passGroup(ctx context.Context, l *link, group []*box, states map[string]*mirror.State, asked bool) (bool, error) {
	turns, err := takeAll(ctx, group)
	if err != nil {
		return false, err
	}
	defer turns.giveBack()
	if !asked && o.atRest(l, group, states) {
		return false, nil
	}
	ready, err := o.refresh(ctx, group)
	if err != nil {
		return false, err
	}
	var ps []*pass
	var cmds []upstream.Command
	for _, b := range ready {
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
	turns.keep(func(b *box) bool { return slices.ContainsFunc(ps, func(p *pass) bool { return p.b == b }) })
	if len(ps) == 0 {
		return false, nil
	}
	run := newApplier(ctx, o)
	for _, p := range ps {
		p.in = run.ingest(p)
	}
	err = l.do(ctx, cmds...)
	if err := cmp.Or(err, run.close()); err != nil {
		return false, err
	}
	for _, p := range ps {
		if err := p.settle(ctx); err != nil {
			return false, err
		}
		turns.keep(func(b *box) bool { return b != p.b })
	}
	return true, nil
}

// syncOne brings one mailbox up to date on a connection of its own; state is what is supposed of the upstream, asked
// says that flags may have changed. The caller has no turn.
func (o *owner) syncOne(ctx context.Context, l *link, b *box, state mirror.State, asked bool) error {
	release, err := b.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	if ready, err := o.refresh(ctx, []*box{b}); err != nil || len(ready) == 0 {
		return err
	}
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
		p.plan(stateOf(&open.Select))
	}
	if p.step != mirror.Nothing {
		if err := p.flush(ctx); err != nil {
			return err
		}
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	if p.strange {
		return fault.New(fault.Unavailable, "synchronize", "another mailbox has the name now; the next listing tells which")
	}
	return nil
}

func (o *owner) newPass(l *link, b *box, asked, quick bool) *pass {
	now := o.m.Clock.Now()
	return &pass{o: o, l: l, b: b, at: now, asked: asked, known: o.known(b, now, asked, quick)}
}

// known is what is known of a mailbox, whose turn the caller has.
func (o *owner) known(b *box, now time.Time, asked, quick bool) mirror.Known {
	if b.fullAt.IsZero() {
		b.fullAt = now.Add(time.Duration((rand.Float64() - 1) * 0.9 * float64(o.m.cfg.Full)))
	}
	full := false
	o.note(func() { full = b.full })
	return mirror.Known{
		Checkpoint: mirror.Checkpoint(b.up.Checkpoint),
		Rows:       b.bound + uint32(b.gaps.Len()),
		FullDue:    full || now.Sub(b.fullAt) >= o.m.cfg.Full || len(b.suspect) > 0,
		FlagsDue:   asked || now.Sub(b.flagsAt) >= o.m.cfg.Poll/2,
		Quick:      quick,
		Confirmed:  b.confirmed,
	}
}

// features is what the upstream can do that is to be relied on for the mailbox.
func (b *box) features(l *link) mirror.Features {
	if b.distrusted == l {
		return mirror.Features{}
	}
	return l.features
}

// plan chooses the step for what the upstream says.
func (p *pass) plan(u mirror.State) {
	p.step = mirror.PlanMailbox(p.known, u, p.b.features(p.l))
	switch {
	case p.gapsDue() && !p.known.Quick && (p.step == mirror.Nothing || p.step == mirror.Changes || p.step == mirror.Resync):
		p.step = mirror.Compare
	case p.step == mirror.Nothing && len(p.b.gaps) == 0:
		p.o.note(func() { p.b.trouble = "" })
	case p.step == mirror.Heal && u.UIDValidity != p.known.UIDValidity && (p.unheard(u.UIDValidity) || p.healTooOften()):
		p.step = mirror.Nothing
	}
	p.expectNew = u.UIDNext != p.known.UIDNext || u.UIDNext == 0
	p.whole = !p.known.Quick && !p.b.wary && !p.b.placed && p.known.UIDNext > 0 && u.UIDNext > p.known.UIDNext && u.UIDNext-p.known.UIDNext <= wholeTail
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

// unheard says whether the mailbox has a UIDVALIDITY that the last listing does not tell of it. Then it may be another one,
// and what is known here has another name now: only a listing can say. An upstream that never says the same is believed
// after some rounds.
func (p *pass) unheard(validity uint32) (yes bool) {
	if p.known.UIDValidity == 0 || validity == 0 {
		return false
	}
	p.o.note(func() {
		b := p.b
		if !b.doubted && (b.listed == 0 || b.listed == validity) || b.strange == mostPuzzles {
			return
		}
		yes, p.strange = true, true
		if b.doubted { // that listing is to be repeated anyway
			p.o.doubtful = true
			return
		}
		b.strange++
		p.o.relist = true
		p.o.wake()
	})
	return yes
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
	tail := upstream.Fetch{UIDs: mailbox.SetFrom(from), Open: true, Items: upstream.ItemMeta}
	if p.whole {
		tail.Items |= upstream.ItemBody
		p.b.wary = true
	}
	switch p.step {
	case mirror.First, mirror.Heal:
		fetch(upstream.Fetch{UIDs: everything, Open: true, Items: upstream.ItemMeta})
	case mirror.New:
		fetch(tail)
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
			fetch(tail)
		}
	case mirror.Compare:
		fetch(upstream.Fetch{UIDs: everything, Open: true, Items: upstream.ItemFlags})
		fetch(tail)
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
	return p.in.add(newUpstreamMessage(&m), p.hold(&m))
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
		p.b.wary = false // the commands were answered
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
	if sel.UIDValidity != p.known.UIDValidity && (!stable || p.step == mirror.Heal && p.unheard(sel.UIDValidity)) {
		return true, nil
	}
	if p.step == mirror.Heal && p.known.UIDValidity != 0 && sel.UIDValidity == p.known.UIDValidity {
		return true, nil // the STATUS was wrong, or old: what is known here holds
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

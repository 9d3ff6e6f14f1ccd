package syncer

import (
	"cmp"
	"context"

	"imapped/domain/fault"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

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
	here := uint64(b.bound) - min(uint64(b.bound), u.Expunge.Len())
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
		p.o.note(func() { b.full = false })
	}
	if p.step != mirror.New {
		b.flagsAt = p.at
	}
	p.o.note(func() {
		b.placed = false
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
	p.o.note(func() { p.b.bound = mirror.Bound(rows) })
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

package syncer

import (
	"context"
	"math/rand/v2"

	"imapped/domain/fault"
	"imapped/domain/mirror"
	"imapped/ports/upstream"
)

// push listens to INBOX on a connection of its own and brings news in at once, until ctx is done. That it fails is no
// failure of the account: the rounds go on, and it tries again.
func (o *owner) push(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := o.listen(ctx, func() { attempt = 0 })
		if ctx.Err() != nil || fault.Is(err, fault.Invalid) {
			return
		}
		t := diagnose(err)
		delay := max(t.retry, mirror.Backoff(attempt, o.m.cfg.RetryMin, o.m.cfg.RetryMax, rand.Float64()))
		o.log.Info("push connection ended", "error", err, "retry", delay)
		o.pause(ctx, delay, false)
	}
}

// listen is one push connection: look, then wait for news, again and again. It calls good when the connection works.
func (o *owner) listen(ctx context.Context, good func()) error {
	l, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	var state mirror.State // what is supposed: at first nothing, so that the SELECT decides
	changed := false       // flags, or removed messages
	for {
		b := o.inbox()
		if b == nil {
			return fault.New(fault.Unavailable, "listen", "there is no INBOX yet")
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
		if l.selected == nil || l.selected.box != b {
			open := l.reopen(b)
			if err := l.do(ctx, &open.Select); err != nil {
				return err
			}
			if open.Err != nil {
				l.forget()
				return fault.As(fault.Unavailable, "open INBOX", open.Err)
			}
		}
		var news upstream.Event
		if err := l.Idle(ctx, func(e upstream.Event) bool {
			news = upstream.Event{
				Exists: news.Exists || e.Exists, Expunge: news.Expunge || e.Expunge, Flags: news.Flags || e.Flags,
			}
			return false
		}); err != nil {
			return fault.Wrap("wait for news", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		changed = news.Expunge || news.Flags
		if state = (mirror.State{}); !changed {
			state = b.grown(ctx)
		}
	}
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
			if o.watches[b.id] > 0 && b.name != "INBOX" {
				open = append(open, b)
			}
		}
	})
	if len(open) == 0 {
		return nil
	}
	var cmds []upstream.Command
	for _, b := range open {
		cmds = append(cmds, &upstream.Status{Name: b.raw()})
	}
	if err := l.do(ctx, cmds...); err != nil {
		return err
	}
	states := map[string]*mirror.State{}
	var moved []*box
	for i, b := range open {
		if st := cmds[i].(*upstream.Status); st.Err == nil {
			states[st.Name] = &mirror.State{
				Messages: st.Messages, UIDNext: st.UIDNext, UIDValidity: st.UIDValidity, HighestModSeq: st.HighestModSeq,
			}
			moved = append(moved, b)
		}
	}
	if err := o.passes(ctx, l, moved, states, false); err != nil {
		return err
	}
	return o.bodies(ctx, l, moved, 0, false)
}

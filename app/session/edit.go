package session

import (
	"context"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// errReadOnly is the answer to a change in a mailbox that was opened with EXAMINE.
var errReadOnly = fault.New(fault.Forbidden, "change mailbox", "it is open for reading only")

// seen returns those of the UIDs that the session has been told of: what a client does is never done to a message that
// it cannot know.
func (m *selected) seen(uids mailbox.Set) mailbox.Set {
	view := m.view.Load()
	return view.UIDs(view.SeqsOfUIDs(uids))
}

// Store implements Edit.
func (m *selected) Store(ctx context.Context, r StoreRequest) (Stored, error) {
	const op = "store flags"
	if m.readOnly {
		return Stored{}, fault.Wrap(op, errReadOnly)
	}
	modes := [...]metadata.FlagMode{
		StoreAdd: metadata.AddFlags, StoreRemove: metadata.RemoveFlags, StoreReplace: metadata.ReplaceFlags,
	}
	if int(r.Mode) >= len(modes) {
		return Stored{}, fault.New(fault.Invalid, op, "there is no such way to change flags")
	}
	done, err := m.svc.c.Edits.EditFlags(ctx, m.account, metadata.FlagEdit{
		Mailbox: m.mailbox, UIDs: m.seen(r.UIDs), Mode: modes[r.Mode], Flags: r.Flags, Unchanged: r.Unchanged,
		Now: m.svc.c.Clock.Now(),
	})
	if err != nil {
		return Stored{}, fault.Wrap(op, err)
	}
	if len(done.Changed) > 0 {
		m.svc.publish(m.account, m.local, events.Hint{Mailbox: m.mailbox, ModSeq: done.ModSeq})
	}
	return Stored{ModSeq: done.ModSeq, Rows: done.Rows, Changed: done.Changed, Modified: done.Modified}, nil
}

// Expunge implements Edit.
func (m *selected) Expunge(ctx context.Context, uids mailbox.Set) (mailbox.Set, error) {
	const op = "expunge"
	if m.readOnly {
		return nil, fault.Wrap(op, errReadOnly)
	}
	if uids == nil {
		view := m.view.Load()
		uids = view.UIDs(view.All())
	} else {
		uids = m.seen(uids)
	}
	gone, err := m.remove(ctx, metadata.RemoveEdit{UIDs: uids, Marked: true})
	return gone, fault.Wrap(op, err)
}

// remove expunges messages of the mailbox, which e does not name yet. No UIDs are none.
func (m *selected) remove(ctx context.Context, e metadata.RemoveEdit) (mailbox.Set, error) {
	if len(e.UIDs) == 0 {
		return nil, nil
	}
	e.Mailbox, e.Now = m.mailbox, m.svc.c.Clock.Now()
	done, err := m.svc.c.Edits.RemoveMessages(ctx, m.account, e)
	if err != nil {
		return nil, err
	}
	if len(done.UIDs) > 0 {
		m.svc.publish(m.account, m.local, events.Hint{Mailbox: m.mailbox, ModSeq: done.ModSeq})
	}
	return done.UIDs, nil
}

// Copy implements Edit.
func (m *selected) Copy(ctx context.Context, uids mailbox.Set, to string, move bool) (Copied, error) {
	op := "copy"
	if move {
		op = "move"
		if m.readOnly {
			return Copied{}, fault.Wrap(op, errReadOnly)
		}
	}
	p, err := m.login.find(ctx, to)
	switch {
	case err != nil:
		return Copied{}, fault.Wrap(op, err)
	case p.placeholder():
		return Copied{}, fault.New(fault.Invalid, op, onlyHolds)
	}
	uids = m.seen(uids)
	var done Copied
	if p.info.Account == m.account {
		done, err = m.copyWithin(ctx, uids, p, move)
	} else {
		done, err = m.copyAcross(ctx, uids, p, move)
	}
	return done, fault.Wrap(op, err)
}

// copyWithin copies or moves within the account.
func (m *selected) copyWithin(ctx context.Context, uids mailbox.Set, to place, move bool) (Copied, error) {
	done, err := m.svc.c.Edits.CopyMessages(ctx, m.account, metadata.CopyEdit{
		From: m.mailbox, To: to.info.ID, UIDs: uids, Move: move, Quota: m.svc.c.Quota,
		Now: m.svc.c.Clock.Now(),
	})
	if err != nil {
		return Copied{}, err
	}
	if len(done.Target) > 0 {
		hints := []events.Hint{{Mailbox: to.info.ID, ModSeq: done.ToModSeq}}
		if move && m.mailbox != to.info.ID {
			hints = append(hints, events.Hint{Mailbox: m.mailbox, ModSeq: done.FromModSeq})
		}
		m.svc.publish(m.account, m.local, hints...)
	}
	return Copied{UIDValidity: done.UIDValidity, Source: done.Source, Target: done.Target}, nil
}

package session

import (
	"context"
	"strings"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// Create implements Folders.
func (l *login) Create(ctx context.Context, name string, use mailbox.Attr) (string, error) {
	const op = "create mailbox"
	t, err := l.tree(ctx)
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	at, stored, err := l.vacant(ctx, t, name)
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	info, err := l.svc.c.Folders.CreateMailbox(ctx, at.account, stored, use&mailbox.SpecialUse, l.svc.c.Clock.Now())
	if err != nil {
		return "", fault.Wrap(op, err)
	}
	l.svc.publish(at.account, at.local, events.Hint{})
	return mailboxID(info.ID), nil
}

// vacant returns where a new mailbox of the name goes, and its name there: fault.Exists when there is one,
// fault.Invalid for a name that cannot be. A name that only holds other mailboxes is vacant.
func (l *login) vacant(ctx context.Context, t *tree, name string) (root, string, error) {
	const op = "check mailbox name"
	if len(name) > 1 {
		name = strings.TrimSuffix(name, delimiter) // RFC 9051 section 6.3.4: it only announces mailboxes below
	}
	at, stored, err := t.locate(name)
	if err != nil {
		return at, "", err
	}
	switch p := t.stored(at, stored); {
	case stored == "" && at.prefix != "":
		return at, "", fault.New(fault.Exists, op, "the name stands for an account")
	case stored == inbox:
		return at, "", fault.New(fault.Exists, op, "there always is an INBOX")
	case p != nil && !p.placeholder():
		return at, "", fault.New(fault.Exists, op, "there is a mailbox with the name")
	case p != nil:
		return at, stored, nil
	}
	return at, stored, l.checkName(ctx, t, at, stored)
}

// Delete implements Folders.
func (l *login) Delete(ctx context.Context, name string) error {
	const op = "delete mailbox"
	t, err := l.tree(ctx)
	if err != nil {
		return fault.Wrap(op, err)
	}
	at, stored, err := t.locate(name)
	if err != nil {
		return fault.Wrap(op, err)
	}
	p, children := t.stored(at, stored), t.below(at, stored)
	switch {
	case stored == "" && at.prefix != "":
		return fault.New(fault.Forbidden, op, "the name stands for an account")
	case stored == inbox:
		return fault.New(fault.Forbidden, op, "INBOX cannot be deleted")
	case (p == nil || p.placeholder()) && len(children) > 0:
		return fault.New(fault.Invalid, op, onlyHolds) // RFC 9051 section 6.3.5
	case p == nil:
		return fault.New(fault.NotFound, op, "no such mailbox")
	}
	if err := l.svc.c.Folders.DeleteMailbox(ctx, at.account, p.info.ID, l.svc.c.Clock.Now()); err != nil {
		return fault.Wrap(op, err)
	}
	// Those who have it open look, and find it gone.
	l.svc.publish(at.account, at.local, events.Hint{}, events.Hint{Mailbox: p.info.ID})
	return nil
}

// Rename implements Folders.
func (l *login) Rename(ctx context.Context, from, to string) error {
	const op = "rename mailbox"
	t, err := l.tree(ctx)
	if err != nil {
		return fault.Wrap(op, err)
	}
	at, old, err := t.locate(from)
	if err != nil {
		return fault.Wrap(op, err)
	}
	if old == "" && at.prefix != "" {
		return fault.New(fault.Forbidden, op, "the name stands for an account")
	}
	p, children := t.stored(at, old), t.below(at, old)
	if p == nil && len(children) == 0 {
		return fault.New(fault.NotFound, op, "no such mailbox")
	}
	there, name, err := l.vacant(ctx, t, to)
	switch {
	case err != nil:
		return fault.Wrap(op, err)
	case there.account != at.account:
		return fault.New(fault.Invalid, op, "a mailbox cannot be renamed from one account into another; copy its messages")
	case t.stored(there, name) != nil:
		return fault.New(fault.Exists, op, "there is a mailbox with the name")
	case p != nil && old == inbox:
		return fault.Wrap(op, l.moveInbox(ctx, at, p, name))
	case strings.HasPrefix(name, old+delimiter):
		return fault.New(fault.Invalid, op, "a mailbox cannot be renamed to a name below itself")
	}
	moved := children
	if p != nil {
		moved = append([]place{*p}, children...)
	}
	return fault.Wrap(op, l.renameAll(ctx, t, at, moved, old, name))
}

// renameAll puts name in the place of old in the names of mailboxes, each of which comes before those below it.
func (l *login) renameAll(ctx context.Context, t *tree, at root, moved []place, old, name string) error {
	renames := make([]metadata.Rename, len(moved))
	for i, p := range moved {
		renames[i] = metadata.Rename{ID: p.info.ID, Name: name + p.info.Name[len(old):]}
		if len(renames[i].Name) > maxName {
			return fault.Newf(fault.Invalid, "", "the name of a mailbox below it would have more than %d octets", maxName)
		}
		if t.stored(at, renames[i].Name) != nil {
			return fault.Newf(fault.Exists, "", "there is a mailbox %q", at.prefix+renames[i].Name)
		}
	}
	// One rename takes along all that is below a mailbox. Where old is no mailbox itself there may be several such
	// families.
	now := l.svc.c.Clock.Now()
	for len(renames) > 0 {
		below := renames[0].Name + delimiter
		var family, rest []metadata.Rename
		for i, r := range renames {
			if i == 0 || strings.HasPrefix(r.Name, below) {
				family = append(family, r)
			} else {
				rest = append(rest, r)
			}
		}
		if err := l.svc.c.Folders.RenameMailboxes(ctx, at.account, family, now); err != nil {
			return err
		}
		l.svc.publish(at.account, at.local, events.Hint{})
		renames = rest
	}
	return nil
}

// moveInbox is the renaming of INBOX: its messages go to a new mailbox (RFC 9051 section 6.3.6).
func (l *login) moveInbox(ctx context.Context, at root, from *place, name string) error {
	c, now := l.svc.c, l.svc.c.Clock.Now()
	made, err := c.Folders.CreateMailbox(ctx, at.account, name, 0, now)
	if err != nil {
		return err
	}
	hints := []events.Hint{{}}
	defer func() { l.svc.publish(at.account, at.local, hints...) }()
	done, err := c.Edits.CopyMessages(ctx, at.account, metadata.CopyEdit{
		From: from.info.ID, To: made.ID, UIDs: mailbox.SetFrom(1), Move: true, Now: now,
	})
	if err != nil {
		// The client is told that nothing happened. Should this fail as well, an empty mailbox is all that is left.
		_ = c.Folders.DeleteMailbox(context.WithoutCancel(ctx), at.account, made.ID, now)
		return err
	}
	hints = append(hints,
		events.Hint{Mailbox: from.info.ID, ModSeq: done.FromModSeq}, events.Hint{Mailbox: made.ID, ModSeq: done.ToModSeq})
	return nil
}

// Subscribe implements Folders.
func (l *login) Subscribe(ctx context.Context, name string, on bool) error {
	const op = "subscribe mailbox"
	p, err := l.find(ctx, name)
	if err != nil {
		return fault.Wrap(op, err)
	}
	switch {
	case p.info.ID == 0:
		return fault.New(fault.NotFound, op, "the name stands for an account")
	case p.info.Subscribed == on:
		return nil
	}
	if err := l.svc.c.Folders.Subscribe(ctx, p.info.Account, p.info.ID, on, l.svc.c.Clock.Now()); err != nil {
		return fault.Wrap(op, err)
	}
	l.svc.publish(p.info.Account, p.local, events.Hint{})
	return nil
}

package sqlite

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// EditFlags implements metadata.Edits.
func (s *Store) EditFlags(ctx context.Context, acc account.ID, e metadata.FlagEdit) (done metadata.FlagsEdited, err error) {
	err = s.update(ctx, "change flags", func(c *conn) error {
		ch, err := c.open(ctx, acc, e.Mailbox)
		if err != nil {
			return err
		}
		if err := ch.editFlags(ctx, e, &done); err != nil {
			return err
		}
		done.ModSeq = mailbox.ModSeq(ch.modSeq)
		return ch.save(ctx)
	})
	if err != nil {
		return metadata.FlagsEdited{}, err
	}
	return done, nil
}

func (ch *change) editFlags(ctx context.Context, e metadata.FlagEdit, done *metadata.FlagsEdited) error {
	var changed, modified, queued []any
	var uids []mailbox.UID
	ops := map[mailbox.UID]flag.Op{}
	plans := map[flag.Set]metadata.FlagPlan{} // by what a message has: there are many messages and few sets
	targets := newGroups[flag.Set]()
	err := ch.hotRows(ctx, e.UIDs, func(r hot) {
		if e.Unchanged != nil && r.ModSeq > *e.Unchanged {
			modified = append(modified, int64(r.UID))
			return
		}
		p, ok := plans[r.Flags]
		if !ok {
			p = e.Plan(r.Flags)
			plans[r.Flags] = p
		}
		if p.Changed {
			ch.flagged(r.Flags.Sys, r.Size, -1)
			ch.flagged(p.Flags.Sys, r.Size, 1)
			r.Flags, r.ModSeq = p.Flags, mailbox.ModSeq(ch.seq())
			uids = append(uids, r.UID)
			changed = append(changed, int64(r.UID))
			targets.add(p.Flags, int64(r.UID))
		}
		if p.Changed || p.Again {
			queued = append(queued, int64(r.UID))
			ops[r.UID] = p.Op
		}
		done.Rows = append(done.Rows, r.Row)
	})
	if err != nil {
		return err
	}
	done.Changed, done.Modified = mailbox.SetOf(uids...), setOf(modified)
	if err := ch.writeFlags(ctx, targets); err != nil {
		return err
	}
	if err := ch.queueFlags(ctx, e.Now, queued, ops); err != nil || !e.Again {
		return err
	}
	return ch.handOn(ctx, e, queued)
}

// handOn queues the flags of a FlagEdit.Again also for what is to be made from the messages: it may be made while these do
// not have them.
func (ch *change) handOn(ctx context.Context, e metadata.FlagEdit, uids []any) error {
	if err := ch.q.save(ctx); err != nil || len(uids) == 0 {
		return err
	}
	set := setOf(uids)
	var copies []mutation.Mutation
	if err := ch.q.eachMutation(ctx, `q.account_id = ? AND q.src_mailbox_id = ? AND q.src_uid > 0 AND q.kind = 'copy'
		ORDER BY q.id`, ch.keys(), func(m mutation.Mutation) {
		if set.Contains(uint32(m.Source.UID)) {
			copies = append(copies, m)
		}
	}); err != nil {
		return err
	}
	for _, m := range copies {
		flags, ok, err := ch.q.flags(ctx, m.Ref)
		if err != nil {
			return err
		}
		own, err := ch.q.about(ctx, m.Ref)
		if err != nil {
			return err
		}
		op := mutation.Narrowed(own, m.Ref, flag.Op{Add: e.Flags})
		if ok && e.Flags.Minus(flags).Empty() && !op.Empty() {
			ch.q.add(mutation.Flags, m.Ref, mutation.Ref{}, op, e.Now)
		}
	}
	return nil
}

// AddMessages implements metadata.Edits.
func (s *Store) AddMessages(ctx context.Context, acc account.ID, e metadata.AddEdit) (done metadata.Added, err error) {
	const op = "add messages"
	for i := range e.Messages {
		if e.Messages[i].Content == nil || e.Messages[i].Upstream != 0 {
			return done, fault.New(fault.Invalid, op, "a message that is added needs its content and no upstream UID")
		}
	}
	err = s.update(ctx, op, func(c *conn) error {
		ch, err := c.open(ctx, acc, e.Mailbox)
		if err != nil {
			return err
		}
		if err := ch.growBy(ctx, e); err != nil {
			return err
		}
		if err := c.restored(ctx, acc, e.Restores); err != nil {
			return err
		}
		if done.UIDs, err = ch.add(ctx, e.Now, e.Messages); err != nil {
			return err
		}
		for _, uid := range done.UIDs {
			ch.q.add(mutation.Append, mutation.Ref{Mailbox: ch.id, UID: uid}, mutation.Ref{}, flag.Op{}, e.Now)
		}
		if err := ch.replace(ctx, e.Replaces, e.Now); err != nil {
			return err
		}
		done.UIDValidity, done.ModSeq = ch.validity, mailbox.ModSeq(ch.modSeq)
		return ch.save(ctx)
	})
	if err != nil {
		return metadata.Added{}, err
	}
	return done, nil
}

// growBy fails with fault.OverQuota when the account has no room for what an AddEdit adds to it.
func (ch *change) growBy(ctx context.Context, e metadata.AddEdit) error {
	if e.Quota == 0 {
		return nil
	}
	var octets, replaced int64
	for i := range e.Messages {
		octets += sizeOf(&e.Messages[i])
	}
	if ref := e.Replaces; ref.UID != 0 {
		if err := ch.c.one(ctx, []any{&replaced}, `SELECT coalesce(max(size), 0) FROM messages WHERE account_id = ?
			AND mailbox_id = ? AND uid = ?`, int64(ch.acc), int64(ref.Mailbox), int64(ref.UID)); err != nil {
			return err
		}
	}
	return ch.c.grow(ctx, ch.acc, octets-replaced, e.Quota)
}

// replace expunges the message that an AddEdit replaces. The queue has the new ones before.
func (ch *change) replace(ctx context.Context, ref mutation.Ref, now time.Time) error {
	if ref.UID == 0 {
		return nil
	}
	from := ch
	if ref.Mailbox != ch.id {
		var err error
		if from, err = ch.c.open(ctx, ch.acc, ref.Mailbox); err != nil {
			return err
		}
		from.q = ch.q
	}
	gone, err := from.remove(ctx, now, mailbox.SetOf(ref.UID), false)
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		return fault.New(fault.NotFound, "", "there is no such message")
	}
	if from == ch {
		return nil
	}
	return from.save(ctx)
}

// RemoveMessages implements metadata.Edits.
func (s *Store) RemoveMessages(ctx context.Context, acc account.ID, e metadata.RemoveEdit) (done metadata.Removed, err error) {
	err = s.update(ctx, "expunge messages", func(c *conn) error {
		ch, err := c.open(ctx, acc, e.Mailbox)
		if err != nil {
			return err
		}
		uids := e.UIDs
		if uids == nil {
			uids = every
		}
		if done.UIDs, err = ch.remove(ctx, e.Now, uids, e.Marked); err != nil {
			return err
		}
		done.ModSeq = mailbox.ModSeq(ch.modSeq)
		return ch.save(ctx)
	})
	if err != nil {
		return metadata.Removed{}, err
	}
	return done, nil
}

// every is all UIDs.
var every = mailbox.SetFrom(1)

// setOf returns the set of UIDs that are a statement's arguments.
func setOf(uids []any) mailbox.Set {
	nums := make([]uint32, len(uids))
	for i, u := range uids {
		nums[i] = uint32(u.(int64))
	}
	return mailbox.SetOf(nums...)
}

// groups collects numbers by what is to be written for them, in the order of their first.
type groups[K comparable] struct {
	order []K
	of    map[K][]any
}

func newGroups[K comparable]() *groups[K] { return &groups[K]{of: map[K][]any{}} }

func (g *groups[K]) add(key K, n int64) {
	list := g.of[key]
	if list == nil {
		g.order = append(g.order, key)
	}
	g.of[key] = append(list, n)
}

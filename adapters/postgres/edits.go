package postgres

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
	const op = "change flags"
	if done, ok, err := s.editFlag(ctx, op, acc, &e); ok || err != nil {
		return done, err
	}
	err = s.update(ctx, op, func(t *tx) error {
		done = metadata.FlagsEdited{}
		t.lock(acc)
		ch := t.load(e.Mailbox)
		var rows []hot
		if err := ch.hotRows(ctx, e.UIDs, func(r hot) { rows = append(rows, r) }); err != nil {
			return err
		}
		if ch.deleting {
			return errNoMailbox
		}
		if err := ch.editFlags(ctx, e, rows, &done); err != nil {
			return err
		}
		done.ModSeq = mailbox.ModSeq(ch.modSeq)
		ch.save()
		return nil
	})
	if err != nil {
		return metadata.FlagsEdited{}, err
	}
	return done, nil
}

func (ch *change) editFlags(ctx context.Context, e metadata.FlagEdit, rows []hot, done *metadata.FlagsEdited) error {
	var changed, modified []uint32
	var queued []int64
	ops := map[mailbox.UID]flag.Op{}
	plans := map[flag.Set]metadata.FlagPlan{} // by what a message has: there are many messages and few sets
	targets := newGroups[flag.Set]()
	ch.t.extent(uint64(len(rows)))
	for _, r := range rows {
		if e.Unchanged != nil && r.ModSeq > *e.Unchanged {
			modified = append(modified, uint32(r.UID))
			continue
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
			changed = append(changed, uint32(r.UID))
			targets.add(p.Flags, int64(r.UID))
		}
		if p.Changed || p.Again {
			queued = append(queued, int64(r.UID))
			ops[r.UID] = p.Op
		}
		done.Rows = append(done.Rows, r.Row)
	}
	done.Changed, done.Modified = mailbox.SetOf(changed...), mailbox.SetOf(modified...)
	ch.writeFlags(targets)
	if err := ch.queueFlags(ctx, e.Now, queued, ops); err != nil || !e.Again {
		return err
	}
	return ch.handOn(ctx, e, queued)
}

// handOn queues the flags of a FlagEdit.Again also for what is to be made from the messages: it may be made while these do
// not have them.
func (ch *change) handOn(ctx context.Context, e metadata.FlagEdit, uids []int64) error {
	ch.q.save()
	if len(uids) == 0 {
		return nil
	}
	set := setOf(uids)
	var copies []mutation.Mutation
	if err := ch.q.eachMutation(ctx, func(m mutation.Mutation) {
		if set.Contains(uint32(m.Source.UID)) {
			copies = append(copies, m)
		}
	}, `q.account_id = $1 AND q.src_mailbox_id = $2 AND q.src_uid > 0 AND q.kind = 'copy' ORDER BY q.id`, ch.keys()...); err != nil {
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

// AddMessages implements metadata.Edits. One message takes one round trip; several take two, one that takes the lock and
// reads, and one that writes and commits.
func (s *Store) AddMessages(ctx context.Context, acc account.ID, e metadata.AddEdit) (done metadata.Added, err error) {
	const op = "add messages"
	for i := range e.Messages {
		if e.Messages[i].Content == nil || e.Messages[i].Upstream != 0 {
			return done, fault.New(fault.Invalid, op, "a message that is added needs its content and no upstream UID")
		}
	}
	if done, ok, err := s.addMessage(ctx, op, acc, &e); ok || err != nil {
		return done, err
	}
	var octets int64
	for i := range e.Messages {
		octets += e.Messages[i].Content.Size
	}
	err = s.update(ctx, op, func(t *tx) error {
		done = metadata.Added{}
		t.lock(acc)
		ch := t.load(e.Mailbox)
		news := ch.arrive(e.Messages)
		room := t.room(acc, e.Quota, e.Replaces)
		if err := t.flush(ctx); err != nil {
			return err
		}
		if ch.deleting {
			return errNoMailbox
		}
		if err := room.take(octets); err != nil {
			return err
		}
		if err := t.restored(ctx, acc, e.Restores); err != nil {
			return err
		}
		if done.UIDs, err = ch.add(e.Now, e.Messages, news); err != nil {
			return err
		}
		for _, uid := range done.UIDs {
			ch.q.add(mutation.Append, mutation.Ref{Mailbox: ch.id, UID: uid}, mutation.Ref{}, flag.Op{}, e.Now)
		}
		if err := ch.replace(ctx, e.Replaces, e.Now); err != nil {
			return err
		}
		done.UIDValidity, done.ModSeq = ch.validity, mailbox.ModSeq(ch.modSeq)
		ch.save()
		return nil
	})
	if err != nil {
		return metadata.Added{}, err
	}
	return done, nil
}

// replace expunges the message that an AddEdit replaces. The queue has the new ones before.
func (ch *change) replace(ctx context.Context, ref mutation.Ref, now time.Time) error {
	if ref.UID == 0 {
		return nil
	}
	from := ch
	if ref.Mailbox != ch.id {
		var err error
		if from, err = ch.t.openToo(ctx, ref.Mailbox); err != nil {
			return err
		}
	}
	gone, err := from.remove(ctx, now, mailbox.SetOf(ref.UID), false)
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		return fault.New(fault.NotFound, "", "there is no such message")
	}
	if from != ch {
		from.save()
	}
	return nil
}

// RemoveMessages implements metadata.Edits.
func (s *Store) RemoveMessages(ctx context.Context, acc account.ID, e metadata.RemoveEdit) (done metadata.Removed, err error) {
	err = s.update(ctx, "expunge messages", func(t *tx) error {
		done = metadata.Removed{}
		ch, err := t.open(ctx, acc, e.Mailbox)
		if err != nil {
			return err
		}
		uids := e.UIDs
		if uids == nil {
			uids = every()
		}
		if done.UIDs, err = ch.remove(ctx, e.Now, uids, e.Marked); err != nil {
			return err
		}
		done.ModSeq = mailbox.ModSeq(ch.modSeq)
		ch.save()
		return nil
	})
	if err != nil {
		return metadata.Removed{}, err
	}
	return done, nil
}

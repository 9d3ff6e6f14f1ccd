package sqlite

import (
	"context"
	"database/sql"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// Apply implements metadata.Mirror.
func (s *Store) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (metadata.Applied, error) {
	var done metadata.Applied
	err := s.update(ctx, "change mailbox", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		ch, err := c.load(ctx, f.Account, u.Mailbox)
		if err != nil {
			return err
		}
		if u.Reset {
			if err := ch.reset(ctx); err != nil {
				return err
			}
			// Up to where a Delete has seen the mailbox was a UID of what it was before.
			if err := ch.unseeDelete(ctx); err != nil {
				return err
			}
		}
		if err := ch.rebind(ctx, u.Rebind); err != nil {
			return err
		}
		if err := ch.lose(ctx, u.Now, u.Expunge); err != nil {
			return err
		}
		if err := ch.setFlags(ctx, u.Flags); err != nil {
			return err
		}
		if ch.deleting { // what the user never saw must not count as seen
			done.UIDs = make([]mailbox.UID, len(u.New))
		} else if done.UIDs, err = ch.add(ctx, u.Now, u.New); err != nil {
			return err
		}
		if err := ch.save(ctx); err != nil {
			return err
		}
		done.Mailbox, done.ModSeq, done.Changed = ch.id, mailbox.ModSeq(ch.modSeq), ch.changed()
		return ch.checkpoint(ctx, u.Checkpoint)
	})
	if err != nil {
		return metadata.Applied{}, err
	}
	return done, nil
}

func (ch *change) checkpoint(ctx context.Context, p *metadata.Checkpoint) error {
	if p == nil {
		return nil
	}
	// What is not taken into a mailbox that is being deleted has not been seen, should it come back.
	_, err := ch.c.exec(ctx, `UPDATE mailboxes SET up_uidvalidity = ?1, up_uidnext = CASE WHEN deleting = 0 THEN ?2
		WHEN up_uidvalidity = ?1 THEN up_uidnext ELSE 0 END, up_modseq = ?3, up_messages = ?4, up_synced = ?5 WHERE id = ?6`,
		int64(p.UIDValidity), int64(p.UIDNext), int64(p.ModSeq), int64(p.Messages), stamp(p.Synced), int64(ch.id))
	return err
}

// reset forgets the upstream UIDs.
func (ch *change) reset(ctx context.Context) error {
	for _, text := range [...]string{
		`UPDATE messages SET up_uid = 0 WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0`,
		`UPDATE departed SET up_uid = 0 WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0`,
	} {
		n, err := ch.c.exec(ctx, text, ch.keys()...)
		if err != nil {
			return err
		}
		ch.bound -= n
	}
	return nil
}

func (ch *change) unseeDelete(ctx context.Context) error {
	if !ch.deleting {
		return nil
	}
	_, err := ch.c.exec(ctx, `UPDATE mutations SET known = 0 WHERE account_id = ? AND mailbox_id = ? AND uid = 0
		AND kind = 'delete'`, ch.keys()...)
	return err
}

// rebind gives messages, here and departed, their upstream UIDs. All of them lose theirs first, so that two may swap.
func (ch *change) rebind(ctx context.Context, binds []metadata.Rebind) error {
	if len(binds) == 0 {
		return nil
	}
	uids := make([]uint32, len(binds))
	for i, b := range binds {
		uids[i] = uint32(b.UID)
	}
	for _, head := range [...]string{
		`UPDATE messages SET up_uid = 0 WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0 AND uid`,
		`UPDATE departed SET up_uid = 0 WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0 AND uid`,
	} {
		n, err := ch.over(ctx, mailbox.SetOf(uids...), 0, head, ch.keys()...)
		if err != nil {
			return err
		}
		ch.bound -= n
	}
	for _, b := range binds {
		if err := ch.bind(ctx, b.UID, b.Upstream); err != nil {
			return err
		}
	}
	var twice int64
	err := ch.c.one(ctx, []any{&twice}, `SELECT coalesce(max(d.up_uid), 0) FROM departed d CROSS JOIN messages m
		USING (account_id, mailbox_id, up_uid) WHERE d.account_id = ? AND d.mailbox_id = ? AND d.up_uid > 0
		AND m.up_uid > 0`, ch.keys()...)
	if err == nil && twice > 0 {
		err = boundTwice(uint32(twice))
	}
	return err
}

func boundTwice(up uint32) error {
	return fault.Newf(fault.Invalid, "", "upstream UID %d belongs to two messages", up)
}

// bind gives a message that has no upstream UID, here or departed, one. A message that does not exist is no error.
func (ch *change) bind(ctx context.Context, uid mailbox.UID, up uint32) error {
	if up == 0 {
		return nil
	}
	for _, text := range [...]string{
		`UPDATE messages SET up_uid = ? WHERE account_id = ? AND mailbox_id = ? AND uid = ? AND up_uid = 0`,
		`UPDATE departed SET up_uid = ? WHERE account_id = ? AND mailbox_id = ? AND uid = ? AND up_uid = 0`,
	} {
		n, err := ch.c.exec(ctx, text, int64(up), int64(ch.acc), int64(ch.id), int64(uid))
		if fault.Is(mapErr("", err), fault.Exists) {
			return boundTwice(up)
		}
		if err != nil {
			return err
		}
		if ch.bound += n; n > 0 {
			return nil
		}
	}
	return nil
}

// setFlags sets the flags of messages that exist to the upstream's with the queue's changes applied. Of several changes
// of one message the last counts.
func (ch *change) setFlags(ctx context.Context, changes []metadata.FlagChange) error {
	if len(changes) == 0 {
		return nil
	}
	want := make(map[mailbox.UID]flag.Set, len(changes))
	uids := make([]any, 0, len(changes))
	for _, fc := range changes {
		if _, twice := want[fc.UID]; !twice {
			uids = append(uids, int64(fc.UID))
		}
		want[fc.UID] = fc.Flags
	}
	ops, err := ch.pendingOps(ctx, uids)
	if err != nil {
		return err
	}
	targets := newGroups[flag.Set]()
	var flags flagReader
	var uid, sys, size int64
	var keywords sql.RawBytes
	dest := []any{&uid, &sys, &size, &keywords}
	err = ch.c.eachBatch(ctx, `SELECT uid, sys, size, keywords FROM messages WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, ch.keys(), `)`, uids, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		set := ops[mailbox.UID(uid)].Apply(want[mailbox.UID(uid)])
		if flags.read(sys, keywords).Equal(set) {
			return nil
		}
		ch.flagged(flag.System(sys), size, -1)
		ch.flagged(set.Sys, size, 1)
		targets.add(set, uid)
		return nil
	})
	if err != nil {
		return err
	}
	return ch.writeFlags(ctx, targets)
}

// writeFlags writes the flags of messages. Those that get the same flags are written together: there are many messages
// and few sets.
func (ch *change) writeFlags(ctx context.Context, targets *groups[flag.Set]) error {
	for _, set := range targets.order {
		if err := ch.c.execBatch(ctx, `UPDATE messages SET sys = ?, keywords = ?, modseq = ? WHERE account_id = ?
			AND mailbox_id = ? AND uid IN (VALUES `, append([]any{int64(set.Sys), set.KeywordString(), ch.seq()},
			ch.keys()...), 1, `)`, targets.of[set]); err != nil {
			return err
		}
	}
	return nil
}

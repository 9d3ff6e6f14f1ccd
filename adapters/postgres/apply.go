package postgres

import (
	"context"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// Apply implements metadata.Mirror. A batch of new messages, or of changed flags, takes two round trips: one that takes
// the locks and reads, and one that writes and commits.
func (s *Store) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (done metadata.Applied, err error) {
	err = s.update(ctx, "change mailbox", func(t *tx) error {
		done = metadata.Applied{}
		t.fence(f)
		ch := t.load(u.Mailbox)
		// What is not changed in between may be asked for at once.
		alone := !u.Reset && len(u.Rebind) == 0 && len(u.Expunge) == 0
		var news *arrival
		var flags *reflagging
		if alone {
			news, flags = ch.arrive(u.New), ch.reflag(u.Flags)
		}
		if err := t.flush(ctx); err != nil {
			return err
		}
		if !alone {
			if err := ch.unbind(ctx, u); err != nil {
				return err
			}
			flags = ch.reflag(u.Flags)
			news = ch.arrive(u.New)
			if err := t.flush(ctx); err != nil {
				return err
			}
		}
		flags.write(ch)
		if ch.deleting { // what the user never saw must not count as seen
			done.UIDs = make([]mailbox.UID, len(u.New))
		} else if done.UIDs, err = ch.add(u.Now, u.New, news); err != nil {
			return err
		}
		ch.save()
		done.Mailbox, done.ModSeq, done.Changed = ch.id, mailbox.ModSeq(ch.modSeq), ch.changed()
		ch.checkpoint(u.Checkpoint)
		return nil
	})
	if err != nil {
		return metadata.Applied{}, err
	}
	return done, nil
}

// unbind does the parts of an Update that concern upstream UIDs: Reset, Rebind, Expunge.
func (ch *change) unbind(ctx context.Context, u metadata.Update) error {
	if u.Reset {
		if err := ch.reset(ctx); err != nil {
			return err
		}
		// Up to where a Delete has seen the mailbox was a UID of what it was before.
		if ch.deleting {
			ch.t.later(`UPDATE mutations SET known = 0 WHERE account_id = $1 AND mailbox_id = $2 AND uid = 0
				AND kind = 'delete'`, ch.keys()...)
		}
	}
	if err := ch.rebind(ctx, u.Rebind); err != nil {
		return err
	}
	return ch.lose(ctx, u.Now, u.Expunge)
}

func (ch *change) checkpoint(p *metadata.Checkpoint) {
	if p == nil {
		return
	}
	// What is not taken into a mailbox that is being deleted has not been seen, should it come back.
	ch.t.later(`UPDATE mailboxes SET up_uidvalidity = $3, up_uidnext = CASE WHEN NOT deleting THEN $4
		WHEN up_uidvalidity = $3 THEN up_uidnext ELSE 0 END, up_modseq = $5, up_messages = $6, up_synced = $7
		WHERE account_id = $1 AND id = $2`, ch.keys(int64(p.UIDValidity), int64(p.UIDNext), int64(p.ModSeq),
		int64(p.Messages), stamp(p.Synced))...)
}

// reset forgets the upstream UIDs.
func (ch *change) reset(ctx context.Context) error {
	ch.t.extent(uint64(ch.messages))
	for _, text := range [...]string{
		`UPDATE messages SET up_uid = 0 WHERE account_id = $1 AND mailbox_id = $2 AND up_uid > 0`,
		`UPDATE departed SET up_uid = 0 WHERE account_id = $1 AND mailbox_id = $2 AND up_uid > 0`,
	} {
		n, err := ch.t.exec(ctx, text, ch.keys()...)
		if err != nil {
			return err
		}
		ch.bound -= n
	}
	return nil
}

// rebind gives messages, here and departed, their upstream UIDs. All of them lose theirs first, so that two may swap.
func (ch *change) rebind(ctx context.Context, binds []metadata.Rebind) error {
	if len(binds) == 0 {
		return nil
	}
	ch.t.extent(uint64(len(binds)))
	uids, ups := make([]int64, len(binds)), make([]int64, len(binds))
	for i, b := range binds {
		uids[i], ups[i] = int64(b.UID), int64(b.Upstream)
	}
	first, last := bounds(setOf(uids))
	for _, table := range [...]string{"messages", "departed"} {
		n, err := ch.t.exec(ctx, `UPDATE `+table+` SET up_uid = 0 WHERE `+those(table, `AND x.up_uid <> 0`),
			ch.keys(first, last)...)
		if err != nil {
			return err
		}
		ch.bound -= n
	}
	if err := ch.bind(ctx, uids, ups); err != nil {
		return err
	}
	return ch.boundOnce(ctx)
}

// boundOnce fails when an upstream UID belongs to a message that is here and to one that departed.
func (ch *change) boundOnce(ctx context.Context) error {
	return ch.t.each(ctx, func(r *row) error { return boundTwice(r.int()) }, `SELECT m.up_uid
		FROM (SELECT * FROM departed x WHERE `+inMailbox+`AND x.up_uid > 0 OFFSET 0) d`+
		each("messages", "m", `AND x.up_uid = d.up_uid AND x.up_uid > 0`), ch.keys()...)
}

func boundTwice(up int64) error {
	return fault.Newf(fault.Invalid, "", "upstream UID %d belongs to two messages", up)
}

// bind gives messages that have no upstream UID, here or departed, theirs: ups go with uids. A message that does not exist
// is no error, and an upstream UID of 0 none.
func (ch *change) bind(ctx context.Context, uids, ups []int64) error {
	seen := map[int64]bool{}
	for i, up := range ups {
		if up == 0 {
			continue
		}
		// Where a message is named twice, its first one counts, as for one after the other.
		if seen[uids[i]] {
			ups[i] = 0
		}
		seen[uids[i]] = true
	}
	for _, table := range [...]string{"messages", "departed"} {
		n, err := ch.t.exec(ctx, `UPDATE `+table+` m SET up_uid = b.up
			FROM (SELECT p.place, u.up FROM unnest($3::bigint[], $4::bigint[]) AS u (uid, up)`+
			each(table, "p", `AND x.uid = u.uid AND x.up_uid = 0`)+`WHERE u.up > 0) b
			WHERE m.ctid = b.place AND m.account_id + 0 = $1`, ch.keys(uids, ups)...)
		if stateOf(err) == uniqueViolation {
			return fault.New(fault.Invalid, "", "an upstream UID belongs to two messages")
		}
		if err != nil {
			return err
		}
		ch.bound += n
	}
	return nil
}

// reflagging is a change of the flags of messages to the upstream's.
type reflagging struct {
	want map[mailbox.UID]flag.Set
	ops  map[mailbox.UID][]flagOp
	have []mailbox.Row
}

// reflag queues reading what is to be known about messages before they get the upstream's flags. Of several changes of one
// message the last counts.
func (ch *change) reflag(changes []metadata.FlagChange) *reflagging {
	f := &reflagging{want: make(map[mailbox.UID]flag.Set, len(changes)), ops: map[mailbox.UID][]flagOp{}}
	if len(changes) == 0 {
		return f
	}
	uids := make([]int64, 0, len(changes))
	for _, fc := range changes {
		if _, twice := f.want[fc.UID]; !twice {
			uids = append(uids, int64(fc.UID))
		}
		f.want[fc.UID] = fc.Flags
	}
	// Whether the queue has any is not known yet.
	ch.askOps(setOf(uids), func(o flagOp) { f.ops[o.uid] = append(f.ops[o.uid], o) })
	ch.askRows(setOf(uids), func(h hot) { f.have = append(f.have, h.Row) })
	return f
}

// write queues setting the flags of messages that exist to the upstream's with the queue's changes applied.
func (f *reflagging) write(ch *change) {
	ops := pendingOps(f.ops)
	targets := newGroups[flag.Set]()
	for _, r := range f.have {
		set := ops[r.UID].Apply(f.want[r.UID])
		if r.Flags.Equal(set) {
			continue
		}
		ch.flagged(r.Flags.Sys, r.Size, -1)
		ch.flagged(set.Sys, r.Size, 1)
		targets.add(set, int64(r.UID))
	}
	ch.writeFlags(targets)
}

// writeFlags queues writing the flags of messages. Those that get the same flags are written together: there are many
// messages and few sets.
func (ch *change) writeFlags(targets *groups[flag.Set]) {
	for _, set := range targets.order {
		ch.over(setOf(targets.of[set]), `UPDATE messages SET sys = $5, keywords = $6, modseq = $7 WHERE `+those("messages", ``),
			int16(set.Sys), set.KeywordString(), ch.seq())
	}
}

package sqlite

import (
	"context"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// RemoveMailbox implements metadata.Mirror.
func (s *Store) RemoveMailbox(ctx context.Context, f metadata.Fence, id mailbox.ID) error {
	now := time.Now() // for the undo list alone
	return s.update(ctx, "remove mailbox", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		ch, err := c.load(ctx, f.Account, id)
		if err != nil {
			return err
		}
		if !ch.deleting {
			left, err := ch.loseAll(ctx, now)
			if err != nil {
				return err
			}
			if left {
				return ch.save(ctx)
			}
		}
		if err := ch.q.removeMailbox(ctx, now, id, false); err != nil {
			return err
		}
		return ch.q.save(ctx)
	})
}

// loseAll takes from a mailbox that the upstream has lost everything but what waits to be placed there, and says whether
// there is such.
func (ch *change) loseAll(ctx context.Context, now time.Time) (left bool, err error) {
	placements, err := ch.q.allPlacements(ctx, ch.id)
	if err != nil || len(placements) == 0 {
		return false, err
	}
	if err := ch.lose(ctx, now, every); err != nil {
		return false, err
	}
	var uids []any
	for _, p := range placements {
		uids = append(uids, int64(p.ref.UID))
	}
	departed, err := ch.q.departedAmong(ctx, ch.id, uids)
	if err != nil {
		return false, err
	}
	var useless []placement
	for _, p := range placements {
		if departed.Contains(uint32(p.ref.UID)) && p.expunged && !p.followed {
			useless = append(useless, p)
		}
	}
	if err := ch.q.cancel(ctx, now, useless, false); err != nil {
		return false, err
	}
	if len(useless) == len(placements) {
		return false, nil
	}
	if _, err := ch.c.exec(ctx, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ?
		AND kind IN ('delete', 'rename') AND uid = 0`, ch.keys()...); err != nil {
		return false, err
	}
	if _, err := ch.c.exec(ctx, `UPDATE mailboxes SET up_name = x'', up_delimiter = 0, up_uidvalidity = 0, up_uidnext = 0,
		up_modseq = 0, up_messages = 0, up_synced = 0 WHERE id = ?`, int64(ch.id)); err != nil {
		return false, err
	}
	// It is a mailbox of this side's now, also when what is to be placed there goes elsewhere.
	var creating bool
	if err := ch.c.one(ctx, []any{&creating}, `SELECT EXISTS (SELECT 1 FROM mutations INDEXED BY mutations_message
		WHERE account_id = ? AND mailbox_id = ? AND uid = 0 AND kind = 'create')`, ch.keys()...); err != nil || creating {
		return true, err
	}
	return true, ch.q.addMailbox(ctx, mutation.Mutation{
		Kind: mutation.Create, Ref: mutation.Ref{Mailbox: ch.id}, Name: ch.name, Created: now,
	})
}

// removeMailbox removes a mailbox with everything in it and its mutations. Messages that were moved into it and not yet
// upstream are expunged where they came from, or, with back, come back there.
func (q *queue) removeMailbox(ctx context.Context, now time.Time, id mailbox.ID, back bool) error {
	ch, err := q.c.load(ctx, q.acc, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if ch.bodies > 0 {
		if _, err := ch.over(ctx, every, 0, insertRetained, ch.name, stamp(now), int64(q.acc), int64(id)); err != nil {
			return err
		}
	}
	placements, err := q.allPlacements(ctx, id)
	if err != nil {
		return err
	}
	for _, text := range [...]string{
		`DELETE FROM messages WHERE account_id = ? AND mailbox_id = ?`,
		`DELETE FROM identities WHERE account_id = ? AND mailbox_id = ?`,
		`DELETE FROM tombstones WHERE account_id = ? AND mailbox_id = ?`,
		`DELETE FROM body_failures WHERE account_id = ? AND mailbox_id = ?`,
		`DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ?`,
		`DELETE FROM departed WHERE account_id = ? AND mailbox_id = ?`,
	} {
		if _, err := q.c.exec(ctx, text, int64(q.acc), int64(id)); err != nil {
			return err
		}
	}
	if err := q.c.removeContents(ctx, id, mailbox.Range{First: 0, Last: 1<<32 - 1}); err != nil {
		return err
	}
	if _, err := q.c.exec(ctx, `DELETE FROM mailboxes WHERE id = ?`, int64(id)); err != nil {
		return err
	}
	return q.cancel(ctx, now, placements, back)
}

// allPlacements returns the outstanding placements into a mailbox.
func (q *queue) allPlacements(ctx context.Context, id mailbox.ID) (all []placement, err error) {
	var uids []any
	err = q.eachMutation(ctx, `q.account_id = ? AND q.mailbox_id = ? AND q.uid > 0 AND q.kind IN ('append', 'copy', 'move')`,
		[]any{int64(q.acc), int64(id)}, func(m mutation.Mutation) { uids = append(uids, int64(m.Ref.UID)) })
	if err != nil {
		return nil, err
	}
	found, err := q.placements(ctx, id, uids)
	for _, uid := range uids {
		all = append(all, found[mailbox.UID(uid.(int64))])
	}
	return all, err
}

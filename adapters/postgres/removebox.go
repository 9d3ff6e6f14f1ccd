package postgres

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
	return s.update(ctx, "remove mailbox", func(t *tx) error {
		t.fence(f)
		ch, err := t.loaded(ctx, id)
		if err != nil {
			return err
		}
		if !ch.deleting {
			left, err := ch.loseAll(ctx, now)
			if err != nil {
				return err
			}
			if left {
				ch.save()
				return nil
			}
		}
		if err := t.q.removeMailbox(ctx, now, id, false); err != nil {
			return err
		}
		t.q.save()
		return nil
	})
}

// loseAll takes from a mailbox that the upstream has lost everything but what waits to be placed there, and says whether
// there is such.
func (ch *change) loseAll(ctx context.Context, now time.Time) (left bool, err error) {
	placements, err := ch.q.allPlacements(ctx, ch.id)
	if err != nil || len(placements) == 0 {
		return false, err
	}
	if err := ch.lose(ctx, now, every()); err != nil {
		return false, err
	}
	var uids []int64
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
	ch.t.later(`DELETE FROM mutations WHERE account_id = $1 AND mailbox_id = $2 AND kind IN ('delete', 'rename')
		AND uid = 0`, ch.keys()...)
	ch.t.later(`UPDATE mailboxes SET up_name = '', up_delimiter = 0, up_uidvalidity = 0, up_uidnext = 0, up_modseq = 0,
		up_messages = 0, up_synced = 0 WHERE account_id = $1 AND id = $2`, ch.keys()...)
	// It is a mailbox of this side's now, also when what is to be placed there goes elsewhere.
	var creating bool
	if err := ch.t.one(ctx, func(r *row) { creating = r.bool() }, `SELECT EXISTS (SELECT 1 FROM mutations
		WHERE account_id = $1 AND mailbox_id = $2 AND uid = 0 AND kind = 'create')`, ch.keys()...); err != nil || creating {
		return true, err
	}
	ch.q.addMailbox(mutation.Mutation{
		Kind: mutation.Create, Ref: mutation.Ref{Mailbox: ch.id}, Name: ch.name, Created: now,
	})
	return true, nil
}

// removeMailbox removes a mailbox with everything in it and its mutations. Messages that were moved into it and not yet
// upstream are expunged where they came from, or, with back, come back there.
func (q *queue) removeMailbox(ctx context.Context, now time.Time, id mailbox.ID, back bool) error {
	ch, err := q.t.loaded(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	placements, err := q.allPlacements(ctx, id)
	if err != nil {
		return err
	}
	q.t.unhurried() // there may be more tombstones than messages
	if ch.bodies > 0 {
		ch.retain(now, every())
	}
	for _, table := range [...]string{
		"messages", "identities", "contents", "tombstones", "body_failures", "mutations", "departed",
	} {
		q.t.later(`DELETE FROM `+table+` WHERE account_id = $1 AND mailbox_id = $2`, ch.keys()...)
	}
	q.t.later(`DELETE FROM mailboxes WHERE account_id = $1 AND id = $2`, ch.keys()...)
	return q.cancel(ctx, now, placements, back)
}

package postgres

import (
	"context"
	"slices"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// selectQueued reads mutations with what their messages are, here and upstream. r and i are the message, d its departed
// row, c its body; s and e are the source and its departed row. It is one statement, and so sees one moment.
const selectQueued = `SELECT ` + mutationColumns + `, r.uid IS NULL, coalesce(r.up_uid, d.up_uid, 0),
	coalesce(s.up_uid, e.up_uid, 0), coalesce(i.email, d.email), coalesce(r.modseq, 0), coalesce(r.sys, 0::smallint),
	coalesce(r.keywords, ''), coalesce(r.size, 0), coalesce(r.date, 0), coalesce(r.zone, 0::smallint), c.blob,
	coalesce(c.size, 0),
	coalesce(s.uid, e.uid, 0) > 0 AND EXISTS (SELECT 1 FROM mailboxes b
		WHERE b.account_id = q.account_id AND b.id = q.src_mailbox_id AND length(b.up_name) > 0)
	FROM mutations q
	LEFT JOIN messages r ON r.account_id = q.account_id AND r.mailbox_id = q.mailbox_id AND r.uid = q.uid
	LEFT JOIN identities i ON i.account_id = q.account_id AND i.mailbox_id = q.mailbox_id AND i.uid = q.uid
	LEFT JOIN departed d ON d.account_id = q.account_id AND d.mailbox_id = q.mailbox_id AND d.uid = q.uid
	LEFT JOIN contents c ON c.account_id = q.account_id AND c.mailbox_id = q.mailbox_id AND c.uid = q.uid AND r.body
		AND q.kind IN ('append', 'copy', 'move')
	LEFT JOIN messages s ON s.account_id = q.account_id AND s.mailbox_id = q.src_mailbox_id AND s.uid = q.src_uid
	LEFT JOIN departed e ON e.account_id = q.account_id AND e.mailbox_id = q.src_mailbox_id AND e.uid = q.src_uid
	WHERE q.account_id = $1 AND q.id > $2 ORDER BY q.id LIMIT $3`

// Mutations implements metadata.Queue.
func (s *Store) Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) (qs []metadata.Queued, err error) {
	err = s.view(ctx, "read the mutation queue", func(t *tx) error {
		qs = nil
		t.existsAccount(acc)
		return t.each(ctx, func(r *row) error {
			q := metadata.Queued{Mutation: readMutation(r)}
			gone := r.bool()
			q.Departed = q.Ref.UID != 0 && gone
			q.Upstream, q.SourceUpstream, q.Email = uint32(r.int()), uint32(r.int()), r.id()
			here := mailbox.Row{UID: q.Ref.UID, ModSeq: mailbox.ModSeq(r.int())}
			sys := flag.System(r.int())
			here.Flags = flag.FromStored(sys, r.str())
			here.Size, here.Date, here.Zone = r.int(), r.int(), int16(r.int())
			if q.Kind.Places() && !gone {
				q.Row = here
			}
			key, size := r.raw(), r.int()
			if key != nil {
				q.Content = &metadata.Content{Mailbox: q.Ref.Mailbox, UID: q.Ref.UID, Size: size}
				copy(q.Content.Blob[:], key)
			}
			q.SourceHere = r.bool()
			qs = append(qs, q)
			return nil
		}, selectQueued, int64(acc), int64(after), int64(limit))
	})
	return qs, err
}

// QueueSummary implements metadata.Queue.
func (s *Store) QueueSummary(ctx context.Context, acc account.ID) (sum metadata.QueueSummary, err error) {
	err = s.view(ctx, "count the mutation queue", func(t *tx) error {
		t.existsAccount(acc)
		return t.one(ctx, func(r *row) {
			sum = metadata.QueueSummary{Waiting: int(r.int()), Sent: int(r.int()), Parked: int(r.int()), Oldest: unstamp(r.int())}
		}, `SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'sent'),
			count(*) FILTER (WHERE state = 'parked'), coalesce(min(created), 0) FROM mutations WHERE account_id = $1`, int64(acc))
	})
	return sum, err
}

// Intend implements metadata.Queue.
func (s *Store) Intend(ctx context.Context, f metadata.Fence, intents []metadata.Intended) (ids []mutation.ID, err error) {
	asked := make([]int64, len(intents))
	for i, in := range intents {
		asked[i] = int64(in.ID)
	}
	err = s.update(ctx, "mark mutations as sent", func(t *tx) error {
		ids = nil
		t.fence(f)
		found, err := t.q.byID(ctx, asked)
		if err != nil {
			return err
		}
		marks := newGroups[mutation.Intent]()
		seen := map[mailbox.ID]uint32{} // the UIDVALIDITY of mailboxes in which something is placed
		var boxes []mailbox.ID
		for _, in := range intents {
			m, ok := found[in.ID]
			if !ok || m.State == mutation.Parked {
				continue
			}
			ids = append(ids, in.ID)
			if m.State == mutation.Waiting && !m.Kind.Idempotent() {
				marks.add(in.Intent, int64(in.ID))
			}
			if m.Kind.Places() {
				seen[m.Ref.Mailbox] = in.Intent.UIDValidity
				boxes = append(boxes, m.Ref.Mailbox)
			}
		}
		slices.Sort(boxes)
		for _, id := range slices.Compact(boxes) {
			t.later(`UPDATE mailboxes SET up_uidvalidity = $3 WHERE account_id = $1 AND id = $2
				AND up_uidvalidity = 0 AND up_synced = 0`, int64(f.Account), int64(id), int64(seen[id]))
		}
		for _, in := range marks.order {
			t.later(`UPDATE mutations SET state = 'sent', intent_validity = $3, intent_uidnext = $4 WHERE `+byID("mutations"),
				int64(f.Account), marks.of[in], int64(in.UIDValidity), int64(in.UIDNext))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

package sqlite

import (
	"context"
	"database/sql"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// selectQueued reads mutations with what their messages are, here and upstream. r and i are the message, d its departed
// row, c its body; s and e are the source and its departed row.
const selectQueued = selectMutations + `, r.uid, coalesce(r.up_uid, d.up_uid, 0), coalesce(s.up_uid, e.up_uid, 0),
	coalesce(i.email, d.email, x''), coalesce(r.modseq, 0), coalesce(r.sys, 0), coalesce(r.keywords, ''),
	coalesce(r.size, 0), coalesce(r.date, 0), coalesce(r.zone, 0), c.blob, coalesce(c.size, 0),
	coalesce(s.uid, e.uid, 0) > 0 AND EXISTS (SELECT 1 FROM mailboxes b WHERE b.id = q.src_mailbox_id AND length(b.up_name) > 0)
	FROM mutations q
	LEFT JOIN messages r ON r.account_id = q.account_id AND r.mailbox_id = q.mailbox_id AND r.uid = q.uid
	LEFT JOIN identities i ON i.account_id = q.account_id AND i.mailbox_id = q.mailbox_id AND i.uid = q.uid
	LEFT JOIN departed d ON d.account_id = q.account_id AND d.mailbox_id = q.mailbox_id AND d.uid = q.uid
	LEFT JOIN contents c ON c.id = q.mailbox_id << 32 | q.uid AND r.body = 1 AND q.kind IN ('append', 'copy', 'move')
	LEFT JOIN messages s ON s.account_id = q.account_id AND s.mailbox_id = q.src_mailbox_id AND s.uid = q.src_uid
	LEFT JOIN departed e ON e.account_id = q.account_id AND e.mailbox_id = q.src_mailbox_id AND e.uid = q.src_uid
	WHERE q.account_id = ? AND q.id > ? ORDER BY q.id LIMIT ?`

// Mutations implements metadata.Queue.
func (s *Store) Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) (qs []metadata.Queued, err error) {
	err = s.snapshot(ctx, "read the mutation queue", func(c *conn) error {
		if err := c.existsAccount(ctx, acc); err != nil {
			return err
		}
		var m mutationRow
		var uid sql.NullInt64
		var up, srcUp, modSeq, sys, size, date, zone, blobSize int64
		var email, keywords, key sql.RawBytes
		var here bool
		dest := m.dest(&uid, &up, &srcUp, &email, &modSeq, &sys, &keywords, &size, &date, &zone, &key, &blobSize, &here)
		return c.each(ctx, selectQueued, []any{int64(acc), int64(after), limit}, func(scan func(...any) error) error {
			if err := scan(dest...); err != nil {
				return err
			}
			q := metadata.Queued{Mutation: m.mutation(), Upstream: uint32(up), SourceUpstream: uint32(srcUp), SourceHere: here}
			copy(q.Email[:], email)
			q.Departed = m.uid != 0 && !uid.Valid
			if q.Kind.Places() && uid.Valid {
				q.Row = mailbox.Row{
					UID: q.Ref.UID, ModSeq: mailbox.ModSeq(modSeq), Size: size, Date: date, Zone: int16(zone),
					Flags: flag.FromStored(flag.System(sys), string(keywords)),
				}
			}
			if key != nil {
				q.Content = &metadata.Content{Mailbox: q.Ref.Mailbox, UID: q.Ref.UID, Size: blobSize}
				copy(q.Content.Blob[:], key)
			}
			qs = append(qs, q)
			return nil
		})
	})
	return qs, err
}

// QueueSummary implements metadata.Queue.
func (s *Store) QueueSummary(ctx context.Context, acc account.ID) (sum metadata.QueueSummary, err error) {
	err = s.view(ctx, "count the mutation queue", func(c *conn) error {
		if err := c.existsAccount(ctx, acc); err != nil {
			return err
		}
		var oldest int64
		err := c.one(ctx, []any{&sum.Waiting, &sum.Sent, &sum.Parked, &oldest}, `SELECT
			coalesce(sum(state = 'waiting'), 0), coalesce(sum(state = 'sent'), 0), coalesce(sum(state = 'parked'), 0),
			coalesce(min(created), 0) FROM mutations WHERE account_id = ?`, int64(acc))
		sum.Oldest = unstamp(oldest)
		return err
	})
	return sum, err
}

// Intend implements metadata.Queue.
func (s *Store) Intend(ctx context.Context, f metadata.Fence, intents []metadata.Intended) (ids []mutation.ID, err error) {
	err = s.update(ctx, "mark mutations as sent", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		q := &queue{c: c, acc: f.Account}
		asked := make([]any, len(intents))
		for i, in := range intents {
			asked[i] = int64(in.ID)
		}
		found, err := q.byID(ctx, asked)
		if err != nil {
			return err
		}
		marks := newGroups[mutation.Intent]()
		seen := map[mailbox.ID]uint32{} // the UIDVALIDITY of mailboxes in which something is placed
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
			}
		}
		for id, validity := range seen {
			if _, err := c.exec(ctx, `UPDATE mailboxes SET up_uidvalidity = ? WHERE id = ? AND account_id = ?
				AND up_uidvalidity = 0 AND up_synced = 0`, int64(validity), int64(id), int64(f.Account)); err != nil {
				return err
			}
		}
		for _, in := range marks.order {
			if err := c.execBatch(ctx, `UPDATE mutations SET state = 'sent', intent_validity = ?, intent_uidnext = ?
				WHERE account_id = ? AND id IN (VALUES `, []any{
				int64(in.UIDValidity), int64(in.UIDNext), int64(f.Account),
			}, 1, `)`, marks.of[in]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// byID returns those of the mutations that exist.
func (q *queue) byID(ctx context.Context, ids []any) (map[mutation.ID]mutation.Mutation, error) {
	found := make(map[mutation.ID]mutation.Mutation, len(ids))
	var r mutationRow
	dest := r.dest()
	err := q.c.eachBatch(ctx, selectMutations+` FROM mutations q WHERE q.account_id = ? AND q.id IN (VALUES `,
		[]any{int64(q.acc)}, `)`, ids, func(scan func(...any) error) error {
			err := scan(dest...)
			m := r.mutation()
			found[m.ID] = m
			return err
		})
	return found, err
}

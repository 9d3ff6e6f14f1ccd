package sqlite

import (
	"context"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
)

// remove expunges those of the UIDs that exist, with marked only those that have \Deleted, for a client: what the upstream
// has, or may get, departs; what it does not know is forgotten together with its placement. It returns which they were.
func (ch *change) remove(ctx context.Context, now time.Time, uids mailbox.Set, marked bool) (mailbox.Set, error) {
	var gone, unbound []any
	bodies := ch.bodies
	err := ch.hotRows(ctx, uids, func(r hot) {
		if marked && !r.Flags.Has(flag.Deleted) {
			return
		}
		gone = append(gone, int64(r.UID))
		if r.upstream == 0 {
			unbound = append(unbound, int64(r.UID))
		}
		ch.count(r.Flags.Sys, r.Size, -1)
		ch.bodies -= r.body
	})
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	set := setOf(gone)
	retain := ch.bodies < bodies
	if ch.q.local {
		return set, ch.erase(ctx, now, set, retain)
	}
	placements, err := ch.placements(ctx, unbound)
	if err != nil {
		return nil, err
	}
	var canceled []placement
	var forgotten []any
	for _, uid := range unbound {
		if p, ok := placements[mailbox.UID(uid.(int64))]; ok && p.revocable() {
			canceled = append(canceled, p)
			forgotten = append(forgotten, uid)
		}
	}
	departing := set.Minus(setOf(forgotten))
	if err := ch.depart(ctx, departing); err != nil {
		return nil, err
	}
	if err := ch.erase(ctx, now, set, retain); err != nil {
		return nil, err
	}
	if err := ch.queueExpunges(ctx, now, departing); err != nil {
		return nil, err
	}
	return set, ch.q.cancel(ctx, now, canceled, false)
}

// depart gives messages that are about to be erased departed rows.
func (ch *change) depart(ctx context.Context, uids mailbox.Set) error {
	_, err := ch.over(ctx, uids, 0, `INSERT INTO departed (account_id, mailbox_id, uid, up_uid, email)
		SELECT m.account_id, m.mailbox_id, m.uid, m.up_uid, i.email FROM messages m
		CROSS JOIN identities i USING (account_id, mailbox_id, uid)
		WHERE m.account_id = ? AND m.mailbox_id = ? AND m.uid`, ch.keys()...)
	return err
}

// queueExpunges queues the Expunges of messages that departed. Their changes of flags are of no use any more, but for
// those that a copy is to have.
func (ch *change) queueExpunges(ctx context.Context, now time.Time, uids mailbox.Set) error {
	if ch.queued {
		if _, err := ch.over(ctx, uids, 0, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ? AND kind = 'flags'
			AND NOT EXISTS (SELECT 1 FROM mutations s INDEXED BY mutations_source
			WHERE s.account_id = mutations.account_id AND s.src_mailbox_id = mutations.mailbox_id
			AND s.src_uid = mutations.uid AND s.src_uid > 0) AND uid`, ch.keys()...); err != nil {
			return err
		}
	}
	for uid := range uids.All {
		ch.q.add(mutation.Expunge, mutation.Ref{Mailbox: ch.id, UID: mailbox.UID(uid)}, mutation.Ref{}, flag.Op{}, now)
	}
	return nil
}

// erase deletes the rows of messages that exist, leaves tombstones, and keeps what has a body in the undo list where it
// is to be retained. The counters are the caller's.
func (ch *change) erase(ctx context.Context, now time.Time, uids mailbox.Set, retain bool) error {
	if retain {
		if _, err := ch.over(ctx, uids, 0, insertRetained, ch.name, stamp(now), int64(ch.acc), int64(ch.id)); err != nil {
			return err
		}
	}
	for _, head := range [...]string{
		`DELETE FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid`,
		`DELETE FROM identities WHERE account_id = ? AND mailbox_id = ? AND uid`,
		`DELETE FROM body_failures WHERE account_id = ? AND mailbox_id = ? AND uid`,
	} {
		if _, err := ch.over(ctx, uids, 0, head, ch.keys()...); err != nil {
			return err
		}
	}
	if _, err := ch.over(ctx, uids, contentID(ch.id, 0), `DELETE FROM contents WHERE id`); err != nil {
		return err
	}
	const cols = 5
	args := make([]any, 0, cols*len(uids))
	for _, r := range uids {
		args = append(args, int64(ch.acc), int64(ch.id), ch.seq(), int64(r.First), int64(r.Last))
	}
	return ch.c.execBatch(ctx, `INSERT INTO tombstones (account_id, mailbox_id, modseq, first, last) VALUES `, nil, cols,
		``, args)
}

// insertRetained moves messages to the undo list; it is completed by over.
const insertRetained = `INSERT INTO retained (account_id, mailbox, removed, sys, keywords, date, zone, email, thread, blob,
	size, envelope, body, structure, headers, preview, parts)
	SELECT m.account_id, ?, ?, m.sys, m.keywords, m.date, m.zone, i.email, i.thread, c.blob, c.size, c.envelope, c.body,
	c.structure, c.headers, c.preview, c.parts FROM messages m
	CROSS JOIN identities i USING (account_id, mailbox_id, uid) CROSS JOIN contents c ON c.id = m.mailbox_id << 32 | m.uid
	WHERE m.account_id = ? AND m.mailbox_id = ? AND m.body = 1 AND m.uid`

// lose removes those of the UIDs that exist because the upstream has lost them, and forgets departed ones. What is being
// placed stays: the upstream cannot have lost what it has not got.
func (ch *change) lose(ctx context.Context, now time.Time, uids mailbox.Set) error {
	if len(uids) == 0 {
		return nil
	}
	var rows []hot
	var all []any
	if err := ch.hotRows(ctx, uids, func(r hot) {
		rows = append(rows, r)
		all = append(all, int64(r.UID))
	}); err != nil {
		return err
	}
	var departed []any
	unbound := map[mailbox.UID]bool{}
	if err := ch.departed(ctx, func(uid mailbox.UID, up uint32) {
		if uids.Contains(uint32(uid)) {
			departed = append(departed, int64(uid))
			unbound[uid] = up == 0
		}
	}); err != nil {
		return err
	}
	placements, err := ch.placements(ctx, append(all, departed...))
	if err != nil {
		return err
	}
	var gone, forgotten []any
	var canceled []placement
	bodies := ch.bodies
	for _, r := range rows {
		p, placing := placements[r.UID]
		if placing && r.upstream == 0 {
			continue
		}
		if placing {
			canceled = append(canceled, p)
		}
		gone = append(gone, int64(r.UID))
		ch.count(r.Flags.Sys, r.Size, -1)
		ch.bodies -= r.body
		if r.upstream != 0 {
			ch.bound--
		}
	}
	for _, uid := range departed {
		p, placing := placements[mailbox.UID(uid.(int64))]
		if placing && unbound[p.ref.UID] {
			continue
		}
		if placing {
			canceled = append(canceled, p)
		}
		forgotten = append(forgotten, uid)
	}
	if err := ch.erase(ctx, now, setOf(gone), ch.bodies < bodies); err != nil {
		return err
	}
	if err := ch.c.forget(ctx, ch.acc, ch.id, setOf(forgotten)); err != nil || !ch.queued {
		return err
	}
	if _, err := ch.over(ctx, setOf(append(gone, forgotten...)), 0, `DELETE FROM mutations WHERE account_id = ?
		AND mailbox_id = ? AND kind IN ('flags', 'expunge') AND uid`, ch.keys()...); err != nil {
		return err
	}
	return ch.q.cancel(ctx, now, canceled, false)
}

// departed calls fn for the mailbox's departed messages, in UID order.
func (ch *change) departed(ctx context.Context, fn func(uid mailbox.UID, up uint32)) error {
	if !ch.departs {
		return nil
	}
	var uid, up int64
	dest := []any{&uid, &up}
	return ch.c.each(ctx, `SELECT uid, up_uid FROM departed WHERE account_id = ? AND mailbox_id = ? ORDER BY uid`,
		ch.keys(), func(scan func(...any) error) error {
			err := scan(dest...)
			fn(mailbox.UID(uid), uint32(up))
			return err
		})
}

package postgres

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
	var gone, unbound []int64
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
		ch.erase(now, set, retain)
		return set, nil
	}
	placements, err := ch.placements(ctx, unbound)
	if err != nil {
		return nil, err
	}
	var canceled []placement
	var forgotten []int64
	for _, uid := range unbound {
		if p, ok := placements[mailbox.UID(uid)]; ok && p.revocable() {
			canceled = append(canceled, p)
			forgotten = append(forgotten, uid)
		}
	}
	departing := set.Minus(setOf(forgotten))
	ch.depart(departing)
	ch.erase(now, set, retain)
	ch.queueExpunges(now, departing)
	return set, ch.q.cancel(ctx, now, canceled, false)
}

// depart queues giving messages that are about to be erased departed rows.
func (ch *change) depart(uids mailbox.Set) {
	ch.over(uids, `INSERT INTO departed (account_id, mailbox_id, uid, up_uid, email)
		SELECT m.account_id, m.mailbox_id, m.uid, m.up_uid, i.email FROM `+pick("messages", "m", ``)+
		each("identities", "i", `AND x.uid = m.uid`))
}

// queueExpunges queues the Expunges of messages that departed. Their changes of flags are of no use any more, but for
// those that a copy is to have.
func (ch *change) queueExpunges(now time.Time, uids mailbox.Set) {
	if ch.queued {
		ch.over(uids, `DELETE FROM mutations WHERE `+those("mutations", `AND x.kind = 'flags'
			AND NOT EXISTS (SELECT 1 FROM mutations s WHERE s.account_id = x.account_id AND s.src_mailbox_id = x.mailbox_id
			AND s.src_uid = x.uid AND s.src_uid > 0)`))
	}
	for uid := range uids.All {
		ch.q.add(mutation.Expunge, mutation.Ref{Mailbox: ch.id, UID: mailbox.UID(uid)}, mutation.Ref{}, flag.Op{}, now)
	}
}

// erase queues deleting the rows of messages that exist, leaves tombstones, and keeps what has a body in the undo list
// where it is to be retained. The counters are the caller's.
func (ch *change) erase(now time.Time, uids mailbox.Set, retain bool) {
	if len(uids) == 0 {
		return
	}
	if retain {
		ch.retain(now, uids)
	}
	for _, table := range [...]string{"messages", "identities", "body_failures", "contents"} {
		ch.over(uids, `DELETE FROM `+table+` WHERE `+those(table, ``))
	}
	ch.over(uids, `INSERT INTO tombstones (account_id, mailbox_id, modseq, first, last)
		SELECT $1, $2, $5, u.first, u.last FROM `+spans, ch.seq())
}

// retain queues putting messages on the undo list.
func (ch *change) retain(now time.Time, uids mailbox.Set) {
	ch.over(uids, `INSERT INTO retained (account_id, mailbox, removed, sys, keywords, date, zone, email, thread, blob,
		size, envelope, body, structure, headers, preview, parts)
		SELECT m.account_id, $5, $6, m.sys, m.keywords, m.date, m.zone, i.email, i.thread, c.blob, c.size, c.envelope, c.body,
		c.structure, c.headers, c.preview, c.parts FROM `+
		pick("messages", "m", `AND x.body`)+each("identities", "i", `AND x.uid = m.uid`)+
		each("contents", "c", `AND x.uid = m.uid`)+`ORDER BY m.uid`, ch.name, stamp(now))
}

// lose removes those of the UIDs that exist because the upstream has lost them, and forgets departed ones. What is being
// placed stays: the upstream cannot have lost what it has not got.
func (ch *change) lose(ctx context.Context, now time.Time, uids mailbox.Set) error {
	if len(uids) == 0 {
		return nil
	}
	var rows []hot
	var all, departed []int64
	unbound := map[mailbox.UID]bool{}
	ch.askRows(uids, func(r hot) {
		rows = append(rows, r)
		all = append(all, int64(r.UID))
	})
	if ch.departs {
		ch.t.ask(func(r *row) error {
			uid, up := r.uid(), r.int()
			if uids.Contains(uint32(uid)) {
				departed = append(departed, int64(uid))
				unbound[uid] = up == 0
			}
			return nil
		}, `SELECT uid, up_uid FROM departed WHERE account_id = $1 AND mailbox_id = $2 ORDER BY uid`, ch.keys()...)
	}
	if err := ch.t.flush(ctx); err != nil {
		return err
	}
	placements, err := ch.placements(ctx, append(all, departed...))
	if err != nil {
		return err
	}
	var gone, forgotten []int64
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
		p, placing := placements[mailbox.UID(uid)]
		if placing && unbound[p.ref.UID] {
			continue
		}
		if placing {
			canceled = append(canceled, p)
		}
		forgotten = append(forgotten, uid)
	}
	ch.erase(now, setOf(gone), ch.bodies < bodies)
	ch.forget(setOf(forgotten))
	if !ch.queued {
		return nil
	}
	ch.over(setOf(append(gone, forgotten...)), `DELETE FROM mutations WHERE `+
		those("mutations", `AND x.kind IN ('flags', 'expunge')`))
	return ch.q.cancel(ctx, now, canceled, false)
}

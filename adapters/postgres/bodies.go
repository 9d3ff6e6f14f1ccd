package postgres

import (
	"context"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// Pending implements metadata.Bodies. Messages that are not at the upstream are left out: nobody can fetch them.
func (s *Store) Pending(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) (ps []metadata.PendingBody, err error) {
	err = s.view(ctx, "list missing bodies", func(t *tx) error {
		ps = nil
		t.exists(acc, id)
		return t.each(ctx, func(r *row) error {
			ps = append(ps, metadata.PendingBody{
				UID: r.uid(), Upstream: uint32(r.int()), Size: r.int(), Attempts: int(r.int()),
			})
			return nil
		}, `SELECT m.uid, m.up_uid, m.size, coalesce(f.attempts, 0) FROM messages m
			LEFT JOIN LATERAL (SELECT * FROM body_failures x WHERE x.account_id = $1 AND x.mailbox_id = $2 AND x.uid = m.uid
			OFFSET 0) f ON true
			WHERE m.account_id = $1 AND m.mailbox_id = $2 AND NOT m.body AND m.up_uid > 0
			AND (f.next IS NULL OR f.next <= $3) ORDER BY m.uid DESC`, int64(acc), int64(id), stamp(now))
	})
	return ps, err
}

// StoreContents implements metadata.Bodies: two round trips, whatever the number of mailboxes.
func (s *Store) StoreContents(ctx context.Context, f metadata.Fence, contents []metadata.Content) error {
	return s.putContents(ctx, contents, true, func(t *tx) { t.fence(f) })
}

// AddContents implements metadata.Bodies, as StoreContents.
func (s *Store) AddContents(ctx context.Context, acc account.ID, contents []metadata.Content) error {
	return s.putContents(ctx, contents, false, func(t *tx) { t.lock(acc) })
}

// putContents records bodies; lock queues taking the account's lock and whatever says that they may be. replace says what
// becomes of those that are stored already.
func (s *Store) putContents(ctx context.Context, contents []metadata.Content, replace bool, lock func(t *tx)) error {
	if len(contents) == 0 {
		return nil
	}
	of := map[mailbox.ID][]*metadata.Content{}
	for i := range contents {
		of[contents[i].Mailbox] = append(of[contents[i].Mailbox], &contents[i])
	}
	ids := make([]mailbox.ID, 0, len(of))
	for id := range of {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return s.update(ctx, "store contents", func(t *tx) error {
		lock(t)
		stores := make([]*storing, len(ids))
		for i, id := range ids {
			stores[i] = t.storing(id, of[id])
		}
		if err := t.flush(ctx); err != nil {
			return err
		}
		for _, st := range stores {
			if st.here {
				st.write(replace)
			}
		}
		return nil
	})
}

// storing is the bodies that are stored for one mailbox.
type storing struct {
	*change
	contents []*metadata.Content
	here     bool // the mailbox is
	rows     map[mailbox.UID]hot
}

// storing queues reading what is to be known before bodies are stored.
func (t *tx) storing(id mailbox.ID, contents []*metadata.Content) *storing {
	st := &storing{contents: contents, rows: make(map[mailbox.UID]hot, len(contents)), change: t.at(id)}
	uids := make([]mailbox.UID, len(contents))
	for i, v := range contents {
		uids[i] = v.UID
	}
	first, last := bounds(mailbox.SetOf(uids...))
	t.ask(func(r *row) error {
		st.here = true
		st.modSeq, st.size, st.deletedSize, st.bodies = r.int(), r.int(), r.int(), r.int()
		st.before = st.state
		return nil
	}, `SELECT modseq, size, deleted_size, bodies FROM mailboxes WHERE account_id = $1 AND id = $2`, st.keys()...)
	t.ask(func(r *row) error {
		st.rows[r.uid()] = hot{Row: mailbox.Row{Flags: flag.Set{Sys: flag.System(r.int())}, Size: r.int()}, body: r.int()}
		return nil
	}, `SELECT m.uid, m.sys, m.size, m.body FROM `+pick("messages", "m", ``), st.keys(first, last)...)
	return st
}

// write queues storing the bodies of messages that exist, and have none unless replace is set, and correcting their sizes.
func (st *storing) write(replace bool) {
	var bodies []*metadata.Content
	var uids []int64
	var wrong []mailbox.UID
	last := make(map[mailbox.UID]int, len(st.contents)) // of several bodies of one message the last counts
	for _, v := range st.contents {
		r, ok := st.rows[v.UID]
		if !ok || r.body != 0 && !replace {
			continue
		}
		st.bodies += 1 - r.body
		if r.Size != v.Size {
			st.size += v.Size - r.Size
			if r.Flags.Has(flag.Deleted) {
				st.deletedSize += v.Size - r.Size
			}
			wrong = append(wrong, v.UID)
		}
		r.Size, r.body = v.Size, 1
		st.rows[v.UID] = r
		if i, twice := last[v.UID]; twice {
			bodies[i] = v
			continue
		}
		last[v.UID] = len(bodies)
		bodies, uids = append(bodies, v), append(uids, int64(v.UID))
	}
	if len(uids) == 0 {
		return
	}
	t := st.t
	for _, uid := range wrong { // they are few
		t.later(`UPDATE messages SET size = $4, modseq = $5 WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3`,
			st.keys(int64(uid), st.rows[uid].Size, st.seq())...)
	}
	set := setOf(uids)
	st.over(set, `UPDATE messages SET body = true WHERE `+those("messages", `AND NOT x.body`))
	st.over(set, `DELETE FROM body_failures WHERE `+those("body_failures", ``))
	st.insertContents(bodies)
	if st.state != st.before {
		t.later(`UPDATE mailboxes SET modseq = $3, size = $4, deleted_size = $5, bodies = $6 WHERE account_id = $1 AND id = $2`,
			st.keys(st.modSeq, st.size, st.deletedSize, st.bodies)...)
	}
}

// insertContents queues writing the wide rows of messages of the mailbox, each once.
func (ch *change) insertContents(contents []*metadata.Content) {
	n := len(contents)
	if n == 0 {
		return
	}
	var (
		uids, sizes                                               = make([]int64, n), make([]int64, n)
		blobs, envelopes, bodies, structs, heads, previews, parts = make([][]byte, n), make([][]byte, n), make([][]byte, n),
			make([][]byte, n), make([][]byte, n), make([][]byte, n), make([][]byte, n)
	)
	for i, v := range contents {
		uids[i], sizes[i], blobs[i] = int64(v.UID), v.Size, v.Blob[:]
		envelopes[i], bodies[i], structs[i] = bytesOf(v.Envelope), bytesOf(v.Body), bytesOf(v.BodyStructure)
		heads[i], previews[i], parts[i] = bytesOf(v.Headers), bytesOf(v.Preview), bytesOf(v.Parts)
	}
	ch.t.later(`INSERT INTO contents (account_id, mailbox_id, uid, size, blob, envelope, body, structure, headers, preview,
		parts) SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[],
		$9::bytea[], $10::bytea[], $11::bytea[])
		ON CONFLICT (account_id, mailbox_id, uid) DO UPDATE SET size = excluded.size, blob = excluded.blob,
		envelope = excluded.envelope, body = excluded.body, structure = excluded.structure, headers = excluded.headers,
		preview = excluded.preview, parts = excluded.parts`,
		ch.keys(uids, sizes, blobs, envelopes, bodies, structs, heads, previews, parts)...)
}

// Unfetchable implements metadata.Bodies. A message that is gone is no error.
func (s *Store) Unfetchable(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID, why string, next time.Time) error {
	return s.update(ctx, "record a missing body", func(t *tx) error {
		t.fence(f)
		t.exists(f.Account, id)
		if err := t.flush(ctx); err != nil {
			return err
		}
		t.later(`INSERT INTO body_failures AS f (account_id, mailbox_id, uid, attempts, reason, next)
			SELECT account_id, mailbox_id, uid, 1, $4, $5 FROM messages
			WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3 AND NOT body
			ON CONFLICT (account_id, mailbox_id, uid) DO UPDATE SET attempts = f.attempts + 1, reason = excluded.reason,
			next = excluded.next`, int64(f.Account), int64(id), int64(uid), note(why), stamp(next))
		return nil
	})
}

// DropContent implements metadata.Bodies. A message that is gone is no error.
func (s *Store) DropContent(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID) error {
	return s.update(ctx, "forget a body", func(t *tx) error {
		t.fence(f)
		ch, err := t.loaded(ctx, id)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE messages SET body = false WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3
			AND body`, ch.keys(int64(uid))...)
		if err != nil {
			return err
		}
		ch.bodies -= n
		t.later(`DELETE FROM contents WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3`, ch.keys(int64(uid))...)
		ch.save()
		return nil
	})
}

// UpstreamRows implements metadata.Mirror. A connection is held while fn runs: it must neither wait for a network nor call
// the store.
func (s *Store) UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	return s.stream(ctx, "read mirrored messages", func(t *tx) error {
		placing := map[mailbox.UID]bool{}
		var departed []metadata.UpstreamRow
		t.exists(acc, id)
		t.ask(func(r *row) error {
			placing[r.uid()] = true
			return nil
		}, `SELECT uid FROM mutations WHERE account_id = $1 AND mailbox_id = $2 AND uid > 0
			AND kind IN ('append', 'copy', 'move')`, int64(acc), int64(id))
		t.ask(func(r *row) error {
			departed = append(departed, metadata.UpstreamRow{
				UID: r.uid(), Upstream: uint32(r.int()), Email: r.id(), Departed: true,
			})
			return nil
		}, `SELECT uid, up_uid, email FROM departed WHERE account_id = $1 AND mailbox_id = $2 ORDER BY uid`, int64(acc), int64(id))
		yield := func(u metadata.UpstreamRow) error {
			u.Placing = u.Upstream == 0 && placing[u.UID]
			return fn(u)
		}
		// The departed ones, which are few, are merged in the order of the UIDs.
		if err := t.each(ctx, func(r *row) error {
			u := metadata.UpstreamRow{
				UID: r.uid(), Upstream: uint32(r.int()), Flags: r.flags.read(r.int(), r.raw()), HasBody: r.bool(), Email: r.id(),
			}
			for len(departed) > 0 && departed[0].UID < u.UID {
				if err := yield(departed[0]); err != nil {
					return err
				}
				departed = departed[1:]
			}
			return yield(u)
		}, `SELECT m.uid, m.up_uid, m.sys, m.keywords, m.body, i.email
			FROM (SELECT * FROM messages x WHERE `+inMailbox+`ORDER BY x.uid OFFSET 0) m`+
			each("identities", "i", `AND x.uid = m.uid`)+`ORDER BY m.uid`, int64(acc), int64(id)); err != nil {
			return err
		}
		for _, u := range departed {
			if err := yield(u); err != nil {
				return err
			}
		}
		return nil
	})
}

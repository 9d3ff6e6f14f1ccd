package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// add inserts new messages and returns their UIDs, 0 for those whose upstream UID is known.
func (ch *change) add(ctx context.Context, now time.Time, msgs []metadata.NewMessage) ([]mailbox.UID, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	known, err := ch.knownUpstream(ctx, msgs)
	if err != nil {
		return nil, err
	}
	uids := make([]mailbox.UID, len(msgs))
	fresh := make([]*metadata.NewMessage, 0, len(msgs))
	for i := range msgs {
		n := &msgs[i]
		if n.Upstream != 0 {
			if known[n.Upstream] {
				continue
			}
			known[n.Upstream] = true
		}
		if uids[i], err = ch.take(1); err != nil {
			return nil, err
		}
		fresh = append(fresh, n)
	}
	if len(fresh) == 0 {
		return uids, nil
	}
	first := mailbox.UID(ch.uidNext - int64(len(fresh)))
	if err := ch.insertRows(ctx, first, fresh); err != nil {
		return nil, err
	}
	if err := ch.insertIdentities(ctx, first, now, fresh); err != nil {
		return nil, err
	}
	var bodies []*metadata.Content
	for i, n := range fresh {
		if n.Content != nil {
			body := *n.Content
			body.Mailbox, body.UID = ch.id, first+mailbox.UID(i)
			bodies = append(bodies, &body)
		}
	}
	return uids, ch.insertContents(ctx, bodies)
}

// knownUpstream returns which of the messages' upstream UIDs the mailbox has, or had before their messages departed.
func (ch *change) knownUpstream(ctx context.Context, msgs []metadata.NewMessage) (map[uint32]bool, error) {
	known := make(map[uint32]bool, len(msgs))
	find := func(up uint32) { known[up] = true }
	// Most often they are higher than all that is here.
	var highest uint32
	if err := ch.c.one(ctx, []any{&highest}, `SELECT coalesce(max(up_uid), 0) FROM messages
		INDEXED BY messages_upstream WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0`, ch.keys()...); err != nil {
		return nil, err
	}
	var ask, all []any
	for i := range msgs {
		if up := msgs[i].Upstream; up != 0 {
			all = append(all, int64(up))
			if up <= highest {
				ask = append(ask, int64(up))
			}
		}
	}
	err := ch.upstreamUIDs(ctx, `SELECT up_uid FROM messages WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0
		AND up_uid IN (VALUES `, ask, find)
	if err != nil || !ch.departs {
		return known, err
	}
	return known, ch.upstreamUIDs(ctx, `SELECT up_uid FROM departed WHERE account_id = ? AND mailbox_id = ?
		AND up_uid > 0 AND up_uid IN (VALUES `, all, find)
}

// upstreamUIDs calls fn for those of the upstream UIDs that a query, whose head is given, finds.
func (ch *change) upstreamUIDs(ctx context.Context, head string, ask []any, fn func(uint32)) error {
	var up uint32
	dest := []any{&up}
	return ch.c.eachBatch(ctx, head, ch.keys(), `)`, ask, func(scan func(...any) error) error {
		err := scan(dest...)
		fn(up)
		return err
	})
}

// sizeOf is a new message's size: the stored bytes' where they are known, else what the upstream says.
func sizeOf(n *metadata.NewMessage) int64 {
	if n.Content != nil {
		return n.Content.Size
	}
	return n.Size
}

// insertRows inserts the hot rows of messages that get the UIDs from first on.
func (ch *change) insertRows(ctx context.Context, first mailbox.UID, msgs []*metadata.NewMessage) error {
	const cols = 11
	args := make([]any, 0, len(msgs)*cols)
	seq := ch.seq()
	for i, n := range msgs {
		body := int64(0)
		if n.Content != nil {
			body = 1
		}
		ch.count(n.Flags.Sys, sizeOf(n), 1)
		ch.bodies += body
		if n.Upstream != 0 {
			ch.bound++
		}
		args = append(args, int64(ch.acc), int64(ch.id), int64(first)+int64(i), seq, int64(n.Flags.Sys),
			n.Flags.KeywordString(), sizeOf(n), n.Date, int64(n.Zone), int64(n.Upstream), body)
	}
	return ch.c.execBatch(ctx, insertMessages, nil, cols, ``, args)
}

const (
	insertMessages = `INSERT INTO messages (account_id, mailbox_id, uid, modseq, sys, keywords, size, date, zone, up_uid,
		body) VALUES `
	insertIdentities = `INSERT INTO identities (account_id, mailbox_id, uid, email, thread, saved) VALUES `
)

// insertIdentities inserts the names of messages that get the UIDs from first on, and finds their threads.
func (ch *change) insertIdentities(ctx context.Context, first mailbox.UID, now time.Time, msgs []*metadata.NewMessage) error {
	threads, err := ch.threads(ctx, msgs)
	if err != nil {
		return err
	}
	const cols = 6
	args := make([]any, 0, len(msgs)*cols)
	for i, n := range msgs {
		args = append(args, int64(ch.acc), int64(ch.id), int64(first)+int64(i), n.Identity.Email[:], threads[i][:],
			stamp(now))
	}
	return ch.c.execBatch(ctx, insertIdentities, nil, cols, ``, args)
}

// threads returns the thread of each message and records the message ids that were not known.
func (ch *change) threads(ctx context.Context, msgs []*metadata.NewMessage) ([]mailbox.ObjectID, error) {
	asked := map[mailbox.ObjectID]bool{}
	var ids []any
	for _, n := range msgs {
		for id := range n.Identity.Names {
			if !asked[id] {
				asked[id] = true
				ids = append(ids, id[:])
			}
		}
	}
	known := make(map[mailbox.ObjectID]mailbox.ObjectID, len(ids))
	var msgid, thread sql.RawBytes
	err := ch.c.eachBatch(ctx, `SELECT msgid, thread FROM threads WHERE account_id = ? AND msgid IN (VALUES `,
		[]any{int64(ch.acc)}, `)`, ids, func(scan func(...any) error) error {
			err := scan(&msgid, &thread)
			var k, v mailbox.ObjectID
			copy(k[:], msgid)
			copy(v[:], thread)
			known[k] = v
			return err
		})
	if err != nil {
		return nil, err
	}
	threads := make([]mailbox.ObjectID, len(msgs))
	var added []mailbox.ObjectID
	for i, n := range msgs {
		threads[i] = n.Identity.Thread(known)
		for id := range n.Identity.Names {
			if _, ok := known[id]; !ok {
				known[id] = threads[i]
				added = append(added, id)
			}
		}
	}
	// In key order the inserts of a batch touch each page once.
	slices.SortFunc(added, func(a, b mailbox.ObjectID) int { return slices.Compare(a[:], b[:]) })
	args := make([]any, 0, 3*len(added))
	for _, id := range added {
		thread := known[id]
		args = append(args, int64(ch.acc), id[:], thread[:])
	}
	return threads, ch.c.execBatch(ctx, `INSERT INTO threads (account_id, msgid, thread) VALUES `, nil, 3, ``, args)
}

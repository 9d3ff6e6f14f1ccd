package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// CopyMessages implements metadata.Edits.
func (s *Store) CopyMessages(ctx context.Context, acc account.ID, e metadata.CopyEdit) (done metadata.Copied, err error) {
	op := "copy messages"
	if e.Move {
		op = "move messages"
	}
	err = s.update(ctx, op, func(c *conn) error {
		from, err := c.open(ctx, acc, e.From)
		if err != nil {
			return err
		}
		to := from
		if e.To != e.From {
			if to, err = c.open(ctx, acc, e.To); err != nil {
				return err
			}
			to.q = from.q
		}
		if err := from.copyTo(ctx, to, e, &done); err != nil {
			return err
		}
		done.UIDValidity = to.validity
		done.FromModSeq, done.ToModSeq = mailbox.ModSeq(from.modSeq), mailbox.ModSeq(to.modSeq)
		if err := from.save(ctx); err != nil || to == from {
			return err
		}
		return to.save(ctx)
	})
	if err != nil {
		return metadata.Copied{}, err
	}
	return done, nil
}

func (ch *change) copyTo(ctx context.Context, to *change, e metadata.CopyEdit, done *metadata.Copied) error {
	var rows []hot
	var uids []any
	err := ch.hotRows(ctx, e.UIDs, func(r hot) {
		rows = append(rows, r)
		uids = append(uids, int64(r.UID))
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	if !e.Move {
		var size int64
		for _, r := range rows {
			size += r.Size
		}
		if err := ch.c.grow(ctx, ch.acc, size, e.Quota); err != nil {
			return err
		}
	}
	first, err := to.take(len(rows))
	if err != nil {
		return err
	}
	for i, r := range rows {
		done.Source = append(done.Source, r.UID)
		done.Target = append(done.Target, first+mailbox.UID(i))
	}
	if err := to.insertCopies(ctx, first, rows); err != nil {
		return err
	}
	if err := to.copyIdentities(ctx, ch.id, uids, first, e.Now); err != nil {
		return err
	}
	if err := to.copyContents(ctx, ch.id, rows, first); err != nil {
		return err
	}
	placings, err := ch.placings(ctx, rows, e.Move)
	if err != nil {
		return err
	}
	for i, p := range placings {
		ref := mutation.Ref{Mailbox: to.id, UID: done.Target[i]}
		ch.q.add(p.Kind, ref, p.Source, flag.Op{}, e.Now)
		if !p.Flags.Empty() {
			ch.q.add(mutation.Flags, ref, mutation.Ref{}, p.Flags, e.Now)
		}
	}
	if !e.Move {
		return nil
	}
	return ch.leave(ctx, e.Now, rows, placings)
}

// placings returns how the upstream is to get the copies of messages.
func (ch *change) placings(ctx context.Context, rows []hot, move bool) ([]mutation.Placing, error) {
	about, err := ch.outstanding(ctx, rows)
	if err != nil {
		return nil, err
	}
	deleting := map[mailbox.ID]bool{}
	if move && len(about) > 0 {
		if deleting, err = ch.c.deleting(ctx, ch.acc); err != nil {
			return nil, err
		}
	}
	all := make([]mutation.Placing, len(rows))
	for i, r := range rows {
		msg := mutation.Ref{Mailbox: ch.id, UID: r.UID}
		if move {
			all[i] = mutation.Relocate(about[r.UID], msg, func(id mailbox.ID) bool { return deleting[id] })
		} else {
			all[i] = mutation.Duplicate(about[r.UID], msg)
		}
	}
	return all, nil
}

// outstanding returns what the queue has about messages, in its order. What the upstream has is not to be placed any
// more, whatever the queue says.
func (ch *change) outstanding(ctx context.Context, rows []hot) (map[mailbox.UID][]mutation.Mutation, error) {
	if !ch.queued {
		return nil, nil
	}
	of := map[mailbox.UID][]mutation.Mutation{}
	bound := map[mailbox.UID]bool{}
	uids := make([]any, len(rows))
	for i, r := range rows {
		uids[i] = int64(r.UID)
		bound[r.UID] = r.upstream != 0
	}
	var r mutationRow
	dest := r.dest()
	for _, q := range [...]struct {
		head string
		uid  *int64
	}{
		{selectMutations + ` FROM mutations q INDEXED BY mutations_message
			WHERE q.account_id = ? AND q.mailbox_id = ? AND q.uid IN (VALUES `, &r.uid},
		{selectMutations + ` FROM mutations q INDEXED BY mutations_source
			WHERE q.account_id = ? AND q.src_mailbox_id = ? AND q.src_uid > 0 AND q.src_uid IN (VALUES `, &r.srcUID},
	} {
		if err := ch.c.eachBatch(ctx, q.head, ch.keys(), `)`, uids, func(scan func(...any) error) error {
			if err := scan(dest...); err != nil {
				return err
			}
			m, uid := r.mutation(), mailbox.UID(*q.uid)
			if m.Kind.Places() && q.uid == &r.uid && bound[uid] {
				return nil
			}
			of[uid] = append(of[uid], m)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for _, ms := range of {
		slices.SortFunc(ms, func(a, b mutation.Mutation) int { return cmp.Compare(a.ID, b.ID) })
	}
	return of, nil
}

// leave removes messages that are moved: their targets stand for them, and the targets' mutations for what is to happen
// upstream.
func (ch *change) leave(ctx context.Context, now time.Time, rows []hot, placings []mutation.Placing) error {
	var uids, departing, canceled []any
	var forgotten []mutation.Ref
	for i, r := range rows {
		ch.count(r.Flags.Sys, r.Size, -1)
		ch.bodies -= r.body
		uids = append(uids, int64(r.UID))
		if !placings[i].Depart {
			forgotten = append(forgotten, mutation.Ref{Mailbox: ch.id, UID: r.UID})
			continue
		}
		departing = append(departing, int64(r.UID))
		for _, id := range placings[i].Cancel {
			canceled = append(canceled, int64(id))
		}
	}
	if !ch.q.local {
		if err := ch.depart(ctx, setOf(departing)); err != nil {
			return err
		}
	}
	if err := ch.erase(ctx, now, setOf(uids), false); err != nil {
		return err
	}
	if err := ch.q.drop(ctx, forgotten); err != nil {
		return err
	}
	return ch.q.remove(ctx, canceled)
}

// insertCopies inserts the hot rows of copies, which get the UIDs from first on.
func (ch *change) insertCopies(ctx context.Context, first mailbox.UID, rows []hot) error {
	const cols = 11
	args := make([]any, 0, len(rows)*cols)
	seq := ch.seq()
	for i, r := range rows {
		ch.count(r.Flags.Sys, r.Size, 1)
		ch.bodies += r.body
		args = append(args, int64(ch.acc), int64(ch.id), int64(first)+int64(i), seq, int64(r.Flags.Sys),
			r.Flags.KeywordString(), r.Size, r.Date, int64(r.Zone), int64(0), r.body)
	}
	return ch.c.execBatch(ctx, insertMessages, nil, cols, ``, args)
}

// copyIdentities gives copies, which get the UIDs from first on, the names of the messages with the UIDs.
func (ch *change) copyIdentities(ctx context.Context, from mailbox.ID, uids []any, first mailbox.UID, now time.Time) error {
	type names struct{ email, thread [16]byte }
	of := make(map[int64]names, len(uids))
	var uid int64
	var email, thread sql.RawBytes
	dest := []any{&uid, &email, &thread}
	err := ch.c.eachBatch(ctx, `SELECT uid, email, thread FROM identities WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, []any{int64(ch.acc), int64(from)}, `)`, uids, func(scan func(...any) error) error {
		err := scan(dest...)
		var n names
		copy(n.email[:], email)
		copy(n.thread[:], thread)
		of[uid] = n
		return err
	})
	if err != nil {
		return err
	}
	const cols = 6
	args := make([]any, 0, len(uids)*cols)
	for i, uid := range uids {
		n := of[uid.(int64)]
		args = append(args, int64(ch.acc), int64(ch.id), int64(first)+int64(i), n.email[:], n.thread[:], stamp(now))
	}
	return ch.c.execBatch(ctx, insertIdentities, nil, cols, ``, args)
}

// copyContents gives copies, which get the UIDs from first on, the bodies that are here.
func (ch *change) copyContents(ctx context.Context, from mailbox.ID, rows []hot, first mailbox.UID) error {
	var args []any
	for i, r := range rows {
		if r.body != 0 {
			args = append(args, contentID(from, r.UID), contentID(ch.id, first+mailbox.UID(i)))
		}
	}
	return ch.c.execBatch(ctx, `INSERT INTO contents (id, account_id, blob, size, envelope, body, structure, headers,
		preview, parts) SELECT v.column2, c.account_id, c.blob, c.size, c.envelope, c.body, c.structure, c.headers,
		c.preview, c.parts FROM (VALUES `, nil, 2, `) v CROSS JOIN contents c ON c.id = v.column1`, args)
}

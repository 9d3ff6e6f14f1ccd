package postgres

import (
	"cmp"
	"context"
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
	err = s.update(ctx, op, func(t *tx) error {
		done = metadata.Copied{}
		t.lock(acc)
		from := t.load(e.From)
		to := from
		if e.To != e.From {
			to = t.load(e.To)
		}
		room := &room{}
		if !e.Move {
			room = t.room(acc, e.Quota, mutation.Ref{})
		}
		var rows []hot
		var octets int64
		if err := from.hotRows(ctx, e.UIDs, func(r hot) {
			rows = append(rows, r)
			octets += r.Size
		}); err != nil {
			return err
		}
		if from.deleting || to.deleting {
			return errNoMailbox
		}
		if err := room.take(octets); err != nil {
			return err
		}
		if err := from.copyTo(ctx, to, e, rows, &done); err != nil {
			return err
		}
		done.UIDValidity = to.validity
		done.FromModSeq, done.ToModSeq = mailbox.ModSeq(from.modSeq), mailbox.ModSeq(to.modSeq)
		from.save()
		if to != from {
			to.save()
		}
		return nil
	})
	if err != nil {
		return metadata.Copied{}, err
	}
	return done, nil
}

// copyTo copies or moves the rows.
func (ch *change) copyTo(ctx context.Context, to *change, e metadata.CopyEdit, rows []hot, done *metadata.Copied) error {
	if len(rows) == 0 {
		return nil
	}
	first, err := to.take(len(rows))
	if err != nil {
		return err
	}
	ch.t.extent(uint64(len(rows)))
	uids, targets := make([]int64, len(rows)), make([]int64, len(rows))
	for i, r := range rows {
		done.Source = append(done.Source, r.UID)
		done.Target = append(done.Target, first+mailbox.UID(i))
		uids[i], targets[i] = int64(r.UID), int64(first)+int64(i)
	}
	to.insertCopies(first, rows)
	ch.t.later(`INSERT INTO identities (account_id, mailbox_id, uid, saved, email, thread)
		SELECT $1, $3, v.target, $4, i.email, i.thread FROM unnest($5::bigint[], $6::bigint[]) AS v (source, target)`+
		each("identities", "i", `AND x.uid = v.source`), ch.keys(int64(to.id), stamp(e.Now), uids, targets)...)
	ch.t.later(`INSERT INTO contents (account_id, mailbox_id, uid, size, blob, envelope, body, structure, headers, preview, parts)
		SELECT $1, $3, v.target, c.size, c.blob, c.envelope, c.body, c.structure, c.headers, c.preview, c.parts
		FROM unnest($4::bigint[], $5::bigint[]) AS v (source, target)`+each("contents", "c", `AND x.uid = v.source`),
		ch.keys(int64(to.id), uids, targets)...)
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
	if e.Move {
		ch.leave(e.Now, rows, placings)
	}
	return nil
}

// insertCopies queues inserting the hot rows of copies, which get the UIDs from first on.
func (ch *change) insertCopies(first mailbox.UID, rows []hot) {
	copies := slices.Clone(rows)
	for i := range copies {
		copies[i].upstream = 0
	}
	ch.insertRows(int64(first), copies)
}

// placings returns how the upstream is to get the copies of messages.
func (ch *change) placings(ctx context.Context, rows []hot, move bool) ([]mutation.Placing, error) {
	about, err := ch.outstanding(ctx, rows)
	if err != nil {
		return nil, err
	}
	deleting := map[mailbox.ID]bool{}
	if move && len(about) > 0 {
		if deleting, err = ch.q.deleting(ctx); err != nil {
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
	uids := make([]mailbox.UID, len(rows))
	for i, r := range rows {
		uids[i] = r.UID
		bound[r.UID] = r.upstream != 0
	}
	first, last := bounds(mailbox.SetOf(uids...))
	ch.t.ask(func(r *row) error {
		m := readMutation(r)
		if !m.Kind.Places() || !bound[m.Ref.UID] {
			of[m.Ref.UID] = append(of[m.Ref.UID], m)
		}
		return nil
	}, `SELECT `+mutationColumns+` FROM `+pick("mutations", "q", ``), ch.keys(first, last)...)
	ch.t.ask(func(r *row) error {
		m := readMutation(r)
		of[m.Source.UID] = append(of[m.Source.UID], m)
		return nil
	}, `SELECT `+mutationColumns+` FROM `+spans+` CROSS JOIN LATERAL (SELECT * FROM mutations x
		WHERE x.account_id = $1 AND x.src_mailbox_id = $2 AND x.src_uid BETWEEN u.first AND u.last AND x.src_uid > 0
		OFFSET 0) q`, ch.keys(first, last)...)
	if err := ch.t.flush(ctx); err != nil {
		return nil, err
	}
	for _, ms := range of {
		slices.SortFunc(ms, func(a, b mutation.Mutation) int { return cmp.Compare(a.ID, b.ID) })
	}
	return of, nil
}

// leave removes messages that are moved: their targets stand for them, and the targets' mutations for what is to happen
// upstream.
func (ch *change) leave(now time.Time, rows []hot, placings []mutation.Placing) {
	var uids, departing, canceled []int64
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
		ch.depart(setOf(departing))
	}
	ch.erase(now, setOf(uids), false)
	ch.q.drop(forgotten)
	ch.q.remove(canceled)
}

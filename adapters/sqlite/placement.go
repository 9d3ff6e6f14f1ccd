package sqlite

import (
	"context"
	"database/sql"
	"time"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
)

// placement is the outstanding mutation that is to bring a message to the upstream.
type placement struct {
	kind     mutation.Kind
	state    mutation.State
	ref      mutation.Ref
	source   mutation.Ref
	followed bool // a copy or move from the message is outstanding
	expunged bool // an Expunge of the message is
}

// revocable says whether the placement of a message that a client expunges can be taken back: the upstream has not got it,
// and nothing that is to be made from it needs it. What was delivered here can be uploaded anywhere: nothing needs that.
func (p placement) revocable() bool {
	return p.state != mutation.Sent && (p.kind == mutation.Append || !p.followed)
}

// placements returns the placements of the messages that were outstanding when the mailbox was loaded, or still are.
func (ch *change) placements(ctx context.Context, uids []any) (map[mailbox.UID]placement, error) {
	if !ch.queued {
		return nil, nil
	}
	return ch.q.placements(ctx, ch.id, uids)
}

const selectPlacements = `SELECT q.uid, q.kind, q.state, q.src_mailbox_id, q.src_uid,
	EXISTS (SELECT 1 FROM mutations s INDEXED BY mutations_source WHERE s.account_id = q.account_id
	AND s.src_mailbox_id = q.mailbox_id AND s.src_uid = q.uid AND s.src_uid > 0),
	EXISTS (SELECT 1 FROM mutations x INDEXED BY mutations_message WHERE x.account_id = q.account_id
	AND x.mailbox_id = q.mailbox_id AND x.uid = q.uid AND x.kind = 'expunge')
	FROM mutations q INDEXED BY mutations_message WHERE q.account_id = ? AND q.mailbox_id = ?
	AND q.kind IN ('append', 'copy', 'move') AND q.uid IN (VALUES `

func (q *queue) placements(ctx context.Context, id mailbox.ID, uids []any) (map[mailbox.UID]placement, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	found := map[mailbox.UID]placement{}
	var uid, srcBox, srcUID int64
	var kind, state sql.RawBytes
	var followed, expunged bool
	dest := []any{&uid, &kind, &state, &srcBox, &srcUID, &followed, &expunged}
	err := q.c.eachBatch(ctx, selectPlacements, []any{int64(q.acc), int64(id)}, `)`, uids,
		func(scan func(...any) error) error {
			err := scan(dest...)
			found[mailbox.UID(uid)] = placement{
				kind: mutation.ParseKind(string(kind)), state: parseState(state),
				ref:    mutation.Ref{Mailbox: id, UID: mailbox.UID(uid)},
				source: mutation.Ref{Mailbox: mailbox.ID(srcBox), UID: mailbox.UID(srcUID)}, followed: followed,
				expunged: expunged,
			}
			return err
		})
	return found, err
}

// byMailbox sorts UIDs by their mailboxes.
func byMailbox(refs []mutation.Ref) *groups[mailbox.ID] {
	g := newGroups[mailbox.ID]()
	for _, ref := range refs {
		g.add(ref.Mailbox, int64(ref.UID))
	}
	return g
}

// cancel takes placements back, with everything else that the queue has for their messages, which are gone here. The
// sources of moves are expunged instead, or, with back, come back as new messages. A source that had departed, and was
// itself to be placed only for what is canceled now, is canceled too.
func (q *queue) cancel(ctx context.Context, now time.Time, gone []placement, back bool) error {
	for len(gone) > 0 {
		if err := q.save(ctx); err != nil { // what follows reads the queue
			return err
		}
		var refs, sources []mutation.Ref
		isMove := map[mutation.Ref]bool{}
		for _, p := range gone {
			refs = append(refs, p.ref)
			if p.kind != mutation.Append {
				sources = append(sources, p.source)
				isMove[p.source] = isMove[p.source] || p.kind == mutation.Move
			}
		}
		if err := q.drop(ctx, refs); err != nil {
			return err
		}
		gone = gone[:0:0]
		from := byMailbox(sources)
		for _, id := range from.order {
			more, err := q.orphans(ctx, now, id, from.of[id], isMove, back)
			if err != nil {
				return err
			}
			gone = append(gone, more...)
		}
	}
	return nil
}

// orphans looks after the departed sources, all of one mailbox, of placements that were canceled, and returns the
// placements that are of no use any more either.
func (q *queue) orphans(ctx context.Context, now time.Time, id mailbox.ID, uids []any, isMove map[mutation.Ref]bool, back bool) ([]placement, error) {
	placements, err := q.placements(ctx, id, uids)
	if err != nil {
		return nil, err
	}
	departed, err := q.departedAmong(ctx, id, uids)
	if err != nil {
		return nil, err
	}
	var gone []placement
	var rest []any
	for uid := range departed.All {
		ref := mutation.Ref{Mailbox: id, UID: mailbox.UID(uid)}
		p, placing := placements[ref.UID]
		useless := placing && p.state != mutation.Sent && !p.followed && (isMove[ref] || p.expunged)
		switch {
		case useless && !(back && isMove[ref]):
			gone = append(gone, p)
		case isMove[ref] && !back:
			q.add(mutation.Expunge, ref, mutation.Ref{}, flag.Op{}, now)
		default:
			rest = append(rest, int64(uid))
		}
	}
	return gone, q.comeBack(ctx, id, rest)
}

// comeBack forgets those of the messages, all of one mailbox, that departed and that nothing is to be done with any more:
// they are new here when the mailbox is looked at next, in full. What is to be placed or copied first comes back then.
func (q *queue) comeBack(ctx context.Context, id mailbox.ID, uids []any) error {
	var found []uint32
	var uid uint32
	dest := []any{&uid}
	err := q.c.eachBatch(ctx, `SELECT d.uid FROM departed d WHERE d.account_id = ? AND d.mailbox_id = ?
		AND NOT EXISTS (SELECT 1 FROM mutations x INDEXED BY mutations_message WHERE x.account_id = d.account_id
			AND x.mailbox_id = d.mailbox_id AND x.uid = d.uid AND x.kind IN ('expunge', 'append', 'copy', 'move'))
		AND NOT EXISTS (SELECT 1 FROM mutations s INDEXED BY mutations_source WHERE s.account_id = d.account_id
			AND s.src_mailbox_id = d.mailbox_id AND s.src_uid = d.uid AND s.src_uid > 0)
		AND d.uid IN (VALUES `, []any{int64(q.acc), int64(id)}, `)`, uids, func(scan func(...any) error) error {
		err := scan(dest...)
		found = append(found, uid)
		return err
	})
	if err != nil || len(found) == 0 {
		return err
	}
	if err := q.drop(ctx, byUIDs(id, found)); err != nil {
		return err
	}
	return q.c.lookAgain(ctx, id)
}

// byUIDs returns the messages of a mailbox.
func byUIDs(id mailbox.ID, uids []uint32) []mutation.Ref {
	refs := make([]mutation.Ref, len(uids))
	for i, uid := range uids {
		refs[i] = mutation.Ref{Mailbox: id, UID: mailbox.UID(uid)}
	}
	return refs
}

// lookAgain has the owner look at a mailbox in full.
func (c *conn) lookAgain(ctx context.Context, id mailbox.ID) error {
	_, err := c.exec(ctx, `UPDATE mailboxes SET up_synced = 0 WHERE id = ?`, int64(id))
	return err
}

// drop removes everything that the queue has for messages, and their departed rows.
func (q *queue) drop(ctx context.Context, refs []mutation.Ref) error {
	of := byMailbox(refs)
	for _, id := range of.order {
		uids := setOf(of.of[id])
		ch := &change{c: q.c, acc: q.acc, id: id}
		if _, err := ch.over(ctx, uids, 0, `DELETE FROM mutations WHERE account_id = ? AND mailbox_id = ? AND uid`,
			ch.keys()...); err != nil {
			return err
		}
		if err := q.c.forget(ctx, q.acc, id, uids); err != nil {
			return err
		}
	}
	return nil
}

// departedAmong returns which of the messages departed.
func (q *queue) departedAmong(ctx context.Context, id mailbox.ID, uids []any) (mailbox.Set, error) {
	var found []uint32
	var uid uint32
	dest := []any{&uid}
	err := q.c.eachBatch(ctx, `SELECT uid FROM departed WHERE account_id = ? AND mailbox_id = ? AND uid IN (VALUES `,
		[]any{int64(q.acc), int64(id)}, `)`, uids, func(scan func(...any) error) error {
			err := scan(dest...)
			found = append(found, uid)
			return err
		})
	return mailbox.SetOf(found...), err
}

// forget deletes departed rows.
func (c *conn) forget(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set) error {
	ch := &change{c: c, acc: acc, id: id}
	bound, err := ch.over(ctx, uids, 0, `DELETE FROM departed WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0
		AND uid`, ch.keys()...)
	if err != nil {
		return err
	}
	if bound > 0 {
		if _, err := c.exec(ctx, `UPDATE mailboxes SET bound = bound - ? WHERE id = ?`, bound, int64(id)); err != nil {
			return err
		}
	}
	_, err = ch.over(ctx, uids, 0, `DELETE FROM departed WHERE account_id = ? AND mailbox_id = ? AND uid`, ch.keys()...)
	return err
}

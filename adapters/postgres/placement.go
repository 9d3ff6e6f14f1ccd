package postgres

import (
	"context"
	"time"

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
func (ch *change) placements(ctx context.Context, uids []int64) (map[mailbox.UID]placement, error) {
	if !ch.queued {
		return nil, nil
	}
	return ch.q.placements(ctx, ch.id, uids)
}

const selectPlacements = `SELECT q.uid, q.kind, q.state, q.src_mailbox_id, q.src_uid,
	EXISTS (SELECT 1 FROM mutations s WHERE s.account_id = q.account_id AND s.src_mailbox_id = q.mailbox_id
		AND s.src_uid = q.uid AND s.src_uid > 0),
	EXISTS (SELECT 1 FROM mutations x WHERE x.account_id = q.account_id AND x.mailbox_id = q.mailbox_id AND x.uid = q.uid
		AND x.kind = 'expunge')
	FROM `

const placing = `AND x.kind IN ('append', 'copy', 'move')`

func (q *queue) placements(ctx context.Context, id mailbox.ID, uids []int64) (map[mailbox.UID]placement, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	found := map[mailbox.UID]placement{}
	first, last := bounds(setOf(uids))
	err := q.t.each(ctx, func(r *row) error {
		p := readPlacement(id, r)
		found[p.ref.UID] = p
		return nil
	}, selectPlacements+pick("mutations", "q", placing), int64(q.acc), int64(id), first, last)
	return found, err
}

func readPlacement(id mailbox.ID, r *row) placement {
	return placement{
		ref:  mutation.Ref{Mailbox: id, UID: r.uid()},
		kind: mutation.ParseKind(string(r.raw())), state: parseState(r.raw()),
		source: mutation.Ref{Mailbox: mailbox.ID(r.int()), UID: r.uid()}, followed: r.bool(), expunged: r.bool(),
	}
}

// allPlacements returns the outstanding placements into a mailbox.
func (q *queue) allPlacements(ctx context.Context, id mailbox.ID) (all []placement, err error) {
	err = q.t.each(ctx, func(r *row) error {
		all = append(all, readPlacement(id, r))
		return nil
	}, selectPlacements+`(SELECT * FROM mutations x WHERE `+inMailbox+placing+` AND x.uid > 0 OFFSET 0) q ORDER BY q.id`,
		int64(q.acc), int64(id))
	return all, err
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
		q.save() // what follows reads the queue
		var refs, sources []mutation.Ref
		isMove := map[mutation.Ref]bool{}
		for _, p := range gone {
			refs = append(refs, p.ref)
			if p.kind != mutation.Append {
				sources = append(sources, p.source)
				isMove[p.source] = isMove[p.source] || p.kind == mutation.Move
			}
		}
		q.drop(refs)
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
func (q *queue) orphans(ctx context.Context, now time.Time, id mailbox.ID, uids []int64, isMove map[mutation.Ref]bool, back bool) ([]placement, error) {
	placements, err := q.placements(ctx, id, uids)
	if err != nil {
		return nil, err
	}
	departed, err := q.departedAmong(ctx, id, uids)
	if err != nil {
		return nil, err
	}
	var gone []placement
	var rest []int64
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
func (q *queue) comeBack(ctx context.Context, id mailbox.ID, uids []int64) error {
	if len(uids) == 0 {
		return nil
	}
	var found []mutation.Ref
	first, last := bounds(setOf(uids))
	if err := q.t.each(ctx, func(r *row) error {
		found = append(found, mutation.Ref{Mailbox: id, UID: r.uid()})
		return nil
	}, `SELECT d.uid FROM `+pick("departed", "d", ``)+`WHERE NOT EXISTS (SELECT 1 FROM mutations x WHERE x.account_id = d.account_id
			AND x.mailbox_id = d.mailbox_id AND x.uid = d.uid AND x.kind IN ('expunge', 'append', 'copy', 'move'))
		AND NOT EXISTS (SELECT 1 FROM mutations s WHERE s.account_id = d.account_id
			AND s.src_mailbox_id = d.mailbox_id AND s.src_uid = d.uid AND s.src_uid > 0)`,
		int64(q.acc), int64(id), first, last); err != nil || len(found) == 0 {
		return err
	}
	q.drop(found)
	q.lookAgain(id)
	return nil
}

// lookAgain has the owner look at a mailbox in full.
func (q *queue) lookAgain(id mailbox.ID) {
	q.t.later(`UPDATE mailboxes SET up_synced = 0 WHERE account_id = $1 AND id = $2`, int64(q.acc), int64(id))
}

// drop removes everything that the queue has for messages, and their departed rows.
func (q *queue) drop(refs []mutation.Ref) {
	of := byMailbox(refs)
	for _, id := range of.order {
		ch := q.t.at(id)
		set := setOf(of.of[id])
		ch.over(set, `DELETE FROM mutations WHERE `+those("mutations", ``))
		ch.forget(set)
	}
}

// departedAmong returns which of the messages departed.
func (q *queue) departedAmong(ctx context.Context, id mailbox.ID, uids []int64) (mailbox.Set, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	var found []uint32
	first, last := bounds(setOf(uids))
	err := q.t.each(ctx, func(r *row) error {
		found = append(found, uint32(r.int()))
		return nil
	}, `SELECT d.uid FROM `+pick("departed", "d", ``), int64(q.acc), int64(id), first, last)
	return mailbox.SetOf(found...), err
}

// forget deletes departed rows. bound is written where it lies: the mailbox need not be loaded.
func (ch *change) forget(uids mailbox.Set) {
	ch.over(uids, `WITH gone AS (DELETE FROM departed WHERE `+those("departed", ``)+`RETURNING up_uid),
		known AS (SELECT count(*) AS n FROM gone WHERE up_uid > 0)
		UPDATE mailboxes m SET bound = m.bound - known.n FROM known WHERE m.account_id = $1 AND m.id = $2 AND known.n > 0`)
}

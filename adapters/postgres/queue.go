package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
)

// queue is an account's mutation queue while a transaction, which holds the account's lock, adds to it. Changes of messages
// are collected and written by save.
type queue struct {
	t           *tx
	acc         account.ID
	local       bool // an account without an upstream: nothing is queued
	last, saved int64
	added       []added
}

// added is a change of a message that is to be written.
type added struct {
	id          int64
	kind        mutation.Kind
	ref, source mutation.Ref
	op          flag.Op
	created     int64
}

// next returns the next id.
func (q *queue) next() int64 {
	q.last++
	return q.last
}

// add appends a change of a message.
func (q *queue) add(kind mutation.Kind, ref, source mutation.Ref, op flag.Op, now time.Time) {
	if q.local {
		return
	}
	q.added = append(q.added, added{q.next(), kind, ref, source, op, stamp(now)})
}

// addMailbox appends a change of a mailbox, at once.
func (q *queue) addMailbox(m mutation.Mutation) { q.addFor(m, int64(m.Known)) }

// addFor is addMailbox for a Subscribe or Unsubscribe that is of use only with the Rename or Delete that it stands behind,
// whose id is in its known.
func (q *queue) addFor(m mutation.Mutation, known int64) {
	if q.local {
		return
	}
	q.t.later(`INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, name, to_name, attrs, known, created)
		VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9)`, int64(q.acc), q.next(), m.Kind.String(), int64(m.Ref.Mailbox),
		m.Name, m.To, int64(m.Attrs), known, stamp(m.Created))
}

// save queues writing what was collected.
func (q *queue) save() {
	if q.last == q.saved {
		return
	}
	q.saved = q.last
	q.t.later(`UPDATE account_counters SET mutation = $2 WHERE account_id = $1`, int64(q.acc), q.last)
	n := len(q.added)
	if n == 0 {
		return
	}
	var (
		ids, boxes, uids, srcBoxes, srcUIDs, created = make([]int64, n), make([]int64, n), make([]int64, n),
			make([]int64, n), make([]int64, n), make([]int64, n)
		addSys, removeSys  = make([]int16, n), make([]int16, n)
		kinds, add, remove = make([]string, n), make([]string, n), make([]string, n)
	)
	for i, a := range q.added {
		ids[i], kinds[i], boxes[i], uids[i] = a.id, a.kind.String(), int64(a.ref.Mailbox), int64(a.ref.UID)
		srcBoxes[i], srcUIDs[i], created[i] = int64(a.source.Mailbox), int64(a.source.UID), a.created
		addSys[i], add[i] = int16(a.op.Add.Sys), a.op.Add.KeywordString()
		removeSys[i], remove[i] = int16(a.op.Remove.Sys), a.op.Remove.KeywordString()
	}
	q.added = q.added[:0]
	q.t.later(`INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, src_mailbox_id, src_uid, add_sys, add_keywords,
		remove_sys, remove_keywords, created)
		SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
		$8::smallint[], $9::text[], $10::smallint[], $11::text[], $12::bigint[])`, int64(q.acc), ids, kinds, boxes, uids,
		srcBoxes, srcUIDs, addSys, add, removeSys, remove, created)
}

// remove takes mutations out of the queue.
func (q *queue) remove(ids []int64) {
	if len(ids) > 0 {
		q.t.later(`DELETE FROM mutations WHERE `+byID("mutations"), int64(q.acc), ids)
	}
}

// mutationColumns are a whole mutation, as readMutation takes it.
const mutationColumns = `q.id, q.kind, q.state, q.version, q.mailbox_id, q.uid, q.src_mailbox_id, q.src_uid, q.add_sys,
	q.add_keywords, q.remove_sys, q.remove_keywords, q.name, q.to_name, q.attrs, q.known, q.intent_validity,
	q.intent_uidnext, q.attempts, q.reason, q.created, q.next`

func readMutation(r *row) mutation.Mutation {
	m := mutation.Mutation{
		ID: mutation.ID(r.int()), Kind: mutation.ParseKind(string(r.raw())), State: parseState(r.raw()), Version: int(r.int()),
		Ref:    mutation.Ref{Mailbox: mailbox.ID(r.int()), UID: r.uid()},
		Source: mutation.Ref{Mailbox: mailbox.ID(r.int()), UID: r.uid()},
		Op:     readOp(r), Name: r.str(), To: r.str(), Attrs: mailbox.Attr(r.int()),
	}
	known := uint32(r.int())
	if m.Kind == mutation.Delete {
		m.Known = known
	}
	m.Intent = mutation.Intent{UIDValidity: uint32(r.int()), UIDNext: uint32(r.int())}
	m.Attempts, m.Reason, m.Created, m.Next = int(r.int()), r.str(), unstamp(r.int()), unstamp(r.int())
	return m
}

func readOp(r *row) (op flag.Op) {
	sys := flag.System(r.int())
	op.Add = flag.FromStored(sys, r.str())
	sys = flag.System(r.int())
	op.Remove = flag.FromStored(sys, r.str())
	return op
}

// The states' names, as statements have them.
const (
	waiting = "waiting"
	sent    = "sent"
	parked  = "parked"
)

func parseState(name []byte) mutation.State {
	switch string(name) {
	case sent:
		return mutation.Sent
	case parked:
		return mutation.Parked
	}
	return mutation.Waiting
}

// find returns one mutation; fault.NotFound when there is none.
func (q *queue) find(ctx context.Context, id mutation.ID) (m mutation.Mutation, err error) {
	n := 0
	err = q.eachMutation(ctx, func(f mutation.Mutation) { m, n = f, n+1 }, `q.account_id = $1 AND q.id = $2`,
		int64(q.acc), int64(id))
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "", "there is no such mutation")
	}
	return m, err
}

// byID returns those of the mutations that exist.
func (q *queue) byID(ctx context.Context, wanted []int64) (map[mutation.ID]mutation.Mutation, error) {
	found := make(map[mutation.ID]mutation.Mutation, len(wanted))
	err := q.t.each(ctx, func(r *row) error {
		m := readMutation(r)
		found[m.ID] = m
		return nil
	}, `SELECT `+mutationColumns+` FROM `+ids("mutations", "q"), int64(q.acc), wanted)
	return found, err
}

// eachMutation calls fn for the mutations that meet a condition.
func (q *queue) eachMutation(ctx context.Context, fn func(mutation.Mutation), where string, args ...any) error {
	return q.t.each(ctx, func(r *row) error {
		fn(readMutation(r))
		return nil
	}, `SELECT `+mutationColumns+` FROM mutations q WHERE `+where, args...)
}

// about returns the mutations that have the message as Ref or as Source, by id.
func (q *queue) about(ctx context.Context, ref mutation.Ref) ([]mutation.Mutation, error) {
	q.save()
	return q.those(ctx, []any{int64(q.acc), int64(ref.Mailbox), int64(ref.UID)},
		`q.account_id = $1 AND q.mailbox_id = $2 AND q.uid = $3`,
		`q.account_id = $1 AND q.src_mailbox_id = $2 AND q.src_uid = $3 AND q.src_uid > 0`)
}

// aboutMailbox returns the mutations that have the mailbox, or messages in it, as Ref or as Source, by id.
func (q *queue) aboutMailbox(ctx context.Context, id mailbox.ID) ([]mutation.Mutation, error) {
	return q.those(ctx, []any{int64(q.acc), int64(id)},
		`q.account_id = $1 AND q.mailbox_id = $2`,
		`q.account_id = $1 AND q.src_mailbox_id = $2 AND q.mailbox_id <> $2 AND q.src_uid > 0`)
}

// those returns the mutations that meet one of the conditions, which exclude each other, by id.
func (q *queue) those(ctx context.Context, args []any, conditions ...string) (all []mutation.Mutation, err error) {
	for _, where := range conditions {
		q.t.ask(func(r *row) error {
			all = append(all, readMutation(r))
			return nil
		}, `SELECT `+mutationColumns+` FROM mutations q WHERE `+where, args...)
	}
	if err := q.t.flush(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b mutation.Mutation) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// opQuery reads changes of flags, with the highest id of a copy or move from the message; the sum keeps the planner from
// looking for that from the end of the whole queue.
const opQuery = `SELECT q.uid, q.id, q.state = 'parked', q.add_sys, q.add_keywords, q.remove_sys, q.remove_keywords,
	coalesce((SELECT max(s.id + 0) FROM mutations s WHERE s.account_id = q.account_id AND s.src_mailbox_id = q.mailbox_id
	AND s.src_uid = q.uid AND s.src_uid > 0), 0)
	FROM `

// flagOp is a change of a message's flags in the queue.
type flagOp struct {
	uid    mailbox.UID
	id     int64
	op     flag.Op
	parked bool
	closed bool // nothing is merged into it any more
}

// askOps queues calling fn for the changes of the messages' flags in the queue, in any order.
func (ch *change) askOps(uids mailbox.Set, fn func(flagOp)) {
	first, last := bounds(uids)
	ch.t.ask(func(r *row) error {
		o := flagOp{uid: r.uid(), id: r.int(), parked: r.bool(), op: readOp(r)}
		o.closed = o.parked || r.int() > o.id
		fn(o)
		return nil
	}, opQuery+pick("mutations", "q", `AND x.kind = 'flags'`), ch.keys(first, last)...)
}

// queueFlags queues changes of flags of messages, each once: they merge into the message's last one where they may, and
// take over what parked ones say about the same flags.
func (ch *change) queueFlags(ctx context.Context, now time.Time, uids []int64, ops map[mailbox.UID]flag.Op) error {
	if ch.q.local || len(uids) == 0 {
		return nil
	}
	last := map[mailbox.UID]flagOp{}
	var refused []flagOp
	if ch.queued {
		ch.askOps(setOf(uids), func(o flagOp) {
			if o.id > last[o.uid].id {
				last[o.uid] = o
			}
			if o.parked {
				refused = append(refused, o)
			}
		})
		if err := ch.t.flush(ctx); err != nil {
			return err
		}
	}
	ch.narrow(refused, ops)
	merged := newGroups[flag.Op]() // the ids that get the same operation
	for _, u := range uids {
		uid := mailbox.UID(u)
		into, ok := last[uid]
		if !ok || into.closed {
			ch.q.add(mutation.Flags, mutation.Ref{Mailbox: ch.id, UID: uid}, mutation.Ref{}, ops[uid], now)
			continue
		}
		merged.add(into.op.Then(ops[uid]), into.id)
	}
	ch.q.writeOps(merged, 1)
	return nil
}

// narrow takes the flags that new changes are about out of parked ones. What the clients see stays what it is, and a parked
// change that is retried does not undo what was done later.
func (ch *change) narrow(refused []flagOp, ops map[mailbox.UID]flag.Op) {
	var idle []int64
	left := newGroups[flag.Op]()
	for _, o := range refused {
		m := mutation.Mutation{
			ID: mutation.ID(o.id), Kind: mutation.Flags, State: mutation.Parked,
			Ref: mutation.Ref{Mailbox: ch.id, UID: o.uid}, Op: o.op,
		}
		for _, m := range mutation.Narrow([]mutation.Mutation{m}, m.Ref, ops[o.uid]) {
			if m.Op.Empty() {
				idle = append(idle, o.id)
			} else {
				left.add(m.Op, o.id)
			}
		}
	}
	ch.q.remove(idle)
	ch.q.writeOps(left, 0)
}

// writeOps queues writing the operations of mutations, whose versions rise by a number.
func (q *queue) writeOps(ops *groups[flag.Op], rise int) {
	for _, op := range ops.order {
		q.t.later(`UPDATE mutations SET version = version + $3, add_sys = $4, add_keywords = $5, remove_sys = $6,
			remove_keywords = $7 WHERE `+byID("mutations"), int64(q.acc), ops.of[op], int64(rise), int16(op.Add.Sys),
			op.Add.KeywordString(), int16(op.Remove.Sys), op.Remove.KeywordString())
	}
}

// pendingOps returns what the queue's changes of flags, which were asked for, make of each message, in their order.
func pendingOps(found map[mailbox.UID][]flagOp) map[mailbox.UID]flag.Op {
	ops := make(map[mailbox.UID]flag.Op, len(found))
	for uid, list := range found {
		slices.SortFunc(list, func(a, b flagOp) int { return cmp.Compare(a.id, b.id) })
		for _, o := range list {
			ops[uid] = ops[uid].Then(o.op)
		}
	}
	return ops
}

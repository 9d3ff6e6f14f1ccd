package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
)

// queue is an account's mutation queue while a transaction adds to it. Changes of messages are collected and written by
// save.
type queue struct {
	c           *conn
	acc         account.ID
	local       bool // an account without an upstream: nothing is queued
	last, saved int64
	rows        []any
}

// loadQueue reads the account's queue in order to add to it.
func (c *conn) loadQueue(ctx context.Context, acc account.ID) (*queue, error) {
	q := &queue{c: c, acc: acc}
	err := c.one(ctx, []any{&q.local, &q.last}, `SELECT local, mutation FROM accounts WHERE id = ?`, int64(acc))
	q.saved = q.last
	return q, orNotFound(err, noAccount)
}

// next returns the next id.
func (q *queue) next() int64 {
	q.last++
	return q.last
}

const insertMessageMutation = `INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, src_mailbox_id, src_uid,
	add_sys, add_keywords, remove_sys, remove_keywords, created) VALUES `

// add appends a change of a message.
func (q *queue) add(kind mutation.Kind, ref, source mutation.Ref, op flag.Op, now time.Time) {
	if q.local {
		return
	}
	q.rows = append(q.rows, int64(q.acc), q.next(), kind.String(), int64(ref.Mailbox), int64(ref.UID),
		int64(source.Mailbox), int64(source.UID), int64(op.Add.Sys), op.Add.KeywordString(), int64(op.Remove.Sys),
		op.Remove.KeywordString(), stamp(now))
}

// addMailbox appends a change of a mailbox, at once.
func (q *queue) addMailbox(ctx context.Context, m mutation.Mutation) error {
	return q.addFor(ctx, m, int64(m.Known))
}

// addFor is addMailbox for a Subscribe or Unsubscribe that is of use only with the Rename or Delete that it stands behind,
// whose id is in its known.
func (q *queue) addFor(ctx context.Context, m mutation.Mutation, known int64) error {
	if q.local {
		return nil
	}
	_, err := q.c.exec(ctx, `INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, name, to_name, attrs, known,
		created) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)`, int64(q.acc), q.next(), m.Kind.String(), int64(m.Ref.Mailbox),
		m.Name, m.To, int64(m.Attrs), known, stamp(m.Created))
	return err
}

// save writes what was collected.
func (q *queue) save(ctx context.Context) error {
	if err := q.c.execBatch(ctx, insertMessageMutation, nil, 12, ``, q.rows); err != nil {
		return err
	}
	q.rows = q.rows[:0]
	if q.last == q.saved {
		return nil
	}
	q.saved = q.last
	_, err := q.c.exec(ctx, `UPDATE accounts SET mutation = ? WHERE id = ?`, q.last, int64(q.acc))
	return err
}

// remove takes mutations out of the queue.
func (q *queue) remove(ctx context.Context, ids []any) error {
	return q.c.execBatch(ctx, `DELETE FROM mutations WHERE account_id = ? AND id IN (VALUES `, []any{int64(q.acc)}, 1,
		`)`, ids)
}

// selectMutations reads whole mutations; a condition follows.
const selectMutations = `SELECT q.id, q.kind, q.state, q.version, q.mailbox_id, q.uid, q.src_mailbox_id, q.src_uid,
	q.add_sys, q.add_keywords, q.remove_sys, q.remove_keywords, q.name, q.to_name, q.attrs, q.known, q.intent_validity,
	q.intent_uidnext, q.attempts, q.reason, q.created, q.next`

// mutationRow is a mutation's columns, to be scanned.
type mutationRow struct {
	id, version, box, uid, srcBox, srcUID, addSys, removeSys, attrs, known, validity, uidNext, attempts, created, next int64
	kind, state, addKeywords, removeKeywords, name, to, reason                                                         sql.RawBytes
}

func (r *mutationRow) dest(more ...any) []any {
	return append([]any{
		&r.id, &r.kind, &r.state, &r.version, &r.box, &r.uid, &r.srcBox, &r.srcUID, &r.addSys, &r.addKeywords,
		&r.removeSys, &r.removeKeywords, &r.name, &r.to, &r.attrs, &r.known, &r.validity, &r.uidNext, &r.attempts,
		&r.reason, &r.created, &r.next,
	}, more...)
}

func (r *mutationRow) mutation() mutation.Mutation {
	m := mutation.Mutation{
		ID: mutation.ID(r.id), Kind: mutation.ParseKind(string(r.kind)), State: parseState(r.state),
		Version: int(r.version), Ref: mutation.Ref{Mailbox: mailbox.ID(r.box), UID: mailbox.UID(r.uid)},
		Source: mutation.Ref{Mailbox: mailbox.ID(r.srcBox), UID: mailbox.UID(r.srcUID)},
		Op:     storedOp(r.addSys, r.addKeywords, r.removeSys, r.removeKeywords),
		Name:   string(r.name), To: string(r.to), Attrs: mailbox.Attr(r.attrs),
		Intent:   mutation.Intent{UIDValidity: uint32(r.validity), UIDNext: uint32(r.uidNext)},
		Attempts: int(r.attempts), Reason: string(r.reason), Created: unstamp(r.created), Next: unstamp(r.next),
	}
	if m.Kind == mutation.Delete {
		m.Known = uint32(r.known)
	}
	return m
}

func storedOp(addSys int64, add []byte, removeSys int64, remove []byte) flag.Op {
	return flag.Op{
		Add:    flag.FromStored(flag.System(addSys), string(add)),
		Remove: flag.FromStored(flag.System(removeSys), string(remove)),
	}
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
func (q *queue) find(ctx context.Context, id mutation.ID) (mutation.Mutation, error) {
	var m mutation.Mutation
	n := 0
	err := q.eachMutation(ctx, `q.account_id = ? AND q.id = ?`, []any{int64(q.acc), int64(id)}, func(f mutation.Mutation) {
		m, n = f, n+1
	})
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "", "there is no such mutation")
	}
	return m, err
}

// eachMutation calls fn for the mutations that meet a condition.
func (q *queue) eachMutation(ctx context.Context, where string, args []any, fn func(mutation.Mutation)) error {
	var r mutationRow
	dest := r.dest()
	return q.c.each(ctx, selectMutations+` FROM mutations q WHERE `+where, args, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		fn(r.mutation())
		return nil
	})
}

// about returns the mutations that have the message as Ref or as Source, by id.
func (q *queue) about(ctx context.Context, ref mutation.Ref) (all []mutation.Mutation, err error) {
	if err := q.save(ctx); err != nil {
		return nil, err
	}
	return q.those(ctx, []any{int64(q.acc), int64(ref.Mailbox), int64(ref.UID)},
		`q.account_id = ? AND q.mailbox_id = ? AND q.uid = ?`,
		`q.account_id = ? AND q.src_mailbox_id = ? AND q.src_uid = ? AND q.src_uid > 0`)
}

// aboutMailbox returns the mutations that have the mailbox, or messages in it, as Ref or as Source, by id.
func (q *queue) aboutMailbox(ctx context.Context, id mailbox.ID) ([]mutation.Mutation, error) {
	return q.those(ctx, []any{int64(q.acc), int64(id)},
		`q.account_id = ? AND q.mailbox_id = ?`,
		`q.account_id = ?1 AND q.src_mailbox_id = ?2 AND q.mailbox_id <> ?2 AND q.src_uid > 0`)
}

// those returns the mutations that meet one of the conditions, which exclude each other, by id.
func (q *queue) those(ctx context.Context, args []any, conditions ...string) (all []mutation.Mutation, err error) {
	for _, where := range conditions {
		if err := q.eachMutation(ctx, where, args, func(m mutation.Mutation) { all = append(all, m) }); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b mutation.Mutation) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// opQuery reads changes of flags, with the highest id of a copy or move from the message.
const opQuery = `SELECT q.uid, q.id, q.state = 'parked', q.add_sys, q.add_keywords, q.remove_sys, q.remove_keywords,
	coalesce((SELECT max(s.id) FROM mutations s INDEXED BY mutations_source WHERE s.account_id = q.account_id
	AND s.src_mailbox_id = q.mailbox_id AND s.src_uid = q.uid AND s.src_uid > 0), 0)
	FROM mutations q INDEXED BY mutations_message WHERE q.account_id = ? AND q.mailbox_id = ? AND q.kind = 'flags'
	AND q.uid IN (VALUES `

// flagOp is a change of a message's flags in the queue.
type flagOp struct {
	uid    mailbox.UID
	id     int64
	op     flag.Op
	parked bool
	closed bool // nothing is merged into it any more
}

// flagOps calls fn for the changes of the messages' flags in the queue, in any order.
func (ch *change) flagOps(ctx context.Context, uids []any, fn func(flagOp)) error {
	if !ch.queued {
		return nil
	}
	var o flagOp
	var uid, addSys, removeSys, copied int64
	var isParked bool
	var add, remove sql.RawBytes
	dest := []any{&uid, &o.id, &isParked, &addSys, &add, &removeSys, &remove, &copied}
	return ch.c.eachBatch(ctx, opQuery, ch.keys(), `)`, uids, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		o.uid, o.op = mailbox.UID(uid), storedOp(addSys, add, removeSys, remove)
		o.parked, o.closed = isParked, isParked || copied > o.id
		fn(o)
		return nil
	})
}

// queueFlags queues changes of flags of messages, each once: they merge into the message's last one where they may, and
// take over what parked ones say about the same flags.
func (ch *change) queueFlags(ctx context.Context, now time.Time, uids []any, ops map[mailbox.UID]flag.Op) error {
	if ch.q.local || len(uids) == 0 {
		return nil
	}
	last := map[mailbox.UID]flagOp{}
	var refused []flagOp
	err := ch.flagOps(ctx, uids, func(o flagOp) {
		if o.id > last[o.uid].id {
			last[o.uid] = o
		}
		if o.parked {
			refused = append(refused, o)
		}
	})
	if err != nil {
		return err
	}
	if err := ch.narrow(ctx, refused, ops); err != nil {
		return err
	}
	merged := newGroups[flag.Op]() // the ids that get the same operation
	for _, u := range uids {
		uid := mailbox.UID(u.(int64))
		into, ok := last[uid]
		if !ok || into.closed {
			ch.q.add(mutation.Flags, mutation.Ref{Mailbox: ch.id, UID: uid}, mutation.Ref{}, ops[uid], now)
			continue
		}
		merged.add(into.op.Then(ops[uid]), into.id)
	}
	return ch.q.writeOps(ctx, merged, 1)
}

// narrow takes the flags that new changes are about out of parked ones. What the clients see stays what it is, and a parked
// change that is retried does not undo what was done later.
func (ch *change) narrow(ctx context.Context, refused []flagOp, ops map[mailbox.UID]flag.Op) error {
	var idle []any
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
	if err := ch.q.remove(ctx, idle); err != nil {
		return err
	}
	return ch.q.writeOps(ctx, left, 0)
}

// writeOps writes the operations of mutations, whose versions rise by a number.
func (q *queue) writeOps(ctx context.Context, ops *groups[flag.Op], rise int) error {
	for _, op := range ops.order {
		if err := q.c.execBatch(ctx, `UPDATE mutations SET version = version + ?, add_sys = ?, add_keywords = ?,
			remove_sys = ?, remove_keywords = ? WHERE account_id = ? AND id IN (VALUES `, []any{
			int64(rise), int64(op.Add.Sys), op.Add.KeywordString(), int64(op.Remove.Sys), op.Remove.KeywordString(),
			int64(q.acc),
		}, 1, `)`, ops.of[op]); err != nil {
			return err
		}
	}
	return nil
}

// pendingOps returns what the queue's changes of flags make of each of the messages, in their order.
func (ch *change) pendingOps(ctx context.Context, uids []any) (map[mailbox.UID]flag.Op, error) {
	found := map[mailbox.UID][]flagOp{}
	if err := ch.flagOps(ctx, uids, func(o flagOp) { found[o.uid] = append(found[o.uid], o) }); err != nil {
		return nil, err
	}
	ops := make(map[mailbox.UID]flag.Op, len(found))
	for uid, list := range found {
		slices.SortFunc(list, func(a, b flagOp) int { return cmp.Compare(a.id, b.id) })
		for _, o := range list {
			ops[uid] = ops[uid].Then(o.op)
		}
	}
	return ops, nil
}

package postgres

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// change is one mailbox while a transaction changes it: the columns of its row that changes move, written back by
// save. The account's lock is held, so that nobody else moves them.
type change struct {
	t        *tx
	q        *queue // the transaction's
	acc      account.ID
	id       mailbox.ID
	validity uint32
	name     string
	deleting bool
	queued   bool // the queue had changes of messages in the mailbox when it was loaded
	departs  bool // and it had departed messages
	state
	before state
}

// state is the columns of a mailbox that its messages determine.
type state struct {
	uidNext, modSeq, messages, unseen, deleted, size, deletedSize, bodies, bound int64
}

// at returns a mailbox that is not loaded, for statements about its rows.
func (t *tx) at(id mailbox.ID) *change { return &change{t: t, q: t.q, acc: t.q.acc, id: id} }

// load queues reading a mailbox in order to change it.
func (t *tx) load(id mailbox.ID) *change {
	ch := t.at(id)
	st := &ch.state
	t.need(errNoMailbox, func(r *row) error {
		st.uidNext, st.modSeq, st.messages, st.unseen = r.int(), r.int(), r.int(), r.int()
		st.deleted, st.size, st.deletedSize, st.bodies, st.bound = r.int(), r.int(), r.int(), r.int(), r.int()
		ch.validity, ch.name, ch.deleting = uint32(r.int()), r.str(), r.bool()
		ch.queued, ch.departs = r.bool(), r.bool()
		ch.before = ch.state
		return nil
	}, `SELECT m.uidnext, m.modseq, m.messages, m.unseen, m.deleted, m.size, m.deleted_size, m.bodies, m.bound,
		m.uidvalidity, m.name, m.deleting,
		EXISTS (SELECT 1 FROM mutations q WHERE q.account_id = $1 AND q.mailbox_id = $2 AND q.uid > 0),
		EXISTS (SELECT 1 FROM departed d WHERE d.account_id = $1 AND d.mailbox_id = $2)
		FROM mailboxes m WHERE m.account_id = $1 AND m.id = $2`, int64(ch.acc), int64(id))
	return ch
}

// loaded is load, at once.
func (t *tx) loaded(ctx context.Context, id mailbox.ID) (*change, error) {
	ch := t.load(id)
	return ch, t.flush(ctx)
}

// open takes the account's lock and loads a mailbox for a client: one that is being deleted is not there.
func (t *tx) open(ctx context.Context, acc account.ID, id mailbox.ID) (*change, error) {
	t.lock(acc)
	return t.openToo(ctx, id)
}

// openToo is open for a further mailbox.
func (t *tx) openToo(ctx context.Context, id mailbox.ID) (*change, error) {
	ch, err := t.loaded(ctx, id)
	if err == nil && ch.deleting {
		err = errNoMailbox
	}
	return ch, err
}

// seq returns the mod-sequence of this change, and raises the mailbox's the first time.
func (ch *change) seq() int64 {
	if ch.modSeq == ch.before.modSeq {
		ch.modSeq++
	}
	return ch.modSeq
}

// changed says whether clients see a change.
func (ch *change) changed() bool { return ch.modSeq != ch.before.modSeq }

// keys returns the arguments that lead every key of the mailbox's rows, followed by more.
func (ch *change) keys(more ...any) []any { return append([]any{int64(ch.acc), int64(ch.id)}, more...) }

// count adds a message with the flags n times to the counters.
func (ch *change) count(sys flag.System, size, n int64) {
	ch.messages += n
	ch.size += n * size
	ch.flagged(sys, size, n)
}

// flagged adds the flags of a message of the size n times to the counters.
func (ch *change) flagged(sys flag.System, size, n int64) {
	if sys&flag.Seen == 0 {
		ch.unseen += n
	}
	if sys&flag.Deleted != 0 {
		ch.deleted += n
		ch.deletedSize += n * size
	}
}

// take reserves n UIDs and returns the first.
func (ch *change) take(n int) (mailbox.UID, error) {
	first := ch.uidNext
	if first+int64(n) > 1<<32-1 {
		return 0, fault.New(fault.Limit, "", "the mailbox has no UIDs left")
	}
	ch.uidNext += int64(n)
	return mailbox.UID(first), nil
}

// save queues writing the mailbox back where it changed, and the queue. bound is written as a difference: departed rows of
// other mailboxes than the one that is loaded are forgotten, too.
func (ch *change) save() {
	if ch.state != ch.before {
		ch.t.later(`UPDATE mailboxes SET uidnext = $3, modseq = $4, messages = $5, unseen = $6, deleted = $7, size = $8,
			deleted_size = $9, bodies = $10, bound = bound + $11 WHERE account_id = $1 AND id = $2`, ch.keys(ch.uidNext,
			ch.modSeq, ch.messages, ch.unseen, ch.deleted, ch.size, ch.deletedSize, ch.bodies, ch.bound-ch.before.bound)...)
		ch.before.bound = ch.bound
	}
	ch.q.save()
}

// over queues a statement for the rows with the UIDs: $1 is the account, $2 the mailbox, $3 and $4 the bounds of the UIDs'
// ranges, and then come more.
func (ch *change) over(uids mailbox.Set, text string, more ...any) {
	if len(uids) == 0 {
		return
	}
	ch.t.extent(uids.Len())
	first, last := bounds(uids)
	ch.t.later(text, append(ch.keys(first, last), more...)...)
}

// hot is the hot columns of a message, as changes need them.
type hot struct {
	mailbox.Row
	upstream int64
	body     int64 // 1: contents has it
}

// hotRows calls fn for each message of the set, in UID order.
func (ch *change) hotRows(ctx context.Context, uids mailbox.Set, fn func(hot)) error {
	ch.askRows(uids, fn)
	return ch.t.flush(ctx)
}

// askRows queues hotRows. fn may not call the database.
func (ch *change) askRows(uids mailbox.Set, fn func(hot)) {
	each := func(r *row) error {
		h := hot{Row: readRow(r)}
		h.upstream, h.body = r.int(), r.int()
		fn(h)
		return nil
	}
	switch len(uids) {
	case 0:
	case 1:
		ch.t.ask(each, `SELECT `+rowColumns+`, m.up_uid, m.body FROM messages m WHERE m.account_id = $1 AND m.mailbox_id = $2
			AND m.uid BETWEEN $3 AND $4 ORDER BY m.uid`, ch.keys(int64(uids[0].First), int64(uids[0].Last))...)
	default:
		first, last := bounds(uids)
		ch.t.ask(each, `SELECT `+rowColumns+`, m.up_uid, m.body FROM `+pick("messages", "m", ``)+`ORDER BY m.uid`, ch.keys(first, last)...)
	}
}

// setOf returns the set of UIDs that are a statement's arguments.
func setOf(uids []int64) mailbox.Set {
	nums := make([]uint32, len(uids))
	for i, u := range uids {
		nums[i] = uint32(u)
	}
	return mailbox.SetOf(nums...)
}

// every is all UIDs.
func every() mailbox.Set { return mailbox.SetFrom(1) }

// groups collects numbers by what is to be written for them, in the order of their first.
type groups[K comparable] struct {
	order []K
	of    map[K][]int64
}

func newGroups[K comparable]() *groups[K] { return &groups[K]{of: map[K][]int64{}} }

func (g *groups[K]) add(key K, n int64) {
	list := g.of[key]
	if list == nil {
		g.order = append(g.order, key)
	}
	g.of[key] = append(list, n)
}

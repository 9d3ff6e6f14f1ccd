package sqlite

import (
	"context"
	"database/sql"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// change is one mailbox while a transaction changes it: the columns of its row that changes move, written back by
// save.
type change struct {
	c        *conn
	q        *queue // the account's; a transaction on two mailboxes has one
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

// load reads a mailbox in order to change it.
func (c *conn) load(ctx context.Context, acc account.ID, id mailbox.ID) (*change, error) {
	ch := &change{c: c, acc: acc, id: id, q: &queue{c: c, acc: acc}}
	st := &ch.state
	var validity int64
	err := c.one(ctx, []any{
		&st.uidNext, &st.modSeq, &st.messages, &st.unseen, &st.deleted, &st.size, &st.deletedSize,
		&st.bodies, &st.bound,
		&validity, &ch.name, &ch.deleting, &ch.q.local, &ch.q.last, &ch.queued, &ch.departs,
	}, `SELECT m.uidnext, m.modseq, m.messages, m.unseen, m.deleted, m.size, m.deleted_size, m.bodies, m.bound,
		m.uidvalidity, m.name, m.deleting, a.local, a.mutation,
		EXISTS (SELECT 1 FROM mutations WHERE account_id = ?2 AND mailbox_id = ?1 AND uid > 0),
		EXISTS (SELECT 1 FROM departed WHERE account_id = ?2 AND mailbox_id = ?1)
		FROM mailboxes m CROSS JOIN accounts a ON a.id = m.account_id WHERE m.id = ?1 AND m.account_id = ?2`, int64(id), int64(acc))
	ch.before, ch.validity, ch.q.saved = ch.state, uint32(validity), ch.q.last
	return ch, orNotFound(err, noMailbox)
}

// open is load for a client: a mailbox that is being deleted is not there.
func (c *conn) open(ctx context.Context, acc account.ID, id mailbox.ID) (*change, error) {
	ch, err := c.load(ctx, acc, id)
	if err == nil && ch.deleting {
		err = fault.New(fault.NotFound, "", noMailbox)
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
func (ch *change) count(sys flag.System, size int64, n int64) {
	ch.messages += n
	ch.size += n * size
	ch.flagged(sys, size, n)
}

// flagged adds the flags of a message of the size n times to the counters.
func (ch *change) flagged(sys flag.System, size int64, n int64) {
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

// save writes the mailbox back where it changed, and the queue. bound is written as a difference: departed rows of other
// mailboxes than the one that is loaded are forgotten, too.
func (ch *change) save(ctx context.Context) error {
	if ch.state != ch.before {
		if _, err := ch.c.exec(ctx, `UPDATE mailboxes SET uidnext = ?, modseq = ?, messages = ?, unseen = ?, deleted = ?,
			size = ?, deleted_size = ?, bodies = ?, bound = bound + ? WHERE id = ?`, ch.uidNext, ch.modSeq, ch.messages, ch.unseen,
			ch.deleted, ch.size, ch.deletedSize, ch.bodies, ch.bound-ch.before.bound, int64(ch.id)); err != nil {
			return err
		}
		ch.before.bound = ch.bound
	}
	return ch.q.save(ctx)
}

// over runs a statement for the rows with the UIDs: head, which ends with the name of the column that is UID + base, is
// completed by a condition. Long ranges are one statement each, the others go in batches.
func (ch *change) over(ctx context.Context, uids mailbox.Set, base int64, head string, first ...any) (n int64, err error) {
	const long = 16
	run := func(text string, args []any) error {
		k, err := ch.c.exec(ctx, text, args...)
		n += k
		return err
	}
	var few []any
	for _, r := range uids {
		if r.Last-r.First >= long {
			args := append(append(make([]any, 0, len(first)+2), first...), base+int64(r.First), base+int64(r.Last))
			if err := run(head+` BETWEEN ? AND ?`, args); err != nil {
				return n, err
			}
			continue
		}
		for uid := int64(r.First); uid <= int64(r.Last); uid++ {
			few = append(few, base+uid)
		}
	}
	return n, ch.c.batch(head+` IN (VALUES `, first, 1, `)`, few, run)
}

// hot is the hot columns of a message, as changes need them.
type hot struct {
	mailbox.Row
	upstream int64
	body     int64 // 1: contents has it
}

// hotRows calls fn for each message of the set, in UID order. fn may not call the database.
func (ch *change) hotRows(ctx context.Context, uids mailbox.Set, fn func(hot)) error {
	var flags flagReader
	var uid, modSeq, sys, size, date, zone int64
	var keywords sql.RawBytes
	var r hot
	dest := []any{&uid, &modSeq, &sys, &keywords, &size, &date, &zone, &r.upstream, &r.body}
	for _, span := range widen(uids) {
		err := ch.c.each(ctx, `SELECT uid, modseq, sys, keywords, size, date, zone, up_uid, body FROM messages
			WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ? ORDER BY uid`,
			ch.keys(int64(span.First), int64(span.Last)), func(scan func(...any) error) error {
				if err := scan(dest...); err != nil || !uids.Contains(uint32(uid)) {
					return err
				}
				r.Row = mailbox.Row{
					UID: mailbox.UID(uid), ModSeq: mailbox.ModSeq(modSeq), Flags: flags.read(sys, keywords),
					Size: size, Date: date, Zone: int16(zone),
				}
				fn(r)
				return nil
			})
		if err != nil {
			return err
		}
	}
	return nil
}

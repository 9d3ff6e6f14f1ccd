package sqlite

import (
	"context"
	"database/sql"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// change is one mailbox while a transaction changes it: the columns of its row that changes move, written back by
// save.
type change struct {
	c   *conn
	acc account.ID
	id  mailbox.ID
	state
	before state
}

// state is the columns of a mailbox that its messages determine.
type state struct {
	uidNext, modSeq, messages, unseen, deleted, size, bodies int64
}

// load reads a mailbox in order to change it.
func (c *conn) load(ctx context.Context, acc account.ID, id mailbox.ID) (*change, error) {
	ch := &change{c: c, acc: acc, id: id}
	st := &ch.state
	err := c.one(ctx, []any{&st.uidNext, &st.modSeq, &st.messages, &st.unseen, &st.deleted, &st.size, &st.bodies},
		`SELECT uidnext, modseq, messages, unseen, deleted, size, bodies FROM mailboxes
		WHERE id = ? AND account_id = ?`, int64(id), int64(acc))
	ch.before = ch.state
	return ch, orNotFound(err, noMailbox)
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
	ch.flagged(sys, n)
}

// flagged adds the flags of a message n times to the counters.
func (ch *change) flagged(sys flag.System, n int64) {
	if sys&flag.Seen == 0 {
		ch.unseen += n
	}
	if sys&flag.Deleted != 0 {
		ch.deleted += n
	}
}

// save writes the mailbox back where it changed.
func (ch *change) save(ctx context.Context) error {
	if ch.state == ch.before {
		return nil
	}
	_, err := ch.c.exec(ctx, `UPDATE mailboxes SET uidnext = ?, modseq = ?, messages = ?, unseen = ?, deleted = ?,
		size = ?, bodies = ? WHERE id = ?`, ch.uidNext, ch.modSeq, ch.messages, ch.unseen, ch.deleted, ch.size,
		ch.bodies, int64(ch.id))
	return err
}

// Apply implements metadata.Mirror.
func (s *Store) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (metadata.Applied, error) {
	var done metadata.Applied
	err := s.update(ctx, "change mailbox", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		ch, err := c.load(ctx, f.Account, u.Mailbox)
		if err != nil {
			return err
		}
		if u.Reset {
			if _, err := c.exec(ctx, `UPDATE messages SET up_uid = 0
				WHERE account_id = ? AND mailbox_id = ? AND up_uid > 0`, ch.keys()...); err != nil {
				return err
			}
		}
		if err := ch.rebind(ctx, u.Rebind); err != nil {
			return err
		}
		if err := ch.expunge(ctx, u.Expunge); err != nil {
			return err
		}
		if err := ch.setFlags(ctx, u.Flags); err != nil {
			return err
		}
		if done.UIDs, err = ch.add(ctx, u.Now, u.New); err != nil {
			return err
		}
		if err := ch.save(ctx); err != nil {
			return err
		}
		done.ModSeq, done.Changed = mailbox.ModSeq(ch.modSeq), ch.changed()
		return ch.checkpoint(ctx, u.Checkpoint)
	})
	if err != nil {
		return metadata.Applied{}, err
	}
	return done, nil
}

func (ch *change) checkpoint(ctx context.Context, p *metadata.Checkpoint) error {
	if p == nil {
		return nil
	}
	_, err := ch.c.exec(ctx, `UPDATE mailboxes SET up_uidvalidity = ?, up_uidnext = ?, up_modseq = ?, up_messages = ?,
		up_synced = ? WHERE id = ?`, int64(p.UIDValidity), int64(p.UIDNext), int64(p.ModSeq), int64(p.Messages),
		stamp(p.Synced), int64(ch.id))
	return err
}

// rebind gives messages their upstream UIDs. All of them lose theirs first, so that two may swap.
func (ch *change) rebind(ctx context.Context, binds []metadata.Rebind) error {
	if len(binds) == 0 {
		return nil
	}
	uids := make([]any, len(binds))
	for i, b := range binds {
		uids[i] = int64(b.UID)
	}
	if err := ch.c.execBatch(ctx, `UPDATE messages SET up_uid = 0 WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, ch.keys(), 1, `)`, uids); err != nil {
		return err
	}
	for _, b := range binds {
		_, err := ch.c.exec(ctx, `UPDATE messages SET up_uid = ? WHERE account_id = ? AND mailbox_id = ? AND uid = ?`,
			int64(b.Upstream), int64(ch.acc), int64(ch.id), int64(b.UID))
		if fault.Is(mapErr("", err), fault.Exists) {
			return fault.Newf(fault.Invalid, "", "upstream UID %d belongs to two messages", b.Upstream)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expunge removes those of the UIDs that exist and leaves tombstones.
func (ch *change) expunge(ctx context.Context, uids mailbox.Set) error {
	var gone []mailbox.Range
	for _, r := range widen(uids) {
		var uid, sys, size, body int64
		dest := []any{&uid, &sys, &size, &body}
		err := ch.c.each(ctx, `SELECT uid, sys, size, body FROM messages WHERE account_id = ? AND mailbox_id = ?
			AND uid BETWEEN ? AND ? ORDER BY uid`, ch.keys(int64(r.First), int64(r.Last)),
			func(scan func(...any) error) error {
				if err := scan(dest...); err != nil || !uids.Contains(uint32(uid)) {
					return err
				}
				ch.count(flag.System(sys), size, -1)
				ch.bodies -= body
				if k := len(gone); k > 0 && int64(gone[k-1].Last)+1 == uid {
					gone[k-1].Last++
				} else {
					gone = append(gone, mailbox.Range{First: uint32(uid), Last: uint32(uid)})
				}
				return nil
			})
		if err != nil {
			return err
		}
	}
	for _, r := range gone {
		for _, text := range [...]string{
			`DELETE FROM messages WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			`DELETE FROM identities WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
			`DELETE FROM body_failures WHERE account_id = ? AND mailbox_id = ? AND uid BETWEEN ? AND ?`,
		} {
			if _, err := ch.c.exec(ctx, text, ch.keys(int64(r.First), int64(r.Last))...); err != nil {
				return err
			}
		}
		if err := ch.c.removeContents(ctx, ch.id, r); err != nil {
			return err
		}
		if _, err := ch.c.exec(ctx, `INSERT INTO tombstones (account_id, mailbox_id, modseq, first, last)
			VALUES (?, ?, ?, ?, ?)`, ch.keys(ch.seq(), int64(r.First), int64(r.Last))...); err != nil {
			return err
		}
	}
	return nil
}

// setFlags sets the flags of messages that exist and have others. Of several changes of one message the last counts.
func (ch *change) setFlags(ctx context.Context, changes []metadata.FlagChange) error {
	if len(changes) == 0 {
		return nil
	}
	want := make(map[mailbox.UID]flag.Set, len(changes))
	uids := make([]any, 0, len(changes))
	for _, fc := range changes {
		if _, twice := want[fc.UID]; !twice {
			uids = append(uids, int64(fc.UID))
		}
		want[fc.UID] = fc.Flags
	}
	// Messages that get the same flags are written together: there are many messages and few sets.
	groups := map[flag.Set][]any{}
	var order []flag.Set // so that equal updates write in equal order
	var flags flagReader
	var uid, sys int64
	var keywords sql.RawBytes
	dest := []any{&uid, &sys, &keywords}
	err := ch.c.eachBatch(ctx, `SELECT uid, sys, keywords FROM messages WHERE account_id = ? AND mailbox_id = ?
		AND uid IN (VALUES `, ch.keys(), `)`, uids, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		set := want[mailbox.UID(uid)]
		if flags.read(sys, keywords).Equal(set) {
			return nil
		}
		ch.flagged(flag.System(sys), -1)
		ch.flagged(set.Sys, 1)
		if groups[set] == nil {
			order = append(order, set)
		}
		groups[set] = append(groups[set], uid)
		return nil
	})
	if err != nil {
		return err
	}
	for _, set := range order {
		if err := ch.c.execBatch(ctx, `UPDATE messages SET sys = ?, keywords = ?, modseq = ? WHERE account_id = ?
			AND mailbox_id = ? AND uid IN (VALUES `, append([]any{int64(set.Sys), set.KeywordString(), ch.seq()},
			ch.keys()...), 1, `)`, groups[set]); err != nil {
			return err
		}
	}
	return nil
}

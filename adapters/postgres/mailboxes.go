package postgres

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

const infoColumns = `m.id, m.account_id, m.name, m.attrs, m.subscribed, m.uidvalidity, m.uidnext, m.modseq, m.recent_from,
	m.messages, m.unseen, m.deleted, m.size, m.deleted_size`

const selectInfo = `SELECT ` + infoColumns + ` FROM mailboxes m `

// withRenames begins a statement that asks isRenaming: what a client renamed in account $1, and the upstream is yet to be told
// of. It is read once, however many mailboxes there are.
const withRenames = `WITH renames AS MATERIALIZED (
	SELECT q.mailbox_id, q.to_name FROM mutations q WHERE q.account_id = $1 AND q.kind = 'rename') `

// isRenaming says whether a client gave mailbox m its name, and the upstream is yet to be told.
const isRenaming = `EXISTS (SELECT 1 FROM renames q WHERE q.mailbox_id = m.id OR q.to_name = m.name
		OR substr(m.name, 1, length(q.to_name) + 1) = q.to_name || '/')`

// selectMirrored is followed by a condition that m is of account $1.
const selectMirrored = withRenames + `SELECT ` + infoColumns + `, m.bodies, m.bound, m.deleting,
	EXISTS (SELECT 1 FROM mutations q WHERE q.account_id = m.account_id AND q.mailbox_id = m.id
		AND q.state = 'sent' AND q.kind IN ('append', 'copy', 'move')),
	coalesce((SELECT q.name FROM mutations q WHERE q.account_id = m.account_id AND q.mailbox_id = m.id AND q.uid = 0
		AND q.kind = 'create' ORDER BY q.id LIMIT 1), ''), ` + isRenaming + `,
	m.up_name, m.up_delimiter, m.up_uidvalidity, m.up_uidnext, m.up_modseq, m.up_messages, m.up_synced FROM mailboxes m `

func readInfo(r *row) mailbox.Info {
	return mailbox.Info{
		ID: mailbox.ID(r.int()), Account: account.ID(r.int()), Name: r.str(), Attrs: mailbox.Attr(r.int()),
		Subscribed: r.bool(), UIDValidity: uint32(r.int()), UIDNext: r.uid(), HighestModSeq: mailbox.ModSeq(r.int()),
		RecentFrom: r.uid(), Messages: uint32(r.int()), Unseen: uint32(r.int()), Deleted: uint32(r.int()),
		Size: r.int(), DeletedSize: r.int(),
	}
}

func readMirrored(r *row) metadata.Mirrored {
	return metadata.Mirrored{
		Info: readInfo(r), Bodies: uint32(r.int()), Bound: uint32(r.int()), Deleting: r.bool(), Uncertain: r.bool(),
		Creating: r.str(), Renaming: r.bool(), Upstream: metadata.Upstream{
			Name: r.str(), Delimiter: byte(r.int()), Checkpoint: metadata.Checkpoint{
				UIDValidity: uint32(r.int()), UIDNext: uint32(r.int()), ModSeq: uint64(r.int()), Messages: uint32(r.int()),
				Synced: unstamp(r.int()),
			},
		},
	}
}

func nothing(*row) error { return nil }

// exists queues a check that the account has the mailbox.
func (t *tx) exists(acc account.ID, id mailbox.ID) {
	t.need(errNoMailbox, nothing, `SELECT 1 FROM mailboxes WHERE account_id = $1 AND id = $2`, int64(acc), int64(id))
}

// shown is exists for a client: a mailbox that is being deleted is not there.
func (t *tx) shown(acc account.ID, id mailbox.ID) {
	t.need(errNoMailbox, nothing, `SELECT 1 FROM mailboxes WHERE account_id = $1 AND id = $2 AND NOT deleting`,
		int64(acc), int64(id))
}

// existsAccount queues a check that there is the account.
func (t *tx) existsAccount(acc account.ID) {
	t.need(errNoAccount, nothing, `SELECT 1 FROM accounts WHERE id = $1`, int64(acc))
}

// Mailboxes implements metadata.Mailboxes.
func (s *Store) Mailboxes(ctx context.Context, acc account.ID) (ms []mailbox.Info, err error) {
	err = s.view(ctx, "list mailboxes", func(t *tx) error {
		ms = nil
		t.existsAccount(acc)
		return t.each(ctx, func(r *row) error {
			ms = append(ms, readInfo(r))
			return nil
		}, selectInfo+`WHERE m.account_id = $1 AND NOT m.deleting ORDER BY m.name`, int64(acc))
	})
	return ms, err
}

// Mailbox implements metadata.Mailboxes.
func (s *Store) Mailbox(ctx context.Context, acc account.ID, id mailbox.ID) (m mailbox.Info, err error) {
	err = s.view(ctx, "read mailbox", func(t *tx) error {
		return orNotFound(t.one(ctx, func(r *row) { m = readInfo(r) },
			selectInfo+`WHERE m.account_id = $1 AND m.id = $2 AND NOT m.deleting`, int64(acc), int64(id)), noMailbox)
	})
	return m, err
}

// selectUsage adds up the octets of account $1. Sums of bigint are exact; an upstream may claim absurd sizes.
const selectUsage = `SELECT greatest(0, least(coalesce(sum(size), 0), 9000000000000000000))::bigint FROM mailboxes
	WHERE account_id = $1 AND NOT deleting`

// Usage implements metadata.Mailboxes.
func (s *Store) Usage(ctx context.Context, acc account.ID) (used int64, err error) {
	err = s.view(ctx, "add up an account's mail", func(t *tx) error {
		t.existsAccount(acc)
		return t.one(ctx, func(r *row) { used = r.int() }, selectUsage, int64(acc))
	})
	return used, err
}

// room is what an account may still grow by.
type room struct {
	quota    int64 // in octets; 0: there is none
	used     int64
	replaced int64 // octets of what a new message replaces
}

// room queues finding out how much room an account has. It follows the account's lock, which keeps it as it is. replaces is
// the message that goes, if any.
func (t *tx) room(acc account.ID, quota int64, replaces mutation.Ref) *room {
	m := &room{quota: quota}
	if quota == 0 {
		return m
	}
	t.ask(func(r *row) error {
		m.used = r.int()
		return nil
	}, selectUsage, int64(acc))
	if replaces.UID != 0 {
		t.ask(func(r *row) error {
			m.replaced = r.int()
			return nil
		}, `SELECT size FROM messages WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3`, int64(acc),
			int64(replaces.Mailbox), int64(replaces.UID))
	}
	return m
}

// take fails with fault.OverQuota when there is no room for so many octets. What does not grow is never refused: an account
// may hold more than its quota, from the upstream.
func (m *room) take(octets int64) error {
	if octets -= m.replaced; m.quota == 0 || octets <= 0 || m.used <= m.quota-octets {
		return nil
	}
	return metadata.OverQuota(m.quota)
}

// ClaimRecent implements metadata.Mailboxes. upTo above UIDNEXT counts as UIDNEXT. Where there is nothing to claim it
// writes nothing. It takes the mailbox's lock alone, in one statement, so that the lock is never kept by a process that stands
// still: no other change writes recent_from.
func (s *Store) ClaimRecent(ctx context.Context, acc account.ID, id mailbox.ID, upTo mailbox.UID) (from mailbox.UID, err error) {
	const op = "claim recent messages"
	const which = ` FROM mailboxes WHERE account_id = $1 AND id = $2 AND NOT deleting`
	var next mailbox.UID
	read := func() error {
		return s.view(ctx, op, func(t *tx) error {
			err := t.one(ctx, func(r *row) { from, next = r.uid(), r.uid() }, `SELECT recent_from, uidnext`+which, int64(acc), int64(id))
			return orNotFound(err, noMailbox)
		})
	}
	if err := read(); err != nil || min(upTo, next) <= from {
		return from, err
	}
	claimed := false
	err = s.single(ctx, op, 0, func(r *row) { from, claimed = r.uid(), true },
		`UPDATE mailboxes m SET recent_from = least($3, o.uidnext)
		FROM (SELECT account_id, id, recent_from, uidnext`+which+` FOR UPDATE) o
		WHERE m.account_id = o.account_id AND m.id = o.id AND m.account_id = $1 AND m.id = $2 AND least($3, o.uidnext) > o.recent_from
		RETURNING o.recent_from`, int64(acc), int64(id), int64(upTo))
	switch {
	case err != nil:
		return 0, err
	case claimed:
		return from, nil
	}
	if err := read(); err != nil { // somebody else was faster, or the mailbox is gone
		return 0, err
	}
	return from, nil
}

// Mirrored implements metadata.Mirror.
func (s *Store) Mirrored(ctx context.Context, acc account.ID) (ms []metadata.Mirrored, err error) {
	err = s.view(ctx, "list mirrored mailboxes", func(t *tx) error {
		ms = nil
		t.existsAccount(acc)
		return t.each(ctx, func(r *row) error {
			ms = append(ms, readMirrored(r))
			return nil
		}, selectMirrored+`WHERE m.account_id = $1 ORDER BY m.id`, int64(acc))
	})
	return ms, err
}

// saveMailbox leaves what the queue is to change upstream as a client has made it: the name below a Rename, and whether
// the mailbox is subscribed.
const saveMailbox = withRenames + `UPDATE mailboxes m SET
	name = CASE WHEN m.deleting OR ` + isRenaming + ` THEN m.name ELSE $3 END,
	attrs = $4,
	subscribed = CASE WHEN EXISTS (SELECT 1 FROM mutations q WHERE q.account_id = m.account_id AND q.mailbox_id = m.id
		AND q.uid = 0 AND q.kind IN ('subscribe', 'unsubscribe')) THEN m.subscribed ELSE $5 END,
	up_name = $6, up_delimiter = $7, up_uidvalidity = $8, up_uidnext = $9, up_modseq = $10, up_messages = $11,
	up_synced = $12 WHERE m.account_id = $1 AND m.id = $2`

// SaveMailbox implements metadata.Mirror.
func (s *Store) SaveMailbox(ctx context.Context, f metadata.Fence, m metadata.Mirrored) (saved metadata.Mirrored, err error) {
	const op = "save mailbox"
	if m.Name == "" {
		return saved, fault.New(fault.Invalid, op, "a mailbox needs a name")
	}
	err = s.update(ctx, op, func(t *tx) error {
		t.fence(f)
		id := m.ID
		if id == 0 {
			if id, err = t.createMailbox(ctx, f.Account, &m); err != nil {
				return err
			}
		} else {
			if err := t.flush(ctx); err != nil {
				return err
			}
			u := m.Upstream
			t.later(saveMailbox, int64(f.Account), int64(id), m.Name, int64(m.Attrs), m.Subscribed, []byte(u.Name),
				int64(u.Delimiter), int64(u.UIDValidity), int64(u.UIDNext), int64(u.ModSeq), int64(u.Messages), stamp(u.Synced))
		}
		return orNotFound(t.one(ctx, func(r *row) { saved = readMirrored(r) },
			selectMirrored+`WHERE m.account_id = $1 AND m.id = $2`, int64(f.Account), int64(id)), noMailbox)
	})
	return saved, err
}

// createMailbox inserts a mailbox with the account's next UIDVALIDITY and returns its id.
func (t *tx) createMailbox(ctx context.Context, acc account.ID, m *metadata.Mirrored) (id mailbox.ID, err error) {
	var validity int64
	if err := t.one(ctx, func(r *row) { validity = r.int() }, `UPDATE account_counters SET uidvalidity = uidvalidity + 1
		WHERE account_id = $1 RETURNING uidvalidity`, int64(acc)); err != nil {
		return 0, orNotFound(err, noAccount)
	}
	if validity > 1<<32-1 {
		return 0, fault.New(fault.Limit, "", "the account has no UIDVALIDITY left")
	}
	u := m.Upstream
	err = t.one(ctx, func(r *row) { id = mailbox.ID(r.int()) }, `INSERT INTO mailboxes (account_id, name, attrs, subscribed,
		uidvalidity, up_name, up_delimiter, up_uidvalidity, up_uidnext, up_modseq, up_messages, up_synced)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`, int64(acc), m.Name, int64(m.Attrs),
		m.Subscribed, validity, []byte(u.Name), int64(u.Delimiter), int64(u.UIDValidity), int64(u.UIDNext),
		int64(u.ModSeq), int64(u.Messages), stamp(u.Synced))
	return id, err
}

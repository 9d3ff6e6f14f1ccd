package postgres

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
)

// lock queues taking the account's lock, which every change of its mail takes first, and reading what is needed to add to
// its queue. It is a statement of its own: those after it see all that was committed before the lock was got.
func (t *tx) lock(acc account.ID) {
	t.q = &queue{t: t, acc: acc}
	t.need(errNoAccount, func(r *row) error {
		t.q.local, t.q.last = r.bool(), r.int()
		t.q.saved = t.q.last
		return nil
	}, `SELECT a.local, c.mutation FROM account_counters c JOIN accounts a ON a.id = c.account_id
		WHERE c.account_id = $1 FOR UPDATE OF c`, int64(acc))
}

// fence queues taking the account's lock and a check that f is its current fence. The lease's row is locked, too: nobody
// takes the account before this transaction ends, and one whose account was taken never gets past here.
func (t *tx) fence(f metadata.Fence) {
	t.lock(f.Account)
	t.need(errTaken, func(r *row) error {
		if f.Owner == "" || r.str() != f.Owner || r.int() != f.Token {
			return errTaken
		}
		return nil
	}, `SELECT owner, token FROM leases WHERE account_id = $1 FOR SHARE`, int64(f.Account))
}

// fenced is fence, at once.
func (t *tx) fenced(ctx context.Context, f metadata.Fence) error {
	t.fence(f)
	return t.flush(ctx)
}

// databaseTime is the database's clock in nanoseconds since 1970. It is read after the lock of the lease was waited for.
const databaseTime = `(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint`

// now returns the time by which a lease runs: the caller's, or nil for the database's.
func (s *Store) now(at time.Time) any {
	if s.callerClock {
		return at.UnixNano()
	}
	return nil
}

// Acquire implements metadata.Leases. An owner that asks for the lease it holds keeps its token.
func (s *Store) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	const op = "acquire the account"
	if owner == "" {
		return metadata.Fence{}, fault.New(fault.Invalid, op, "the owner needs a name")
	}
	f := metadata.Fence{Account: id, Owner: owner}
	err := s.update(ctx, op, func(t *tx) error {
		// An account that never had an owner has no row to be locked.
		t.later(`INSERT INTO leases (account_id, owner, token, expires) SELECT id, '', 0, 0 FROM accounts WHERE id = $1
			ON CONFLICT (account_id) DO NOTHING`, int64(id))
		t.later(`SELECT 1 FROM leases WHERE account_id = $1 FOR UPDATE`, int64(id))
		var holder string
		var free bool
		if err := t.one(ctx, func(r *row) { holder, f.Token, free = r.str(), r.int(), r.bool() },
			`SELECT owner, token, owner = '' OR expires <= coalesce($2, `+databaseTime+`) FROM leases WHERE account_id = $1`,
			int64(id), s.now(now)); err != nil {
			return orNotFound(err, noAccount)
		}
		switch {
		case holder == owner:
		case !free:
			return fault.New(fault.Conflict, "", "another process owns the account")
		default:
			f.Token++
		}
		t.later(`UPDATE leases SET owner = $2, token = $3, expires = coalesce($4, `+databaseTime+`) + $5
			WHERE account_id = $1`, int64(id), owner, f.Token, s.now(now), ttl.Nanoseconds())
		return nil
	})
	if err != nil {
		return metadata.Fence{}, err
	}
	return f, nil
}

// Renew implements metadata.Leases. A lease that has expired but that nobody took is renewed.
func (s *Store) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	return s.update(ctx, "renew the lease", func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE leases SET expires = coalesce($4, `+databaseTime+`) + $5
			WHERE account_id = $1 AND owner = $2 AND token = $3 AND owner <> ''`, int64(f.Account), f.Owner, f.Token,
			s.now(now), ttl.Nanoseconds())
		if err != nil || n > 0 {
			return err
		}
		t.need(errNoAccount, func(*row) error { return nil }, `SELECT 1 FROM accounts WHERE id = $1`, int64(f.Account))
		if err := t.flush(ctx); err != nil {
			return err
		}
		return errTaken
	})
}

// Release implements metadata.Leases.
func (s *Store) Release(ctx context.Context, f metadata.Fence) error {
	return s.update(ctx, "release the lease", func(t *tx) error {
		t.later(`UPDATE leases SET owner = '', expires = 0 WHERE account_id = $1 AND owner = $2 AND token = $3`,
			int64(f.Account), f.Owner, f.Token)
		return nil
	})
}

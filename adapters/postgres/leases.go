package postgres

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/ports/metadata"
)

// lock queues taking the account's lock, which every change of its mail takes first, and reading what is needed to add to
// its queue. It is a statement of its own: those after it see all that was committed before the lock was got.
func (t *tx) lock(acc account.ID) {
	t.q, t.wants = &queue{t: t, acc: acc}, acc
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
	t.holds(f)
}

// holds queues a check that f is its account's current fence, which it is until the transaction ends. Every account has a row.
func (t *tx) holds(f metadata.Fence) {
	t.need(errNoAccount, func(r *row) error {
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

// databaseTime is the database's clock in nanoseconds since 1970, when it is read: not when the transaction began.
const databaseTime = `(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint`

// now returns the time by which owners live: the caller's, or nil for the database's.
func (s *Store) now(at time.Time) any {
	if s.callerClock {
		return at.UnixNano()
	}
	return nil
}

// prolong lets owner $1 live until $3 nanoseconds after the time $2, as now has it, at least, where a condition holds.
func prolong(where string) string {
	return `INSERT INTO owners AS o (name, expires) SELECT $1::text, coalesce($2, ` + databaseTime + `) + $3 ` + where + `
		ON CONFLICT (name) DO UPDATE SET expires = greatest(o.expires, excluded.expires)`
}

// Renew implements metadata.Leases. A lease whose owner was late but that nobody took is renewed.
func (s *Store) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	return s.update(ctx, "renew the lease", func(t *tx) error {
		t.holds(f)
		if err := t.flush(ctx); err != nil {
			return err
		}
		t.later(prolong(`WHERE true`), f.Owner, s.now(now), ttl.Nanoseconds())
		return nil
	})
}

// Release implements metadata.Leases.
func (s *Store) Release(ctx context.Context, f metadata.Fence) error {
	return s.update(ctx, "release the lease", func(t *tx) error {
		t.later(`UPDATE leases SET owner = '' WHERE account_id = $1 AND owner = $2 AND token = $3`,
			int64(f.Account), f.Owner, f.Token)
		return nil
	})
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
)

// noRow says whether a query that was to find one row found none.
func noRow(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// orNotFound turns the driver's "no row" into fault.NotFound with the text.
func orNotFound(err error, text string) error {
	if noRow(err) {
		return fault.New(fault.NotFound, "", text)
	}
	return err
}

// fenced fails with fault.Conflict unless f is its account's current fence.
func (c *conn) fenced(ctx context.Context, f metadata.Fence) error {
	var owner *string
	var token *int64
	err := c.one(ctx, []any{&owner, &token}, `SELECT l.owner, l.token FROM accounts a
		LEFT JOIN leases l ON l.account_id = a.id WHERE a.id = ?`, int64(f.Account))
	if err != nil {
		return orNotFound(err, noAccount)
	}
	if owner == nil || *owner == "" || *owner != f.Owner || *token != f.Token {
		return fault.New(fault.Conflict, "", "the account has another owner now")
	}
	return nil
}

// Acquire implements metadata.Leases. An owner that asks for the lease it holds keeps its token.
func (s *Store) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	var f metadata.Fence
	err := s.lease(ctx, "acquire the account", owner, now, ttl, func(c *conn) (err error) {
		f, err = c.acquire(ctx, id, owner, now)
		return err
	})
	if err != nil {
		return metadata.Fence{}, err
	}
	return f, nil
}

// AcquireAll implements metadata.NodeLeases.
func (s *Store) AcquireAll(
	ctx context.Context, ids []account.ID, owner string, now time.Time, ttl time.Duration,
) (fences []metadata.Fence, err error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	err = s.lease(ctx, "acquire accounts", owner, now, ttl, func(c *conn) error {
		for _, id := range slices.Compact(ids) {
			f, err := c.acquire(ctx, id, owner, now)
			switch {
			case err == nil:
				fences = append(fences, f)
			case !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound):
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return fences, nil
}

// lease runs fn, which takes leases for the owner, and lets the owner live until now+ttl at least.
func (s *Store) lease(ctx context.Context, op, owner string, now time.Time, ttl time.Duration, fn func(c *conn) error) error {
	if owner == "" {
		return fault.New(fault.Invalid, op, "the owner needs a name")
	}
	return s.update(ctx, op, func(c *conn) error {
		if err := fn(c); err != nil {
			return err
		}
		return c.prolong(ctx, owner, now, ttl)
	})
}

// prolong lets an owner live until now+ttl at least.
func (c *conn) prolong(ctx context.Context, owner string, now time.Time, ttl time.Duration) error {
	_, err := c.exec(ctx, `INSERT INTO owners (name, expires) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET expires = max(expires, excluded.expires)`, owner, now.Add(ttl).UnixNano())
	return err
}

// acquire takes one lease.
func (c *conn) acquire(ctx context.Context, id account.ID, owner string, now time.Time) (metadata.Fence, error) {
	f := metadata.Fence{Account: id, Owner: owner}
	var holder *string
	var token, expires *int64
	err := c.one(ctx, []any{&holder, &token, &expires}, `SELECT l.owner, l.token, o.expires FROM accounts a
		LEFT JOIN leases l ON l.account_id = a.id LEFT JOIN owners o ON o.name = l.owner WHERE a.id = ?`, int64(id))
	if err != nil {
		return f, orNotFound(err, noAccount)
	}
	switch {
	case holder == nil:
		f.Token = 1
	case *holder == owner:
		f.Token = *token
		return f, nil
	case *holder != "" && expires != nil && *expires > now.UnixNano():
		return f, fault.New(fault.Conflict, "", "another process owns the account")
	default:
		f.Token = *token + 1
	}
	_, err = c.exec(ctx, `INSERT INTO leases (account_id, owner, token) VALUES (?, ?, ?)
		ON CONFLICT (account_id) DO UPDATE SET owner = excluded.owner, token = excluded.token`, int64(id), owner, f.Token)
	return f, err
}

// Renew implements metadata.Leases. A lease whose owner was late but that nobody took is renewed.
func (s *Store) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	return s.update(ctx, "renew the lease", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		return c.prolong(ctx, f.Owner, now, ttl)
	})
}

// Release implements metadata.Leases.
func (s *Store) Release(ctx context.Context, f metadata.Fence) error {
	return s.update(ctx, "release the lease", func(c *conn) error {
		_, err := c.exec(ctx, `UPDATE leases SET owner = '' WHERE account_id = ? AND owner = ? AND token = ?`,
			int64(f.Account), f.Owner, f.Token)
		return err
	})
}

// RenewAll implements metadata.NodeLeases.
func (s *Store) RenewAll(ctx context.Context, owner string, now time.Time, ttl time.Duration) (held int, err error) {
	const op = "renew the leases"
	if owner == "" {
		return 0, fault.New(fault.Invalid, op, "the owner needs a name")
	}
	err = s.update(ctx, op, func(c *conn) error {
		if _, err := c.exec(ctx, `INSERT INTO owners (name, expires) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET expires = excluded.expires`, owner, now.Add(ttl).UnixNano()); err != nil {
			return err
		}
		return c.one(ctx, []any{&held}, `SELECT count(*) FROM leases WHERE owner = ?`, owner)
	})
	return held, err
}

// Held implements metadata.NodeLeases.
func (s *Store) Held(ctx context.Context, owner string) (fences []metadata.Fence, err error) {
	if owner == "" {
		return nil, nil
	}
	err = s.view(ctx, "list leases", func(c *conn) error {
		f := metadata.Fence{Owner: owner}
		return c.each(ctx, `SELECT account_id, token FROM leases WHERE owner = ? ORDER BY account_id`, []any{owner},
			func(scan func(...any) error) error {
				err := scan(&f.Account, &f.Token)
				fences = append(fences, f)
				return err
			})
	})
	return fences, err
}

// Acquirable implements metadata.NodeLeases.
func (s *Store) Acquirable(ctx context.Context, now time.Time) (free []metadata.Acquirable, err error) {
	err = s.view(ctx, "list accounts without an owner", func(c *conn) error {
		return c.each(ctx, `SELECT `+accountColumns+`, coalesce(l.owner, '') FROM accounts a
			LEFT JOIN leases l ON l.account_id = a.id LEFT JOIN owners o ON o.name = l.owner AND o.expires > ?
			WHERE a.local = 0 AND a.paused = 0 AND o.name IS NULL ORDER BY a.id`, []any{now.UnixNano()},
			func(scan func(...any) error) error {
				var v metadata.Acquirable
				var err error
				v.Account, err = scanAccount(scan, &v.Holder)
				free = append(free, v)
				return err
			})
	})
	return free, err
}

// ReleaseAll implements metadata.NodeLeases.
func (s *Store) ReleaseAll(ctx context.Context, owner string, now time.Time) error {
	if owner == "" {
		return nil
	}
	return s.update(ctx, "release the leases", func(c *conn) error {
		if _, err := c.exec(ctx, `UPDATE leases SET owner = '' WHERE owner = ?`, owner); err != nil {
			return err
		}
		_, err := c.exec(ctx, `DELETE FROM owners WHERE name = ? OR expires < ?`, owner, now.Add(-24*time.Hour).UnixNano())
		return err
	})
}

// Owners implements metadata.Owners.
func (s *Store) Owners(ctx context.Context, now time.Time) (names []string, err error) {
	err = s.view(ctx, "list owners", func(c *conn) error {
		return c.each(ctx, `SELECT name FROM owners WHERE expires > ? ORDER BY name`, []any{now.UnixNano()},
			func(scan func(...any) error) error {
				var name string
				err := scan(&name)
				names = append(names, name)
				return err
			})
	})
	return names, err
}

// Queues implements metadata.Owners.
func (s *Store) Queues(ctx context.Context, owner string) (queues []metadata.QueueState, err error) {
	err = s.view(ctx, "list queues", func(c *conn) error {
		return c.each(ctx, `SELECT a.id, a.mutation FROM leases l JOIN accounts a ON a.id = l.account_id
			WHERE l.owner = ? AND l.owner <> '' AND EXISTS (SELECT 1 FROM mutations m WHERE m.account_id = l.account_id)
			ORDER BY a.id`, []any{owner}, func(scan func(...any) error) error {
			var q metadata.QueueState
			err := scan(&q.Account, &q.Newest)
			queues = append(queues, q)
			return err
		})
	})
	return queues, err
}

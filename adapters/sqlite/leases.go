package sqlite

import (
	"context"
	"database/sql"
	"errors"
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
	const op = "acquire the account"
	if owner == "" {
		return metadata.Fence{}, fault.New(fault.Invalid, op, "the owner needs a name")
	}
	f := metadata.Fence{Account: id, Owner: owner}
	err := s.update(ctx, op, func(c *conn) error {
		var holder *string
		var token, expires *int64
		err := c.one(ctx, []any{&holder, &token, &expires}, `SELECT l.owner, l.token, l.expires FROM accounts a
			LEFT JOIN leases l ON l.account_id = a.id WHERE a.id = ?`, int64(id))
		if err != nil {
			return orNotFound(err, noAccount)
		}
		switch {
		case holder == nil:
			f.Token = 1
		case *holder == owner:
			f.Token = *token
		case *holder != "" && *expires > now.UnixNano():
			return fault.New(fault.Conflict, "", "another process owns the account")
		default:
			f.Token = *token + 1
		}
		_, err = c.exec(ctx, `INSERT INTO leases (account_id, owner, token, expires) VALUES (?, ?, ?, ?)
			ON CONFLICT (account_id) DO UPDATE SET owner = excluded.owner, token = excluded.token,
			expires = excluded.expires`, int64(id), owner, f.Token, now.Add(ttl).UnixNano())
		return err
	})
	if err != nil {
		return metadata.Fence{}, err
	}
	return f, nil
}

// Renew implements metadata.Leases. A lease that has expired but that nobody took is renewed.
func (s *Store) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	return s.update(ctx, "renew the lease", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		_, err := c.exec(ctx, `UPDATE leases SET expires = ? WHERE account_id = ?`,
			now.Add(ttl).UnixNano(), int64(f.Account))
		return err
	})
}

// Release implements metadata.Leases.
func (s *Store) Release(ctx context.Context, f metadata.Fence) error {
	return s.update(ctx, "release the lease", func(c *conn) error {
		_, err := c.exec(ctx, `UPDATE leases SET owner = '', expires = 0 WHERE account_id = ? AND owner = ?
			AND token = ?`, int64(f.Account), f.Owner, f.Token)
		return err
	})
}

package sqlite

import (
	"context"
	"strings"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// stamp returns a time as it is stored: nanoseconds since 1970, 0 for the zero time.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// unstamp is the inverse of stamp, in UTC.
func unstamp(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// found turns "no row was changed" into fault.NotFound with the text.
func found(rows int64, err error, text string) error {
	if err == nil && rows == 0 {
		return fault.New(fault.NotFound, "", text)
	}
	return err
}

const (
	noUser    = "there is no such user"
	noAccount = "there is no such account"
	noMailbox = "there is no such mailbox"
)

// CreateUser implements metadata.Users.
func (s *Store) CreateUser(ctx context.Context, u account.User) (account.User, error) {
	err := s.update(ctx, "create user", func(c *conn) error {
		id, err := c.insert(ctx, `INSERT INTO users (name, name_key, password_hash, disabled, created)
			VALUES (?, ?, ?, ?, ?)`, u.Name, strings.ToLower(u.Name), u.PasswordHash, u.Disabled, stamp(u.Created))
		u.ID = account.UserID(id)
		return err
	})
	if err != nil {
		return account.User{}, err
	}
	return u, nil
}

const selectUser = `SELECT id, name, password_hash, disabled, created FROM users `

func scanUser(scan func(...any) error) (u account.User, err error) {
	var created int64
	err = scan(&u.ID, &u.Name, &u.PasswordHash, &u.Disabled, &created)
	u.Created = unstamp(created)
	return u, err
}

// User implements metadata.Users.
func (s *Store) User(ctx context.Context, name string) (u account.User, err error) {
	err = s.view(ctx, "look up user", func(c *conn) error {
		n := 0
		err := c.each(ctx, selectUser+`WHERE name_key = ?`, []any{strings.ToLower(name)},
			func(scan func(...any) error) (err error) {
				n++
				u, err = scanUser(scan)
				return err
			})
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "", noUser)
		}
		return err
	})
	return u, err
}

// Users implements metadata.Users.
func (s *Store) Users(ctx context.Context) (us []account.User, err error) {
	err = s.view(ctx, "list users", func(c *conn) error {
		return c.each(ctx, selectUser+`ORDER BY name_key`, nil, func(scan func(...any) error) error {
			u, err := scanUser(scan)
			us = append(us, u)
			return err
		})
	})
	return us, err
}

// UpdateUser implements metadata.Users.
func (s *Store) UpdateUser(ctx context.Context, u account.User) error {
	return s.update(ctx, "change user", func(c *conn) error {
		n, err := c.exec(ctx, `UPDATE users SET password_hash = ?, disabled = ? WHERE id = ?`,
			u.PasswordHash, u.Disabled, int64(u.ID))
		return found(n, err, noUser)
	})
}

// CreateAccount implements metadata.Accounts.
func (s *Store) CreateAccount(ctx context.Context, a account.Account) (account.Account, error) {
	err := s.update(ctx, "create account", func(c *conn) error {
		if err := c.one(ctx, []any{&a.Position}, `SELECT coalesce(max(position) + 1, 0) FROM accounts
			WHERE user_id = ?`, int64(a.User)); err != nil {
			return err
		}
		// Mailboxes' UIDVALIDITYs start from the time, so that they differ from those of an earlier account of the
		// same name whose data is gone.
		validity := min(max(a.Created.Unix(), 0), 1<<31)
		id, err := c.insert(ctx, `INSERT INTO accounts (user_id, position, display, email, email_key, host, port, tls,
			insecure, auth, username, secret_key, secret, local, paused, created, uidvalidity)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			int64(a.User), a.Position, a.Display, a.Email, strings.ToLower(a.Email), a.Upstream.Host,
			int64(a.Upstream.Port), string(a.Upstream.TLS), a.Upstream.Insecure, a.Auth, a.Username, a.Secret.KeyID,
			blobOf(a.Secret.Sealed), a.Local, a.Paused, stamp(a.Created), validity)
		a.ID = account.ID(id)
		return err
	})
	if err != nil {
		return account.Account{}, err
	}
	return a, nil
}

// blobOf returns b as a value that is stored as an empty BLOB, not NULL, when it is empty.
func blobOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// accountColumns are the columns of an account of the table a, for scanAccount.
const accountColumns = `a.id, a.user_id, a.position, a.display, a.email, a.host, a.port, a.tls, a.insecure, a.auth, a.username,
	a.secret_key, a.secret, a.local, a.paused, a.created`

// scanAccount reads accountColumns, and what more the query has behind them into rest.
func scanAccount(scan func(...any) error, rest ...any) (a account.Account, err error) {
	var created int64
	err = scan(append([]any{
		&a.ID, &a.User, &a.Position, &a.Display, &a.Email, &a.Upstream.Host, &a.Upstream.Port, &a.Upstream.TLS,
		&a.Upstream.Insecure, &a.Auth, &a.Username, &a.Secret.KeyID, &a.Secret.Sealed, &a.Local, &a.Paused, &created,
	}, rest...)...)
	a.Created = unstamp(created)
	return a, err
}

// Accounts implements metadata.Accounts.
func (s *Store) Accounts(ctx context.Context, user account.UserID) (as []account.Account, err error) {
	err = s.view(ctx, "list accounts", func(c *conn) error {
		return c.each(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE ?1 = 0 OR a.user_id = ?1
			ORDER BY a.user_id, a.position, a.id`, []any{int64(user)}, func(scan func(...any) error) error {
			a, err := scanAccount(scan)
			as = append(as, a)
			return err
		})
	})
	return as, err
}

// Account implements metadata.AccountReader.
func (s *Store) Account(ctx context.Context, id account.ID) (a account.Account, err error) {
	err = s.view(ctx, "look up account", func(c *conn) error {
		n := 0
		err := c.each(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE a.id = ?`, []any{int64(id)},
			func(scan func(...any) error) (err error) {
				n++
				a, err = scanAccount(scan)
				return err
			})
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "", noAccount)
		}
		return err
	})
	return a, err
}

// Logins implements metadata.Logins.
func (s *Store) Logins(ctx context.Context, email string, limit int) (found []metadata.Login, err error) {
	err = s.view(ctx, "look up an address", func(c *conn) error {
		return c.each(ctx, `SELECT `+accountColumns+`, u.id, u.name, u.password_hash, u.disabled, u.created
			FROM accounts a JOIN users u ON u.id = a.user_id WHERE a.email_key = ? ORDER BY a.user_id LIMIT ?`,
			[]any{strings.ToLower(email), limit}, func(scan func(...any) error) error {
				var l metadata.Login
				var created int64
				u := &l.User
				var err error
				l.Account, err = scanAccount(scan, &u.ID, &u.Name, &u.PasswordHash, &u.Disabled, &created)
				u.Created = unstamp(created)
				found = append(found, l)
				return err
			})
	})
	return found, err
}

// UpdateAccount implements metadata.Accounts: it writes everything but ID, User and Created.
func (s *Store) UpdateAccount(ctx context.Context, a account.Account) error {
	return s.update(ctx, "change account", func(c *conn) error {
		n, err := c.exec(ctx, `UPDATE accounts SET position = ?, display = ?, email = ?, email_key = ?, host = ?,
			port = ?, tls = ?, insecure = ?, auth = ?, username = ?, secret_key = ?, secret = ?, local = ?, paused = ?
			WHERE id = ?`,
			a.Position, a.Display, a.Email, strings.ToLower(a.Email), a.Upstream.Host, int64(a.Upstream.Port),
			string(a.Upstream.TLS), a.Upstream.Insecure, a.Auth, a.Username, a.Secret.KeyID, blobOf(a.Secret.Sealed),
			a.Local, a.Paused, int64(a.ID))
		return found(n, err, noAccount)
	})
}

// Reseal implements metadata.Secrets.
func (s *Store) Reseal(ctx context.Context, id account.ID, from, to account.Secret) error {
	return s.update(ctx, "exchange a sealed secret", func(c *conn) error {
		n, err := c.exec(ctx, `UPDATE accounts SET secret_key = ?, secret = ? WHERE id = ? AND secret_key = ? AND secret = ?`,
			to.KeyID, blobOf(to.Sealed), int64(id), from.KeyID, blobOf(from.Sealed))
		if n > 0 || err != nil {
			return err
		}
		var one int
		if err := c.one(ctx, []any{&one}, `SELECT 1 FROM accounts WHERE id = ?`, int64(id)); err != nil {
			return orNotFound(err, noAccount)
		}
		return fault.New(fault.Conflict, "", "another secret was stored meanwhile")
	})
}

// DeleteAccount implements metadata.Accounts.
func (s *Store) DeleteAccount(ctx context.Context, id account.ID) error {
	return s.update(ctx, "delete account", func(c *conn) error {
		var boxes []mailbox.ID
		if err := c.each(ctx, `SELECT id FROM mailboxes WHERE account_id = ?`, []any{int64(id)},
			func(scan func(...any) error) error {
				var box mailbox.ID
				err := scan(&box)
				boxes = append(boxes, box)
				return err
			}); err != nil {
			return err
		}
		for _, box := range boxes {
			if err := c.removeContents(ctx, box, mailbox.Range{First: 0, Last: 1<<32 - 1}); err != nil {
				return err
			}
		}
		for _, text := range [...]string{
			`DELETE FROM messages WHERE account_id = ?`,
			`DELETE FROM identities WHERE account_id = ?`,
			`DELETE FROM tombstones WHERE account_id = ?`,
			`DELETE FROM threads WHERE account_id = ?`,
			`DELETE FROM body_failures WHERE account_id = ?`,
			`DELETE FROM mutations WHERE account_id = ?`,
			`DELETE FROM departed WHERE account_id = ?`,
			`DELETE FROM retained WHERE account_id = ?`,
			`DELETE FROM mailboxes WHERE account_id = ?`,
			`DELETE FROM leases WHERE account_id = ?`,
			`DELETE FROM statuses WHERE account_id = ?`,
		} {
			if _, err := c.exec(ctx, text, int64(id)); err != nil {
				return err
			}
		}
		n, err := c.exec(ctx, `DELETE FROM accounts WHERE id = ?`, int64(id))
		return found(n, err, noAccount)
	})
}

// SetStatus implements metadata.Statuses.
func (s *Store) SetStatus(ctx context.Context, f metadata.Fence, st account.Status) error {
	return s.update(ctx, "save status", func(c *conn) error {
		if err := c.fenced(ctx, f); err != nil {
			return err
		}
		_, err := c.exec(ctx, `INSERT INTO statuses (account_id, state, text, since, last_sync, next_retry)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET state = excluded.state,
			text = excluded.text, since = excluded.since, last_sync = excluded.last_sync,
			next_retry = excluded.next_retry`,
			int64(f.Account), string(st.State), st.Text, stamp(st.Since), stamp(st.LastSync), stamp(st.NextRetry))
		return err
	})
}

// Status implements metadata.Statuses.
func (s *Store) Status(ctx context.Context, id account.ID) (st account.Status, err error) {
	err = s.view(ctx, "read status", func(c *conn) error {
		var state, text *string
		var since, last, next *int64
		err := c.one(ctx, []any{&state, &text, &since, &last, &next}, `SELECT s.state, s.text, s.since, s.last_sync,
			s.next_retry FROM accounts a LEFT JOIN statuses s ON s.account_id = a.id WHERE a.id = ?`, int64(id))
		if err != nil {
			return orNotFound(err, noAccount)
		}
		if state == nil {
			st.State = account.StateNew
			return nil
		}
		st = account.Status{
			State: account.State(*state), Text: *text,
			Since: unstamp(*since), LastSync: unstamp(*last), NextRetry: unstamp(*next),
		}
		return nil
	})
	return st, err
}

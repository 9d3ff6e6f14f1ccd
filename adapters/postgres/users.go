package postgres

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"imapped/domain/account"
	"imapped/domain/fault"
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

// storable says whether a text can be stored: Postgres takes UTF-8 without NUL.
func storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// note returns a text for people, which others wrote, as it can be stored.
func note(s string) string {
	if storable(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// CreateUser implements metadata.Users.
func (s *Store) CreateUser(ctx context.Context, u account.User) (account.User, error) {
	err := s.update(ctx, "create user", func(t *tx) error {
		return t.one(ctx, func(r *row) { u.ID = account.UserID(r.int()) },
			`INSERT INTO users (name, name_key, password_hash, disabled, created) VALUES ($1, $2, $3, $4, $5) RETURNING id`,
			u.Name, strings.ToLower(u.Name), u.PasswordHash, u.Disabled, stamp(u.Created))
	})
	if err != nil {
		return account.User{}, err
	}
	return u, nil
}

// userColumns are the columns of user u, as readUser takes them.
const userColumns = `u.id, u.name, u.password_hash, u.disabled, u.created`

const selectUser = `SELECT ` + userColumns + ` FROM users u `

func readUser(r *row) account.User {
	return account.User{
		ID: account.UserID(r.int()), Name: r.str(), PasswordHash: r.str(), Disabled: r.bool(), Created: unstamp(r.int()),
	}
}

// User implements metadata.Users.
func (s *Store) User(ctx context.Context, name string) (u account.User, err error) {
	const op = "look up user"
	if !storable(name) {
		return u, fault.New(fault.NotFound, op, noUser)
	}
	err = s.view(ctx, op, func(t *tx) error {
		return orNotFound(t.one(ctx, func(r *row) { u = readUser(r) }, selectUser+`WHERE name_key = $1`,
			strings.ToLower(name)), noUser)
	})
	return u, err
}

// Users implements metadata.Users.
func (s *Store) Users(ctx context.Context) (us []account.User, err error) {
	err = s.view(ctx, "list users", func(t *tx) error {
		us = nil
		return t.each(ctx, func(r *row) error {
			us = append(us, readUser(r))
			return nil
		}, selectUser+`ORDER BY name_key`)
	})
	return us, err
}

// UpdateUser implements metadata.Users.
func (s *Store) UpdateUser(ctx context.Context, u account.User) error {
	return s.update(ctx, "change user", func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE users SET password_hash = $1, disabled = $2 WHERE id = $3`,
			u.PasswordHash, u.Disabled, int64(u.ID))
		return found(n, err, noUser)
	})
}

// CreateAccount implements metadata.Accounts.
func (s *Store) CreateAccount(ctx context.Context, a account.Account) (account.Account, error) {
	err := s.update(ctx, "create account", func(t *tx) error {
		// The user's lock keeps two new accounts from the same position.
		t.need(errNoUser, func(*row) error { return nil },
			`SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE`, int64(a.User))
		t.need(errNoUser, func(r *row) error {
			a.Position = int(r.int())
			return nil
		}, `SELECT coalesce(max(position) + 1, 0) FROM accounts WHERE user_id = $1`, int64(a.User))
		if err := t.flush(ctx); err != nil {
			return err
		}
		if err := t.one(ctx, func(r *row) { a.ID = account.ID(r.int()) }, `INSERT INTO accounts (user_id, position, display,
			email, email_key, host, port, tls, insecure, auth, username, secret_key, secret, local, paused, created)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) RETURNING id`,
			int64(a.User), int64(a.Position), a.Display, a.Email, strings.ToLower(a.Email), a.Upstream.Host,
			int32(a.Upstream.Port), string(a.Upstream.TLS), a.Upstream.Insecure, a.Auth, a.Username, a.Secret.KeyID,
			bytesOf(a.Secret.Sealed), a.Local, a.Paused, stamp(a.Created)); err != nil {
			return err
		}
		// Mailboxes' UIDVALIDITYs start from the time, so that they differ from those of an earlier account of the
		// same name whose data is gone.
		t.later(`INSERT INTO account_counters (account_id, uidvalidity) VALUES ($1, $2)`, int64(a.ID),
			min(max(a.Created.Unix(), 0), 1<<31))
		t.later(`INSERT INTO leases (account_id) VALUES ($1)`, int64(a.ID))
		return nil
	})
	if err != nil {
		return account.Account{}, err
	}
	return a, nil
}

// bytesOf returns b as a value that is stored as empty, not NULL, when it is empty.
func bytesOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// accountColumns are the columns of account a, as readAccount takes them.
const accountColumns = `a.id, a.user_id, a.position, a.display, a.email, a.host, a.port, a.tls, a.insecure, a.auth, a.username,
	a.secret_key, a.secret, a.local, a.paused, a.created`

func readAccount(r *row) account.Account {
	return account.Account{
		ID: account.ID(r.int()), User: account.UserID(r.int()), Position: int(r.int()), Display: r.str(),
		Email: r.str(), Upstream: account.Endpoint{
			Host: r.str(), Port: uint16(r.int()), TLS: account.TLSMode(r.str()), Insecure: r.bool(),
		},
		Auth: r.str(), Username: r.str(), Secret: account.Secret{KeyID: r.str(), Sealed: r.bytes()},
		Local: r.bool(), Paused: r.bool(), Created: unstamp(r.int()),
	}
}

// Accounts implements metadata.Accounts.
func (s *Store) Accounts(ctx context.Context, user account.UserID) (as []account.Account, err error) {
	err = s.view(ctx, "list accounts", func(t *tx) error {
		as = nil
		return t.each(ctx, func(r *row) error {
			as = append(as, readAccount(r))
			return nil
		}, `SELECT `+accountColumns+` FROM accounts a WHERE $1::bigint = 0 OR a.user_id = $1
			ORDER BY a.user_id, a.position, a.id`, int64(user))
	})
	return as, err
}

// Account implements metadata.AccountReader.
func (s *Store) Account(ctx context.Context, id account.ID) (a account.Account, err error) {
	err = s.view(ctx, "look up account", func(t *tx) error {
		return orNotFound(t.one(ctx, func(r *row) { a = readAccount(r) },
			`SELECT `+accountColumns+` FROM accounts a WHERE a.id = $1`, int64(id)), noAccount)
	})
	return a, err
}

// Logins implements metadata.Logins.
func (s *Store) Logins(ctx context.Context, email string, limit int) (found []metadata.Login, err error) {
	if !storable(email) {
		return nil, nil
	}
	err = s.view(ctx, "look up an address", func(t *tx) error {
		found = nil
		return t.each(ctx, func(r *row) error {
			found = append(found, metadata.Login{User: readUser(r), Account: readAccount(r)})
			return nil
		}, `SELECT `+userColumns+`, `+accountColumns+` FROM accounts a JOIN users u ON u.id = a.user_id
			WHERE a.email_key = $1 ORDER BY a.user_id LIMIT $2`, strings.ToLower(email), int64(limit))
	})
	return found, err
}

// UpdateAccount implements metadata.Accounts: it writes everything but ID, User and Created.
func (s *Store) UpdateAccount(ctx context.Context, a account.Account) error {
	return s.update(ctx, "change account", func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE accounts SET position = $1, display = $2, email = $3, email_key = $4, host = $5,
			port = $6, tls = $7, insecure = $8, auth = $9, username = $10, secret_key = $11, secret = $12, local = $13,
			paused = $14 WHERE id = $15`, int64(a.Position), a.Display, a.Email, strings.ToLower(a.Email), a.Upstream.Host,
			int32(a.Upstream.Port), string(a.Upstream.TLS), a.Upstream.Insecure, a.Auth, a.Username, a.Secret.KeyID,
			bytesOf(a.Secret.Sealed), a.Local, a.Paused, int64(a.ID))
		return found(n, err, noAccount)
	})
}

// Reseal implements metadata.Secrets.
func (s *Store) Reseal(ctx context.Context, id account.ID, from, to account.Secret) error {
	return s.update(ctx, "exchange a sealed secret", func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE accounts SET secret_key = $1, secret = $2 WHERE id = $3 AND secret_key = $4 AND secret = $5`,
			to.KeyID, bytesOf(to.Sealed), int64(id), from.KeyID, bytesOf(from.Sealed))
		if n > 0 || err != nil {
			return err
		}
		t.existsAccount(id)
		if err := t.flush(ctx); err != nil {
			return err
		}
		return fault.New(fault.Conflict, "", "another secret was stored meanwhile")
	})
}

// DeleteAccount implements metadata.Accounts.
func (s *Store) DeleteAccount(ctx context.Context, id account.ID) error {
	return s.update(ctx, "delete account", func(t *tx) error {
		t.lock(id)
		t.unhurried()
		for _, table := range [...]string{
			"messages", "identities", "contents", "tombstones", "threads", "body_failures", "mutations", "departed",
			"retained", "mailboxes", "leases", "statuses", "account_counters",
		} {
			t.later(`DELETE FROM `+table+` WHERE account_id = $1`, int64(id))
		}
		n, err := t.exec(ctx, `DELETE FROM accounts WHERE id = $1`, int64(id))
		return found(n, err, noAccount)
	})
}

// SetStatus implements metadata.Statuses.
func (s *Store) SetStatus(ctx context.Context, f metadata.Fence, st account.Status) error {
	return s.update(ctx, "save status", func(t *tx) error {
		if err := t.fenced(ctx, f); err != nil {
			return err
		}
		t.later(`INSERT INTO statuses (account_id, state, text, since, last_sync, next_retry) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (account_id) DO UPDATE SET state = excluded.state, text = excluded.text, since = excluded.since,
			last_sync = excluded.last_sync, next_retry = excluded.next_retry`, int64(f.Account), string(st.State),
			note(st.Text), stamp(st.Since), stamp(st.LastSync), stamp(st.NextRetry))
		return nil
	})
}

// Status implements metadata.Statuses.
func (s *Store) Status(ctx context.Context, id account.ID) (st account.Status, err error) {
	err = s.view(ctx, "read status", func(t *tx) error {
		return orNotFound(t.one(ctx, func(r *row) {
			if st = (account.Status{State: account.StateNew}); r.bool() {
				st = account.Status{
					State: account.State(r.str()), Text: r.str(),
					Since: unstamp(r.int()), LastSync: unstamp(r.int()), NextRetry: unstamp(r.int()),
				}
			}
		}, `SELECT s.account_id IS NOT NULL, s.state, s.text, s.since, s.last_sync, s.next_retry
			FROM accounts a LEFT JOIN statuses s ON s.account_id = a.id WHERE a.id = $1`, int64(id)), noAccount)
	})
	return st, err
}

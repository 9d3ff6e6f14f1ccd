package postgres

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/secrets"
)

var (
	_ secrets.DataKeys       = (*Store)(nil)
	_ secrets.SealedDataKeys = (*Store)(nil)
)

// DataKey implements secrets.DataKeys.
func (s *Store) DataKey(ctx context.Context, user account.UserID, fresh account.Secret) (key account.Secret, err error) {
	const op = "look up a data key"
	read := func(t *tx) error {
		return orNotFound(t.one(ctx, func(r *row) { key = account.Secret{KeyID: r.str(), Sealed: r.bytes()} },
			`SELECT data_key_id, data_key FROM users WHERE id = $1`, int64(user)), noUser)
	}
	if err = s.view(ctx, op, read); err != nil || len(key.Sealed) > 0 {
		return key, err
	}
	err = s.update(ctx, op, func(t *tx) error {
		// It waits for others who are at it, and then changes nothing.
		t.later(`UPDATE users SET data_key_id = $1, data_key = $2 WHERE id = $3 AND data_key = ''`,
			fresh.KeyID, bytesOf(fresh.Sealed), int64(user))
		return read(t)
	})
	return key, err
}

// AllDataKeys implements secrets.SealedDataKeys.
func (s *Store) AllDataKeys(ctx context.Context) (all map[account.UserID]account.Secret, err error) {
	err = s.view(ctx, "list data keys", func(t *tx) error {
		all = map[account.UserID]account.Secret{}
		return t.each(ctx, func(r *row) error {
			user := account.UserID(r.int())
			all[user] = account.Secret{KeyID: r.str(), Sealed: r.bytes()}
			return nil
		}, `SELECT id, data_key_id, data_key FROM users WHERE data_key <> ''`)
	})
	return all, err
}

// ResealDataKey implements secrets.SealedDataKeys.
func (s *Store) ResealDataKey(ctx context.Context, user account.UserID, from, to account.Secret) error {
	return s.update(ctx, "exchange a sealed data key", func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE users SET data_key_id = $1, data_key = $2 WHERE id = $3 AND data_key_id = $4 AND data_key = $5`,
			to.KeyID, bytesOf(to.Sealed), int64(user), from.KeyID, bytesOf(from.Sealed))
		if n > 0 || err != nil {
			return err
		}
		t.need(errNoUser, func(*row) error { return nil }, `SELECT 1 FROM users WHERE id = $1`, int64(user))
		if err := t.flush(ctx); err != nil {
			return err
		}
		return fault.New(fault.Conflict, "", "another data key was stored meanwhile")
	})
}

package sqlite

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
	read := func(c *conn) error {
		err := c.one(ctx, []any{&key.KeyID, &key.Sealed}, `SELECT data_key_id, data_key FROM users WHERE id = ?`, int64(user))
		return orNotFound(err, noUser)
	}
	if err = s.view(ctx, op, read); err != nil || len(key.Sealed) > 0 {
		return key, err
	}
	err = s.update(ctx, op, func(c *conn) error {
		if _, err := c.exec(ctx, `UPDATE users SET data_key_id = ?, data_key = ? WHERE id = ? AND data_key = x''`,
			fresh.KeyID, blobOf(fresh.Sealed), int64(user)); err != nil {
			return err
		}
		return read(c)
	})
	return key, err
}

// AllDataKeys implements secrets.SealedDataKeys.
func (s *Store) AllDataKeys(ctx context.Context) (map[account.UserID]account.Secret, error) {
	all := map[account.UserID]account.Secret{}
	err := s.view(ctx, "list data keys", func(c *conn) error {
		return c.each(ctx, `SELECT id, data_key_id, data_key FROM users WHERE data_key <> x''`, nil, func(scan func(...any) error) error {
			var user account.UserID
			var key account.Secret
			err := scan(&user, &key.KeyID, &key.Sealed)
			all[user] = key
			return err
		})
	})
	return all, err
}

// ResealDataKey implements secrets.SealedDataKeys.
func (s *Store) ResealDataKey(ctx context.Context, user account.UserID, from, to account.Secret) error {
	return s.update(ctx, "exchange a sealed data key", func(c *conn) error {
		n, err := c.exec(ctx, `UPDATE users SET data_key_id = ?, data_key = ? WHERE id = ? AND data_key_id = ? AND data_key = ?`,
			to.KeyID, blobOf(to.Sealed), int64(user), from.KeyID, blobOf(from.Sealed))
		if n > 0 || err != nil {
			return err
		}
		var one int
		if err := c.one(ctx, []any{&one}, `SELECT 1 FROM users WHERE id = ?`, int64(user)); err != nil {
			return orNotFound(err, noUser)
		}
		return fault.New(fault.Conflict, "", "another data key was stored meanwhile")
	})
}

package postgres

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
)

var _ metadata.Secrets = (*Store)(nil)

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

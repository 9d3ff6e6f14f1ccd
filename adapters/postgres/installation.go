package postgres

import (
	"context"

	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

var _ metadata.Installation = (*Store)(nil)

// Installation implements metadata.Installation.
func (s *Store) Installation(ctx context.Context) (id blob.Installation, err error) {
	const op = "tell which database it is"
	rows := 0
	err = s.view(ctx, op, func(t *tx) error {
		rows = 0
		return t.each(ctx, func(r *row) error {
			rows++
			copy(id[:], r.bytes())
			return nil
		}, `SELECT id FROM installation`)
	})
	if err == nil && rows != 1 {
		err = fault.Newf(fault.Corrupt, op, "it has %d ids instead of one", rows)
	}
	return id, err
}

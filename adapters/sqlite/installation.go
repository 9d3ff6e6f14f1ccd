package sqlite

import (
	"context"
	"database/sql"

	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

var _ metadata.Installation = (*Store)(nil)

// Installation implements metadata.Installation.
func (s *Store) Installation(ctx context.Context) (id blob.Installation, err error) {
	const op = "tell which database it is"
	rows := 0
	err = s.view(ctx, op, func(c *conn) error {
		var raw sql.RawBytes
		return c.each(ctx, `SELECT id FROM installation`, nil, func(scan func(...any) error) error {
			err := scan(&raw)
			rows += copy(id[:], raw) / len(id)
			return err
		})
	})
	if err == nil && rows != 1 {
		err = fault.Newf(fault.Corrupt, op, "it has %d ids instead of one", rows)
	}
	return id, err
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"imapped/domain/fault"
)

// cause is a driver's error with a text of ours, so that no SQL and no table's name reaches a person.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string { return c.text }
func (c *cause) Unwrap() error { return c.err }

// mapErr gives err its kind and says what was being done. Errors that have a kind keep it; an error of a caller's
// function passes unchanged inside.
func mapErr(op string, err error) error {
	var f *fault.Error
	var dbErr *driver.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return fault.Wrap(op, err)
	case errors.As(err, &dbErr):
		kind, text := classify(dbErr.Code())
		return fault.As(kind, op, &cause{text, err})
	case errors.Is(err, sql.ErrNoRows):
		return fault.As(fault.NotFound, op, &cause{"there is none", err})
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.As(fault.Canceled, op, err)
	}
	return fault.Wrap(op, err)
}

// classify returns the kind and a text for a result code of SQLite. The low byte of an extended code is its primary.
func classify(code int) (fault.Kind, string) {
	switch code {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fault.Exists, "the name is taken already"
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fault.NotFound, "what it belongs to does not exist"
	}
	switch code & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return fault.Unavailable, "another process keeps the database busy"
	case lib.SQLITE_FULL:
		return fault.Unavailable, "the disk is full"
	case lib.SQLITE_IOERR:
		return fault.Unavailable, "the disk failed, or the database cannot be written to"
	case lib.SQLITE_READONLY, lib.SQLITE_PERM:
		return fault.Unavailable, "the database is not writable"
	case lib.SQLITE_CANTOPEN:
		return fault.Unavailable, "the database file cannot be opened"
	case lib.SQLITE_NOMEM:
		return fault.Unavailable, "out of memory"
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fault.Corrupt, "the database file is damaged, or not a database"
	case lib.SQLITE_INTERRUPT:
		return fault.Canceled, "interrupted"
	}
	return fault.Internal, fmt.Sprintf("database error %d", code)
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"imapped/domain/fault"
)

// cause is a driver's error with a text of ours, so that no SQL, no table's name and no address reaches a person.
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
	var db *pgconn.PgError
	var unreachable *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return fault.Wrap(op, err)
	case errors.As(err, &db):
		kind, text := classify(db.Code)
		return fault.As(kind, op, &cause{text, err})
	case errors.As(err, &unreachable):
		return fault.As(fault.Unavailable, op, &cause{"the database server cannot be reached", err})
	case errors.Is(err, pgx.ErrNoRows):
		return fault.As(fault.NotFound, op, &cause{"there is none", err})
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.As(fault.Canceled, op, err)
	case lost(err):
		return fault.As(fault.Unavailable, op, &cause{"the connection to the database was lost", err})
	}
	return fault.Wrap(op, err)
}

// The states (SQLSTATE) that decide what is done next.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	queryCanceled        = "57014"
	uniqueViolation      = "23505"
	lockNotAvailable     = "55P03" // lock_timeout
	awayTooLong          = "25P03" // idle_in_transaction_session_timeout: it ended the session before it saw COMMIT
)

// classify returns the kind and a text for a state. The first two characters of a state are its class.
func classify(code string) (fault.Kind, string) {
	switch code {
	case uniqueViolation:
		return fault.Exists, "the name is taken already"
	case "23503": // foreign_key_violation
		return fault.NotFound, "what it belongs to does not exist"
	case "22021", "22P05": // text that cannot be stored: not UTF-8, or with NUL
		return fault.Invalid, "a text has characters that cannot be stored"
	case serializationFailure, deadlockDetected:
		return fault.Unavailable, "somebody else changed the same at the same time"
	case lockNotAvailable:
		return fault.Unavailable, busy
	case queryCanceled: // statement_timeout; a caller's cancellation is seen before
		return fault.Unavailable, "the database took too long"
	case awayTooLong, "57P05": // idle_session_timeout
		return fault.Unavailable, "this process was away for too long"
	case "25006": // read_only_sql_transaction
		return fault.Unavailable, "the database takes no writes: it is a standby, or set to read-only"
	case "53100": // disk_full
		return fault.Unavailable, "the disk is full"
	case "53200": // out_of_memory
		return fault.Unavailable, "the database is out of memory"
	case "53300": // too_many_connections
		return fault.Unavailable, "the database has no connection left"
	case "57P01", "57P02", "57P03", "57P04": // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped
		return fault.Unavailable, "the database is being shut down or started"
	case "3D000": // invalid_catalog_name
		return fault.NotFound, "the server has no such database"
	case "42P01", "42703", "42883": // undefined_table, undefined_column, undefined_function
		return fault.Internal, "the database's schema is not what this program needs"
	case "42501": // insufficient_privilege
		return fault.Internal, "the database does not allow that to its user"
	}
	switch code[:min(2, len(code))] {
	case "08":
		return fault.Unavailable, "the connection to the database was lost"
	case "28": // invalid authorization
		return fault.Denied, "the database refused the user or the password"
	case "53":
		return fault.Unavailable, "the database is short of something"
	case "57":
		return fault.Unavailable, "an administrator intervened in the database"
	case "58":
		return fault.Unavailable, "the database's machine failed"
	case "XX":
		if code != "XX000" {
			return fault.Corrupt, "the database is damaged"
		}
	}
	return fault.Internal, fmt.Sprintf("database error %s", code)
}

// lost says whether the connection broke, so that nothing more was heard of what had been sent.
func lost(err error) bool {
	var network net.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network) || pgconn.Timeout(err) || errors.Is(err, pgconn.ErrConnClosed)
}

// stateOf returns the state (SQLSTATE) of a server's error, or "".
func stateOf(err error) string {
	var db *pgconn.PgError
	if errors.As(err, &db) {
		return db.Code
	}
	return ""
}

// ended says whether an error of the server means that it ended the connection.
func ended(err error) bool {
	var db *pgconn.PgError
	return errors.As(err, &db) && (db.SeverityUnlocalized == "FATAL" || db.SeverityUnlocalized == "PANIC")
}

// left says whether the server itself said that it ends the connection, and why. What else ends one may come from a pooler
// between, which lost the server after that had committed.
func left(err error) bool {
	switch stateOf(err) {
	case awayTooLong, "57P01", "57P02", "57P03", "57P05":
		return ended(err)
	}
	return false
}

// noRow says whether a query that was to find one row found none.
func noRow(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// orNotFound turns the driver's "no row" into fault.NotFound with the text.
func orNotFound(err error, text string) error {
	if noRow(err) {
		return fault.New(fault.NotFound, "", text)
	}
	return err
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
	busy      = "somebody else keeps the account busy"
)

var (
	errNoUser    = fault.New(fault.NotFound, "", noUser)
	errNoAccount = fault.New(fault.NotFound, "", noAccount)
	errNoMailbox = fault.New(fault.NotFound, "", noMailbox)
	errTaken     = fault.New(fault.Conflict, "", "the account has another owner now")

	errBusy   = fault.New(fault.Unavailable, "", busy)
	errClosed = fault.New(fault.Unavailable, "", "the database is closed")
	errLate   = fault.New(fault.Unavailable, "", "the database is too busy")
	// errUncertain is the end of a transaction whose COMMIT was sent and not answered. It is never tried again: it may
	// have happened.
	errUncertain = fault.New(fault.Uncertain, "",
		"the connection to the database was lost during a commit: whether the change was made is unknown")
)

// unreachable says whether no connection came about at all.
func unreachable(err error) bool {
	var c *pgconn.ConnectError
	return errors.As(err, &c)
}

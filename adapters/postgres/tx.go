package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"imapped/domain/account"
	"imapped/domain/mailbox"
)

// tx is what one call does with a connection, which it gets when something is to be sent: who waits at a gate has none.
// Statements are queued and go out together with the next one whose answer is
// needed, or with COMMIT, so that a call costs as many round trips as it has questions. One goroutine uses it.
type tx struct {
	s     *Store
	conn  *pgxpool.Conn // nil: nothing was sent
	batch *pgx.Batch
	heard bool          // the server has answered a statement of those that were sent last
	late  *time.Timer   // gives a server up that says nothing, while one is listened to
	calm  time.Duration // how long it may say nothing: Store.silence, or longSilence when unhurried
	spent bool          // a cancellation is on its way to the connection, which may hit whatever it does next: it is not used again
	q     *queue
	wants account.ID // whose lock what is queued asks for; 0: nobody's
	leave func()     // gives the turn at the account's gate back; nil: it has none
}

// later queues a statement whose result nobody needs. Its arguments must not be changed any more.
func (t *tx) later(text string, args ...any) {
	t.batch.Queue(text, args...).Exec(func(commandTag) error {
		t.heard = true
		return nil
	})
}

// many is how many messages a statement may be about before it is not held to the time that others have.
const many = 10000

// extent prepares for statements about n messages: the time-out is there for what got stuck, and must not make what is
// large impossible.
func (t *tx) extent(n uint64) {
	if n >= many {
		t.unhurried()
	}
}

// unhurried gives what is sent together from here on, in the transaction, Store.longSilence. The server keeps the answers of
// statements that are sent together until the last of them, so that nothing is heard of their progress.
func (t *tx) unhurried() {
	if t.calm != t.s.longSilence {
		t.later(`SET LOCAL statement_timeout = 0`) // longSilence ends it: the server notices that nobody listens
		t.calm = t.s.longSilence
	}
}

// ask queues a query; fn gets each of its rows when it is sent.
func (t *tx) ask(fn func(r *row) error, text string, args ...any) {
	t.batch.Queue(text, args...).Query(func(rows pgx.Rows) error {
		var r row
		for n := 1; rows.Next(); n++ {
			if t.heard = true; n%1024 == 0 {
				t.late.Reset(t.calm)
			}
			r.values, r.at = rows.RawValues(), 0
			if err := fn(&r); err != nil {
				return err
			}
		}
		t.heard = t.heard || rows.Err() == nil
		return rows.Err()
	})
}

// need queues a query that is to find one row; where it finds none, flush fails with missing.
func (t *tx) need(missing error, fn func(r *row) error, text string, args ...any) {
	t.batch.Queue(text, args...).Query(func(rows pgx.Rows) error {
		if !rows.Next() {
			if err := rows.Err(); err != nil {
				return err
			}
			return missing
		}
		t.heard = true
		return fn(&row{values: rows.RawValues()})
	})
}

// each runs a query, after what is queued, and calls fn for each row.
func (t *tx) each(ctx context.Context, fn func(r *row) error, text string, args ...any) error {
	t.ask(fn, text, args...)
	return t.flush(ctx)
}

// one calls fn for the only row of a query; pgx.ErrNoRows when there is none.
func (t *tx) one(ctx context.Context, fn func(r *row), text string, args ...any) error {
	found := false
	err := t.each(ctx, func(r *row) error {
		found = true
		fn(r)
		return nil
	}, text, args...)
	if err == nil && !found {
		err = pgx.ErrNoRows
	}
	return err
}

// exec runs a statement, after what is queued, and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, text string, args ...any) (n int64, err error) {
	t.batch.Queue(text, args...).Exec(func(tag commandTag) error {
		n, t.heard = tag.RowsAffected(), true
		return nil
	})
	err = t.flush(ctx)
	return n, err
}

// flush sends what is queued and waits for the answers. Of statements that wait for a lock, or run long, the end of ctx
// is told to the server.
func (t *tx) flush(ctx context.Context) error {
	if t.batch.Len() == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.connect(ctx); err != nil {
		return err
	}
	err := t.send(ctx)
	if t.spent && ctx.Err() != nil {
		return ctx.Err() // whatever became of it, nobody wants it any more
	}
	return err
}

// idle says whether the connection has no transaction.
func (t *tx) idle() bool { return t.conn == nil || t.conn.Conn().PgConn().TxStatus() == 'I' }

// send sends what is queued and returns the first error of its answers. ctx does not end the wait for them - then nothing
// would be known about a COMMIT - but asks the server to come to an end.
func (t *tx) send(ctx context.Context) error {
	b := t.batch
	t.batch, t.heard = &pgx.Batch{}, false
	stop := t.watch(ctx)
	err := t.conn.SendBatch(context.Background(), b).Close()
	stop()
	return err
}

// watch looks after the connection until stop is called: the server is told when ctx ends, and a server that does not
// answer for too long is given up.
func (t *tx) watch(ctx context.Context) (stop func()) {
	pg := t.conn.Conn().PgConn()
	t.late = time.AfterFunc(t.calm, func() { _ = pg.Conn().SetDeadline(time.Unix(1, 0)) })
	if ctx.Done() == nil {
		return func() { t.spent = !t.late.Stop() || t.spent }
	}
	told := make(chan struct{})
	calm := context.AfterFunc(ctx, func() {
		defer close(told)
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
		defer cancel()
		_ = pg.CancelRequest(wait) // else the statement runs into its own timeout
	})
	return func() {
		if !calm() {
			<-told
			t.spent = true
		}
		t.spent = !t.late.Stop() || t.spent
	}
}

// release gives the connection back, or closes it when it is in no state to be used again.
func (t *tx) release() {
	if t.leave != nil {
		defer t.leave() // when the lock is given back
	}
	if t.conn == nil {
		return
	}
	if t.spent {
		ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
		defer cancel()
		_ = t.conn.Conn().Close(ctx) // the pool makes another one
	}
	t.conn.Release()
}

// commit sends what is queued together with COMMIT.
func (t *tx) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.idle() && t.batch.Len() <= 1 {
		return nil // no more than BEGIN has been queued
	}
	if err := t.connect(ctx); err != nil {
		return err
	}
	t.later("COMMIT")
	return t.outcome(ctx, t.send(ctx))
}

// outcome tells what became of statements with which the server was to commit, from the error of the first that failed.
func (t *tx) outcome(ctx context.Context, err error) error {
	switch {
	case err == nil, stateOf(err) == awayTooLong:
		return err
	case left(err) && !t.heard, pgconn.SafeToRetry(err):
		return err // the connection was closed before: statements are done in order, and the first was not
	case ended(err) || lost(err):
		return &uncertain{err}
	case t.spent && ctx.Err() != nil && stateOf(err) == queryCanceled:
		return ctx.Err()
	}
	return err // the server has not committed, and says why
}

// uncertain is the loss of a connection on which COMMIT was sent.
type uncertain struct{ err error }

func (u *uncertain) Error() string { return errUncertain.Error() }
func (u *uncertain) Unwrap() []error {
	return []error{errUncertain, u.err}
}

// rollback ends a transaction that is not to be.
func (t *tx) rollback() {
	t.batch = &pgx.Batch{}
	if t.spent || t.idle() || t.conn.Conn().IsClosed() {
		return
	}
	t.later("ROLLBACK")
	if err := t.send(context.Background()); err != nil {
		t.spent = true
	}
}

// How calls are run again.
const (
	attempts   = 4
	firstPause = 5 * time.Millisecond // doubled with each attempt
)

// update runs fn in a transaction and returns when that has committed, or is rolled back. op says what is being done, for
// errors. fn is run again where the server, or the loss of the connection before COMMIT was sent, undid what it did: it
// sets its results anew each time, and has no other effect than what it does with t.
func (s *Store) update(ctx context.Context, op string, fn func(t *tx) error) error {
	return mapErr(op, s.repeat(ctx, func() error {
		return s.with(ctx, func(t *tx) error {
			t.later("BEGIN")
			return t.attempt(ctx, fn)
		})
	}))
}

// attempt runs fn and commits, or rolls back when fn fails or panics.
func (t *tx) attempt(ctx context.Context, fn func(t *tx) error) error {
	defer t.rollback() // nothing, after a commit
	if err := fn(t); err != nil {
		return err
	}
	return t.commit(ctx)
}

// single is update for one statement, which returns one row: the server commits it without being told so. acc is the account
// whose lock it asks for; 0: nobody's.
func (s *Store) single(ctx context.Context, op string, acc account.ID, fn func(r *row), text string, args ...any) error {
	return mapErr(op, s.repeat(ctx, func() error {
		return s.with(ctx, func(t *tx) error {
			t.wants = acc
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := t.connect(ctx); err != nil {
				return err
			}
			t.heard = false
			stop := t.watch(ctx)
			rows, err := t.conn.Query(context.Background(), text, args...)
			if err == nil {
				for rows.Next() {
					t.heard = true
					fn(&row{values: rows.RawValues()})
				}
				rows.Close()
				err = rows.Err()
			}
			stop()
			return t.outcome(ctx, err)
		})
	}))
}

// view runs fn with a connection, outside a transaction: what is sent together is read at one moment only where it is one
// statement. fn is run again when the connection is lost: it sets its results anew each time.
func (s *Store) view(ctx context.Context, op string, fn func(t *tx) error) error {
	return mapErr(op, s.repeat(ctx, func() error { return s.with(ctx, fn) }))
}

// stream is view for what is handed out while it is read: it is not run again.
func (s *Store) stream(ctx context.Context, op string, fn func(t *tx) error) error {
	return mapErr(op, s.with(ctx, func(t *tx) error {
		t.later("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
		return t.attempt(ctx, fn)
	}))
}

// with runs fn with a tx.
func (s *Store) with(ctx context.Context, fn func(t *tx) error) error {
	if s.closed.Load() {
		return errClosed
	}
	t := &tx{s: s, batch: &pgx.Batch{}, calm: s.silence}
	defer t.release()
	return fn(t)
}

// connect gets the turn at the gate of the account whose lock is to be asked for next, if there is one, and then a
// connection of the pool, unless the call has one.
func (t *tx) connect(ctx context.Context) error {
	if err := t.enter(ctx); err != nil || t.conn != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, t.s.patience)
	defer cancel()
	conn, err := t.s.pool.Acquire(wait)
	if err != nil {
		return t.s.refused(ctx, wait, err)
	}
	t.conn = conn
	return nil
}

// refused says why there was no connection.
func (s *Store) refused(ctx, wait context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.closed.Load():
		return errClosed
	case wait.Err() != nil:
		return errLate
	}
	return err
}

// repeat runs fn again while that is safe and of use.
func (s *Store) repeat(ctx context.Context, fn func() error) error {
	pause := firstPause
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n == attempts || !undone(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// undone says whether an error means that the server rolled back, for a reason that may be gone the next time.
func undone(err error) bool {
	var u *uncertain
	switch {
	case errors.As(err, &u), unreachable(err):
		return false
	case stateOf(err) == serializationFailure, stateOf(err) == deadlockDetected:
		return true
	}
	return ended(err) || lost(err) || pgconn.SafeToRetry(err)
}

// row is one row of an answer, read column by column. The columns are integers, booleans, texts, byte strings and uuids.
type row struct {
	values [][]byte
	at     int
	flags  flagReader
}

// raw returns the next column; nil for NULL. It is valid until the next row.
func (r *row) raw() []byte {
	v := r.values[r.at]
	r.at++
	return v
}

// int returns the next column, an integer of any width or a boolean; 0 for NULL.
func (r *row) int() int64 {
	switch v := r.raw(); len(v) {
	case 8:
		return int64(binary.BigEndian.Uint64(v))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(v)))
	case 2:
		return int64(int16(binary.BigEndian.Uint16(v)))
	case 1:
		return int64(v[0])
	}
	return 0
}

func (r *row) bool() bool       { return r.int() != 0 }
func (r *row) str() string      { return string(r.raw()) }
func (r *row) uid() mailbox.UID { return mailbox.UID(r.int()) }

// bytes returns a copy of the next column.
func (r *row) bytes() []byte { return append([]byte{}, r.raw()...) }

// id returns the next column, a uuid; zero for NULL.
func (r *row) id() (id mailbox.ObjectID) {
	copy(id[:], r.raw())
	return id
}

package sqlite

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"imapped/domain/fault"
)

// Calls that write share commits: what arrives while the writer is busy joins its transaction, each call as a savepoint
// of it. A commit waits for the disk, so that is what a burst of small changes would spend its time on.
const (
	maxGroup  = 64                    // calls in one transaction
	groupTime = 10 * time.Millisecond // a transaction that is so old takes no more calls in
	patience  = 10 * time.Second      // a call whose turn has not come by then is given up
)

// writeCall is one call of update.
type writeCall struct {
	ctx   context.Context
	fn    func(c *conn) error
	state atomic.Int32
	panic any        // what fn panicked with
	done  chan error // gets the outcome, once
}

// The states of a writeCall: it is either run or left by its caller, whichever comes first.
const (
	callWaits int32 = iota
	callRuns
	callLeft
)

// update runs fn in a write transaction and returns when that has committed, or fn's part of it was rolled back. op says
// what is being done, for errors. fn runs on the writer's goroutine; it is not run when ctx or the store's patience ends
// before its turn, and rolled back when ctx ends while it runs. A commit that has begun is not interrupted, so that its
// outcome is known.
func (s *Store) update(ctx context.Context, op string, fn func(c *conn) error) error {
	w := &writeCall{ctx: ctx, fn: fn, done: make(chan error, 1)}
	late := time.NewTimer(s.patience)
	defer late.Stop()
	err := s.submit(w, late.C)
	if err == nil {
		err = s.wait(w, late.C)
	}
	if w.panic != nil {
		panic(w.panic)
	}
	return mapErr(op, err)
}

var (
	errClosed = fault.New(fault.Unavailable, "", "the database is closed")
	errLate   = fault.New(fault.Unavailable, "", "the database is too busy")
)

// submit gives a call to the writer, unless the time is over before.
func (s *Store) submit(w *writeCall, late <-chan time.Time) error {
	select {
	case <-s.closing:
		return errClosed
	default:
	}
	select {
	case s.writes <- w:
		return nil
	case <-s.closing:
		return errClosed
	case <-late:
		return errLate
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// wait returns the outcome of a call that was submitted. One whose turn has not come is left when nobody wants it, or
// the time is over.
func (s *Store) wait(w *writeCall, late <-chan time.Time) error {
	why := errClosed
	select {
	case err := <-w.done:
		return err
	case <-w.ctx.Done():
	case <-late:
		why = errLate
	case <-s.closing:
	}
	if !w.state.CompareAndSwap(callWaits, callLeft) {
		return <-w.done
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	return why
}

// writer runs the calls until the store closes, and then closes its connection. It alone uses that.
func (s *Store) writer(c *conn) error {
	for {
		select {
		case w := <-s.writes:
			s.group(c, w)
		case <-s.closing:
			return c.close()
		}
	}
}

// group runs a call, and those that arrive meanwhile, in one transaction.
func (s *Store) group(c *conn, w *writeCall) {
	if w.state.Load() == callLeft {
		return
	}
	ctx := context.Background()
	if _, err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		w.fail(err)
		s.refuse(err)
		return
	}
	start := time.Now()
	var ran []*writeCall // those that are to commit
	for n := 1; w != nil; n++ {
		err := c.attempt(w, len(ran) > 0)
		switch {
		case err == nil:
			ran = append(ran, w)
		case errors.Is(err, errLeft):
		case errors.Is(err, errBroken):
			// The transaction is gone, with all that ran in it.
			finish(append(ran, w), err)
			ran = nil
		default:
			w.done <- err
		}
		if len(ran) == 0 {
			_, _ = c.exec(ctx, "ROLLBACK") // fails where there is no transaction any more, which is what was wanted
			return
		}
		w = nil
		if n < maxGroup && time.Since(start) < groupTime {
			select {
			case w = <-s.writes:
			default:
			}
		}
	}
	_, err := c.exec(ctx, "COMMIT")
	if err != nil {
		_, _ = c.exec(ctx, "ROLLBACK") // fails where the failed COMMIT has done it
	}
	finish(ran, err)
}

func finish(calls []*writeCall, err error) {
	for _, w := range calls {
		w.done <- err
	}
}

// fail ends a call that has not run.
func (w *writeCall) fail(err error) {
	if w.state.CompareAndSwap(callWaits, callRuns) {
		w.done <- err
	}
}

// refuse fails the calls that have waited as long as the one that could not begin a transaction.
func (s *Store) refuse(err error) {
	for range maxGroup {
		select {
		case w := <-s.writes:
			w.fail(err)
		default:
			return
		}
	}
}

var (
	// errLeft says that the caller went away before its turn.
	errLeft = errors.New("the caller left")
	// errBroken says that a savepoint could not be rolled back: SQLite has rolled back the whole transaction, as it does
	// when the disk is full.
	errBroken = errors.New("the transaction is gone")
)

// attempt runs a call. Where others are in the transaction before it, it is a savepoint, which is rolled back when the
// call fails, panics, or its context has ended; else that is the transaction itself, and the caller's to roll back.
func (c *conn) attempt(w *writeCall, others bool) (err error) {
	if !w.state.CompareAndSwap(callWaits, callRuns) {
		return errLeft
	}
	ctx := context.Background()
	if !others {
		return w.run(c)
	}
	if _, err := c.exec(ctx, "SAVEPOINT call"); err != nil {
		return errors.Join(errBroken, err)
	}
	if err = w.run(c); err != nil {
		if _, broken := c.exec(ctx, "ROLLBACK TO call"); broken != nil {
			return errors.Join(errBroken, err)
		}
	}
	if _, released := c.exec(ctx, "RELEASE call"); released != nil {
		return errors.Join(errBroken, released)
	}
	return err
}

// run calls fn and catches its panic, which is the caller's. What is not wanted any more is not done.
func (w *writeCall) run(c *conn) (err error) {
	defer func() {
		if w.panic = recover(); w.panic != nil {
			err = fault.New(fault.Internal, "", "panic")
		}
	}()
	if err := w.fn(c); err != nil {
		return err
	}
	return w.ctx.Err()
}

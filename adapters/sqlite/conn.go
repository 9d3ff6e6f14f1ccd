package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// conn is one connection with its prepared statements. One goroutine uses it at a time.
type conn struct {
	c     *sql.Conn
	stmts map[string]*sql.Stmt
	texts map[batchKey]string // the texts of statements with many rows, built once
	// steady says that a statement that has begun is not interrupted when its context ends: SQLite may answer that by
	// rolling the whole transaction back, which others share.
	steady bool
}

// batchKey names a statement that head, rows groups of cols parameters, and tail make.
type batchKey struct {
	head string
	rows int
}

func newConn(c *sql.Conn) *conn {
	return &conn{c: c, stmts: map[string]*sql.Stmt{}, texts: map[batchKey]string{}}
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// span returns the context for a statement, and the error of one that has ended.
func (c *conn) span(ctx context.Context) (context.Context, error) {
	if !c.steady {
		return ctx, nil
	}
	return context.WithoutCancel(ctx), ctx.Err()
}

// stmt returns the prepared statement of the text. Texts are constants or batch texts, so the cache is bounded.
func (c *conn) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if st := c.stmts[text]; st != nil {
		return st, nil
	}
	st, err := c.c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	c.stmts[text] = st
	return st, nil
}

// exec runs a statement and returns how many rows it changed.
func (c *conn) exec(ctx context.Context, text string, args ...any) (int64, error) {
	ctx, err := c.span(ctx)
	if err != nil {
		return 0, err
	}
	st, err := c.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert runs an INSERT and returns the new row's id.
func (c *conn) insert(ctx context.Context, text string, args ...any) (int64, error) {
	ctx, err := c.span(ctx)
	if err != nil {
		return 0, err
	}
	st, err := c.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// one scans the only row of a query into dest; sql.ErrNoRows when there is none.
func (c *conn) one(ctx context.Context, dest []any, text string, args ...any) error {
	ctx, err := c.span(ctx)
	if err != nil {
		return err
	}
	st, err := c.stmt(ctx, text)
	if err != nil {
		return err
	}
	return st.QueryRowContext(ctx, args...).Scan(dest...)
}

// each calls fn for each row of a query, with scan to read it.
func (c *conn) each(ctx context.Context, text string, args []any, fn func(scan func(dest ...any) error) error) error {
	ctx, err := c.span(ctx)
	if err != nil {
		return err
	}
	st, err := c.stmt(ctx, text)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// transact runs fn between begin and COMMIT, or ROLLBACK when it fails or panics. A commit that has begun is not
// interrupted by ctx, so that its outcome is known. A begin may be: when it fails with the context's error, the
// transaction may be open all the same, so it is rolled back too.
func (c *conn) transact(ctx context.Context, begin string, fn func(c *conn) error) error {
	sure := context.WithoutCancel(ctx)
	done := false
	defer func() {
		if !done {
			// It fails when there is no transaction (any more), which is what was wanted.
			_, _ = c.exec(sure, "ROLLBACK")
		}
	}()
	if _, err := c.exec(ctx, begin); err != nil {
		return err
	}
	if err := fn(c); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := c.exec(sure, "COMMIT"); err != nil {
		return err
	}
	done = true
	return nil
}

// The sizes of batches: few, so that few statements are prepared.
var batchSizes = [...]int{128, 16, 1}

// batch calls run with statements "head(?,..),(?,..)tail" and their arguments: first, which belong to head, then as
// many rows of args, cols each, as the statement takes. The arguments are valid during the call.
func (c *conn) batch(head string, first []any, cols int, tail string, args []any, run func(text string, args []any) error) error {
	for len(args) > 0 {
		rows := 1
		for _, n := range batchSizes {
			if len(args) >= n*cols {
				rows = n
				break
			}
		}
		key := batchKey{head, rows}
		text, ok := c.texts[key]
		if !ok {
			group := "(" + strings.Repeat("?,", cols-1) + "?)"
			text = head + strings.Repeat(group+",", rows-1) + group + tail
			c.texts[key] = text
		}
		now := args[:rows*cols]
		if len(first) > 0 {
			now = append(append(make([]any, 0, len(first)+len(now)), first...), now...)
		}
		if err := run(text, now); err != nil {
			return err
		}
		args = args[rows*cols:]
	}
	return nil
}

// execBatch runs a statement with many rows.
func (c *conn) execBatch(ctx context.Context, head string, first []any, cols int, tail string, args []any) error {
	return c.batch(head, first, cols, tail, args, func(text string, args []any) error {
		_, err := c.exec(ctx, text, args...)
		return err
	})
}

// eachBatch is each for a query with a list of many values.
func (c *conn) eachBatch(ctx context.Context, head string, first []any, tail string, args []any,
	fn func(scan func(dest ...any) error) error,
) error {
	return c.batch(head, first, 1, tail, args, func(text string, args []any) error {
		return c.each(ctx, text, args, fn)
	})
}

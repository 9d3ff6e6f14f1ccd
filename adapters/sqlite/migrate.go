package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/pressly/goose/v3"

	"imapped/domain/fault"
	"imapped/migrations"
)

// Migrate brings the database's schema up to the newest version. Several processes may do it at once.
func Migrate(ctx context.Context, path string) error {
	const op = "migrate the database"
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		err := withProvider(ctx, op, path, func(p *goose.Provider) error {
			_, err := p.Up(ctx)
			return err
		})
		// Another process may have been at it: goose then finds its tables made already, or SQLite, which does not wait for
		// who turns the journal on, the database busy. Look again.
		if err == nil || fault.Is(err, fault.Invalid) || wait > busyTimeout/2 {
			return err
		}
		select {
		case <-ctx.Done():
			return mapErr(op, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// Pending returns how many migrations the database still needs.
func Pending(ctx context.Context, path string) (int, error) {
	pending := 0
	err := withProvider(ctx, "look at the database's version", path, func(p *goose.Provider) error {
		states, err := p.Status(ctx)
		for _, st := range states {
			if st.State == goose.StatePending {
				pending++
			}
		}
		return err
	})
	return pending, err
}

// withProvider runs fn with goose on the database, after a check that the database is not from the future.
func withProvider(ctx context.Context, op, path string, fn func(*goose.Provider) error) (err error) {
	files, err := migrations.SQLite()
	if err != nil {
		return fault.Wrap(op, err)
	}
	db, err := openDB(path, writerCacheKB, 1)
	if err != nil {
		return mapErr(op, err)
	}
	defer func() { err = errors.Join(err, mapErr(op, db.Close())) }()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return mapErr(op, err)
	}
	if err := tooNew(ctx, op, db, p); err != nil {
		return err
	}
	return mapErr(op, fn(p))
}

// tooNew fails when the database's schema is newer than this program.
func tooNew(ctx context.Context, op string, db *sql.DB, p *goose.Provider) error {
	var tables int
	row := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = ?", goose.DefaultTablename)
	if err := row.Scan(&tables); err != nil {
		return mapErr(op, err)
	}
	if tables == 0 {
		return nil
	}
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return mapErr(op, err)
	}
	sources := p.ListSources()
	if len(sources) > 0 && version > sources[len(sources)-1].Version {
		return fault.New(fault.Invalid, op, "the database was written by a newer version of this program")
	}
	return nil
}

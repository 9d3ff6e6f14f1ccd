package postgres

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"imapped/domain/fault"
	"imapped/migrations"
)

const (
	// migrationWait is how long a node waits while another one migrates: so many times a second.
	migrationWait = 600
	// tableWait is how long a migration waits for a table. Whoever comes after it waits behind it, each login above all: it is
	// short, and tried again, tablePause later, for tablePatience.
	tableWait     = 2 * time.Second
	tablePause    = time.Second
	tablePatience = time.Minute
	// lookWait bounds the look at the version.
	lookWait = 10 * time.Second
)

// Migrate brings the database's schema up to the newest version. Several nodes may do it at once: one does, and the others
// wait for it. A transaction that keeps a table for long is waited for now and then, and in the end is fault.Unavailable: what was
// applied before it stays.
func Migrate(ctx context.Context, url string) error { return migrate(ctx, url, tablePatience) }

func migrate(ctx context.Context, url string, patience time.Duration) error {
	const op = "migrate the database"
	return withProvider(op, url, func(db *sql.DB, p *goose.Provider) error {
		if _, err := pending(ctx, op, db, p); err != nil {
			return err
		}
		for end := time.Now().Add(patience); ; {
			_, err := p.Up(ctx)
			if stateOf(err) != lockNotAvailable {
				return err
			}
			if time.Now().After(end) {
				return fault.As(fault.Unavailable, op, &cause{"another transaction keeps a table locked (pg_stat_activity shows which): " +
					"end it, or try again later", err})
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(tablePause):
			}
		}
	})
}

// Pending returns how many migrations the database still needs; fault.Invalid for a database that is newer than this
// program.
func Pending(ctx context.Context, url string) (n int, err error) {
	const op = "look at the database's version"
	err = withProvider(op, url, func(db *sql.DB, p *goose.Provider) error {
		n, err = pending(ctx, op, db, p)
		return err
	})
	return n, err
}

func upToDate(ctx context.Context, op, url string) error {
	n, err := Pending(ctx, url)
	if err == nil && n > 0 {
		err = fault.Newf(fault.Invalid, op, "%d migrations are missing: run them first", n)
	}
	return err
}

// withProvider runs fn with goose on the database.
func withProvider(op, url string, fn func(*sql.DB, *goose.Provider) error) (err error) {
	files, err := migrations.Postgres()
	if err != nil {
		return fault.Wrap(op, err)
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fault.New(fault.Invalid, op, "the database's URL makes no sense") // the driver's text may hold the password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.RuntimeParams["application_name"] = "imapped"
	if config.RuntimeParams["lock_timeout"] == "" {
		config.RuntimeParams["lock_timeout"] = milliseconds(tableWait)
	}
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, mapErr(op, db.Close())) }()
	one, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, migrationWait))
	if err != nil {
		return fault.Wrap(op, err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithSessionLocker(one))
	if err != nil {
		return mapErr(op, err)
	}
	return mapErr(op, fn(db, p))
}

// pending returns how many migrations are missing. It writes nothing.
func pending(ctx context.Context, op string, db *sql.DB, p *goose.Provider) (int, error) {
	within, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	n, err := look(within, op, db, p)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = fault.As(fault.Unavailable, op, &cause{"the database does not answer", err})
	}
	return n, err
}

func look(ctx context.Context, op string, db *sql.DB, p *goose.Provider) (n int, err error) {
	var exists bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, goose.DefaultTablename).Scan(&exists); err != nil {
		return 0, mapErr(op, err)
	}
	var version int64
	if exists {
		if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+goose.DefaultTablename+
			` WHERE is_applied`).Scan(&version); err != nil {
			return 0, mapErr(op, err)
		}
	}
	sources := p.ListSources()
	for _, source := range sources {
		if source.Version > version {
			n++
		}
	}
	if len(sources) > 0 && version > sources[len(sources)-1].Version {
		return 0, fault.New(fault.Invalid, op, "the database was written by a newer version of this program")
	}
	return n, nil
}

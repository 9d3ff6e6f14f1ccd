package postgres

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"imapped/domain/fault"
	"imapped/migrations"
)

// How long a node waits while another one migrates: so many times a second.
const migrationWait = 600

// Migrate brings the database's schema up to the newest version. Several nodes may do it at once: one does, and the others
// wait for it.
func Migrate(ctx context.Context, url string) error {
	const op = "migrate the database"
	return withProvider(op, url, func(db *sql.DB, p *goose.Provider) error {
		if _, err := pending(ctx, op, db, p); err != nil {
			return err
		}
		_, err := p.Up(ctx)
		return err
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
func pending(ctx context.Context, op string, db *sql.DB, p *goose.Provider) (n int, err error) {
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

package postgres_test

import (
	"context"
	"testing"
	"time"

	"imapped/adapters/postgres"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/transfer"
)

// behind returns the URL of a database whose users have to be altered, of a program that was before data keys.
func behind(t *testing.T) string {
	t.Helper()
	url := database(t)
	_, err := connect(t, url).Exec(t.Context(), `DROP TABLE installation; DROP INDEX accounts_address; ALTER TABLE users DROP COLUMN data_key, DROP COLUMN data_key_id;
		DELETE FROM goose_db_version WHERE version_id > 4`)
	must(t, err)
	return url
}

// TestMigrateBesideTransaction: a transaction that reads users for long keeps a migration of them waiting, but not those who
// come after the migration.
func TestMigrateBesideTransaction(t *testing.T) {
	t.Parallel()
	url := behind(t)
	c := connect(t, url)
	tx, err := c.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `SELECT * FROM users`)
	must(t, err)
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(context.WithoutCancel(t.Context()), url) }()
	other := connect(t, url)
	for waits := false; !waits; {
		must(t, other.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted)`).Scan(&waits))
	}
	_, err = other.Exec(t.Context(), `SET statement_timeout = '20s'; SELECT * FROM users`)
	must(t, err)
	select {
	case err := <-migrated:
		t.Errorf("the migration ended while the table is read: %v", err)
	default:
	}
	must(t, tx.Commit(t.Context()))
	must(t, <-migrated)
	if n, err := postgres.Pending(t.Context(), url); err != nil || n != 0 {
		t.Errorf("%d are pending, %v", n, err)
	}
}

// TestMigrateGivesUp: a table that is not to be had is told.
func TestMigrateGivesUp(t *testing.T) {
	t.Parallel()
	url := behind(t)
	tx, err := connect(t, url).Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `SELECT * FROM users`)
	must(t, err)
	fails(t, postgres.MigrateFor(t.Context(), url, 0), fault.Unavailable)
	must(t, tx.Rollback(t.Context()))
	must(t, postgres.MigrateFor(t.Context(), url, 0))
}

// TestPendingDeadline: a database that accepts the question and does not answer keeps no process from ending.
func TestPendingDeadline(t *testing.T) {
	t.Parallel()
	url := database(t)
	tx, err := connect(t, url).Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE goose_db_version`)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = postgres.Pending(ctx, url+"&lock_timeout=0")
	fails(t, err, fault.Unavailable)
	must(t, tx.Rollback(t.Context()))
}

// TestInstallations: two databases have two ids.
func TestInstallations(t *testing.T) {
	seen := map[blob.Installation]bool{}
	for range 2 {
		s := openWith(t, postgres.Options{URL: server.URL(t), Migrate: true})
		id, err := s.Installation(t.Context())
		must(t, err)
		seen[id] = true
	}
	if len(seen) != 2 {
		t.Errorf("two databases have %d ids", len(seen))
	}
}

// TestImportClock: whether a server runs on the database is told by the database's clock, which here is wrong by an hour.
func TestImportClock(t *testing.T) {
	for _, tt := range []struct {
		offset string
		lives  time.Duration // from the present of this machine on
		want   fault.Kind
	}{{"+ interval '1 hour'", 30 * time.Minute, fault.Internal}, {"- interval '1 hour'", -30 * time.Minute, fault.Conflict}} {
		url := database(t)
		_, err := connect(t, url).Exec(t.Context(), `CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
			AS $$ SELECT pg_catalog.clock_timestamp() `+tt.offset+` $$`)
		must(t, err)
		_, err = connect(t, url).Exec(t.Context(), `INSERT INTO owners (name, expires) VALUES ('node', $1)`, time.Now().Add(tt.lives).UnixNano())
		must(t, err)
		tables := tablesOf(t, url)
		_, err = openImport(t, url+"&search_path=public,pg_catalog").Begin(t.Context(), transfer.Start{
			Origin: transfer.Origin{ID: "a", State: "1"}, Tables: tables,
		})
		if tt.want == fault.Internal {
			must(t, err)
		} else {
			fails(t, err, tt.want)
		}
	}
}

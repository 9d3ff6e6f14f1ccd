package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/adapters/sqlite"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

func fails(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("error %v, want one of the kind %q", err, kind)
	}
	for _, word := range []string{"SELECT", "INSERT", "UPDATE", "UNIQUE", "SQLITE", "constraint", "accounts.", "users."} {
		if strings.Contains(err.Error(), word) {
			t.Fatalf("the error's text shows the database's insides: %v", err)
		}
	}
}

func TestMigrate(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "a b?c#%41.db") // a path, not a URL
	_, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	fails(t, err, fault.NotFound)
	must(t, os.WriteFile(path, nil, 0o600))
	pending, err := sqlite.Pending(ctx, path)
	must(t, err)
	if pending == 0 {
		t.Fatal("an empty database needs no migrations")
	}
	_, err = sqlite.Open(ctx, sqlite.Options{Path: path})
	fails(t, err, fault.Invalid)
	must(t, sqlite.Migrate(ctx, path))
	must(t, sqlite.Migrate(ctx, path))
	if pending, err = sqlite.Pending(ctx, path); err != nil || pending != 0 {
		t.Fatalf("%d migrations pending after all were applied, %v", pending, err)
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	must(t, err)
	must(t, s.Close())
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is left after an orderly end: %v", err)
	}
}

// TestMigrateAtOnce: processes that start together on a new database agree.
func TestMigrateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Migrate: true})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the database has the mode %v", info.Mode())
	}
}

func TestNewerDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	must(t, sqlite.Migrate(t.Context(), path))
	db := raw(t, path)
	_, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
	must(t, err)
	for _, migrate := range []bool{false, true} {
		_, err = sqlite.Open(t.Context(), sqlite.Options{Path: path, Migrate: migrate})
		fails(t, err, fault.Invalid)
		if !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%v", err)
		}
	}
}

// raw opens the database as another program would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "missing", "meta.db"), Migrate: true})
	fails(t, err, fault.Unavailable)
	garbage := filepath.Join(dir, "garbage.db")
	must(t, os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	_, err = sqlite.Open(t.Context(), sqlite.Options{Path: garbage, Migrate: true})
	fails(t, err, fault.Corrupt)
}

func TestErrorTexts(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meta.db"))
	_, err := s.CreateUser(t.Context(), account.User{Name: "ann"})
	must(t, err)
	_, err = s.CreateUser(t.Context(), account.User{Name: "Ann"})
	fails(t, err, fault.Exists)
	_, err = s.CreateAccount(t.Context(), account.Account{User: 5})
	fails(t, err, fault.NotFound)
	must(t, s.Close())
	must(t, s.Close())
	_, err = s.Users(t.Context())
	fails(t, err, fault.Unavailable)
	fails(t, s.UpdateUser(t.Context(), account.User{ID: 1}), fault.Unavailable)
}

// TestTwoProcesses: a second program (the command line, while the server runs) sees the first one's writes at once,
// and both write.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	server, cli := open(t, path), open(t, path)
	defer func() { must(t, errors.Join(server.Close(), cli.Close())) }()
	var all sync.WaitGroup
	for i, s := range []*sqlite.Store{server, cli} {
		all.Go(func() {
			for n := range 50 {
				name := fmt.Sprintf("user-%d-%d", i, n)
				if _, err := s.CreateUser(t.Context(), account.User{Name: name}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, s := range []*sqlite.Store{server, cli} {
		users, err := s.Users(t.Context())
		must(t, err)
		if len(users) != 100 {
			t.Errorf("%d users, want 100", len(users))
		}
	}
}

// TestBusy: while another program keeps the database locked, reads go on, and a write waits no longer than its
// context and than the store's own patience.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	s := open(t, path)
	defer func() { must(t, s.Close()) }()
	db := raw(t, path)
	_, err := db.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	must(t, err)

	_, err = s.Users(t.Context())
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = s.CreateUser(ctx, account.User{Name: "ann"})
	fails(t, err, fault.Canceled)
	if waited := time.Since(start); waited > 3*time.Second {
		t.Errorf("waited %v with a deadline of 50 ms", waited)
	}
	if !testing.Short() {
		_, err = s.CreateUser(t.Context(), account.User{Name: "ann"})
		fails(t, err, fault.Unavailable)
	}
	_, err = db.ExecContext(t.Context(), `ROLLBACK`)
	must(t, err)
	_, err = s.CreateUser(t.Context(), account.User{Name: "ann"})
	must(t, err)
}

// TestCancelMidway cancels large changes at many moments: each is there as a whole or not at all, and the store goes
// on working.
func TestCancelMidway(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "meta.db"))
	defer func() { must(t, s.Close()) }()
	u, err := s.CreateUser(t.Context(), account.User{Name: "ann"})
	must(t, err)
	a, err := s.CreateAccount(t.Context(), account.Account{User: u.ID})
	must(t, err)
	f, err := s.Acquire(t.Context(), a.ID, "x", time.Unix(1, 0), time.Hour)
	must(t, err)
	m, err := s.SaveMailbox(t.Context(), f, metadata.Mirrored{Info: mailbox.Info{Name: "INBOX"}})
	must(t, err)
	const n = 2000
	applied := 0
	for i := range 60 {
		// Most of them end within the first statements; the last few are long enough for all.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i*i)*500*time.Nanosecond)
		_, err := s.Apply(ctx, f, metadata.Update{Mailbox: m.ID, New: newMessages(1+i*n, n)})
		cancel()
		if err == nil {
			applied++
		} else {
			fails(t, err, fault.Canceled)
		}
		d, err := s.Changes(t.Context(), a.ID, m.ID, 0)
		must(t, err)
		if len(d.Rows) != applied*n || int(d.UIDNext) != applied*n+1 {
			t.Fatalf("%d messages, UIDNEXT %d after %d changes of %d", len(d.Rows), d.UIDNext, applied, n)
		}
	}
}

// TestPlans: no statement of the hot path scans a table.
func TestPlans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	must(t, sqlite.Migrate(t.Context(), path))
	db := raw(t, path)
	for _, query := range sqlite.HotStatements() {
		args := make([]any, strings.Count(query, "?"))
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
		must(t, err)
		for rows.Next() {
			var id, parent, unused int
			var detail string
			must(t, rows.Scan(&id, &parent, &unused, &detail))
			for _, table := range []string{
				"messages", "contents", "identities", "threads", "tombstones", "mutations", "departed", "retained",
				"m", "i", "f", "q", "r", "d", "c", "s", "e", "x",
			} {
				if detail == "SCAN "+table || strings.HasPrefix(detail, "SCAN "+table+" ") {
					t.Errorf("%s\nscans: %s", query, detail)
				}
			}
		}
		must(t, errors.Join(rows.Err(), rows.Close()))
	}
}

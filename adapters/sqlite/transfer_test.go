package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/transfer"
)

// TestExportCoversTheSchema: a table, or a column of one that is not read as it is, that somebody adds is not left behind
// silently; a column of any other table is read.
func TestExportCoversTheSchema(t *testing.T) {
	for _, tt := range []struct{ statement, refused, read string }{
		{"CREATE TABLE labels (id INTEGER PRIMARY KEY)", "labels", ""},
		{"ALTER TABLE leases ADD COLUMN node TEXT NOT NULL DEFAULT ''", "leases.node", ""},
		{"ALTER TABLE owners ADD COLUMN since INTEGER NOT NULL DEFAULT 0", "owners.since", ""},
		{"DROP TABLE departed", "departed", ""},
		{"ALTER TABLE mailboxes ADD COLUMN colour INTEGER NOT NULL DEFAULT 0", "", "mailboxes.colour"},
		{"ALTER TABLE contents ADD COLUMN colour INTEGER NOT NULL DEFAULT 0", "", "contents.colour"},
	} {
		path := filepath.Join(t.TempDir(), "imapped.db")
		if err := Migrate(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		db, err := openDB(path, writerCacheKB, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), tt.statement); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		e, err := OpenExport(t.Context(), path)
		if tt.refused != "" {
			if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s: %v", tt.statement, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !has(e.Tables(), tt.read) {
			t.Errorf("%s: %s is not read", tt.statement, tt.read)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func has(tables []transfer.Table, column string) bool {
	for _, t := range tables {
		for _, c := range t.Columns {
			if t.Name+"."+c == column {
				return true
			}
		}
	}
	return false
}

// TestExportKeepsWritersOut: nobody writes while a database is moved, and its state differs after every change.
func TestExportKeepsWritersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imapped.db")
	s, err := Open(t.Context(), Options{Path: path, Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.patience = 100 * time.Millisecond
	state := func() transfer.Origin {
		t.Helper()
		e, err := OpenExport(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		o, err := e.Origin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return o
	}
	u, err := s.CreateUser(t.Context(), account.User{Name: "ann", Created: time.Unix(1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	first := state()
	if again := state(); again != first {
		t.Errorf("nothing changed, but the state is %+v and was %+v", again, first)
	}
	e, err := OpenExport(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	u.Disabled = true
	if err := s.UpdateUser(t.Context(), u); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a write while it is moved: %v", err)
	}
	if _, err := s.Users(t.Context()); err != nil {
		t.Errorf("a read while it is moved: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if now := state(); now.ID != first.ID || now.State == first.State {
		t.Errorf("after a change it is %+v, was %+v", now, first)
	}
}

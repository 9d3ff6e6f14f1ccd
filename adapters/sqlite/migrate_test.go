package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/migrations"
	"imapped/ports/metadata"
)

// TestMigrateEdits: a database of the first version keeps its mailboxes, and their ids stay used; back again, too.
func TestMigrateEdits(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "meta.db")
	db := raw(t, path)
	files, err := migrations.SQLite()
	must(t, err)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	must(t, err)
	_, err = p.UpTo(ctx, 1)
	must(t, err)
	for _, text := range []string{
		`INSERT INTO users VALUES (1, 'ann', 'ann', '', 0, 0)`,
		`INSERT INTO accounts VALUES (1, 1, 0, 'd', 'e', 'e', 'h', 1, 'tls', 0, '', '', '', x'', 0, 0, 0, 7)`,
		`INSERT INTO mailboxes VALUES (3, 1, 'INBOX', 1, 1, 7, 5, 9, 2, 3, 2, 1, 30, 1, x'494e424f58', 47, 5, 6, 7, 2, 8)`,
		`INSERT INTO mailboxes VALUES (8, 1, 'gone', 0, 0, 8, 1, 1, 1, 0, 0, 0, 0, 0, x'', 0, 0, 0, 0, 0, 0)`,
		`DELETE FROM mailboxes WHERE id = 8`,
		`INSERT INTO messages VALUES (1, 3, 1, 9, 0, '', 10, 0, 0, 11, 1), (1, 3, 2, 9, 0, '', 10, 0, 0, 12, 0),
			(1, 3, 3, 9, 12, '', 10, 0, 0, 0, 0)`,
	} {
		_, err := db.ExecContext(ctx, text)
		must(t, err)
	}
	for range 2 {
		s := open(t, path)
		ms, err := s.Mirrored(ctx, 1)
		must(t, err)
		want := metadata.Mirrored{
			Info: mailbox.Info{
				ID: 3, Account: 1, Name: "INBOX", Attrs: 1, Subscribed: true, UIDValidity: 7, UIDNext: 5, HighestModSeq: 9,
				RecentFrom: 2, Messages: 3, Unseen: 2, Deleted: 1, Size: 30, DeletedSize: 10,
			},
			Upstream: metadata.Upstream{Name: "INBOX", Delimiter: '/', Checkpoint: metadata.Checkpoint{
				UIDValidity: 5, UIDNext: 6, ModSeq: 7, Messages: 2, Synced: time.Unix(0, 8).UTC(),
			}},
			Bodies: 1, Bound: 2,
		}
		if len(ms) != 1 || ms[0] != want {
			t.Fatalf("mailboxes %+v, want %+v", ms, want)
		}
		must(t, s.Close())
		_, err = p.DownTo(ctx, 1)
		must(t, err)
	}
	s := open(t, path)
	defer func() { must(t, s.Close()) }()
	m, err := s.CreateMailbox(ctx, account.ID(1), "new", 0, time.Unix(9, 0))
	must(t, err)
	if m.ID != 9 {
		t.Errorf("the next mailbox has the id %d, want 9", m.ID)
	}
	must(t, s.DeleteMailbox(ctx, 1, 3, time.Unix(9, 0)))
	must(t, db.Close())
}

package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/ports/metadata"
)

// TestPurgeInPieces: a long undo list is purged in several transactions, so that others write in between: one that fails
// undoes its own piece alone.
func TestPurgeInPieces(t *testing.T) {
	const n = 12000
	path := filepath.Join(t.TempDir(), "meta.db")
	s := open(t, path)
	defer func() { must(t, s.Close()) }()
	ctx := t.Context()
	u, err := s.CreateUser(ctx, account.User{Name: "ann"})
	must(t, err)
	a, err := s.CreateAccount(ctx, account.Account{User: u.ID})
	must(t, err)
	db := raw(t, path)
	_, err = db.ExecContext(ctx, `WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?2)
			INSERT INTO retained (id, account_id, mailbox, removed, sys, keywords, date, zone, email, thread, blob, size, envelope,
			body, structure, headers, preview, parts)
			SELECT n, ?1, 'INBOX', n, 0, '', 0, 0, x'', x'', x'', 0, x'', x'', x'', x'', x'', x'' FROM i`, int64(a.ID), n)
	must(t, err)
	_, err = db.ExecContext(ctx, `CREATE TRIGGER stays BEFORE DELETE ON retained WHEN old.id = 12000
		BEGIN SELECT RAISE(ABORT, 'a test'); END`)
	must(t, err)
	left := func() (n int) {
		must(t, s.Retained(ctx, a.ID, "", time.Time{}, func(metadata.Retained) error {
			n++
			return nil
		}))
		return n
	}
	purged, err := s.PurgeRetained(ctx, time.Unix(1, 0))
	if err == nil || purged == 0 || left() != n-purged {
		t.Fatalf("%d purged, %d left, %v", purged, left(), err)
	}
	_, err = db.ExecContext(ctx, `DROP TRIGGER stays`)
	must(t, err)
	again, err := s.PurgeRetained(ctx, time.Unix(1, 0))
	if err != nil || again != n-purged || left() != 0 {
		t.Fatalf("%d purged, then %d, %d left, %v", purged, again, left(), err)
	}
}

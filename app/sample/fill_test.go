package sample_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/app/deliver"
	"imapped/app/sample"
	"imapped/app/session"
	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/clock"
)

// blobs stores nothing but knows the keys.
type blobs struct{ blob.Store }

func (blobs) Put(_ context.Context, raws ...[]byte) (keys []blob.Key, _ error) {
	for _, raw := range raws {
		keys = append(keys, sha256.Sum256(raw))
	}
	return keys, nil
}

type anybody struct{}

func (anybody) Check(context.Context, string, string, string) (account.User, *account.Account, error) {
	return account.User{ID: 1, Name: "demo"}, nil, nil
}

// TestClientsChangeTheSample: clients do what they like with the sample while mail is delivered; nothing is queued, and
// filling it again does not undo it.
func TestClientsChangeTheSample(t *testing.T) {
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "imapped.db"), Migrate: true})
	check(err)
	defer db.Close()
	_, err = db.CreateUser(ctx, account.User{Name: "demo", Created: time.Unix(1, 0)})
	check(err)
	acc, err := db.CreateAccount(ctx, account.Account{User: 1, Display: "Demo", Email: "demo@harbour.example", Local: true, Created: time.Unix(1, 0)})
	check(err)
	bus := &memory.Bus{}
	box, err := deliver.New(ctx, deliver.Config{Mirror: db, Leases: db, Blobs: blobs{}, Bus: bus, Clock: clock.System{}}, acc.ID, "test")
	check(err)
	defer box.Close(ctx)
	inbox, err := sample.Fill(ctx, box)
	check(err)
	svc := session.New(session.Config{
		Auth: anybody{}, Accounts: db, Mailboxes: db, Messages: db, Edits: db, Folders: db, Blobs: blob.Shared{Store: blobs{}}, Bus: bus, Clock: clock.System{},
		Changed: func(account.ID) { t.Error("there is no upstream to be told") },
	})
	s, err := svc.Login(ctx, session.Credentials{})
	check(err)
	counts := func() string {
		all, err := s.List(ctx, session.ListRequest{Patterns: []string{"*"}, Status: true})
		check(err)
		var b strings.Builder
		for _, l := range all {
			if l.Status != nil {
				fmt.Fprintf(&b, "%s %d\n", l.Name, l.Status.Messages)
			}
		}
		return b.String()
	}
	all, err := sample.Mailboxes()
	check(err)
	if got := counts(); strings.Count(got, "\n") != len(all) || !strings.Contains(got, fmt.Sprintf("INBOX %d\n", len(all[0].Messages))) {
		t.Errorf("filled with\n%s", got)
	}

	m, err := s.Open(ctx, "INBOX", session.OpenOptions{})
	check(err)
	defer m.Close()
	every := m.View().UIDs(m.View().All())
	_, err = s.Create(ctx, "Mine", 0)
	check(err)
	_, err = m.Copy(ctx, mailbox.SetOf[uint32](1, 2), "Mine", false)
	check(err)
	check(s.Delete(ctx, all[1].Name))
	check(s.Rename(ctx, all[2].Name, "Renamed"))
	_, err = m.Store(ctx, session.StoreRequest{UIDs: every, Flags: flag.Make(flag.Deleted)})
	check(err)
	gone, err := m.Expunge(ctx, nil)
	if err != nil || gone.Len() != every.Len() {
		t.Errorf("%q of %q went, %v", gone, every, err)
	}
	uids, err := box.Messages(ctx, inbox, sample.Next(1, time.Unix(1_770_000_000, 0)))
	check(err)
	if len(uids) != 1 || uint64(uids[0]) != every.Len()+1 {
		t.Errorf("delivered as %v after %q", uids, every)
	}
	a, err := s.Append(ctx, "Mine")
	check(err)
	check(a.Add(ctx, bytes.NewReader([]byte("x")), 1, flag.Set{}, time.Time{}))
	_, err = a.Commit(ctx, nil, 0)
	check(err)

	before := counts()
	if again, err := sample.Fill(ctx, box); err != nil || again != inbox {
		t.Errorf("%d, %v", again, err)
	}
	if got := counts(); got != before || !strings.Contains(got, "INBOX 1\n") || !strings.Contains(got, "Mine 3\n") {
		t.Errorf("after filling again\n%swas\n%s", got, before)
	}
	if q, err := db.QueueSummary(ctx, acc.ID); err != nil || q.Waiting+q.Sent+q.Parked > 0 {
		t.Errorf("%+v, %v", q, err)
	}
}

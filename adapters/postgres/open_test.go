package postgres_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/adapters/postgres"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

func fails(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("error %v, want one of the kind %q", err, kind)
	}
	for _, word := range []string{"SELECT", "INSERT", "UPDATE", "SQLSTATE", "constraint", "accounts_", "users_", "secret", "imapped_test"} {
		if strings.Contains(err.Error(), word) {
			t.Fatalf("the error's text shows the database's insides: %v", err)
		}
	}
}

func TestMigrate(t *testing.T) {
	ctx := t.Context()
	url := server.URL(t)
	pending, err := postgres.Pending(ctx, url)
	must(t, err)
	if pending == 0 {
		t.Fatal("an empty database needs no migrations")
	}
	_, err = postgres.Open(ctx, postgres.Options{URL: url})
	fails(t, err, fault.Invalid)
	var tables int
	must(t, connect(t, url).QueryRow(ctx, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables))
	if tables != 0 {
		t.Fatalf("looking made %d tables", tables)
	}
	// Nodes that start together agree.
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			s, err := postgres.Open(ctx, postgres.Options{URL: url, Migrate: true, Connections: 1})
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
	if pending, err = postgres.Pending(ctx, url); err != nil || pending != 0 {
		t.Fatalf("%d migrations pending after all were applied, %v", pending, err)
	}
	openWith(t, postgres.Options{URL: url})

	c := connect(t, url)
	_, err = c.Exec(ctx, `DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)
	must(t, err)
	_, err = postgres.Open(ctx, postgres.Options{URL: url})
	fails(t, err, fault.Invalid)
	if !strings.Contains(err.Error(), "1 migrations are missing") {
		t.Errorf("%v", err)
	}
	_, err = c.Exec(ctx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	must(t, err)
	for _, migrate := range []bool{false, true} {
		_, err = postgres.Open(ctx, postgres.Options{URL: url, Migrate: migrate})
		fails(t, err, fault.Invalid)
		if !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%v", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for url, kind := range map[string]fault.Kind{
		"postgres://u:secret@127.0.0.1:1/none?sslmode=disable":               fault.Unavailable,
		"postgres://u:secret@[::1/none":                                      fault.Invalid,
		strings.Replace(server.URL(t), "imapped_test", "no_imapped_test", 1): fault.NotFound,
	} {
		for _, migrate := range []bool{false, true} {
			_, err := postgres.Open(t.Context(), postgres.Options{URL: url, Migrate: migrate})
			fails(t, err, kind)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	s := open(t, database(t))
	ctx := t.Context()
	_, err := s.CreateUser(ctx, account.User{Name: "ann"})
	must(t, err)
	_, err = s.CreateUser(ctx, account.User{Name: "Ann"})
	fails(t, err, fault.Exists)
	_, err = s.CreateAccount(ctx, account.Account{User: 5})
	fails(t, err, fault.NotFound)
	_, err = s.CreateUser(ctx, account.User{Name: "a\x00b"})
	fails(t, err, fault.Invalid)
	for _, name := range []string{"a\x00b", "\xff\xfe"} {
		_, err = s.User(ctx, name)
		fails(t, err, fault.NotFound)
	}
	must(t, s.Close())
	must(t, s.Close())
	_, err = s.Users(ctx)
	fails(t, err, fault.Unavailable)
	fails(t, s.UpdateUser(ctx, account.User{ID: 1}), fault.Unavailable)
}

// TestNotesOfOthers: texts that an upstream wrote are stored whatever they hold, also as reasons.
func TestNotesOfOthers(t *testing.T) {
	s := fixture(t, database(t))
	ctx := t.Context()
	const bad = "caf\xe9 \x00 \xff"
	must(t, s.SetStatus(ctx, s.fence, account.Status{State: account.StateBackoff, Text: bad}))
	st, err := s.Status(ctx, s.fence.Account)
	must(t, err)
	if !strings.HasPrefix(st.Text, "caf\uFFFD \uFFFD ") {
		t.Errorf("the text is %q", st.Text)
	}
	s.fill(t, 1)
	must(t, s.Unfetchable(ctx, s.fence, s.box, 1, bad, time.Time{}))
	_, err = s.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf[uint32](1), true))
	must(t, err)
	qs, err := s.Mutations(ctx, s.fence.Account, 0, 10)
	must(t, err)
	_, err = s.Settle(ctx, s.fence, time.Unix(9, 0), []metadata.Outcome{{ID: qs[0].ID, Version: qs[0].Version, Verdict: metadata.Park, Reason: bad}})
	must(t, err)
}

// TestBusy: while another program holds an account's lock, reads go on and other accounts change, and a write waits no
// longer than its context and than the lock timeout.
func TestBusy(t *testing.T) {
	url := database(t)
	s := fixture(t, url)
	s.fill(t, 3)
	quick := openWith(t, postgres.Options{URL: url, LockTimeout: 50 * time.Millisecond})
	ctx := t.Context()
	c := holdAccounts(t, url)

	for name, store := range map[string]func(context.Context, *postgres.Store) error{
		"one flag": func(ctx context.Context, s2 *postgres.Store) error {
			_, err := s2.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf[uint32](1), true))
			return err
		},
		"flags": func(ctx context.Context, s2 *postgres.Store) error {
			_, err := s2.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf[uint32](1, 3), true))
			return err
		},
	} {
		_, err := s.Changes(ctx, s.fence.Account, s.box, 0)
		must(t, err)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		start := time.Now()
		err = store(short, s.Store)
		cancel()
		if fails(t, err, fault.Canceled); time.Since(start) > 8*time.Second {
			t.Errorf("%s waited %v with a deadline of 50 ms", name, time.Since(start))
		}
		fails(t, store(ctx, quick), fault.Unavailable)
	}
	d, err := s.Changes(ctx, s.fence.Account, s.box, 0)
	must(t, err)
	for _, r := range d.Rows {
		if r.Flags.Has(flag.Flagged) {
			t.Errorf("a change that was given up was made: %+v", r)
		}
	}
	_, err = c.Exec(ctx, `ROLLBACK`)
	must(t, err)
	_, err = quick.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf[uint32](1), true))
	must(t, err)
}

// TestCancelMidway cancels large changes at many moments: each is there as a whole or not at all, what was acknowledged is
// there, and the store goes on working.
func TestCancelMidway(t *testing.T) {
	s := fixture(t, database(t))
	const n = 1000
	there := 0
	for i := range 40 {
		// Most of them end within the first statements; the last few are long enough for all.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i*i)*3*time.Microsecond)
		_, err := s.Apply(ctx, s.fence, metadata.Update{Mailbox: s.box, New: newMessages(1+i*n, n)})
		cancel()
		if err != nil {
			fails(t, err, fault.Canceled)
		} else {
			there++
		}
		d, err := s.Changes(t.Context(), s.fence.Account, s.box, 0)
		must(t, err)
		if len(d.Rows) != there*n || int(d.UIDNext) != there*n+1 {
			t.Fatalf("%d messages, UIDNEXT %d after %d changes of %d", len(d.Rows), d.UIDNext, there, n)
		}
	}
}

// TestRestart: calls that meet a server that crashed fail as Unavailable or Uncertain, or are run again where that is safe, and
// the store goes on by itself when the server is back. What was acknowledged is there once, what was Uncertain at most once,
// and nothing else.
func TestRestart(t *testing.T) {
	url := database(t)
	s := fixture(t, url)
	stop, progress := make(chan struct{}), make(chan struct{}, 1)
	var all sync.WaitGroup
	var acknowledged, uncertain atomic.Int64
	for w := range 4 {
		all.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				m := newMessages(100_000*(w+1)+k, 1)
				m[0].Upstream, m[0].Content = 0, &contents(s.box, k, 1)[0]
				_, err := s.AddMessages(t.Context(), s.fence.Account, metadata.AddEdit{Mailbox: s.box, Messages: m})
				switch {
				case err == nil:
					acknowledged.Add(1)
					select {
					case progress <- struct{}{}:
					default:
					}
				case fault.Is(err, fault.Uncertain):
					uncertain.Add(1)
				case fault.Is(err, fault.Unavailable):
				default:
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		for range 20 {
			<-progress
		}
		server.Restart(t)
	}
	<-progress
	close(stop)
	all.Wait()
	info, err := s.Mailbox(t.Context(), s.fence.Account, s.box)
	must(t, err)
	sum, there := acknowledged.Load(), int64(info.Messages)
	if there < sum || there > sum+uncertain.Load() {
		t.Errorf("%d acknowledged, %d uncertain, %d there", sum, uncertain.Load(), there)
	}
	emails := map[mailbox.ObjectID]bool{}
	must(t, s.Identities(t.Context(), s.fence.Account, s.box, mailbox.SetFrom(1), func(v metadata.Identity) error {
		if emails[v.EmailID] {
			t.Errorf("the message %v is there twice", v.EmailID)
		}
		emails[v.EmailID] = true
		return nil
	}))
}

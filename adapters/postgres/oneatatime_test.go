package postgres_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"imapped/adapters/postgres"
	"imapped/domain/mailbox"
)

// holdAccounts returns a connection in whose transaction all accounts are locked.
func holdAccounts(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c := connect(t, url)
	_, err := c.Exec(t.Context(), `BEGIN`)
	must(t, err)
	_, err = c.Exec(t.Context(), `SELECT * FROM account_counters FOR UPDATE`)
	must(t, err)
	return c
}

// TestOneAsksForTheLock: of the changes of one account that a process makes at the same time, the server sees one at a time wait
// for the account's lock. Of a process that stands still the others would get it one after the other, and each keep it for
// as long as the server lets it.
func TestOneAsksForTheLock(t *testing.T) {
	url := database(t)
	s := fixture(t, url)
	s.fill(t, 3)
	ctx := t.Context()
	c, look := holdAccounts(t, url), connect(t, url)
	var changes sync.WaitGroup
	for n := range 4 { // of one message, which is a statement that commits by itself, and of two
		changes.Go(func() {
			if _, err := s.EditFlags(ctx, s.fence.Account, toggle(s.box, some(n), true)); err != nil {
				t.Error(err)
			}
		})
	}
	most, seen := 0, 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); seen < 20 && time.Now().Before(end); <-tick.C {
		var waiting int
		must(t, look.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).
			Scan(&waiting))
		if most = max(most, waiting); waiting > 0 {
			seen++
		}
	}
	_, err := c.Exec(ctx, `ROLLBACK`)
	must(t, err)
	changes.Wait()
	if most != 1 {
		t.Errorf("%d changes waited for the lock at the same time", most)
	}
}

// some is one message of the fixture, or two.
func some(n int) mailbox.Set {
	if n%2 == 0 {
		return mailbox.SetOf[uint32](1)
	}
	return mailbox.SetOf[uint32](1, 3)
}

// TestWaitersHoldNoConnection: changes that wait for their account leave the connections to others.
func TestWaitersHoldNoConnection(t *testing.T) {
	url := database(t)
	s := fixture(t, url)
	s.fill(t, 3)
	few := openWith(t, postgres.Options{URL: url, Connections: 3}) // one of them is for leases
	ctx := t.Context()
	c := holdAccounts(t, url)
	var changes sync.WaitGroup
	for n := range 4 {
		changes.Go(func() {
			if _, err := few.EditFlags(ctx, s.fence.Account, toggle(s.box, some(n), true)); err != nil {
				t.Error(err)
			}
		})
	}
	for end := time.Now().Add(5 * time.Second); postgres.AtGate(few, s.fence.Account) < 4; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("not all changes are at the gate")
		}
	}
	waitsForLock(t, url)
	if _, err := few.Mailbox(ctx, s.fence.Account, s.box); err != nil {
		t.Errorf("read beside changes that wait: %v", err)
	}
	_, err := c.Exec(ctx, `ROLLBACK`)
	must(t, err)
	changes.Wait()
}

// TestLeasesWhileAllIsTaken: a node whose connections are all in use renews its leases.
func TestLeasesWhileAllIsTaken(t *testing.T) {
	url := database(t)
	s := fixture(t, url)
	s.fill(t, 1)
	few := openWith(t, postgres.Options{URL: url, Connections: 2, CallerClock: true})
	ctx := t.Context()
	c := holdAccounts(t, url)
	changed := make(chan error, 1)
	go func() {
		_, err := few.EditFlags(ctx, s.fence.Account, toggle(s.box, mailbox.SetOf[uint32](1), true))
		changed <- err
	}()
	waitsForLock(t, url)
	held, err := few.RenewAll(ctx, s.fence.Owner, time.Now(), time.Hour)
	must(t, err)
	if held != 1 {
		t.Errorf("%d leases were renewed", held)
	}
	select {
	case err := <-changed:
		t.Errorf("the change did not take the connection meanwhile: %v", err)
	default:
	}
	_, err = c.Exec(ctx, `ROLLBACK`)
	must(t, err)
	must(t, <-changed)
}

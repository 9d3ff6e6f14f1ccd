package postgres_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
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

// more makes n further accounts, and returns all.
func (s *bench) more(tb testing.TB, n int) []account.ID {
	tb.Helper()
	all := []account.ID{s.fence.Account}
	u, err := s.CreateUser(tb.Context(), account.User{Name: "more"})
	must(tb, err)
	for i := range n {
		email := strconv.Itoa(i) + "@example.org"
		a, err := s.CreateAccount(tb.Context(), account.Account{User: u.ID, Email: email, Display: email})
		must(tb, err)
		all = append(all, a.ID)
	}
	return all
}

// TestNodesTakeAccounts has nodes take, keep and give back many accounts at once, in any order, while time goes on quickly. No
// call fails - no two wait for each other - and no token is ever that of two owners.
func TestNodesTakeAccounts(t *testing.T) {
	const nodes, steps, ttl = 4, 60, 10 * time.Second
	seed := seedOf(t)
	url := database(t)
	s := fixture(t, url)
	ids := s.more(t, 40)
	ctx := t.Context()
	var clock atomic.Int64 // in seconds
	clock.Store(10_000)    // the fixture's owner is dead
	now := func() time.Time { return time.Unix(clock.Add(1), 0) }
	var mu sync.Mutex
	owners := map[string]string{} // by account and token
	var all sync.WaitGroup
	for n := range nodes {
		store, name := s.Store, "node-"+strconv.Itoa(n)
		if n%2 == 1 {
			store = open(t, url)
		}
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		note := func(fences []metadata.Fence, err error) error {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range fences {
				lease := fmt.Sprint(f.Account, f.Token)
				if other := owners[lease]; f.Owner != name || other != "" && other != name {
					t.Errorf("%+v belongs to %q, too", f, other)
				}
				owners[lease] = name
			}
			return err
		}
		all.Go(func() {
			for step := range steps {
				var err error
				some := slices.Clone(ids)
				rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
				switch rng.IntN(6) {
				case 0, 1:
					err = note(store.AcquireAll(ctx, some[:1+rng.IntN(len(some))], name, now(), ttl))
				case 2:
					var f metadata.Fence
					if f, err = store.Acquire(ctx, some[0], name, now(), ttl); err == nil {
						err = note([]metadata.Fence{f}, nil)
					} else if fault.Is(err, fault.Conflict) {
						err = nil
					}
				case 3:
					_, err = store.RenewAll(ctx, name, now(), ttl)
				case 4:
					err = note(store.Held(ctx, name))
				default:
					err = store.ReleaseAll(ctx, name, now())
				}
				if err != nil {
					t.Errorf("%s, step %d: %v", name, step, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestRenewalRaces: of an owner that says that it lives and another that takes its accounts at the same moment, one wins.
func TestRenewalRaces(t *testing.T) {
	ctx := t.Context()
	url := database(t)
	a := fixture(t, url)
	b := open(t, url)
	late := time.Unix(1, 0).Add(2 * time.Hour) // a's time is over
	ids := []account.ID{a.fence.Account}
	c := connect(t, url)

	// The owner has renewed its leases, and not yet committed.
	_, err := c.Exec(ctx, `BEGIN`)
	must(t, err)
	_, err = c.Exec(ctx, `UPDATE owners SET expires = $1`, late.Add(time.Hour).UnixNano())
	must(t, err)
	taken := make(chan []metadata.Fence, 1)
	go func() {
		fences, err := b.AcquireAll(ctx, ids, "next", late, time.Hour)
		if err != nil {
			t.Error(err)
		}
		taken <- fences
	}()
	waitsForLock(t, url)
	_, err = c.Exec(ctx, `COMMIT`)
	must(t, err)
	if fences := <-taken; len(fences) != 0 {
		t.Fatalf("an owner that had just said that it lives lost %+v", fences)
	}

	// Another has taken them, and not yet committed.
	late = late.Add(2 * time.Hour)
	_, err = c.Exec(ctx, `BEGIN`)
	must(t, err)
	_, err = c.Exec(ctx, `SELECT 1 FROM owners FOR UPDATE`)
	must(t, err)
	_, err = c.Exec(ctx, `UPDATE leases SET owner = 'next', token = token + 1`)
	must(t, err)
	held := make(chan int, 1)
	go func() {
		n, err := a.RenewAll(ctx, a.fence.Owner, late, time.Hour)
		if err != nil {
			t.Error(err)
		}
		held <- n
	}()
	waitsForLock(t, url)
	_, err = c.Exec(ctx, `COMMIT`)
	must(t, err)
	if n := <-held; n != 0 {
		t.Fatalf("an owner was told that it holds %d leases, which are another's", n)
	}
}

// TestTakeOverOfPaused: a dead owner's transaction that is not over keeps one account, and none of the others.
func TestTakeOverOfPaused(t *testing.T) {
	ctx := t.Context()
	url := database(t)
	a := fixture(t, url)
	ids := a.more(t, 3)
	now := time.Unix(1, 0)
	_, err := a.AcquireAll(ctx, ids, a.fence.Owner, now, time.Hour)
	must(t, err)
	b := open(t, url)
	take := func(want ...account.ID) {
		t.Helper()
		fences, err := b.AcquireAll(ctx, ids, "next", now.Add(2*time.Hour), time.Hour)
		must(t, err)
		got := make([]account.ID, len(fences))
		for i, f := range fences {
			got[i] = f.Account
		}
		if !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
	}
	must(t, postgres.Hold(ctx, a.Store, a.fence, func() { take(ids[1:]...) }))
	take(ids...)
}

// TestAbsurdSizes: sums of sizes that an upstream made up stop no change.
func TestAbsurdSizes(t *testing.T) {
	s := fixture(t, database(t))
	ctx, acc := t.Context(), s.fence.Account
	m := newMessages(1, 3)
	for i := range m {
		m[i].Size = math.MaxInt64
	}
	_, err := s.Apply(ctx, s.fence, metadata.Update{Mailbox: s.box, New: m})
	must(t, err)
	for _, mode := range []metadata.FlagMode{metadata.AddFlags, metadata.RemoveFlags} {
		for uid := range uint32(3) {
			done, err := s.EditFlags(ctx, acc, metadata.FlagEdit{
				Mailbox: s.box, UIDs: mailbox.SetOf(uid + 1), Mode: mode, Flags: flag.Make(flag.Deleted), Now: time.Unix(5, 0),
			})
			must(t, err)
			if len(done.Changed) != 1 {
				t.Errorf("changed %v", done.Changed)
			}
		}
	}
	info, err := s.Mailbox(ctx, acc, s.box)
	must(t, err)
	if info.Deleted != 0 || info.DeletedSize != 0 {
		t.Errorf("%d messages of %d octets have \\Deleted", info.Deleted, info.DeletedSize)
	}
	must(t, s.StoreContents(ctx, s.fence, contents(s.box, 1, 3)))
	used, err := s.Usage(ctx, acc)
	must(t, err)
	if used != 15000 {
		t.Errorf("usage %d", used)
	}
}

// BenchmarkManyAccounts is what a node asks all the time: 5,000 accounts, which it holds, and 10 of which have a queue.
func BenchmarkManyAccounts(b *testing.B) {
	const accounts, busy = 5000, 10
	s := openBench(b)
	c := connect(b, s.url)
	ctx := context.Background()
	now := time.Unix(2, 0)
	for _, text := range []string{
		`INSERT INTO accounts SELECT n, a.user_id, n, n::text, n::text, n::text, host, port, tls, insecure, auth, username,
			secret_key, secret, local, paused, created FROM accounts a, generate_series(1000, 1000 + $1) n`,
		`INSERT INTO account_counters SELECT n, 1, 7 FROM generate_series(1000, 1000 + $1) n`,
		`INSERT INTO leases SELECT n FROM generate_series(1000, 1000 + $1) n`,
	} {
		_, err := c.Exec(ctx, text, accounts-2)
		must(b, err)
	}
	_, err := c.Exec(ctx, `INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, created)
		SELECT 1000 + n, m, 'flags', 1, m, 1 FROM generate_series(1, $1) n, generate_series(1, 5) m`, busy)
	must(b, err)
	all, err := s.Accounts(ctx, 0)
	must(b, err)
	ids := make([]account.ID, len(all))
	for i, a := range all {
		ids[i] = a.ID
	}
	began := time.Now()
	fences, err := s.AcquireAll(ctx, ids, s.fence.Owner, now, time.Hour)
	must(b, err)
	if len(fences) != accounts {
		b.Fatalf("took %d accounts", len(fences))
	}
	took := time.Since(began)
	for name, call := range map[string]func() (int, error){
		"RenewAll": func() (int, error) { return s.RenewAll(ctx, s.fence.Owner, now, time.Hour) },
		"Queues": func() (int, error) {
			q, err := s.Queues(ctx, s.fence.Owner)
			return len(q), err
		},
		"Acquirable": func() (int, error) {
			q, err := s.Acquirable(ctx, now)
			return len(q), err
		},
		"Owners": func() (int, error) {
			q, err := s.Owners(ctx, now)
			return len(q), err
		},
		"Held": func() (int, error) {
			q, err := s.Held(ctx, s.fence.Owner)
			return len(q), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n, err = call()
				must(b, err)
			}
			b.ReportMetric(float64(n), "answers")
			b.ReportMetric(took.Seconds()*1000, "acquire-all-ms")
		})
	}
}

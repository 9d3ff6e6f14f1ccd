package postgres_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/adapters/postgres"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// seedOf returns IMAPPED_SEED, or a new seed, and prints it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("IMAPPED_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	return seed
}

// TestNodesCatchUp has clients of two nodes, and the owner, change two mailboxes of one account in all ways at once, while
// readers on both nodes follow them by mod-sequence alone. No call fails - no two wait for each other - and in the end each
// reader has what a full look shows: had a lower mod-sequence become visible after a higher one, it would have missed it.
func TestNodesCatchUp(t *testing.T) {
	seed := seedOf(t)
	url := database(t)
	a := fixture(t, url)
	stores := []*postgres.Store{a.Store, open(t, url)}
	a.fill(t, 50)
	ctx := t.Context()
	other, err := a.CreateMailbox(ctx, a.fence.Account, "Other", 0, time.Unix(3, 0))
	must(t, err)
	boxes := []mailbox.ID{a.box, other.ID}

	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	followed := make([]*follower, 0, 4)
	for _, s := range stores {
		for _, box := range boxes {
			f := &follower{rows: map[mailbox.UID]mailbox.Row{}}
			followed = append(followed, f)
			readers.Go(func() {
				for last := false; !last; {
					select {
					case <-done:
						last = true
					default:
					}
					if err := f.look(ctx, s, a.fence, box); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	for w := range 6 {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		writers.Go(func() {
			for step := range 60 {
				if err := a.change(ctx, stores[w%2], rng, boxes, 1000*(w+1)+step); err != nil {
					t.Errorf("writer %d, step %d: %v", w, step, err)
					return
				}
			}
		})
	}
	writers.Go(func() {
		for step := range 60 {
			if _, err := a.Apply(ctx, a.fence, metadata.Update{
				Mailbox: a.box, New: newMessages(100_000+3*step, 3), Flags: []metadata.FlagChange{{UID: 7, Flags: flag.Make(flag.Seen)}},
			}); err != nil {
				t.Errorf("the owner, step %d: %v", step, err)
				return
			}
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	for i, f := range followed {
		full := &follower{rows: map[mailbox.UID]mailbox.Row{}}
		must(t, full.look(ctx, stores[0], a.fence, boxes[i%2]))
		if full.at != f.at || len(full.rows) != len(f.rows) {
			t.Errorf("reader %d is at %d with %d messages, the mailbox at %d with %d", i, f.at, len(f.rows), full.at, len(full.rows))
		}
		for uid, r := range full.rows {
			if f.rows[uid] != r {
				t.Errorf("reader %d has %+v, the mailbox %+v", i, f.rows[uid], r)
			}
		}
	}
	a.consistent(t, url)
}

// change makes one random change, as a client.
func (s *bench) change(ctx context.Context, on *postgres.Store, rng *rand.Rand, boxes []mailbox.ID, k int) error {
	acc := s.fence.Account
	box, to := boxes[rng.IntN(2)], boxes[rng.IntN(2)]
	first := uint32(rng.IntN(60) + 1)
	set := mailbox.Set{{First: first, Last: first + uint32(rng.IntN(5))}}
	switch rng.IntN(6) {
	case 0, 1:
		_, err := on.EditFlags(ctx, acc, toggle(box, mailbox.SetOf(first), rng.IntN(2) == 0))
		return err
	case 2:
		e := toggle(box, set, rng.IntN(2) == 0)
		e.Flags = flag.Make(flag.Answered, "$Label"+strconv.Itoa(rng.IntN(3)))
		_, err := on.EditFlags(ctx, acc, e)
		return err
	case 3:
		m := newMessages(k, 2)
		for i := range m {
			m[i].Upstream, m[i].Content = 0, &contents(box, k, 1)[0]
		}
		_, err := on.AddMessages(ctx, acc, metadata.AddEdit{Mailbox: box, Messages: m})
		return err
	case 4:
		_, err := on.CopyMessages(ctx, acc, metadata.CopyEdit{From: box, To: to, UIDs: set, Move: rng.IntN(2) == 0})
		return err
	default:
		_, err := on.RemoveMessages(ctx, acc, metadata.RemoveEdit{Mailbox: box, UIDs: mailbox.SetOf(first)})
		return err
	}
}

// follower is a mailbox as somebody knows it who reads what has changed since the last time.
type follower struct {
	rows map[mailbox.UID]mailbox.Row
	at   mailbox.ModSeq
}

func (f *follower) look(ctx context.Context, s *postgres.Store, fence metadata.Fence, box mailbox.ID) error {
	d, err := s.Changes(ctx, fence.Account, box, f.at)
	if err != nil {
		return err
	}
	if d.ModSeq < f.at {
		return fmt.Errorf("HIGHESTMODSEQ went from %d to %d", f.at, d.ModSeq)
	}
	for uid := range d.Expunged.All {
		delete(f.rows, mailbox.UID(uid))
	}
	for _, r := range d.Rows {
		if r.ModSeq > d.ModSeq || r.ModSeq <= f.at || r.UID >= d.UIDNext {
			return fmt.Errorf("after %d, at %d with UIDNEXT %d: %+v", f.at, d.ModSeq, d.UIDNext, r)
		}
		f.rows[r.UID] = r
	}
	f.at = d.ModSeq
	return nil
}

// consistent checks the package's invariants about sums.
func (s *bench) consistent(t *testing.T, url string) {
	t.Helper()
	var wrong int
	must(t, connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM mailboxes b WHERE
		NOT EXISTS (SELECT 1 FROM (SELECT count(*) AS n, coalesce(sum(m.size), 0) AS size,
			count(*) FILTER (WHERE m.sys & 8 = 0) AS unseen, count(*) FILTER (WHERE m.sys & 4 <> 0) AS deleted,
			count(*) FILTER (WHERE m.body) AS bodies, coalesce(sum(m.size) FILTER (WHERE m.sys & 4 <> 0), 0) AS marked
			FROM messages m WHERE m.account_id = b.account_id AND m.mailbox_id = b.id) x
			WHERE (x.n, x.size, x.unseen, x.deleted, x.bodies, x.marked) =
			(b.messages, b.size, b.unseen, b.deleted, b.bodies, b.deleted_size))
		OR b.bound <> (SELECT count(*) FROM messages m WHERE m.mailbox_id = b.id AND m.up_uid > 0) +
			(SELECT count(*) FROM departed d WHERE d.mailbox_id = b.id AND d.up_uid > 0)
		OR EXISTS (SELECT 1 FROM messages m FULL JOIN contents c USING (account_id, mailbox_id, uid)
			WHERE coalesce(m.body, false) <> (c.uid IS NOT NULL))`).Scan(&wrong))
	if wrong > 0 {
		t.Errorf("%d mailboxes whose sums are wrong", wrong)
	}
}

// TestOwnerLosesAccount: a change of an owner that waits for its turn while the account is taken is not made, and one that
// has begun is over when the account is given to the next.
func TestOwnerLosesAccount(t *testing.T) {
	ctx := t.Context()
	url := database(t)
	a := fixture(t, url)
	b := open(t, url)
	c := connect(t, url)
	_, err := c.Exec(ctx, `BEGIN`)
	must(t, err)
	_, err = c.Exec(ctx, `SELECT * FROM account_counters FOR UPDATE`)
	must(t, err)
	applied := make(chan error, 1)
	go func() {
		_, err := a.Apply(ctx, a.fence, metadata.Update{Mailbox: a.box, New: newMessages(1, 3)})
		applied <- err
	}()
	waitsForLock(t, url)
	later := time.Unix(1, 0).Add(2 * time.Hour)
	next, err := b.Acquire(ctx, a.fence.Account, "next", later, time.Hour)
	must(t, err)
	_, err = c.Exec(ctx, `COMMIT`)
	must(t, err)
	fails(t, <-applied, fault.Conflict)
	info, err := b.Mailbox(ctx, next.Account, a.box)
	must(t, err)
	if info.Messages != 0 {
		t.Error("a change of an owner that had lost the account was made")
	}

	// The next owner is in the middle of a change.
	begun, end, held := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	release := sync.OnceFunc(func() { close(end) })
	t.Cleanup(release)
	go func() {
		held <- postgres.Hold(ctx, b, next, func() {
			close(begun)
			<-end
		})
	}()
	<-begun
	acquired := make(chan error, 1)
	go func() {
		_, err := a.Acquire(ctx, next.Account, "third", later.Add(2*time.Hour), time.Hour)
		acquired <- err
	}()
	waitsForLock(t, url)
	select {
	case err := <-acquired:
		t.Fatalf("the account was given away while its owner changed it (%v)", err)
	default:
	}
	release()
	must(t, <-held)
	must(t, <-acquired)
	fails(t, postgres.Hold(ctx, b, next, func() {}), fault.Conflict)
}

// waitsForLock returns when a session of the store waits for a lock.
func waitsForLock(t *testing.T, url string) {
	t.Helper()
	c := connect(t, url)
	for deadline := time.Now().Add(30 * time.Second); ; {
		var yes bool
		must(t, c.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
			AND application_name = 'imapped' AND wait_event_type = 'Lock'`).Scan(&yes))
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for a lock")
		}
	}
}

// TestPausedOwner: an owner that stands still in the middle of a transaction keeps the account from nobody for long, and
// cannot commit when it goes on.
func TestPausedOwner(t *testing.T) {
	ctx := t.Context()
	url := database(t)
	a := fixture(t, url+"&idle_in_transaction_session_timeout=200")
	b := open(t, url)
	c := connect(t, url)
	var before int64
	must(t, c.QueryRow(ctx, `SELECT uidvalidity FROM account_counters`).Scan(&before))
	var next metadata.Fence
	err := postgres.Hold(ctx, a.Store, a.fence, func() {
		var err error
		next, err = b.Acquire(ctx, a.fence.Account, "next", time.Unix(1, 0).Add(2*time.Hour), time.Hour)
		must(t, err)
	})
	// Whether it learns why depends on when it looks.
	if !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Unavailable) {
		t.Errorf("an owner that was away too long went on with: %v", err)
	}
	must(t, b.Renew(ctx, next, time.Now(), time.Hour))
	var after int64
	must(t, c.QueryRow(ctx, `SELECT uidvalidity FROM account_counters`).Scan(&after))
	if after != before {
		t.Error("it committed")
	}
}

// TestLeaseClock: leases run by the database's clock, whatever the callers' clocks show.
func TestLeaseClock(t *testing.T) {
	ctx := t.Context()
	url := database(t)
	a := fixture(t, url)
	must(t, a.Release(ctx, a.fence))
	s := openWith(t, postgres.Options{URL: url})
	early, late := time.Unix(1, 0), time.Now().Add(24*time.Hour)
	f, err := s.Acquire(ctx, a.fence.Account, "one", early, time.Hour)
	must(t, err)
	_, err = s.Acquire(ctx, a.fence.Account, "two", late, time.Hour)
	fails(t, err, fault.Conflict)
	_, err = s.RenewAll(ctx, "one", late, time.Millisecond)
	must(t, err)
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err = s.Acquire(ctx, a.fence.Account, "two", early, time.Hour)
		if err == nil {
			break
		}
		if fails(t, err, fault.Conflict); time.Now().After(deadline) {
			t.Fatal("a lease of a millisecond does not end")
		}
	}
	fails(t, s.Renew(ctx, f, early, time.Hour), fault.Conflict)
}

// TestLostCommit: when the connection breaks after COMMIT was sent, the caller is told that nobody knows, and nothing is
// done twice; when it breaks before, the change is made all the same.
func TestLostCommit(t *testing.T) {
	label := func(s *postgres.Store, f metadata.Fence, box mailbox.ID, k int) error {
		e := toggle(box, mailbox.SetOf[uint32](1, 2), true)
		e.Flags = flag.Make(0, "$Label"+strconv.Itoa(k))
		_, err := s.EditFlags(context.Background(), f.Account, e)
		return err
	}
	for _, c := range []struct {
		name     string
		exchange int64 // that is not answered
		unknown  bool
		edit     func(s *postgres.Store, f metadata.Fence, box mailbox.ID, k int) error
	}{
		{"in COMMIT", 2, true, func(s *postgres.Store, f metadata.Fence, box mailbox.ID, k int) error {
			m := newMessages(k, 2)
			for i := range m {
				m[i].Upstream, m[i].Content = 0, &contents(box, k, 1)[0]
			}
			_, err := s.AddMessages(context.Background(), f.Account, metadata.AddEdit{Mailbox: box, Messages: m})
			return err
		}},
		{"in one statement", 1, true, func(s *postgres.Store, f metadata.Fence, box mailbox.ID, k int) error {
			_, err := s.EditFlags(context.Background(), f.Account, toggle(box, mailbox.SetOf[uint32](1), k%2 == 1))
			return err
		}},
		{"in one statement that adds", 1, true, func(s *postgres.Store, f metadata.Fence, box mailbox.ID, k int) error {
			m := newMessages(k, 1)
			m[0].Upstream, m[0].Content = 0, &contents(box, k, 1)[0]
			_, err := s.AddMessages(context.Background(), f.Account, metadata.AddEdit{Mailbox: box, Messages: m})
			return err
		}},
		{"before COMMIT", 1, false, label},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := database(t)
			s := fixture(t, url)
			s.fill(t, 4) // what is added below brings no new message ids, and so no new statement
			p := newProxy(t, url)
			via := openWith(t, postgres.Options{URL: p.url, Connections: 1})
			must(t, c.edit(via, s.fence, s.box, 1)) // all statements are prepared
			before, err := s.Mailbox(t.Context(), s.fence.Account, s.box)
			must(t, err)
			p.left.Store(c.exchange)
			err = c.edit(via, s.fence, s.box, 2)
			if c.unknown {
				if fails(t, err, fault.Uncertain); !strings.Contains(err.Error(), "unknown") {
					t.Errorf("the error says %q", err)
				}
			} else {
				must(t, err)
			}
			if p.left.Load() > 0 {
				t.Fatal("the connection was not cut")
			}
			must(t, c.edit(via, s.fence, s.box, 3))
			after, err := s.Mailbox(t.Context(), s.fence.Account, s.box)
			must(t, err)
			if after.HighestModSeq != before.HighestModSeq+2 {
				t.Errorf("two changes took HIGHESTMODSEQ from %d to %d", before.HighestModSeq, after.HighestModSeq)
			}
		})
	}
}

// proxy passes on connections to a server. When left exchanges have begun, the last of them is not answered: the server gets
// what the client says, and the client's connection ends.
type proxy struct {
	url  string
	left atomic.Int64
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	u, err := url.Parse(server)
	must(t, err)
	q := u.Query()
	network, address := "tcp", u.Host
	if dir := q.Get("host"); dir != "" {
		network, address = "unix", dir+"/.s.PGSQL."+cmp.Or(q.Get("port"), "5432")
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	q.Del("host")
	q.Del("port")
	u.Host, u.RawQuery = l.Addr().String(), q.Encode()
	p := &proxy{url: u.String()}
	var all sync.WaitGroup
	t.Cleanup(func() {
		must(t, l.Close())
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				server, err := (&net.Dialer{}).DialContext(context.Background(), network, address)
				if err != nil {
					return
				}
				defer server.Close()
				p.pass(client, server)
			})
		}
	})
	return p
}

func (p *proxy) pass(client, server net.Conn) {
	var back sync.WaitGroup
	var cut atomic.Bool
	back.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || cut.Load() {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		// An exchange ends with the message Sync. Whether a connection is well is asked for otherwise.
		if bytes.HasSuffix(buf[:n], []byte{'S', 0, 0, 0, 4}) && p.left.Add(-1) == 0 {
			cut.Store(true)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = server.Close()
	back.Wait()
}

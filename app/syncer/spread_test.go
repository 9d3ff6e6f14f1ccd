package syncer_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"imapped/app/syncer"
	"imapped/ports/blob"
	"imapped/ports/nodes"
)

// within waits, in the bubble's time, until ok, and fails when it takes longer than d. It returns how long it took.
func (f *fleet) within(d time.Duration, what string, ok func() bool) time.Duration {
	f.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > d {
			each, total := f.owned()
			f.t.Fatalf("not within %v: %s (accounts of each node: %v, together %d)", d, what, each, total)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

// together says whether all accounts are run.
func (f *fleet) together() bool {
	_, total := f.owned()
	return total == len(f.accounts)
}

// TestOneNodeTakesAllAtOnce: a process alone does not wait for anything.
func TestOneNodeTakesAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newWorld(), 40)
		start := time.Now()
		n := f.start("only", silent)
		if _, total := f.owned(); total != 40 || time.Since(start) > 0 {
			t.Errorf("%d accounts after %v", total, time.Since(start))
		}
		// Started anew after a crash it takes its own back, at once.
		n.crash()
		f.nodes = nil
		f.start("only", silent)
		if _, total := f.owned(); total != 40 || time.Since(start) > 0 {
			t.Errorf("%d accounts %v after a crash", total, time.Since(start))
		}
	})
}

// TestAccountsSpread: nodes come, stop and crash, and the accounts follow them, each with one owner at any time.
func TestAccountsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts = 240
		f := newFleet(t, newWorld(), accounts)
		fair := func(n int) func() bool {
			return func() bool {
				each, total := f.owned()
				live := 0
				for i, node := range f.nodes {
					switch {
					case node.store.cut.Load() || each[i] == 0:
					case each[i]*n < accounts*6/10 || each[i]*n > accounts*14/10:
						return false
					default:
						live++
					}
				}
				return total == accounts && live == n
			}
		}
		a := f.start("a")
		f.within(0, "the first takes all", f.together)
		b := f.start("b")
		if each, _ := f.owned(); each[0] != accounts {
			t.Errorf("accounts moved before it was sure that the other stays: %v", each)
		}
		t.Logf("two nodes: %v", f.within(time.Minute, "two nodes share", fair(2)))
		f.start("c")
		// What another is to have is given up slowly: each means a login.
		time.Sleep(13 * time.Second)
		before, _ := f.owned()
		time.Sleep(3 * time.Second)
		after, _ := f.owned()
		if moved := after[2] - before[2]; moved > 60 {
			t.Errorf("%d accounts moved in 3 s", moved)
		}
		t.Logf("three nodes: %v", f.within(time.Minute, "three nodes share", fair(3)))

		b.stop()
		took := f.within(time.Second, "after a stop the others take over at once", f.together)
		t.Logf("stop: %v", took)
		f.within(time.Minute, "two nodes share again", fair(2))

		a.crash()
		took = f.within(10*time.Second, "after a crash the other takes over", f.together)
		t.Logf("crash: %v", took)
		each, _ := f.owned()
		if each[2] != accounts {
			t.Errorf("accounts of each node: %v", each)
		}
	})
}

// TestTakeOverWithoutAWord: with every call lost and a list of nodes that still has the dead one, the polling alone is quick
// enough.
func TestTakeOverWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newWorld(), 60)
		stale := func(p *syncer.Ports, _ *syncer.Config) { p.Nodes = fixed{"a", "b"} }
		a := f.start("a", deaf, stale)
		f.start("b", deaf, stale)
		f.within(time.Minute, "all are taken", f.together)
		each, _ := f.owned()
		if each[0] == 0 || each[1] == 0 {
			t.Fatalf("accounts of each node: %v", each)
		}
		a.crash()
		t.Logf("take-over: %v", f.within(10*time.Second, "take-over", f.together))
	})
}

// stuckBlobs is a blob store that answers Put, whatever becomes of the caller, when it is let.
type stuckBlobs struct {
	blob.Store
	asked, let chan struct{}
}

func (s stuckBlobs) Put(ctx context.Context, blobs ...[]byte) ([]blob.Key, error) {
	s.asked <- struct{}{}
	<-s.let
	return s.Store.Put(ctx, blobs...)
}

// TestSlowEnd: a node that is told of a change of an account, and waits for what this account was about to store, keeps the
// other accounts.
func TestSlowEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f := newFleet(t, w, 2)
		w.deliver("INBOX", mail(1, 100))
		stuck := stuckBlobs{f.blobs, make(chan struct{}, 9), make(chan struct{})}
		a := f.start("a", func(p *syncer.Ports, _ *syncer.Config) { p.Blobs = blob.Shared{Store: stuck} })
		<-stuck.asked
		<-stuck.asked // both accounts are about to store the message
		acc := f.acc
		acc.Paused = true
		if err := f.db.UpdateAccount(t.Context(), acc); err != nil {
			t.Fatal(err)
		}
		f.calls.Node().Send(nodes.Call{What: nodes.Accounts})
		f.within(time.Second, "the paused account ends", func() bool { _, ok := a.m.Status(acc.ID); return !ok })
		time.Sleep(20 * time.Second)
		free, err := f.db.Acquirable(t.Context(), time.Now())
		if err != nil || len(free) > 0 {
			t.Errorf("while one ends others may take %d accounts (%v)", len(free), err)
		}
		close(stuck.let)
	})
}

// TestStoreOutage: while the store cannot be reached nobody loses anything, and nobody takes the others for dead when it is
// back.
func TestStoreOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newWorld(), 60)
		f.start("a")
		f.start("b")
		f.within(2*time.Minute, "both have some", func() bool {
			each, total := f.owned()
			return total == 60 && each[0] > 15 && each[1] > 15
		})
		time.Sleep(2 * time.Minute)
		before, _ := f.owned()
		f.w.mu.Lock()
		dials := f.w.dials
		f.w.mu.Unlock()
		for _, n := range f.nodes {
			n.store.cut.Store(true)
		}
		time.Sleep(20 * time.Second)
		for i, n := range f.nodes { // one of them sooner than the other
			n.store.cut.Store(false)
			time.Sleep(time.Duration(i+1) * 1500 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		after, total := f.owned()
		if total != 60 || before[0] != after[0] {
			t.Errorf("accounts of each node: %v, were %v", after, before)
		}
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		if f.w.dials != dials {
			t.Errorf("%d connections were made anew", f.w.dials-dials)
		}
	})
}

// TestIdleHour counts what a node asks of its store while nothing changes, so that the figure for 5,000 accounts is known.
func TestIdleHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts = 60
		hours := 1.0
		if testing.Short() { // each renewal waits for the disk, which no bubble speeds up
			hours = 0.1
		}
		w := newWorld()
		for _, name := range []string{"Sent", "Drafts", "Trash"} {
			w.create(name, '/')
		}
		f := newFleet(t, w, accounts)
		n := f.start("a", func(p *syncer.Ports, c *syncer.Config) { c.Starts, p.Nodes = 1000, fixed{"a"} })
		f.start("b").crash() // one of several
		time.Sleep(6 * time.Minute)
		goroutines := runtime.NumGoroutine()
		n.store.mu.Lock()
		clear(n.store.count)
		n.store.mu.Unlock()
		n.store.calls.Store(0)
		each, _ := f.owned()
		time.Sleep(time.Duration(hours * float64(time.Hour)))
		n.store.mu.Lock()
		defer n.store.mu.Unlock()
		var node float64
		for _, name := range []string{"RenewAll", "Held", "Acquirable", "AcquireAll", "Owners", "Queues", "Accounts"} {
			node += float64(n.store.count[name])
		}
		each5000 := (float64(n.store.calls.Load()) - node) / float64(each[0]) * 5000 / (3600 * hours)
		t.Logf("accounts %v, calls in %v h %d %v: %.2f/s for the node, %.1f/s for 5,000 accounts; %.1f goroutines an account",
			each, hours, n.store.calls.Load(), n.store.count, node/(3600*hours), each5000, float64(goroutines)/float64(accounts))
		if per := node / (3600 * hours); per > 4 {
			t.Errorf("%.2f calls a second whatever the accounts", per)
		}
		if each5000 > 60 { // a write is about four statements: together below 200 queries a second
			t.Errorf("%.1f calls a second for 5,000 accounts", each5000)
		}
	})
}

package metadatatest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// account makes another account of the user.
func (f *fixture) account(n int) account.ID {
	f.t.Helper()
	a, err := f.CreateAccount(f.ctx, sampleAccount(f.user.ID, fmt.Sprintf("more%d@example.org", n)))
	f.ok(err)
	return a.ID
}

// acquirable returns who held the leases that can be had, by account.
func (f *fixture) acquirable(at time.Time) map[account.ID]string {
	f.t.Helper()
	free, err := f.Acquirable(f.ctx, at)
	f.ok(err)
	out := map[account.ID]string{}
	last := account.ID(0)
	for _, v := range free {
		if v.ID <= last {
			f.t.Fatalf("account %d comes behind %d", v.ID, last)
		}
		last = v.ID
		out[v.ID] = v.Holder
		a, err := f.Account(f.ctx, v.ID)
		f.ok(err)
		equal(f.t, "acquirable account", v.Account, a)
	}
	return out
}

// testNodeLeases follows the leases of one owner of several accounts.
func testNodeLeases(t *testing.T, h Harness) {
	f := newFixture(t, h)
	ids := []account.ID{f.acc.ID, f.account(1), f.account(2)}
	got, err := f.AcquireAll(f.ctx, []account.ID{ids[2], 999, ids[1], ids[0], ids[1]}, "node-1", now, time.Minute)
	f.ok(err)
	if len(got) != 3 || got[0] != f.fence || got[1].Account != ids[1] || got[2].Account != ids[2] || got[2].Token < 1 {
		t.Fatalf("fences %+v", got)
	}
	held, err := f.Held(f.ctx, "node-1")
	f.ok(err)
	equal(t, "held", held, got)
	none, err := f.AcquireAll(f.ctx, ids, "node-2", now.Add(59*time.Second), time.Minute)
	f.ok(err)
	if len(none) != 0 {
		t.Fatalf("took %+v from an owner that lives", none)
	}

	// One call keeps them all, and each call for one account does so too.
	n, err := f.RenewAll(f.ctx, "node-1", now.Add(30*time.Second), time.Minute)
	f.ok(err)
	equal(t, "held", n, 3)
	_, err = f.Acquire(f.ctx, ids[1], "node-2", now.Add(80*time.Second), time.Minute)
	f.fails(err, fault.Conflict)
	f.ok(f.Renew(f.ctx, got[0], now.Add(50*time.Second), time.Minute))
	_, err = f.Acquire(f.ctx, ids[2], "node-2", now.Add(100*time.Second), time.Minute)
	f.fails(err, fault.Conflict)
	f.ok(f.Renew(f.ctx, got[0], now, time.Second)) // it prolongs, if anything
	_, err = f.Acquire(f.ctx, ids[2], "node-2", now.Add(100*time.Second), time.Minute)
	f.fails(err, fault.Conflict)

	// RenewAll says how long from now, also when a clock was put back.
	_, err = f.RenewAll(f.ctx, "node-1", now, time.Minute)
	f.ok(err)
	late := now.Add(61 * time.Second)
	taken, err := f.AcquireAll(f.ctx, ids[1:], "node-2", late, time.Minute)
	f.ok(err)
	if len(taken) != 2 || taken[0].Token <= got[1].Token || taken[0].Owner != "node-2" {
		t.Fatalf("taken %+v", taken)
	}
	n, err = f.RenewAll(f.ctx, "node-1", late, time.Minute)
	f.ok(err)
	equal(t, "held after a loss", n, 1)
	f.fails(f.Renew(f.ctx, got[1], late, time.Minute), fault.Conflict)
	f.fails(f.SetStatus(f.ctx, got[1], account.Status{State: account.StateIdle}), fault.Conflict)
	f.ok(f.SetStatus(f.ctx, got[0], account.Status{State: account.StateIdle}))

	// A conflict prolongs nothing.
	f.fails(f.Renew(f.ctx, got[1], late.Add(time.Hour), time.Minute), fault.Conflict)
	if at := late.Add(2 * time.Minute); len(f.acquirable(at)) != 3 {
		t.Fatalf("a lost lease kept its owner alive: %v", f.acquirable(at))
	}

	f.ok(f.ReleaseAll(f.ctx, "node-2", late))
	equal(t, "given back", f.acquirable(late), map[account.ID]string{ids[1]: "", ids[2]: ""})
	f.fails(f.SetStatus(f.ctx, taken[0], account.Status{State: account.StateIdle}), fault.Conflict)
	back, err := f.AcquireAll(f.ctx, ids, "node-1", late, time.Minute)
	f.ok(err)
	if len(back) != 3 || back[0].Token != got[0].Token || back[1].Token <= taken[0].Token {
		t.Fatalf("taken back %+v", back)
	}
	_, err = f.RenewAll(f.ctx, "", late, time.Minute)
	f.fails(err, fault.Invalid)
	_, err = f.AcquireAll(f.ctx, ids, "", late, time.Minute)
	f.fails(err, fault.Invalid)
}

// testAcquirable looks for accounts that have no owner.
func testAcquirable(t *testing.T, h Harness) {
	f := newFixture(t, h)
	free, local, paused := f.account(1), f.account(2), f.account(3)
	for id, change := range map[account.ID]func(*account.Account){
		local:  func(a *account.Account) { a.Local = true },
		paused: func(a *account.Account) { a.Paused = true },
	} {
		a, err := f.Account(f.ctx, id)
		f.ok(err)
		change(&a)
		f.ok(f.UpdateAccount(f.ctx, a))
	}
	equal(t, "acquirable", f.acquirable(now), map[account.ID]string{free: ""})
	equal(t, "acquirable later", f.acquirable(now.Add(time.Minute)), map[account.ID]string{free: "", f.acc.ID: "node-1"})
	f.ok(f.Release(f.ctx, f.fence))
	equal(t, "acquirable after a release", f.acquirable(now), map[account.ID]string{free: "", f.acc.ID: ""})
	_, err := f.Acquire(f.ctx, free, "node-2", now, time.Minute)
	f.ok(err)
	equal(t, "acquirable after a new owner", f.acquirable(now), map[account.ID]string{f.acc.ID: ""})
	f.ok(f.DeleteAccount(f.ctx, f.acc.ID))
	equal(t, "acquirable after a deletion", f.acquirable(now), map[account.ID]string{})
	_, err = f.Account(f.ctx, f.acc.ID)
	f.fails(err, fault.NotFound)
}

// testLeaseRaces lets owners race for the leases of one that died: each lease has one winner.
func testLeaseRaces(t *testing.T, h Harness) {
	f := newFixture(t, h)
	ids := []account.ID{f.acc.ID}
	for n := range 20 {
		ids = append(ids, f.account(n))
	}
	_, err := f.AcquireAll(f.ctx, ids, "dead", now.Add(-time.Hour), time.Minute)
	f.ok(err)
	later := now.Add(time.Hour)
	var mu sync.Mutex
	var won []metadata.Fence
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			mine := slices.Clone(ids)
			if n%2 == 1 {
				slices.Reverse(mine)
			}
			got, err := f.AcquireAll(f.ctx, mine, fmt.Sprintf("node-%d", n+2), later, time.Minute)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			won = append(won, got...)
		})
	}
	wg.Wait()
	slices.SortFunc(won, func(a, b metadata.Fence) int { return int(a.Account - b.Account) })
	if len(won) != len(ids) {
		t.Fatalf("%d leases have %d winners", len(ids), len(won))
	}
	for i, w := range won {
		if w.Account != ids[i] {
			t.Fatalf("account %d has several winners, or none", ids[i])
		}
		f.ok(f.SetStatus(f.ctx, w, account.Status{State: account.StateIdle}))
	}
}

// testOwners looks at who lives.
func testOwners(t *testing.T, h Harness) {
	f := newFixture(t, h) // node-1 lives for a minute
	owners := func(at time.Time, want ...string) {
		t.Helper()
		names, err := f.Owners(f.ctx, at)
		f.ok(err)
		if !slices.Equal(names, want) {
			t.Fatalf("owners %q, want %q", names, want)
		}
	}
	owners(now, "node-1")
	n, err := f.RenewAll(f.ctx, "node-0", now, 2*time.Minute) // it holds nothing, and lives
	f.ok(err)
	equal(t, "held", n, 0)
	owners(now, "node-0", "node-1")
	owners(now.Add(time.Minute), "node-0")
	owners(now.Add(2 * time.Minute))
	f.ok(f.ReleaseAll(f.ctx, "node-0", now))
	owners(now, "node-1")
	f.ok(f.ReleaseAll(f.ctx, "node-0", now.Add(48*time.Hour))) // node-1 is forgotten, not what it holds
	equal(t, "acquirable", f.acquirable(now), map[account.ID]string{f.acc.ID: "node-1"})
	f.ok(f.Renew(f.ctx, f.fence, now, time.Minute))
	owners(now, "node-1")
}

// testQueues looks for the accounts of an owner that have something to be carried out.
func testQueues(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := f.account(1)
	_, err := f.Acquire(f.ctx, other, "node-1", now, time.Minute)
	f.ok(err)
	queues := func(owner string) []metadata.QueueState {
		t.Helper()
		q, err := f.Queues(f.ctx, owner)
		f.ok(err)
		return q
	}
	f.add(f.inbox, 1)
	if q := queues("node-1"); len(q) != 0 {
		t.Fatalf("queues %+v", q)
	}
	edit := func(mode metadata.FlagMode) {
		t.Helper()
		_, err := f.EditFlags(f.ctx, f.acc.ID, metadata.FlagEdit{Mailbox: f.inbox, UIDs: mailbox.SetOf[uint32](1), Mode: mode, Flags: seen, Now: now})
		f.ok(err)
	}
	edit(metadata.AddFlags)
	first := queues("node-1")
	if len(first) != 1 || first[0].Account != f.acc.ID || first[0].Newest != f.queue()[0].ID {
		t.Fatalf("queues %+v", first)
	}
	if q := queues("node-2"); len(q) != 0 {
		t.Fatalf("queues of another owner %+v", q)
	}
	_, err = f.Settle(f.ctx, f.fence, now, []metadata.Outcome{{ID: f.queue()[0].ID}})
	f.ok(err)
	if q := queues("node-1"); len(q) != 0 {
		t.Fatalf("queues of a settled account %+v", q)
	}
	edit(metadata.RemoveFlags)
	if q := queues("node-1"); len(q) != 1 || q[0].Newest <= first[0].Newest {
		t.Fatalf("queues %+v after %+v", q, first)
	}
}

// testAddContents stores bodies without owning the account.
func testAddContents(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2, 3)
	f.ok(f.StoreContents(f.ctx, f.fence, []metadata.Content{body(f.inbox, 1, 1001, 1)}))
	f.ok(f.Unfetchable(f.ctx, f.fence, f.inbox, 2, "why", now.Add(time.Hour)))
	before := f.info(f.inbox)
	f.ok(f.AddContents(f.ctx, f.acc.ID, []metadata.Content{
		body(f.inbox, 1, 7, 9), body(f.inbox, 2, 1002, 2), body(f.inbox, 99, 1, 3), body(f.inbox+1000, 1, 1, 4),
	}))
	want := map[uint32]metadata.Content{1: body(f.inbox, 1, 1001, 1), 2: body(f.inbox, 2, 1002, 2)}
	check := func() {
		t.Helper()
		n := 0
		f.ok(f.Contents(f.ctx, f.acc.ID, f.inbox, mailbox.SetFrom(1), metadata.WantAll, func(c *metadata.Content) error {
			n++
			equal(t, "content", *c, want[uint32(c.UID)])
			return nil
		}))
		equal(t, "contents", n, len(want))
	}
	check()
	equal(t, "mailbox", f.info(f.inbox), before)
	pending, err := f.Pending(f.ctx, f.acc.ID, f.inbox, now)
	f.ok(err)
	equal(t, "pending", pending, []metadata.PendingBody{{UID: 3, Upstream: 3, Size: 1003}})

	// Again, and with a size that the row does not have: only what is new counts.
	want[3] = body(f.inbox, 3, 5, 3)
	f.ok(f.AddContents(f.ctx, f.acc.ID, []metadata.Content{body(f.inbox, 2, 1, 8), want[3]}))
	check()
	after := f.info(f.inbox)
	if after.HighestModSeq != before.HighestModSeq+1 || after.Size != before.Size-1003+5 {
		t.Fatalf("mailbox %+v, was %+v", after, before)
	}
	f.ok(f.AddContents(f.ctx, f.acc.ID, nil))
	f.fails(f.AddContents(f.ctx, 999, []metadata.Content{body(f.inbox, 1, 1, 1)}), fault.NotFound)
}

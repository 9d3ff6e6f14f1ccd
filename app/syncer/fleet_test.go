package syncer_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/ports/nodes"
)

// fleet is several nodes on one store, in a synctest bubble.
type fleet struct {
	*rig
	calls    memory.Calls
	accounts []account.ID
	nodes    []*node
}

// node is one of them.
type node struct {
	f     *fleet
	name  string
	store *nodeStore
	m     *syncer.Manager
	stop  func() // in good order
}

// nodeStore is the metadata store as one node sees it: it counts calls, and can be out of reach.
type nodeStore struct {
	*sqlite.Store
	cut   atomic.Bool
	calls atomic.Int64
	mu    sync.Mutex
	count map[string]int
	// intended, when not nil, is called after Intend had its effect.
	intended func()
}

func (s *nodeStore) called(name string) error {
	s.calls.Add(1)
	s.mu.Lock()
	s.count[name]++
	s.mu.Unlock()
	if s.cut.Load() {
		return fault.New(fault.Unavailable, "store", "it cannot be reached")
	}
	return nil
}

func newFleet(t *testing.T, w *world, accounts int) *fleet {
	t.Helper()
	f := &fleet{rig: newRig(t, w)}
	f.accounts = []account.ID{f.acc.ID}
	for n := 1; n < accounts; n++ {
		a := f.acc
		a.Email, a.Display = fmt.Sprintf("ann%d@example.org", n), fmt.Sprintf("Ann %d", n)
		a, err := f.db.CreateAccount(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		f.accounts = append(f.accounts, a.ID)
	}
	f.cfg.LeaseTTL = 6 * time.Second
	f.cfg.Poll = 5 * time.Minute
	f.cfg.RetryMin, f.cfg.RetryMax = time.Second, time.Minute
	return f
}

// start starts a node.
func (f *fleet) start(name string, adjust ...func(*syncer.Ports, *syncer.Config)) *node {
	n := &node{f: f, name: name, store: &nodeStore{Store: f.db, count: map[string]int{}}}
	p, c := f.ports, f.cfg
	c.Owner = name
	p.Accounts, p.Leases, p.Statuses, p.Mirror, p.Messages, p.Bodies = n.store, n.store, n.store, n.store, n.store, n.store
	p.Queue, p.Edits = n.store, n.store
	p.Calls = f.calls.Node()
	p.Log = p.Log.With("node", name)
	for _, fn := range adjust {
		fn(&p, &c)
	}
	n.m = syncer.New(p, c)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.m.Run(ctx); err != nil {
			f.t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	f.t.Cleanup(n.stop)
	f.nodes = append(f.nodes, n)
	<-n.m.Ready()
	return n
}

// owned returns how many accounts each node runs, and fails when one is run by several.
func (f *fleet) owned() (each []int, total int) {
	f.t.Helper()
	each = make([]int, len(f.nodes))
	for _, id := range f.accounts {
		runs := 0
		for i, n := range f.nodes {
			if _, ok := n.m.Status(id); ok && !n.store.cut.Load() {
				each[i]++
				runs++
			}
		}
		if runs > 1 {
			f.t.Errorf("account %d is run by %d nodes", id, runs)
		}
		total += runs
	}
	return each, total
}

// crash is kill -9: nothing that the node does from now on has an effect on the store.
func (n *node) crash() {
	n.store.cut.Store(true)
	n.stop()
}

// silent is Calls that nobody hears.
func silent(p *syncer.Ports, _ *syncer.Config) { p.Calls = nil }

// deaf is Calls that are all lost.
func deaf(p *syncer.Ports, _ *syncer.Config) { p.Calls = lost{} }

type lost struct{}

func (lost) Send(nodes.Call)                 {}
func (lost) Receive(func(nodes.Call)) func() { return func() {} }

func counted[T any](s *nodeStore, name string, fn func() (T, error)) (T, error) {
	var zero T
	if err := s.called(name); err != nil {
		return zero, err
	}
	return fn()
}

func (s *nodeStore) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	return counted(s, "Acquire", func() (metadata.Fence, error) { return s.Store.Acquire(ctx, id, owner, now, ttl) })
}

func (s *nodeStore) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	if err := s.called("Renew"); err != nil {
		return err
	}
	return s.Store.Renew(ctx, f, now, ttl)
}

func (s *nodeStore) Release(ctx context.Context, f metadata.Fence) error {
	if err := s.called("Release"); err != nil {
		return err
	}
	return s.Store.Release(ctx, f)
}

func (s *nodeStore) RenewAll(ctx context.Context, owner string, now time.Time, ttl time.Duration) (int, error) {
	return counted(s, "RenewAll", func() (int, error) { return s.Store.RenewAll(ctx, owner, now, ttl) })
}

func (s *nodeStore) Held(ctx context.Context, owner string) ([]metadata.Fence, error) {
	return counted(s, "Held", func() ([]metadata.Fence, error) { return s.Store.Held(ctx, owner) })
}

func (s *nodeStore) Acquirable(ctx context.Context, now time.Time) ([]metadata.Acquirable, error) {
	return counted(s, "Acquirable", func() ([]metadata.Acquirable, error) { return s.Store.Acquirable(ctx, now) })
}

func (s *nodeStore) AcquireAll(ctx context.Context, ids []account.ID, owner string, now time.Time, ttl time.Duration) ([]metadata.Fence, error) {
	return counted(s, "AcquireAll", func() ([]metadata.Fence, error) { return s.Store.AcquireAll(ctx, ids, owner, now, ttl) })
}

func (s *nodeStore) ReleaseAll(ctx context.Context, owner string, now time.Time) error {
	if err := s.called("ReleaseAll"); err != nil {
		return err
	}
	return s.Store.ReleaseAll(ctx, owner, now)
}

func (s *nodeStore) Owners(ctx context.Context, now time.Time) ([]string, error) {
	return counted(s, "Owners", func() ([]string, error) { return s.Store.Owners(ctx, now) })
}

func (s *nodeStore) Queues(ctx context.Context, owner string) ([]metadata.QueueState, error) {
	return counted(s, "Queues", func() ([]metadata.QueueState, error) { return s.Store.Queues(ctx, owner) })
}

func (s *nodeStore) Accounts(ctx context.Context, u account.UserID) ([]account.Account, error) {
	return counted(s, "Accounts", func() ([]account.Account, error) { return s.Store.Accounts(ctx, u) })
}

func (s *nodeStore) Status(ctx context.Context, id account.ID) (account.Status, error) {
	return counted(s, "Status", func() (account.Status, error) { return s.Store.Status(ctx, id) })
}

func (s *nodeStore) SetStatus(ctx context.Context, f metadata.Fence, st account.Status) error {
	if err := s.called("SetStatus"); err != nil {
		return err
	}
	return s.Store.SetStatus(ctx, f, st)
}

func (s *nodeStore) Mirrored(ctx context.Context, acc account.ID) ([]metadata.Mirrored, error) {
	return counted(s, "Mirrored", func() ([]metadata.Mirrored, error) { return s.Store.Mirrored(ctx, acc) })
}

func (s *nodeStore) SaveMailbox(ctx context.Context, f metadata.Fence, m metadata.Mirrored) (metadata.Mirrored, error) {
	return counted(s, "SaveMailbox", func() (metadata.Mirrored, error) { return s.Store.SaveMailbox(ctx, f, m) })
}

func (s *nodeStore) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (metadata.Applied, error) {
	return counted(s, "Apply", func() (metadata.Applied, error) { return s.Store.Apply(ctx, f, u) })
}

func (s *nodeStore) UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	if err := s.called("UpstreamRows"); err != nil {
		return err
	}
	return s.Store.UpstreamRows(ctx, acc, id, fn)
}

func (s *nodeStore) Pending(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) ([]metadata.PendingBody, error) {
	return counted(s, "Pending", func() ([]metadata.PendingBody, error) { return s.Store.Pending(ctx, acc, id, now) })
}

func (s *nodeStore) StoreContents(ctx context.Context, f metadata.Fence, contents []metadata.Content) error {
	if err := s.called("StoreContents"); err != nil {
		return err
	}
	return s.Store.StoreContents(ctx, f, contents)
}

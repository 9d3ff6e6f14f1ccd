package syncer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"imapped/app/session"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/events"
	"imapped/ports/metadata"
	"imapped/ports/secrets"
	"imapped/ports/upstream"
)

// Ports is what the syncer needs from outside. All are needed.
type Ports struct {
	Accounts metadata.Accounts
	Leases   metadata.Leases
	Statuses metadata.Statuses
	Mirror   metadata.Mirror
	Messages metadata.Messages
	Bodies   metadata.Bodies
	Queue    metadata.Queue
	Edits    metadata.Edits
	Blobs    blob.Store
	Dialer   upstream.Dialer
	Secrets  secrets.Sealer
	Bus      events.Bus
	Clock    clock.Clock
	Log      *slog.Logger
}

// Config tunes the syncer. A zero field takes its default.
type Config struct {
	Owner       string        // this process's name as a lease owner; the same name takes its own lease back at once
	Concurrency int           // accounts whose rounds run at the same time; 4
	Connections int           // connections per account, without the on-demand one; 2 (rounds, push). 1: no push
	Push        int           // mailboxes per account that are listened to: INBOX, and what clients have open; 4
	Memory      int64         // bytes of bodies in flight over all accounts; 16 MiB
	Poll        time.Duration // between rounds when nothing happens; 5 min, or what the upstream's quirks say
	Full        time.Duration // between complete comparisons of a mailbox; 24 h
	Silence     time.Duration // an answer that makes no progress for so long is a lost connection; 1 min
	Linger      time.Duration // how long an idle on-demand connection is kept; 1 min
	LeaseTTL    time.Duration // 30 s
	RetryMin    time.Duration // the first back-off's upper bound; 1 s
	RetryMax    time.Duration // the last back-off's upper bound; 5 min
	Delay       time.Duration // between a client's change and its replay; see replay.Config
	Grace       time.Duration // see replay.Config
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.Owner == "" {
		c.Owner = "imapped"
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 4
	}
	if c.Connections <= 0 {
		c.Connections = 2
	}
	if c.Push <= 0 {
		c.Push = 4
	}
	if c.Memory <= 0 {
		c.Memory = 16 << 20
	}
	def(&c.Poll, 5*time.Minute)
	def(&c.Full, 24*time.Hour)
	def(&c.Silence, time.Minute)
	def(&c.Linger, time.Minute)
	def(&c.LeaseTTL, 30*time.Second)
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, 5*time.Minute)
	return c
}

// Manager mirrors all accounts of a store for one process. It is the sessions' BodySource.
type Manager struct {
	Ports
	cfg    Config
	ready  chan struct{} // closed when Run has started the accounts
	rounds chan struct{} // one token for each round that may run
	memory *semaphore.Weighted

	mu      sync.Mutex
	ctx     context.Context // of Run; nil while it does not run
	wg      sync.WaitGroup  // runners
	runners map[account.ID]*runner
}

var _ session.BodySource = (*Manager)(nil)

// New returns a Manager that does nothing until Run.
func New(p Ports, c Config) *Manager {
	c = c.withDefaults()
	return &Manager{
		Ports:   p,
		cfg:     c,
		ready:   make(chan struct{}),
		rounds:  make(chan struct{}, c.Concurrency),
		memory:  semaphore.NewWeighted(c.Memory),
		runners: map[account.ID]*runner{},
	}
}

// Run mirrors every account that is neither local nor paused until ctx is done, then stops everything and returns nil.
// It fails only when the accounts cannot be read at the start. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	err := m.Reload(ctx)
	if err == nil {
		close(m.ready)
		<-ctx.Done()
	}
	cancel()
	m.mu.Lock()
	m.ctx = nil
	m.mu.Unlock()
	m.wg.Wait()
	return err
}

// Ready is closed when Run has started the accounts, so that Force and the like find them.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Reload reads the accounts again: new and resumed ones start, deleted and paused ones stop (it waits for them),
// changed ones start anew.
func (m *Manager) Reload(ctx context.Context) error {
	accounts, err := m.Accounts.Accounts(ctx, 0)
	if err != nil {
		return fault.Wrap("read accounts", err)
	}
	wanted := map[account.ID]account.Account{}
	for _, a := range accounts {
		if !a.Local && !a.Paused {
			wanted[a.ID] = a
		}
	}
	var stopped []*runner
	m.mu.Lock()
	for id, r := range m.runners {
		if a, ok := wanted[id]; ok && sameUpstream(a, r.account) {
			delete(wanted, id)
			continue
		}
		delete(m.runners, id)
		r.stop()
		stopped = append(stopped, r)
	}
	m.mu.Unlock()
	for _, r := range stopped {
		<-r.done
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil {
		return nil
	}
	for id, a := range wanted {
		if m.runners[id] != nil {
			continue // another Reload was faster
		}
		r := newRunner(m, a)
		m.runners[id] = r
		ctx, stop := context.WithCancel(m.ctx)
		r.stop = stop
		m.wg.Go(func() {
			defer close(r.done)
			defer stop()
			r.run(ctx)
		})
	}
	return nil
}

// sameUpstream says whether both describe the same connection.
func sameUpstream(a, b account.Account) bool {
	return a.Upstream == b.Upstream && a.Auth == b.Auth && a.Username == b.Username &&
		a.Secret.KeyID == b.Secret.KeyID && string(a.Secret.Sealed) == string(b.Secret.Sealed)
}

// Pause stops an account's mirroring, in this process at once and for good until Resume.
func (m *Manager) Pause(ctx context.Context, id account.ID) error {
	return m.setPaused(ctx, id, true)
}

// Resume ends Pause.
func (m *Manager) Resume(ctx context.Context, id account.ID) error {
	return m.setPaused(ctx, id, false)
}

func (m *Manager) setPaused(ctx context.Context, id account.ID, paused bool) error {
	accounts, err := m.Accounts.Accounts(ctx, 0)
	if err != nil {
		return fault.Wrap("read accounts", err)
	}
	for _, a := range accounts {
		if a.ID != id {
			continue
		}
		if a.Paused != paused {
			a.Paused = paused
			if err := m.Accounts.UpdateAccount(ctx, a); err != nil {
				return fault.Wrap("update account", err)
			}
		}
		if err := m.Reload(ctx); err != nil {
			return err
		}
		if paused {
			m.writeStopped(ctx, id, account.StatePaused)
		}
		return nil
	}
	return fault.New(fault.NotFound, "pause account", "no such account")
}

// runner returns the account's runner; fault.Unavailable when none runs.
func (m *Manager) runner(id account.ID) (*runner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.runners[id]; r != nil {
		return r, nil
	}
	return nil, fault.New(fault.Unavailable, "reach the upstream", "the account is not being synchronized (paused, or stopped)")
}

// Force runs a round of the account as soon as possible and returns when it has ended, bodies included, with its error. While it waits it calls progress (which may be nil) now and then, from its own goroutine.
func (m *Manager) Force(ctx context.Context, id account.ID, progress func(Progress)) error {
	r, err := m.runner(id)
	if err != nil {
		return err
	}
	return r.force(ctx, progress)
}

// Freed says that another process may have given up the leases of the accounts, or of any where none is named: they are
// tried at once. It never blocks.
func (m *Manager) Freed(ids ...account.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(ids) == 0 {
		for _, r := range m.runners {
			r.wake()
		}
	}
	for _, id := range ids {
		if r := m.runners[id]; r != nil {
			r.wake()
		}
	}
}

// Status returns how an account is doing now; false when this process does not mirror it.
func (m *Manager) Status(id account.ID) (Progress, bool) {
	r, err := m.runner(id)
	if err != nil {
		return Progress{}, false
	}
	return r.progress(), true
}

// Watch says that somebody has the mailbox open, so that its news matters more, until the returned function is called.
// It may be called for any mailbox, mirrored or not.
func (m *Manager) Watch(acc account.ID, id mailbox.ID) (stop func()) {
	r, err := m.runner(acc)
	if err != nil {
		return func() {}
	}
	return r.watch(id)
}

// Fetch implements session.BodySource.
func (m *Manager) Fetch(ctx context.Context, acc account.ID, id mailbox.ID, uids []mailbox.UID) error {
	r, err := m.runner(acc)
	if err != nil {
		return err
	}
	return r.demand.fetch(ctx, id, uids)
}

// Stream implements session.BodySource.
func (m *Manager) Stream(ctx context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) (session.Bytes, error) {
	r, err := m.runner(acc)
	if err != nil {
		return nil, err
	}
	return r.demand.stream(ctx, id, uid)
}

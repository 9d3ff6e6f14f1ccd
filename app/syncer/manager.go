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
	"imapped/ports/nodes"
	"imapped/ports/secrets"
	"imapped/ports/upstream"
)

// Leases is what the syncer needs of leases.
type Leases interface {
	metadata.Leases
	metadata.NodeLeases
	metadata.Owners
}

// Accounts is what the syncer needs of accounts.
type Accounts interface {
	metadata.Accounts
	metadata.AccountReader
}

// Ports is what the syncer needs from outside. All are needed, but for the last two.
type Ports struct {
	Accounts Accounts
	Leases   Leases
	Statuses metadata.Statuses
	Mirror   metadata.Mirror
	Messages metadata.Messages
	Bodies   metadata.Bodies
	Queue    metadata.Queue
	Edits    metadata.Edits
	Blobs    blob.Stores
	Dialer   upstream.Dialer
	Secrets  secrets.Sealer
	Bus      events.Bus
	Clock    clock.Clock
	Log      *slog.Logger

	Nodes nodes.Presence // nil, or while it fails: who announced itself in the metadata store is alive
	Calls nodes.Calls    // nil: other nodes look by themselves, every quarter of Config.LeaseTTL
}

// Config tunes the syncer. A zero field takes its default.
type Config struct {
	// Owner is this process's name as a lease owner; the same name takes its own leases back at once. No two processes have
	// the same name at the same time, also not one that was started anew and one that may only be paused.
	Owner       string
	Concurrency int // accounts whose rounds run at the same time; 4
	// Connections is how many connections to an account's upstream this process has at most at the same time; 7. Rounds, replay
	// and bodies that somebody waits for have one each, which they take turns with where there are fewer than three. The rest is
	// for listening: with three or fewer, news comes with the rounds.
	Connections int
	// Push is how many mailboxes per account are listened to at most: INBOX, and what clients have open; no more than
	// Connections leave, which is the default.
	Push    int
	Memory  int64         // bytes of bodies in flight over all accounts; 16 MiB
	Poll    time.Duration // between rounds when nothing happens; 5 min, or what the upstream's quirks say
	Full    time.Duration // between complete comparisons of a mailbox; 24 h
	Silence time.Duration // an answer that makes no progress for so long is a lost connection; 1 min
	Linger  time.Duration // how long an idle on-demand connection is kept; 1 min
	// LeaseTTL is for how long a process that says nothing is taken to be alive: 30 s, which one process alone does well
	// with. Many nodes: 6 s, so that an account of one that died is taken over within 7.5 s (see the package comment).
	LeaseTTL time.Duration
	Starts   int           // accounts per second that are connected for the first time after they were taken; 50
	Moves    int           // accounts per second that are given up because another node is to have them; 10
	RetryMin time.Duration // the first back-off's upper bound; 1 s
	RetryMax time.Duration // the last back-off's upper bound; 5 min
	Delay    time.Duration // between a client's change and its replay; see replay.Config
	Grace    time.Duration // see replay.Config
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
		c.Connections = shared + 4
	}
	if left := max(c.Connections-shared, 0); c.Push <= 0 || c.Push > left {
		c.Push = left
	}
	if c.Memory <= 0 {
		c.Memory = 16 << 20
	}
	def(&c.Poll, 5*time.Minute)
	def(&c.Full, 24*time.Hour)
	def(&c.Silence, time.Minute)
	def(&c.Linger, time.Minute)
	def(&c.LeaseTTL, 30*time.Second)
	if c.Starts <= 0 {
		c.Starts = 50
	}
	if c.Moves <= 0 {
		c.Moves = 10
	}
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, 5*time.Minute)
	return c
}

// Manager mirrors the accounts of a store for one process: all of them, or its share where there are others. It is the
// sessions' BodySource.
type Manager struct {
	Ports
	cfg    Config
	ready  chan struct{} // closed when Run has started the accounts
	rounds chan struct{} // one token for each round that may run
	memory *semaphore.Weighted
	starts pacer
	guests chan struct{} // one token for each guest
	look   chan struct{} // capacity 1: look at the leases now
	read   chan struct{} // capacity 1: read the accounts again
	tenure tenure
	turn   chan struct{} // held by who takes, checks and gives up leases: it guards spread
	spread spread

	mu       sync.Mutex
	ctx      context.Context // of Run; nil while it does not run
	wg       sync.WaitGroup  // runners and guests
	runners  map[account.ID]*runner
	visiting map[account.ID]*guest
	watches  map[account.ID]map[mailbox.ID]int
}

var _ session.BodySource = (*Manager)(nil)

// New returns a Manager that does nothing until Run.
func New(p Ports, c Config) *Manager {
	c = c.withDefaults()
	return &Manager{
		Ports:    p,
		cfg:      c,
		ready:    make(chan struct{}),
		rounds:   make(chan struct{}, c.Concurrency),
		memory:   semaphore.NewWeighted(c.Memory),
		starts:   pacer{every: time.Second / time.Duration(c.Starts), burst: c.Starts},
		guests:   make(chan struct{}, mostGuests),
		look:     make(chan struct{}, 1),
		read:     make(chan struct{}, 1),
		tenure:   tenure{ttl: c.LeaseTTL},
		turn:     make(chan struct{}, 1),
		runners:  map[account.ID]*runner{},
		visiting: map[account.ID]*guest{},
		watches:  map[account.ID]map[mailbox.ID]int{},
	}
}

// Run mirrors the accounts that are neither local nor paused, and whose leases this process can have, until ctx is done;
// then it stops everything, gives the leases back and returns nil. It fails only when the leases cannot be read at the
// start. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	if m.Calls != nil {
		defer m.Calls.Receive(m.heard)()
	}
	m.wg.Go(func() { m.follow(ctx) })
	err := m.govern(ctx)
	cancel()
	m.mu.Lock()
	m.ctx = nil
	m.mu.Unlock()
	m.leave(context.WithoutCancel(ctx))
	return err
}

// Ready is closed when Run has started the accounts, so that Force and the like find them.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Reload reads the accounts again: new and resumed ones start, deleted and paused ones stop (it waits for them),
// changed ones start anew. Other nodes are told to do so too.
func (m *Manager) Reload(ctx context.Context) error {
	m.call(nodes.Call{What: nodes.Accounts})
	return m.reload(ctx)
}

func (m *Manager) reload(ctx context.Context) error {
	accounts, err := m.Accounts.Accounts(ctx, 0)
	if err != nil {
		return fault.Wrap("read accounts", err)
	}
	wanted := make(map[account.ID]account.Account, len(accounts))
	for _, a := range accounts {
		if !a.Local {
			wanted[a.ID] = a
		}
	}
	again := map[account.ID]bool{}
	var stopped []*runner
	m.mu.Lock()
	for id, r := range m.runners {
		a, ok := wanted[id]
		if ok && !a.Paused && sameUpstream(a, r.account) {
			continue
		}
		if ok && a.Paused {
			r.end(account.StatePaused)
		} else {
			again[id] = ok
			r.end(account.StateStopped)
		}
		stopped = append(stopped, r)
	}
	m.mu.Unlock()
	for _, r := range stopped {
		select {
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.seek(ctx, again)
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
	const op = "pause account"
	a, err := m.Accounts.Account(ctx, id)
	if err != nil {
		return fault.Wrap(op, err)
	}
	if a.Paused != paused {
		a.Paused = paused
		if err := m.Accounts.UpdateAccount(ctx, a); err != nil {
			return fault.Wrap(op, err)
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

// runner returns the account's runner; fault.Unavailable when none runs here.
func (m *Manager) runner(id account.ID) (*runner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.runners[id]; r != nil && !r.ending {
		return r, nil
	}
	return nil, fault.New(fault.Unavailable, "reach the upstream", "the account is not being synchronized here (paused, or stopped)")
}

// Force runs a round of the account as soon as possible and returns when it has ended, bodies included, with its error.
// While it waits it calls progress (which may be nil) now and then, from its own goroutine. Where another node owns the
// account that one is asked to.
func (m *Manager) Force(ctx context.Context, id account.ID, progress func(Progress)) error {
	r, err := m.runner(id)
	if err != nil {
		return m.forceAway(ctx, id, err)
	}
	return r.force(ctx, progress)
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
// It may be called for any mailbox, mirrored or not, here or elsewhere.
func (m *Manager) Watch(acc account.ID, id mailbox.ID) (stop func()) {
	m.watch(acc, id, 1)
	return sync.OnceFunc(func() { m.watch(acc, id, -1) })
}

func (m *Manager) watch(acc account.ID, id mailbox.ID, by int) {
	m.mu.Lock()
	boxes := m.watches[acc]
	if boxes == nil {
		boxes = map[mailbox.ID]int{}
		m.watches[acc] = boxes
	}
	if boxes[id] += by; boxes[id] == 0 {
		delete(boxes, id)
	}
	if len(boxes) == 0 {
		delete(m.watches, acc)
	}
	r := m.runners[acc]
	if r != nil {
		r.count(id, by)
	}
	m.mu.Unlock()
	if r == nil && by > 0 {
		m.call(nodes.Call{What: nodes.Watching, Account: acc, Mailbox: id})
	}
}

// Fetch implements session.BodySource.
func (m *Manager) Fetch(ctx context.Context, acc account.ID, id mailbox.ID, uids []mailbox.UID) error {
	if r, err := m.runner(acc); err == nil {
		return r.demand.fetch(ctx, id, uids)
	}
	_, err := away(ctx, m, acc, id, uids, func(d *demand) (struct{}, error) { return struct{}{}, d.fetch(ctx, id, uids) })
	return err
}

// Stream implements session.BodySource.
func (m *Manager) Stream(ctx context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) (session.Bytes, error) {
	if r, err := m.runner(acc); err == nil {
		return r.demand.stream(ctx, id, uid)
	}
	b, err := away(ctx, m, acc, id, []mailbox.UID{uid}, func(d *demand) (session.Bytes, error) { return d.stream(ctx, id, uid) })
	if err == nil && b == nil {
		a, err := m.Accounts.Account(ctx, acc)
		if err != nil {
			return nil, fault.Wrap("open body", err)
		}
		return m.stored(ctx, a, id, uid)
	}
	return b, err
}

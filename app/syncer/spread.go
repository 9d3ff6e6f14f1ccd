package syncer

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mutation"
	"imapped/ports/clock"
	"imapped/ports/metadata"
	"imapped/ports/nodes"
)

// spread is what the process remembers from look to look of who is to own what. Who holds Manager.turn has it.
type spread struct {
	live    []string                   // the nodes that are alive, in order
	since   time.Time                  // since when it is so
	free    map[account.ID]time.Time   // since when a lease can be had that another node is to take
	settled time.Time                  // before it no other node is taken for dead: this one could not reach the store itself
	newest  map[account.ID]mutation.ID // of queues: the last that replay was told of
	read    time.Time                  // when the accounts were read last
	watched time.Time                  // when the others were told last what is open here
}

const (
	// takeMany is how many leases are taken in one transaction.
	takeMany = 500
	// readEvery is how often the accounts are read again, in case that another node changed some and was not heard.
	readEvery = time.Minute
	// loathing is for how long an account is kept that the node which is to have it did not take.
	loathing = 5 * time.Minute
	// abandonAfter is for how many times the leases' time everything goes on without the store. Sending what changes
	// something upstream has ended long before; then the connections are closed, too, for another node needs them.
	abandonAfter = 10
	// kickPause is between looks that are asked for.
	kickPause = 20 * time.Millisecond
)

// govern takes, renews and gives up leases until ctx is done.
func (m *Manager) govern(ctx context.Context) error {
	if err := m.renew(ctx); err != nil {
		return err
	}
	if err := m.seek(ctx, nil); err != nil {
		return err
	}
	close(m.ready)
	tick := time.NewTicker(max(m.cfg.LeaseTTL/4, 1))
	defer tick.Stop()
	var changed <-chan struct{}
	if m.Nodes != nil {
		changed = m.Nodes.Changed()
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err = m.renew(ctx); err == nil {
				err = m.seek(ctx, nil)
			}
			if err == nil {
				err = m.tend(ctx)
			}
		case <-changed:
			err = m.seek(ctx, nil)
		case <-m.look:
			if err = sleep(ctx, kickPause); err == nil {
				err = m.seek(ctx, nil)
			}
		}
		if err != nil && ctx.Err() == nil {
			m.Log.Warn("leases", "error", err)
		}
	}
}

// follow reads the accounts again when it is asked to, until ctx is done. It waits for runners that end, for which what renews
// the leases must not: one may be long in getting rid of what it was about to store.
func (m *Manager) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.read:
			if err := m.reload(ctx); err != nil && ctx.Err() == nil {
				m.Log.Warn("leases", "error", err)
			}
		}
	}
}

// readSoon makes follow read the accounts again.
func (m *Manager) readSoon() {
	select {
	case m.read <- struct{}{}:
	default:
	}
}

// sleep waits for the time, or for ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeTurn waits for the turn of who takes and gives up leases.
func (m *Manager) takeTurn(ctx context.Context) (release func(), err error) {
	return (&box{turn: m.turn}).take(ctx)
}

// renew renews all leases, and finds out which were lost when some may have been.
func (m *Manager) renew(ctx context.Context) error {
	release, err := m.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer release()
	ttl := m.cfg.LeaseTTL
	ctx, cancel := context.WithTimeout(ctx, max(ttl/2, time.Second))
	defer cancel()
	now, last := m.Clock.Now(), m.tenure.since()
	held, err := m.Leases.RenewAll(ctx, m.cfg.Owner, now, ttl)
	if err != nil {
		if !last.IsZero() && clock.Elapsed(last, now) > abandonAfter*ttl {
			m.abandon()
		}
		return fault.Wrap("renew leases", err)
	}
	late := last.IsZero() || clock.Elapsed(last, now) >= ttl
	if late && !last.IsZero() {
		// The others may have been as late as this one, and are to have a chance to say that they live.
		m.spread.settled = now.Add(ttl / 2)
	}
	m.mu.Lock()
	known := len(m.runners)
	m.mu.Unlock()
	if late || held != known {
		if err := m.verify(ctx, now); err != nil {
			return err
		}
	}
	m.tenure.renewed(now)
	return nil
}

// abandon gives up everything without a word to the store, which cannot be reached.
func (m *Manager) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runners {
		r.owner.lease.lose()
		r.end("")
	}
}

// verify compares what runs with the leases that are held: what was lost ends, and a lease that was taken by this process
// before it was started anew is taken up.
func (m *Manager) verify(ctx context.Context, at time.Time) error {
	known := map[account.ID]bool{} // what ends meanwhile gives its lease back itself
	m.mu.Lock()
	for id := range m.runners {
		known[id] = true
	}
	m.mu.Unlock()
	fences, err := m.Leases.Held(ctx, m.cfg.Owner)
	if err != nil {
		return fault.Wrap("read leases", err)
	}
	held := make(map[account.ID]metadata.Fence, len(fences))
	for _, f := range fences {
		held[f.Account] = f
	}
	m.mu.Lock()
	for id, r := range m.runners {
		if !r.ending && held[id] != r.owner.fence {
			r.log.Warn("lease lost")
			r.owner.lease.lose()
			r.end("")
		}
	}
	m.mu.Unlock()
	for id := range known {
		delete(held, id)
	}
	if len(held) == 0 {
		return nil
	}
	accounts, err := m.Accounts.Accounts(ctx, 0)
	if err != nil {
		return fault.Wrap("read accounts", err)
	}
	for _, a := range accounts {
		f, ok := held[a.ID]
		switch {
		case !ok:
		case a.Local || a.Paused:
			if err := m.Leases.Release(ctx, f); err != nil {
				return fault.Wrap("release lease", err)
			}
		default:
			m.start(a, f, at, false)
		}
	}
	return nil
}

// start runs an account whose lease was taken by a call that was made at the time; loth says that another node was to have
// taken it. It does nothing while the process ends, whose leases all go back.
func (m *Manager) start(a account.Account, f metadata.Fence, at time.Time, loth bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil || m.runners[a.ID] != nil {
		return
	}
	r := newRunner(m, a, f, at)
	for id, n := range m.watches[a.ID] {
		r.watches[id] = n
	}
	if loth {
		r.loth = at.Add(loathing)
	}
	ctx, stop := context.WithCancel(m.ctx)
	r.stop = stop
	m.runners[a.ID] = r
	m.wg.Go(func() {
		defer stop()
		r.run(ctx)
		m.mu.Lock()
		delete(m.runners, a.ID)
		leaving := m.ctx == nil
		m.mu.Unlock()
		close(r.done)
		if !leaving {
			m.lookSoon()
			m.call(nodes.Call{What: nodes.Free})
		}
	})
}

// lookSoon makes govern look at the leases soon.
func (m *Manager) lookSoon() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// seek looks who is alive and which leases can be had, and takes those that this node is to have, those of mine, and those
// that nobody took for a while.
func (m *Manager) seek(ctx context.Context, mine map[account.ID]bool) error {
	release, err := m.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if !m.isUp() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(m.cfg.LeaseTTL, time.Second))
	defer cancel()
	now, s := m.Clock.Now(), &m.spread
	acquirable, err := m.Leases.Acquirable(ctx, now)
	if err != nil {
		return fault.Wrap("look for free accounts", err)
	}
	dead := map[string]bool{}
	for _, v := range acquirable {
		dead[v.Holder] = true
	}
	live, err := m.liveNodes(ctx, now)
	if err != nil {
		return fault.Wrap("look for other nodes", err)
	}
	live = slices.DeleteFunc(live, func(name string) bool { return dead[name] && name != m.cfg.Owner })
	if !slices.Equal(live, s.live) {
		s.live, s.since = live, now
	}
	before := s.free
	s.free = map[account.ID]time.Time{}
	wanted := map[account.ID]account.Account{}
	loth := map[account.ID]bool{}
	var ids []account.ID
	for _, v := range acquirable {
		since, ok := before[v.ID]
		if !ok {
			since = now
		}
		s.free[v.ID] = since
		ours := mine[v.ID] || prefers(v.ID, live) == m.cfg.Owner
		if v.Holder != "" && now.Before(s.settled) || !ours && clock.Elapsed(since, now) < m.grace() || m.isRunning(v.ID) {
			continue
		}
		ids = append(ids, v.ID)
		wanted[v.ID], loth[v.ID] = v.Account, !ours
	}
	for chunk := range slices.Chunk(ids, takeMany) {
		at := m.Clock.Now()
		fences, err := m.Leases.AcquireAll(ctx, chunk, m.cfg.Owner, at, m.cfg.LeaseTTL)
		if err != nil {
			return fault.Wrap("take accounts", err)
		}
		for _, f := range fences {
			m.start(wanted[f.Account], f, at, loth[f.Account])
			delete(s.free, f.Account)
		}
	}
	return nil
}

// grace is for how long a lease is left to the node that is to have it.
func (m *Manager) grace() time.Duration { return m.cfg.LeaseTTL / 2 }

// isUp says whether Run runs, and is not about to end.
func (m *Manager) isUp() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ctx != nil
}

func (m *Manager) isRunning(id account.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runners[id] != nil
}

// isMany says whether there are other nodes, or may be.
func (m *Manager) isMany() bool { return m.Nodes != nil || m.Calls != nil }

// liveNodes returns the names of the nodes that are alive, this one's among them, in order.
func (m *Manager) liveNodes(ctx context.Context, now time.Time) (live []string, err error) {
	if m.Nodes != nil {
		live, err = m.Nodes.Nodes(ctx)
	}
	if m.Nodes == nil || err != nil {
		if live, err = m.Leases.Owners(ctx, now); err != nil {
			return nil, err
		}
	}
	live = append(slices.Clone(live), m.cfg.Owner)
	slices.Sort(live)
	return slices.Compact(live), nil
}

// prefers returns which of the nodes is to have the account: the one with the highest hash of both, so that a node that
// comes or goes changes nothing for accounts that are not its own.
func prefers(id account.ID, live []string) string {
	var best string
	var most uint64
	for _, name := range live {
		h := fnv.New64a()
		var b [8]byte
		for i := range b {
			b[i] = byte(uint64(id) >> (8 * i))
		}
		_, _ = h.Write([]byte(name))
		_, _ = h.Write(b[:])
		// FNV's upper bits hardly depend on the last bytes: they are mixed (a finalizer of 64-bit avalanche).
		v := h.Sum64()
		v ^= v >> 32
		v *= 0xd6e8feb86659fd93
		v ^= v >> 32
		v *= 0xd6e8feb86659fd93
		v ^= v >> 32
		if best == "" || v > most {
			best, most = name, v
		}
	}
	return best
}

// tend does what is to be done now and then besides: it gives up accounts that other nodes are to have, looks for what they
// were not heard to say, and tells them what is open here.
func (m *Manager) tend(ctx context.Context) error {
	release, err := m.takeTurn(ctx)
	if err != nil {
		return err
	}
	now, s := m.Clock.Now(), &m.spread
	many := len(s.live) > 1
	if many && now.Sub(s.since) >= 2*m.cfg.LeaseTTL {
		m.giveUp(now)
	}
	m.forgetAfar(now)
	tell := m.Calls != nil && now.Sub(s.watched) >= watchEvery
	if tell {
		s.watched = now
	}
	read := many && now.Sub(s.read) >= readEvery
	if read {
		s.read = now
	}
	if many {
		err = m.lookAtQueues(ctx)
	}
	release()
	if tell {
		m.tellWatched()
	}
	if read {
		m.readSoon()
	}
	return err
}

// giveUp gives up accounts that other nodes are to have, at a calm moment, and not many at a time: each means a login
// elsewhere. One that has not been connected yet costs nothing.
func (m *Manager) giveUp(now time.Time) {
	left := max(1, int(time.Duration(m.cfg.Moves)*m.cfg.LeaseTTL/4/time.Second))
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.runners {
		if r.ending || now.Before(r.loth) || prefers(id, m.spread.live) == m.cfg.Owner {
			continue
		}
		if r.dialed.Load() {
			if left == 0 || !r.isCalm() {
				continue
			}
			left--
		}
		r.end("")
	}
}

// isCalm says whether nothing is under way that would have to begin again.
func (r *runner) isCalm() bool {
	return r.calm.Load() && r.owner.replay.Idle() && r.demand.size() == 0
}

// lookAtQueues wakes replay where a queue has grown: the word of the node where it did may have been lost.
func (m *Manager) lookAtQueues(ctx context.Context) error {
	queues, err := m.Leases.Queues(ctx, m.cfg.Owner)
	if err != nil {
		return fault.Wrap("look for queues", err)
	}
	before := m.spread.newest
	m.spread.newest = make(map[account.ID]mutation.ID, len(queues))
	for _, q := range queues {
		m.spread.newest[q.Account] = q.Newest
		if q.Newest <= before[q.Account] {
			continue
		}
		if r, err := m.runner(q.Account); err == nil {
			r.owner.replay.Wake()
		}
	}
	return nil
}

// leave ends everything, gives the leases back and tells the others.
func (m *Manager) leave(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		m.wg.Wait()
		close(ended)
	}()
	// What still hangs up politely changes nothing upstream any more: the others need not wait for it.
	t := time.NewTimer(leaveTime / 2)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
	if err := m.giveBack(ctx); err != nil {
		m.Log.Warn("release leases", "error", err)
	}
	m.call(nodes.Call{What: nodes.Free})
	<-ended
}

// giveBack gives all leases back.
func (m *Manager) giveBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	release, err := m.takeTurn(ctx) // who has it may be taking some
	if err != nil {
		return err
	}
	defer release()
	return m.Leases.ReleaseAll(ctx, m.cfg.Owner, m.Clock.Now())
}

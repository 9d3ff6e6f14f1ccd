package syncer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"imapped/app/replay"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// runner mirrors one account, as long as it is wanted.
type runner struct {
	m       *Manager
	account account.Account
	log     *slog.Logger
	stop    context.CancelFunc // ends run
	done    chan struct{}      // closed when run has ended
	kick    chan struct{}      // wakes the waiting main loop
	demand  *demand

	mu      sync.Mutex
	status  account.Status
	owner   *owner
	owned   chan struct{} // closed while owner is set
	boxes   map[mailbox.ID]*box
	turns   map[mailbox.ID]chan struct{} // see box.turn; of id 0 (replay.Lists): of the list of mailboxes
	relist  bool                         // replay asks for a round
	crowded int                          // connections that replay needs and the upstream does not allow besides push's
	order   []*box                       // by rank and name
	waiting []chan error
	watches map[mailbox.ID]int
	opened  chan struct{} // tells of a change of watches, or of the list of mailboxes
	// doubtful says that something implausible waits for a second look, which is to come soon.
	doubtful  bool
	suspected suspicion
}

// owner is one period in which this process owns the account.
type owner struct {
	*runner
	fence  metadata.Fence
	store  *store
	replay *replay.Replayer

	// These belong to who has the turn of the list of mailboxes: questions about it that were not answered in how many
	// rounds in a row, up to the last one and with this one.
	puzzles, open map[string]int
}

func newRunner(m *Manager, a account.Account) *runner {
	r := &runner{
		m:       m,
		account: a,
		log:     m.Log.With("account", int64(a.ID)),
		done:    make(chan struct{}),
		kick:    make(chan struct{}, 1),
		owned:   make(chan struct{}),
		boxes:   map[mailbox.ID]*box{},
		turns:   map[mailbox.ID]chan struct{}{},
		watches: map[mailbox.ID]int{},
		opened:  make(chan struct{}, 1),
		status:  account.Status{State: account.StateNew, Since: m.Clock.Now()},
	}
	r.demand = newDemand(r)
	return r
}

// run owns the account whenever the lease can be had, until ctx is done.
func (r *runner) run(ctx context.Context) {
	defer r.answer(fault.New(fault.Unavailable, "synchronize", "stopped"))
	defer r.demand.close()
	if s, err := r.m.Statuses.Status(ctx, r.account.ID); err == nil {
		r.mu.Lock()
		r.status.LastSync = s.LastSync
		r.mu.Unlock()
	}
	for ctx.Err() == nil {
		f, err := r.m.Leases.Acquire(ctx, r.account.ID, r.m.cfg.Owner, r.m.Clock.Now(), r.m.cfg.LeaseTTL)
		if err != nil {
			if !fault.Is(err, fault.Conflict) && ctx.Err() == nil {
				r.log.Warn("lease", "error", err)
			}
			r.pause(ctx, r.m.cfg.LeaseTTL/3, true)
			continue
		}
		r.own(ctx, f)
	}
}

// own runs everything for the account under one lease, renewing it, until ctx is done or the lease is lost.
func (r *runner) own(ctx context.Context, f metadata.Fence) {
	ctx, cancel := context.WithCancel(ctx)
	o := &owner{runner: r, fence: f}
	o.store = newStore(o)
	o.replay = newReplay(o)
	var wg sync.WaitGroup
	wg.Go(func() { r.renew(ctx, f, cancel) })
	wg.Go(func() { o.store.run(ctx) })
	wg.Go(func() { r.demand.serve(ctx, o) })
	wg.Go(func() { o.replays(ctx, cancel) })
	r.mu.Lock()
	r.owner = o
	close(r.owned)
	r.mu.Unlock()
	o.work(ctx)
	cancel()
	r.mu.Lock()
	r.owner = nil
	r.owned = make(chan struct{})
	r.mu.Unlock()
	wg.Wait()
	// The caller's context is over when the process ends, and the lease is to be given back all the same.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	o.setStatus(ctx, account.StateStopped, "", 0)
	if err := r.m.Leases.Release(ctx, f); err != nil {
		r.log.Warn("release lease", "error", err)
	}
}

// replays carries out the account's queue until ctx is done; it calls lost when the lease is.
func (o *owner) replays(ctx context.Context, lost context.CancelFunc) {
	for ctx.Err() == nil {
		err := o.replay.Run(ctx)
		if err == nil {
			return
		}
		if o.lostLease(ctx) {
			lost()
			return
		}
		o.log.Warn("replay", "error", err)
		o.pause(ctx, o.m.cfg.RetryMax, false)
	}
}

// renew keeps the lease; it calls lost when that is not possible any more.
func (r *runner) renew(ctx context.Context, f metadata.Fence, lost context.CancelFunc) {
	ttl := r.m.cfg.LeaseTTL
	tick := time.NewTicker(ttl / 3)
	defer tick.Stop()
	failed := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.m.Leases.Renew(ctx, f, r.m.Clock.Now(), ttl)
		switch {
		case err == nil:
			failed = 0
			continue
		case ctx.Err() != nil:
			return
		}
		if failed++; fault.Is(err, fault.Conflict) || failed >= 3 {
			r.log.Warn("lease lost", "error", err)
			lost()
			return
		}
	}
}

// work connects and stays in step, again and again, until ctx is done.
func (o *owner) work(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		rounds, err := o.connected(ctx)
		if ctx.Err() != nil {
			return
		}
		if fault.Is(err, fault.Conflict) && o.lostLease(ctx) {
			return
		}
		if rounds > 0 {
			attempt = 0
		}
		o.answer(err)
		t := diagnose(err)
		delay := t.retry
		if delay == 0 {
			delay = mirror.Backoff(attempt, o.m.cfg.RetryMin, o.m.cfg.RetryMax, rand.Float64())
		}
		attempt++
		o.log.Warn("upstream failed", "state", string(t.state), "error", err, "retry", delay)
		o.setStatus(ctx, t.state, errorText(err), delay)
		o.pause(ctx, delay, true)
	}
}

// lostLease says whether the account has another owner now.
func (o *owner) lostLease(ctx context.Context) bool {
	return fault.Is(o.m.Leases.Renew(ctx, o.fence, o.m.Clock.Now(), o.m.cfg.LeaseTTL), fault.Conflict)
}

// connected runs rounds on one connection until it fails, and returns how many succeeded.
func (o *owner) connected(ctx context.Context) (rounds int, err error) {
	o.setStatus(ctx, account.StateSyncing, "", 0)
	l, err := o.dial(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer func() { _ = l.Close() }() // what there is to say about a connection that ends was said by its commands
	pushing := false
	for {
		waiting := o.takeWaiting()
		asked := len(waiting) > 0
		listed := func() {
			if !pushing && l.server.Idle && o.m.cfg.Connections > 1 {
				pushing = true
				wg.Go(func() { o.pushes(ctx) })
			}
			o.reconsider()
		}
		err := o.round(ctx, l, asked, listed)
		doubtful := o.takeDoubt()
		if err == nil && doubtful && asked { // who asked for it by hand gets both looks at once
			err = o.round(ctx, l, asked, listed)
			doubtful = o.takeDoubt()
		}
		if err != nil {
			o.putBack(waiting)
			o.setStatus(ctx, diagnose(err).state, errorText(err), 0) // ending the other connections may take its time
			return rounds, err
		}
		rounds++
		o.replay.Resume()
		text := o.boxTrouble()
		var result error
		if text != "" {
			result = fault.New(fault.Unavailable, "synchronize", text)
		}
		o.synced(ctx, text)
		for _, w := range waiting {
			w <- result
		}
		poll := o.m.cfg.Poll
		if l.server.PollBy > 0 && !pushing {
			poll = l.server.PollBy
		}
		if doubtful {
			poll = min(poll, secondLook)
		}
		if err := o.rest(ctx, l, poll); err != nil {
			return rounds, err
		}
	}
}

// secondLook is when something implausible is looked at again.
const secondLook = 10 * time.Second

// takeDoubt says whether the last round left something doubtful.
func (r *runner) takeDoubt() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.doubtful
	r.doubtful = false
	return d
}

// watchEvery is how often mailboxes that clients have open are looked at, where no push covers them.
const watchEvery = 30 * time.Second

// rest waits for the next round; meanwhile it looks at the mailboxes that clients have open.
func (o *owner) rest(ctx context.Context, l *link, poll time.Duration) error {
	until := time.NewTimer(poll)
	defer until.Stop()
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for {
		if o.wanted() {
			return nil
		}
		if err := o.lookAtDue(ctx, l); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.kick:
		case <-until.C:
			return nil
		case <-look.C:
			if err := o.lookAtWatched(ctx, l); err != nil {
				return err
			}
		}
	}
}

// pause waits for the time, or, when asked to, until somebody wants a round now.
func (r *runner) pause(ctx context.Context, d time.Duration, wakes bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	kick := r.kick
	if !wakes {
		kick = nil
	}
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-kick:
	}
}

// wake makes the main loop look now.
func (r *runner) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// force implements Manager.Force.
func (r *runner) force(ctx context.Context, progress func(Progress)) error {
	ended := make(chan error, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, ended)
	r.mu.Unlock()
	r.wake()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if progress != nil {
				progress(r.progress())
			}
			return err
		case <-tick.C:
			if progress != nil {
				progress(r.progress())
			}
		case <-r.done:
			return fault.New(fault.Unavailable, "synchronize", "stopped")
		case <-ctx.Done():
			r.mu.Lock()
			r.waiting = slices.DeleteFunc(r.waiting, func(c chan error) bool { return c == ended })
			r.mu.Unlock()
			return ctx.Err()
		}
	}
}

// takeWaiting returns those who wait for the round that starts now.
func (r *runner) takeWaiting() []chan error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiting
	r.waiting = nil
	return w
}

// wanted says whether somebody waits for a round.
func (r *runner) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) > 0 || r.relist
}

// putBack is for a round that failed: who waited for it gets the reason, at the end of the attempt.
func (r *runner) putBack(w []chan error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, w...)
}

// answer ends the waiting of all who wait for a round.
func (r *runner) answer(err error) {
	for _, c := range r.takeWaiting() {
		c <- err
	}
}

// hint tells sessions that a mailbox changed.
func (r *runner) hint(id mailbox.ID, seq mailbox.ModSeq) {
	r.m.Bus.Publish(events.Hint{Account: r.account.ID, Mailbox: id, ModSeq: seq})
}

// watch implements Manager.Watch.
func (r *runner) watch(id mailbox.ID) func() {
	r.count(id, 1)
	return sync.OnceFunc(func() { r.count(id, -1) })
}

// count changes how many have the mailbox open.
func (r *runner) count(id mailbox.ID, by int) {
	r.mu.Lock()
	if r.watches[id] += by; r.watches[id] == 0 {
		delete(r.watches, id)
	}
	r.mu.Unlock()
	r.reconsider()
}

// reconsider makes pushes look again at what it is to listen to.
func (r *runner) reconsider() {
	select {
	case r.opened <- struct{}{}:
	default:
	}
}

// errorText is what an error says, for a person.
func errorText(err error) string {
	if err == nil || errors.Is(err, context.Canceled) {
		return ""
	}
	return err.Error()
}

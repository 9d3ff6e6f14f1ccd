package syncer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/blob"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// runner mirrors one account for as long as this process owns it.
type runner struct {
	m       *Manager
	account account.Account
	blobs   blob.Store // of the account's user
	log     *slog.Logger
	done    chan struct{} // closed when run has ended
	kick    chan struct{} // wakes the waiting main loop
	watched chan struct{} // tells it that mailboxes are open which it is to look at
	places  *places       // of connections that do not listen
	pushing *places       // of those that do
	demand  *demand
	owner   *owner
	calm    atomic.Bool // the main loop waits for its next round or attempt
	dialed  atomic.Bool // it has tried to connect

	squeezed chan struct{} // tells the main loop that somebody waits for its connection's place

	// These are guarded by Manager.mu.
	stop   context.CancelFunc // ends run
	ending bool               // stop was called
	last   account.State      // the state to end in; empty: none is written
	loth   time.Time          // until then it is not given up to the node that did not take it when it could

	mu      sync.Mutex
	status  account.Status
	written account.Status // the status that the store has, as far as it is known
	boxes   map[mailbox.ID]*box
	turns   map[mailbox.ID]chan struct{} // see box.turn; of id 0 (replay.Lists): of the list of mailboxes
	relist  bool                         // replay asks for a round
	crowded int                          // connections that replay needs and the upstream does not allow besides push's
	order   []*box                       // by rank and name
	waiting []chan error
	watches map[mailbox.ID]int
	afar    map[mailbox.ID]time.Time // when another node said last that somebody has the mailbox open there
	isAfar  atomic.Bool              // there is something in it
	opened  chan struct{}            // tells of a change of watches, or of the list of mailboxes
	// doubtful says that something implausible waits for a second look, which is to come soon.
	doubtful  bool
	suspected suspicion
}

// owner is the right by which a runner writes.
type owner struct {
	*runner
	fence  metadata.Fence
	guest  bool // none: it only fetches bodies, for an account that another node owns
	lease  lease
	store  *store
	replay *replaying

	// These belong to who has the turn of the list of mailboxes: questions about it that were not answered in how many
	// rounds in a row, up to the last one and with this one.
	puzzles, open map[string]int
}

// newRunner returns the runner of an account whose lease was taken, or confirmed, by a call that was made at the time. m.mu is
// held.
func newRunner(m *Manager, a account.Account, f metadata.Fence, at time.Time) *runner {
	r := &runner{
		m:       m,
		account: a,
		blobs:   blob.Of(m.Blobs, a.User),
		log:     m.Log.With("account", int64(a.ID)),
		done:    make(chan struct{}),
		kick:    make(chan struct{}, 1),
		watched: make(chan struct{}, 1),
		last:    account.StateStopped,
		boxes:   map[mailbox.ID]*box{},
		turns:   map[mailbox.ID]chan struct{}{},
		watches: map[mailbox.ID]int{},
		opened:  make(chan struct{}, 1),
		status:  account.Status{State: account.StateNew, Since: m.Clock.Now()},

		squeezed: make(chan struct{}, 1),
		pushing:  newPlaces(m.cfg.Push),
	}
	r.places = m.placesOf(r)
	r.owner = &owner{runner: r, fence: f}
	r.owner.lease.confirmed(at)
	r.owner.store = newStore(r.owner)
	r.owner.replay = newReplay(r.owner)
	r.demand = newDemand(r.owner)
	return r
}

// end makes run end, and leave the account in the state; empty: as it is. Manager.mu is held.
func (r *runner) end(state account.State) {
	if !r.ending {
		r.ending, r.last = true, state
		r.stop()
	}
}

// run runs everything for the account until ctx is done or the lease is lost; then it gives the lease back, unless that
// is Manager.leave's business.
func (r *runner) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := r.owner
	o.replay.begin(ctx, cancel)
	o.store.begin(ctx)
	r.demand.begin(ctx)
	o.work(ctx)
	cancel()
	r.answer(fault.New(fault.Unavailable, "synchronize", "stopped"))
	r.demand.end()
	o.store.end()
	o.replay.end()
	if !o.lease.lost() {
		o.leave(ctx)
	}
}

// leave writes the state to end in, and gives the lease back.
func (o *owner) leave(ctx context.Context) {
	r := o.runner
	// The caller's context is over when the process ends, and the lease is to be given back all the same.
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer done()
	r.m.mu.Lock()
	state, leaving := r.last, r.m.ctx == nil
	r.m.mu.Unlock()
	if leaving && r.m.isMany() {
		state = "" // another node is about to take it, and knows better
	}
	if state != "" {
		o.setStatus(ctx, state, "", 0)
	}
	if leaving {
		return
	}
	if err := r.m.Leases.Release(ctx, o.fence); err != nil {
		r.log.Warn("release lease", "error", err)
	}
}

// work connects and stays in step, again and again, until ctx is done. What is on the stack while the account rests, here and
// in what follows, is kept small: there may be thousands.
func (o *owner) work(ctx context.Context) {
	if !o.beginWork(ctx) {
		return
	}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		rounds, err := o.connected(ctx)
		if rounds > 0 {
			attempt = 0
		}
		if !o.failed(ctx, attempt, err) {
			return
		}
	}
}

// beginWork waits for the turn of the account's first connection. It says no when ctx is done.
func (o *owner) beginWork(ctx context.Context) bool {
	o.calm.Store(true)
	if o.m.starts.wait(ctx, o.m.Clock.Now()) != nil {
		return false
	}
	o.dialed.Store(true)
	if s, err := o.m.Statuses.Status(ctx, o.account.ID); err == nil {
		o.mu.Lock()
		o.status.LastSync, o.written = s.LastSync, s
		o.mu.Unlock()
	}
	return true
}

// failed tells of a failure, and waits until the next attempt. It says no when there is to be none.
func (o *owner) failed(ctx context.Context, attempt int, err error) bool {
	if ctx.Err() != nil || fault.Is(err, fault.Conflict) && o.lostLease(ctx) {
		return false
	}
	o.answer(err)
	t := diagnose(err)
	delay := t.retry
	if delay == 0 {
		delay = mirror.Backoff(attempt, o.m.cfg.RetryMin, o.m.cfg.RetryMax, rand.Float64())
	}
	o.log.Warn("upstream failed", "state", string(t.state), "error", err, "retry", delay)
	o.setStatus(ctx, t.state, errorText(err), delay)
	o.calm.Store(true)
	o.pause(ctx, delay, true)
	return true
}

// lostLease asks the store whether the account has another owner now.
func (o *owner) lostLease(ctx context.Context) bool {
	if fault.Is(o.confirm(ctx), fault.Conflict) {
		o.lease.lose()
	}
	return o.lease.lost()
}

// connected runs rounds on one connection until it fails, and returns how many succeeded.
func (o *owner) connected(ctx context.Context) (rounds int, err error) {
	o.calm.Store(false)
	o.setStatus(ctx, account.StateSyncing, "", 0)
	l, err := o.dial(ctx, o.places, o.squeeze)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer func() { _ = l.Close() }() // what there is to say about a connection that ends was said by its commands
	push := sync.OnceFunc(func() { wg.Go(func() { o.pushes(ctx) }) })
	for {
		poll, err := o.inStep(ctx, l, push)
		if err != nil {
			return rounds, err
		}
		rounds++
		if err := o.rest(ctx, l, poll); err != nil {
			return rounds, err
		}
	}
}

// inStep does a round, and tells who waits for it. It calls push where push connections are to be had, and returns how long to
// wait for the next round.
func (o *owner) inStep(ctx context.Context, l *link, push func()) (poll time.Duration, err error) {
	waiting := o.takeWaiting()
	asked := len(waiting) > 0
	pushes := l.server.Idle && o.m.cfg.Push > 0
	listed := func() {
		if pushes {
			push()
		}
		o.reconsider()
	}
	err = o.round(ctx, l, asked, listed)
	doubtful := o.takeDoubt()
	if err == nil && doubtful && asked { // who asked for it by hand gets both looks at once
		err = o.round(ctx, l, asked, listed)
		doubtful = o.takeDoubt()
	}
	if err != nil {
		o.putBack(waiting)
		o.setStatus(ctx, diagnose(err).state, errorText(err), 0) // ending the other connections may take its time
		return 0, err
	}
	o.replay.Resume()
	text := o.boxTrouble()
	var result error
	if text != "" {
		result = fault.New(fault.Unavailable, "synchronize", text)
	}
	o.synced(ctx, text, asked)
	for _, w := range waiting {
		w <- result
	}
	poll = o.m.cfg.Poll
	if l.server.PollBy > 0 && !pushes {
		poll = l.server.PollBy
	}
	if doubtful {
		poll = min(poll, secondLook)
	}
	return poll, nil
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
	o.calm.Store(true)
	defer o.calm.Store(false)
	until := time.NewTimer(poll)
	defer until.Stop()
	var look <-chan time.Time // while somebody has a mailbox open: for most accounts nobody has, and a ticker would wake thousands
	o.toldWatched()
	for {
		l.giveWay()
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
		case <-o.squeezed:
		case <-until.C:
			return nil
		case <-o.watched:
			if look == nil {
				look = time.After(watchEvery)
			}
		case <-look:
			if err := o.lookAtWatched(ctx, l); err != nil {
				return err
			}
			look = nil
			o.toldWatched()
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

// count changes how many have the mailbox open.
func (r *runner) count(id mailbox.ID, by int) {
	r.mu.Lock()
	if r.watches[id] += by; r.watches[id] == 0 {
		delete(r.watches, id)
	}
	r.mu.Unlock()
	r.toldWatched()
	r.reconsider()
}

// isWatched says whether somebody has a mailbox open.
func (r *runner) isWatched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watches) > 0
}

// toldWatched tells the main loop so, if it is.
func (r *runner) toldWatched() {
	if !r.isWatched() {
		return
	}
	select {
	case r.watched <- struct{}{}:
	default:
	}
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

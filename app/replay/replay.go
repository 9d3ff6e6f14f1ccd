package replay

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// Ports is what replay needs from outside. All are needed.
type Ports struct {
	Queue  metadata.Queue
	Edits  metadata.Edits
	Mirror metadata.Mirror
	Blobs  blob.Store
	Clock  clock.Clock
	Log    *slog.Logger
}

// Config tunes replay. A zero field takes its default.
type Config struct {
	Delay    time.Duration // between a change and its replay, so that a burst of changes is a few commands; 200 ms
	RetryMin time.Duration // the first back-off's upper bound; 1 s
	RetryMax time.Duration // the last back-off's upper bound; 5 min
	// Grace is for how long a command may still be carried out whose connection was lost, and silentGrace times as long when
	// it was given up because the server fell silent, which may only be slow: before it is over nothing is
	// held for not carried out; 2 s.
	Grace  time.Duration
	Linger time.Duration // how long an idle connection is kept; 1 min
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Delay, 200*time.Millisecond)
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, 5*time.Minute)
	def(&c.Grace, 2*time.Second)
	def(&c.Linger, time.Minute)
	return c
}

// silentGrace: see Config.Grace.
const silentGrace = 15

// Lists is the turn of the account's list of mailboxes, among the turns of its mailboxes.
const Lists mailbox.ID = 0

// Host is what replay shares with the account's mirroring.
type Host interface {
	// Enter waits until replay may have a connection, unless it may already; until Leave it may. Replay calls it without any
	// turn. Wanted says that somebody else waits for that right: replay is to leave soon. Waiting makes the host call Wake.
	Enter(ctx context.Context) error
	Wanted() bool
	Leave()
	// Dial opens a connection of replay's own, which replay closes, between Enter and Leave. There is one at a time.
	Dial(ctx context.Context) (Conn, error)
	// Turn waits for the turn of a mailbox, or of the list of mailboxes: while it is held nobody else turns what the
	// upstream says of it into changes. Who takes several takes them in ascending order.
	Turn(ctx context.Context, id mailbox.ID) (release func(), err error)
	// TryTurn is Turn for who does not wait.
	TryTurn(id mailbox.ID) (release func(), ok bool)
	// Placed says that the upstream has got messages in the mailbox whose bodies are here.
	Placed(id mailbox.ID)
	// Compare asks for a complete comparison of a mailbox, soon. Resume is called after it.
	Compare(id mailbox.ID)
	// Look asks for a look at a mailbox, or, with Lists, at the list and everything, soon. Resume is called after it.
	Look(id mailbox.ID)
	// Changed tells sessions of a change of the mailbox, or, with Lists, of the list.
	Changed(id mailbox.ID, seq mailbox.ModSeq)
}

// Conn is a connection as replay uses it. One goroutine does.
type Conn interface {
	Server() upstream.Server
	// Do is upstream.Conn's, and gives up when nothing arrives, and nothing is touched, for too long.
	Do(ctx context.Context, cmds ...upstream.Command) error
	// Touch says that something is going on: octets are being sent, or a callback was called.
	Touch()
	// Held says why the fence may not be relied on any more; nil: it may. It asks nobody and never blocks. Do asks by
	// itself, before it sends anything.
	Held() error
	Close() error
}

// Replayer carries out one account's queue under one fence.
type Replayer struct {
	Ports
	cfg   Config
	host  Host
	fence metadata.Fence
	wake  chan struct{} // capacity 1

	resting atomic.Bool

	mu      sync.Mutex
	resumed bool
	backlog Backlog

	// The rest is Run's.
	begun    bool
	line     *line
	attempt  int       // failures in a row
	certain  time.Time // when commands whose connection was lost, or whose process died, are taken to be over
	held     map[mailbox.ID]*holding
	smaller  map[mutation.ID]int     // refused in a batch: the largest batch to try it in
	compared map[mailbox.ID]*holding // when a comparison that is asked for may be asked for again
	throttle time.Time               // the upstream asked to be left alone until then
}

// New returns a Replayer that does nothing until Run.
func New(p Ports, c Config, h Host, f metadata.Fence) *Replayer {
	return &Replayer{
		Ports: p, cfg: c.withDefaults(), host: h, fence: f, wake: make(chan struct{}, 1),
		held: map[mailbox.ID]*holding{}, compared: map[mailbox.ID]*holding{}, smaller: map[mutation.ID]int{},
	}
}

// Backlog is what is in the queue. Of a long queue only the first changes are read at a time: there are at least so many.
type Backlog struct {
	Changes int       // that wait for the upstream
	Oldest  time.Time // when the first of them was made; zero without any
	Parked  int       // changes that wait for somebody to decide about them
}

// Backlog returns what was in the queue when it was read last.
func (r *Replayer) Backlog() Backlog {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.backlog
}

// setBacklog notes what was read.
func (r *Replayer) setBacklog(queue []metadata.Queued) {
	var b Backlog
	for _, q := range queue {
		if q.State == mutation.Parked {
			b.Parked++
			continue
		}
		if b.Changes++; b.Changes == 1 {
			b.Oldest = q.Created
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backlog = b
}

// Wake says that the queue may have changed. It never blocks.
func (r *Replayer) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Resume says that the mirror has looked at the upstream, which therefore answers: what waited for either goes on.
func (r *Replayer) Resume() {
	r.mu.Lock()
	r.resumed = true
	r.mu.Unlock()
	r.Wake()
}

// Idle says whether nothing is being carried out now.
func (r *Replayer) Idle() bool { return r.resting.Load() }

// Woken says whether Wake was called and Run has not heard of it yet.
func (r *Replayer) Woken() bool { return len(r.wake) > 0 }

func (r *Replayer) takeResumed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	yes := r.resumed
	r.resumed = false
	return yes
}

// Run carries out the queue, the first time at once, then after every Wake, until ctx is done or nothing is left to do, or to
// wait for, but a Wake: then it is to be called again. One goroutine at a time does. It fails only with fault.Conflict, when
// the fence is not the account's any more.
func (r *Replayer) Run(ctx context.Context) error {
	defer r.leave()
	var next, retry time.Time // before retry only Resume makes it try again
	first := !r.begun
	if first {
		r.begun, r.certain = true, r.Clock.Now().Add(r.cfg.Grace)
	}
	for {
		if !first && !r.rest(ctx, next, retry) {
			return nil
		}
		first = false
		var err error
		next, err = r.drain(ctx)
		now := r.Clock.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case fault.Is(err, fault.Conflict):
			return fault.Wrap("replay", err)
		case err != nil:
			r.hangUp()
			delay := r.delay(err)
			retry = now.Add(delay)
			r.Log.Warn("replay failed", "error", err, "retry", delay)
			next = retry
		default:
			r.attempt, retry = 0, time.Time{}
		}
	}
}

// rest waits until something is to be done: it is next, or it was woken and retry has come. It says no when ctx is done, and
// when there is nothing to wait for.
func (r *Replayer) rest(ctx context.Context, next, retry time.Time) bool {
	r.resting.Store(true)
	defer r.resting.Store(false)
	linger := time.NewTimer(r.cfg.Linger)
	defer linger.Stop()
	var due <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(max(next.Sub(r.Clock.Now()), r.cfg.Delay))
		defer t.Stop()
		due = t.C
	}
	for due != nil || r.line != nil || r.Woken() {
		if r.line == nil || r.host.Wanted() {
			r.leave()
		}
		select {
		case <-ctx.Done():
			return false
		case <-linger.C:
			r.leave()
		case <-due:
			return true
		case <-r.wake:
			if r.takeResumed() {
				for _, h := range r.held {
					if h.times <= patience {
						h.until = time.Time{}
					}
				}
				retry = time.Time{}
			}
			if r.Clock.Now().Before(retry) {
				continue
			}
			t := time.NewTimer(r.cfg.Delay)
			defer t.Stop()
			due = t.C
		}
	}
	return false
}

// How soon a failed connection is tried again at most: an upstream that is down answers at once or not at all, and is to
// get what waits for it soon after it is back; refused credentials are left alone, for lockouts count attempts.
const (
	downRetry   = 5 * time.Second
	deniedRetry = 15 * time.Minute
)

// delay returns how long to wait after a failure.
func (r *Replayer) delay(err error) time.Duration {
	longest := r.cfg.RetryMax
	var step *upstream.StepError
	if errors.As(err, &step) && (step.Step == upstream.StepDNS || step.Step == upstream.StepTCP) {
		longest = min(longest, downRetry)
	}
	d := r.backoff(r.attempt, longest)
	r.attempt++
	var refusal *upstream.Refusal
	switch {
	case fault.Is(err, fault.Denied):
		return max(d, deniedRetry)
	case errors.As(err, &refusal):
		return max(d, min(refusal.Retry, time.Hour))
	}
	return d
}

// backoff is between half and all of a bound that grows with every attempt.
func (r *Replayer) backoff(attempt int, longest time.Duration) time.Duration {
	bound := mirror.Backoff(attempt, min(r.cfg.RetryMin, longest), longest, 1)
	return bound/2 + time.Duration(rand.Float64()*float64(bound/2))
}

// holding is a mailbox that is left alone.
type holding struct {
	until time.Time
	times int // in a row
}

// patience is how often in a row a mailbox that is left alone is tried again at once when the mirror has looked at it.
const patience = 3

// hold leaves a mailbox alone until the mirror has looked at it, or for a while: the longer, the more often this happens in
// a row.
func (r *Replayer) hold(id mailbox.ID) { r.putOff(r.held, id) }

// putOff makes a mailbox wait, in held or compared: the longer, the more often this happens in a row.
func (r *Replayer) putOff(in map[mailbox.ID]*holding, id mailbox.ID) {
	h := in[id]
	if h == nil {
		h = &holding{}
		in[id] = h
	}
	h.until = r.Clock.Now().Add(r.backoff(h.times, r.cfg.RetryMax))
	h.times++
}

// holdFor leaves a mailbox alone for the time.
func (r *Replayer) holdFor(id mailbox.ID, d time.Duration) {
	r.held[id] = &holding{until: r.Clock.Now().Add(d), times: patience + 1}
}

// isHeld says whether the mailbox is left alone, and until when.
func (r *Replayer) isHeld(id mailbox.ID) (time.Time, bool) {
	h := r.held[id]
	if h == nil {
		return time.Time{}, false
	}
	return h.until, r.Clock.Now().Before(h.until)
}

// leave ends the connection and lets others have one. No turn is held.
func (r *Replayer) leave() {
	r.hangUp()
	r.host.Leave()
}

func (r *Replayer) hangUp() {
	if r.line != nil {
		_ = r.line.Close() // what there is to say about a connection that ends was said by its commands
		r.line = nil
	}
}

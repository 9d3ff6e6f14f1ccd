package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"imapped/e2e/harness"
	"imapped/tools/faultproxy"
)

// taking is a take-over that is to come: of the accounts of a node that is dead or stands still.
type taking struct {
	what     kind
	node     int
	accounts []user
	at       time.Time
	leases   map[int64]time.Duration // after what time another node had the account's lease; guarded by breaker.mu
}

// breaker plays a schedule.
type breaker struct {
	p     *play
	users []user
	log   func(format string, args ...any)

	mu      sync.Mutex
	takings []*taking
	errs    []error
}

// run plays the schedule from its beginning on.
func (b *breaker) run(ctx context.Context, faults []fault) error {
	begin := time.Now()
	var wg sync.WaitGroup
	for _, f := range faults {
		if !wait(ctx, time.Until(begin.Add(f.at))) {
			break
		}
		wg.Go(func() {
			if err := b.play(ctx, f); err != nil {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.errs = append(b.errs, fmt.Errorf("%s: %w", f.kind, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(b.errs...)
}

// play makes one fault happen, and heals it in the end, also when ctx is done.
func (b *breaker) play(ctx context.Context, f fault) error {
	calm := context.WithoutCancel(ctx)
	r, h := b.p.rig, b.p.health
	for range r.nodes { // a line of a node that is not there need not be cut
		if h.whole(f.node) {
			break
		}
		f.node = (f.node + 1) % len(r.nodes)
	}
	line := func(part need, p *faultproxy.Proxy) error {
		b.log("%s %s", time.Now().Format(clockForm), f)
		if part != 0 {
			defer h.broken(f.node, part, time.Now)()
		}
		return b.cut(ctx, f, p)
	}
	switch f.kind {
	case cutRedis:
		return line(0, r.links[f.node].redis)
	case cutUpstream:
		return line(0, r.links[f.node].upstream)
	case cutObjects:
		return line(objects, r.links[f.node].objects)
	case cutDatabase:
		return line(database, r.links[f.node].database)
	case restartRedis:
		b.log("%s %s", time.Now().Format(clockForm), f)
		return b.restart(calm, r.redis, true, func(l *links) *faultproxy.Proxy { return l.redis })
	case restartDatabase:
		b.log("%s %s", time.Now().Format(clockForm), f)
		defer h.broken(-1, database, time.Now)()
		return b.restart(calm, r.database, f.hard, func(l *links) *faultproxy.Proxy { return l.database })
	}
	victim, follow, err := b.victim(ctx, f)
	if err != nil {
		return err
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(follow)
	defer h.broken(victim, node, time.Now)()
	if f.kind == killNode {
		if err := r.killNode(calm, victim); err != nil {
			return err
		}
		wait(ctx, f.lasts)
		return r.startNode(calm, victim)
	}
	if err := r.nodes[victim].Signal(calm, "STOP"); err != nil {
		return err
	}
	wait(ctx, f.lasts)
	if err := r.nodes[victim].Signal(calm, "CONT"); err != nil {
		return err
	}
	return r.startNode(calm, victim)
}

// victim returns the owner of the account of a fault, and notes what is to be taken over from it; follow notes when it is.
func (b *breaker) victim(ctx context.Context, f fault) (victim int, follow func(), err error) {
	var owners map[int64]int
	err = harness.Eventually(ctx, 5*time.Second, "somebody owns the account", func() (ok bool, err error) {
		owners = b.p.rig.owners(ctx)
		victim, ok = owners[b.users[f.account].id]
		return ok, nil
	})
	if err != nil {
		return 0, nil, err
	}
	before, err := b.leases(ctx)
	if err != nil {
		return 0, nil, err
	}
	t := &taking{what: f.kind, node: victim, leases: map[int64]time.Duration{}}
	for _, u := range b.users {
		if owner, ok := owners[u.id]; ok && owner == victim {
			t.accounts = append(t.accounts, u)
		}
	}
	t.at = time.Now()
	b.log("%s %s: it is node %d, which has %d accounts", t.at.Format(clockForm), f, victim, len(t.accounts))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.takings = append(b.takings, t)
	return victim, func() { b.follow(ctx, t, before) }, nil
}

// leases returns which process has the lease of each account.
func (b *breaker) leases(ctx context.Context) (map[int64]string, error) {
	text, err := b.p.rig.database.SQL(ctx, "SELECT account_id, owner FROM leases")
	if err != nil {
		return nil, err
	}
	all := map[int64]string{}
	for line := range strings.Lines(text) {
		account, owner, _ := strings.Cut(strings.TrimSpace(line), "|")
		id, err := strconv.ParseInt(account, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("leases: %w", err)
		}
		all[id] = owner
	}
	return all, nil
}

// follow notes when the leases of a take-over have another owner than before. It gives up after twice the time that there is.
func (b *breaker) follow(ctx context.Context, t *taking, before map[int64]string) {
	for time.Since(t.at) < 2*takeOver && wait(ctx, 100*time.Millisecond) {
		now, err := b.leases(ctx)
		if err != nil {
			continue // the next look tells
		}
		left := false
		b.mu.Lock()
		for _, u := range t.accounts {
			if _, ok := t.leases[u.id]; ok {
				continue
			}
			if now[u.id] != "" && now[u.id] != before[u.id] {
				t.leases[u.id] = time.Since(t.at)
			} else {
				left = true
			}
		}
		b.mu.Unlock()
		if !left {
			return
		}
	}
}

// cut cuts a line for a while.
func (b *breaker) cut(ctx context.Context, f fault, p *faultproxy.Proxy) error {
	var faults faultproxy.Faults
	switch f.manner {
	case loud:
		faults.Refuse = true
	case silent:
		faults.BlackHole = true
	default:
		faults.Up.Stall, faults.Down.Stall = true, true
	}
	if err := p.Set(faults); err != nil {
		return err
	}
	if f.manner == loud {
		p.Cut()
	}
	wait(ctx, f.lasts)
	return p.Set(faultproxy.Faults{})
}

// restart starts a service again and waits until it is back.
func (b *breaker) restart(ctx context.Context, s *harness.Service, hard bool, line func(*links) *faultproxy.Proxy) error {
	if err := s.Restart(ctx, hard); err != nil {
		return err
	}
	if err := b.p.rig.redirect(ctx, s, line); err != nil {
		return err
	}
	return s.Ready(ctx)
}

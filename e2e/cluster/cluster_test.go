package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/ledger"
)

// formOf returns the size of the runs, and how many there are to be: IMAPPED_E2E_CLUSTER is "full" or "short", else short under
// CI; IMAPPED_E2E_CLUSTER_RUNS is a number.
func formOf() (form, int) {
	f := full
	if how := os.Getenv("IMAPPED_E2E_CLUSTER"); how == "short" || how == "" && harness.CI() {
		f = short
	}
	return f.sized(), harness.Size("IMAPPED_E2E_CLUSTER_RUNS", 1, 1)
}

// TestCluster lets clients read and write through three nodes while nodes die and stand still, and lose sight of what they need.
// What was acknowledged is there once, on both sides; no UID changed its meaning; no mod-sequence fell; clients of nodes that have
// what they need are served all the time; and the accounts of a node that is gone are taken over within 10 s.
func TestCluster(t *testing.T) {
	f, runs := formOf()
	seed := harness.Seed()
	for i := range runs {
		t.Run(strconv.Itoa(i), func(t *testing.T) { once(t, f, seed+uint64(i)) })
	}
}

func once(t *testing.T, f form, seed uint64) {
	t.Logf("IMAPPED_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	faults := schedule(rng, f)
	r := start(t, f.nodes)
	p := &play{rig: r, health: &health{}, ledger: ledger.New(), memory: ledger.NewMemory(), sent: map[string]time.Time{}}
	users, common := p.populate(t, f)

	// Everybody works until all faults are healed; in the full form that is as long as the traffic lasts, or a little longer.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	var straight []error
	var mu sync.Mutex
	for _, u := range users {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 2))
		wg.Go(func() {
			if err := p.straight(ctx, rng, u); err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				straight = append(straight, err)
			}
		})
		for n := range r.nodes {
			wg.Go(func() { p.watch(ctx, u, n) })
		}
	}
	for i := range f.clients {
		c := &client{
			p: p, rng: rand.New(rand.NewPCG(rng.Uint64(), 3)), name: fmt.Sprintf("c%d", i), account: users[i%len(users)],
			keyword: keywordOf(i), node: i % f.nodes, timeout: patience + 5*time.Second, common: common[users[i%len(users)].name],
		}
		if i%2 == 1 {
			c.timeout = time.Minute // it waits for a node that stands still
		}
		wg.Go(func() { c.run(ctx) })
	}
	late := lateness(ctx)
	b := &breaker{p: p, users: users, log: t.Logf}
	begin := time.Now()
	err := b.run(ctx, faults)
	wait(ctx, time.Until(begin.Add(f.traffic)))
	wait(ctx, recovery)
	stop()
	wg.Wait()
	must(t, errors.Join(err, errors.Join(straight...)))
	lasted := time.Since(begin)

	p.settle(t, users)
	here := p.compare(t, users)
	p.report(t, b, here, lasted)
	t.Logf("figure: this process was woken up %s late at worst, so busy was the machine", (<-late).Round(time.Millisecond))
}

// lateness measures until ctx is done how late this process is woken up: what takes long on a machine that is too busy is
// no fault of the program's. The result is the worst.
func lateness(ctx context.Context) <-chan time.Duration {
	worst := make(chan time.Duration, 1)
	go func() {
		var most time.Duration
		for {
			due := time.Now().Add(20 * time.Millisecond)
			if !wait(ctx, time.Until(due)) {
				worst <- most
				return
			}
			most = max(most, time.Since(due))
		}
	}()
	return worst
}

// keywordOf is the keyword of a client.
func keywordOf(client int) string { return fmt.Sprintf("$Client%d", client) }

// populate makes the users, with messages that are everybody's.
func (p *play) populate(t *testing.T, f form) ([]user, map[string][]*ledger.Copy) {
	t.Helper()
	boxes := make([]harness.Box, len(names))
	for i, name := range names {
		boxes[i] = harness.Box{Name: name, UIDValidity: uint32(100 + i)}
		for n := range 10 - 3*i {
			token := fmt.Sprintf("common-%s-%d", name, n)
			raw := mail(token, 500)
			p.ledger.Write(token, raw)
			boxes[i].Messages = append(boxes[i].Messages, harness.Message{Raw: raw, UID: uint32(n + 1), Date: time.Unix(1e9, 0).UTC()})
		}
	}
	users := p.rig.addUsers(t, f.accounts, boxes)
	common := map[string][]*ledger.Copy{}
	for i, u := range users {
		var keywords []string
		for n := i; n < f.clients; n += len(users) {
			keywords = append(keywords, keywordOf(n))
		}
		c, err := p.rig.nodes[0].Login(t.Context(), u.name)
		must(t, err)
		defer c.Close()
		all, err := p.account(c)
		must(t, err)
		for _, name := range names {
			for _, s := range all[name] {
				m := p.ledger.Delivered(s.Token, ledger.Box{Account: u.name, Name: name}, keywords...)
				p.ledger.Located(m, s.UID)
				common[u.name] = append(common[u.name], m)
			}
		}
	}
	return users, common
}

// settle waits until all nodes are ready and nothing is on its way.
func (p *play) settle(t *testing.T, users []user) {
	t.Helper()
	ctx := t.Context()
	for i := range p.rig.nodes {
		must(t, p.rig.startNode(ctx, i))
	}
	var last []harness.Status
	err := harness.Eventually(ctx, 2*time.Minute, "the upstream gets all changes", func() (bool, error) {
		rows, err := p.rig.nodes[0].Statuses(ctx)
		if err != nil {
			return false, err
		}
		last = rows
		return !slices.ContainsFunc(rows, func(s harness.Status) bool { return s.Queue.Waiting+s.Queue.Sent > 0 }), nil
	})
	if err != nil {
		out, _ := p.rig.nodes[0].Run(ctx, "mutations", "list") // the first error says more
		t.Errorf("%v; %+v\n%.5000s", err, last, out)
	}
	for _, s := range last {
		if s.Queue.Parked > 0 {
			out, _ := p.rig.nodes[0].Run(ctx, "mutations", "--parked")
			t.Errorf("%s: %d changes are parked:\n%.5000s", s.Account, s.Queue.Parked, out)
		}
	}
	for i, u := range users {
		must(t, harness.Eventually(ctx, time.Minute, u.name+" is in step", func() (bool, error) {
			_, err := p.rig.nodes[i%len(p.rig.nodes)].Run(ctx, "force-sync", "--account-email", u.email())
			return err == nil, err
		}))
	}
	must(t, p.rig.ran(ctx))
}

// compare compares what each node shows with what was promised, and with Dovecot. It returns what the first shows.
func (p *play) compare(t *testing.T, users []user) map[string]map[string][]ledger.Seen {
	t.Helper()
	ctx := t.Context()
	first := map[string]map[string][]ledger.Seen{}
	for _, u := range users {
		up, err := p.rig.dovecot.Login(ctx, u.name)
		must(t, err)
		there, err := p.account(up)
		up.Close()
		must(t, err)
		for i, n := range p.rig.nodes {
			c, err := n.Login(ctx, u.name)
			must(t, err)
			here, err := p.account(c)
			c.Close()
			must(t, err)
			for _, complaint := range p.ledger.Check(u.name, here) {
				t.Errorf("through node %d: %s", i, complaint)
			}
			for _, name := range names {
				for _, d := range ledger.Differences(here[name], there[name]) {
					t.Errorf("through node %d: %s/%s: %s", i, u.name, name, d)
				}
				for _, s := range here[name] {
					at := ledger.Place{Box: ledger.Box{Account: u.name, Name: name}, UID: s.UID}
					p.check(p.memory.Means(at, s.Token))
				}
			}
			if first[u.name] == nil {
				first[u.name] = here
			}
		}
	}
	return first
}

// report fails the test for what was seen meanwhile, and tells the figures.
func (p *play) report(t *testing.T, b *breaker, here map[string]map[string][]ledger.Seen, lasted time.Duration) {
	t.Helper()
	incidents, excused := p.health.judge()
	for _, what := range []struct {
		of  string
		all []string
	}{{"violation", p.violations}, {"a client of a healthy node was not served", incidents}} {
		for i, text := range what.all {
			if i == 40 {
				t.Errorf("%s: and %d more", what.of, len(what.all)-i)
				break
			}
			t.Errorf("%s: %s", what.of, text)
		}
	}
	for i, n := range p.rig.nodes {
		text, err := n.Metrics(t.Context())
		must(t, err)
		if !strings.Contains(text, "\nimapped_panics_total 0\n") {
			t.Errorf("node %d panicked", i)
		}
	}
	// What news takes anyway, from Dovecot to a session in IDLE, is no part of a take-over: on a busy machine it is seconds.
	news := p.news(here)
	usual := news.median()
	for _, take := range b.takings {
		for _, u := range take.accounts {
			lease, taken := take.leases[u.id]
			took, ok := news.takeover(take, u)
			t.Logf("figure: %s: another node had the account %s of node %d after %s; its news came again after %s, %s of it what news takes anyway",
				take.what, u.name, take.node, lease.Round(time.Millisecond), took.Round(time.Millisecond), usual.Round(time.Millisecond))
			if !taken || lease > takeOver {
				t.Errorf("%s: no other node had the account %s of node %d within %s", take.what, u.name, take.node, takeOver)
			}
			if !ok || took-usual > takeOver+resumption {
				t.Errorf("%s: no news of the account %s of node %d for %s (did any come: %t)", take.what, u.name, take.node, took, ok)
			}
		}
	}
	waits := p.health.slowest()
	waits = append(waits, 0, 0)
	messages := 0
	for _, boxes := range here {
		for _, listing := range boxes {
			messages += len(listing)
		}
	}
	t.Logf("figure: %d commands of clients in %s, %d without an answer; %d messages in the end; the slowest answers of healthy nodes took %s; "+
		"%d incidents of broken ones; news of Dovecot reached a session in IDLE in %s (median)", p.commands, lasted.Round(time.Second), p.lost,
		messages, rounded(waits[:min(5, len(waits)-1)]), excused, usual.Round(time.Millisecond))
}

func rounded(all []time.Duration) []time.Duration {
	out := make([]time.Duration, len(all))
	for i, d := range all {
		out[i] = d.Round(time.Millisecond)
	}
	return out
}

// heard is a message of Dovecot's that a session in IDLE heard of.
type heard struct {
	account  string
	node     int
	sent, at time.Time
}

type news []heard

// news returns when sessions heard of what was put into Dovecot straight.
func (p *play) news(here map[string]map[string][]ledger.Seen) (all news) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.arrivals {
		for _, s := range here[a.account]["INBOX"] {
			if at, ok := p.sent[s.Token]; ok && s.UID == a.uid {
				all = append(all, heard{a.account, a.node, at, a.at})
			}
		}
	}
	return all
}

// takeover returns how long after its owner was gone an account's news reached a session on another node again; false: never.
func (n news) takeover(t *taking, u user) (least time.Duration, ok bool) {
	for _, h := range n {
		if h.account == u.name && h.node != t.node && h.sent.After(t.at) {
			if d := h.at.Sub(t.at); !ok || d < least {
				least, ok = d, true
			}
		}
	}
	return least, ok
}

// median returns how long news took.
func (n news) median() time.Duration {
	if len(n) == 0 {
		return 0
	}
	all := make([]time.Duration, len(n))
	for i, h := range n {
		all[i] = h.at.Sub(h.sent)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

package suites

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
	"imapped/tools/faultproxy"
)

// randomly returns a source of randomness whose seed is printed.
func randomly(t *testing.T) *rand.Rand {
	t.Helper()
	seed := harness.Seed()
	t.Logf("IMAPPED_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

// TestKilledMirrorGoesOn kills the program without warning at random moments of a first mirror. Each time the next start
// completes it, and what a client has seen meanwhile keeps its UIDs.
func TestKilledMirrorGoesOn(t *testing.T) {
	w := theWorld(t)
	rng := randomly(t)
	boxes := harness.Account(w.raw[:1200], 3)
	messages, _ := harness.Count(boxes)
	m := account(t, w, "killed", "", boxes)

	// How long it takes undisturbed says which moments there are.
	start := time.Now()
	p, err := m.Start(t.Context())
	must(t, err)
	must(t, p.Synced(t.Context(), messages, 2*time.Minute))
	whole := time.Since(start)
	must(t, p.Stop())

	for i := range harness.Size("IMAPPED_E2E_KILLS", 50, 10) {
		m = w.fresh(t, m)
		moment := time.Duration(rng.Int64N(int64(whole)))
		t.Run(fmt.Sprintf("%d after %s", i+1, moment.Round(time.Millisecond)), func(t *testing.T) {
			p, err := m.Spawn(context.WithoutCancel(t.Context()))
			must(t, err)
			kill := time.NewTimer(moment)
			defer kill.Stop()
			seen := make(chan map[string][]row, 1)
			go func() { seen <- watch(t.Context(), p, boxes) }()
			select {
			case <-kill.C:
			case <-p.Ended():
				t.Errorf("imapped ended by itself:\n%s", p.Log())
			}
			p.Kill()
			before := <-seen

			p = started(t, m)
			must(t, p.Synced(t.Context(), messages, 2*time.Minute))
			sameUIDs(t, before, complete(t, w, "killed", p, boxes))
		})
	}
}

// watch reads what a client can see until the program dies, and returns the last that it saw of each mailbox.
func watch(ctx context.Context, p *harness.Process, boxes []harness.Box) map[string][]row {
	seen := map[string][]row{}
	if p.Ready(ctx) != nil {
		return seen
	}
	for {
		c, err := p.Login(ctx)
		for err == nil {
			for _, b := range boxes {
				var rows []row
				if rows, err = fetchBox(c, b.Name, itemsLight); err != nil {
					break
				}
				seen[b.Name] = rows
			}
		}
		if c != nil {
			c.Close()
		}
		select {
		case <-p.Ended():
			return seen
		case <-ctx.Done():
			return seen
		default:
		}
	}
}

// TestCutConnections cuts connections at random bytes of a first mirror, up to five times in each mirror, until enough
// were cut.
func TestCutConnections(t *testing.T) {
	w := theWorld(t)
	rng := randomly(t)
	boxes := harness.Account(w.raw[:600], 4)
	messages, size := harness.Count(boxes)
	proxy, err := faultproxy.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	defer proxy.Close()
	m := account(t, w, "cut", proxy.Addr(), boxes)

	const each = 5
	want := int64(harness.Size("IMAPPED_E2E_CUTS", 200, 40))
	for i := 0; proxy.Stats().Cuts < want && !t.Failed(); i++ {
		m = w.fresh(t, m)
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			must(t, proxy.Set(faultproxy.Faults{}))
			p := started(t, m)
			for range each {
				// Small ones are likelier, so that handshakes and lists are cut too.
				f := faultproxy.Faults{Down: faultproxy.Flow{CutAt: 1 + rng.Int64N(1+rng.Int64N(size/each))}}
				if rng.IntN(5) == 0 {
					f = faultproxy.Faults{Up: faultproxy.Flow{CutAt: 1 + rng.Int64N(2000)}}
				}
				cuts := proxy.Stats().Cuts
				must(t, proxy.Set(f))
				// The mirror may be complete before so many bytes have passed: then nothing is left to be cut.
				must(t, harness.Eventually(t.Context(), time.Minute, "a cut", func() (bool, error) {
					if proxy.Stats().Cuts > cuts {
						return true, nil
					}
					s, err := p.Status(t.Context())
					return s.Messages == messages && s.Bodies == messages, err
				}))
			}
			must(t, proxy.Set(faultproxy.Faults{}))
			proxy.Cut() // whatever has not reached its byte yet goes on without
			must(t, harness.Eventually(t.Context(), 2*time.Minute, "the mirror recovers", func() (bool, error) {
				if err := p.Force(t.Context()); err != nil {
					return false, err
				}
				s, err := p.Status(t.Context())
				return s.Messages == messages && s.Bodies == messages, err
			}))
			complete(t, w, "cut", p, boxes)
		})
	}
	t.Logf("figure: %d connections were cut during first mirrors", proxy.Stats().Cuts)
}

// noLoss checks that all the mail is still served while the upstream fails.
func noLoss(t *testing.T, c *imapc.Client, boxes []harness.Box, before map[string][]row) {
	t.Helper()
	after := snapshot(t, c, boxes, itemsBody)
	sameUIDs(t, before, after)
	sameMail(t, after, before)
}

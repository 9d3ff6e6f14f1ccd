// Package presencetest is the contract suite of ports/presence.
//
// Invariants:
//  1. Time passes only through Harness.Advance, so that no test sleeps unless the adapter's clock is real.
package presencetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/ports/presence"
)

// Harness is one list of nodes under test.
type Harness struct {
	Nodes presence.Nodes
	// Advance makes so much time pass.
	Advance func(time.Duration)
}

// Run runs the suite. open makes an empty list for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Run("announces", func(t *testing.T) {
		h := open(t)
		live(t, h)
		announce(t, h, "b", time.Minute, "b")
		announce(t, h, "a", time.Minute, "a", "b")
		announce(t, h, "b", time.Minute, "a", "b")
		live(t, h, "a", "b")
	})

	t.Run("forgets", func(t *testing.T) {
		h := open(t)
		announce(t, h, "a", time.Minute, "a")
		h.Advance(40 * time.Second)
		announce(t, h, "b", time.Minute, "a", "b")
		h.Advance(30 * time.Second)
		live(t, h, "b")
		announce(t, h, "a", time.Minute, "a", "b")
		h.Advance(31 * time.Second)
		live(t, h, "a")
		announce(t, h, "a", time.Second, "a") // the last word counts, also when it is shorter
		h.Advance(2 * time.Second)
		live(t, h)
	})

	t.Run("leaves", func(t *testing.T) {
		h := open(t)
		announce(t, h, "a", time.Minute, "a")
		announce(t, h, "b", time.Minute, "a", "b")
		for range 2 {
			if err := h.Nodes.Leave(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		live(t, h, "b")
		announce(t, h, "a", time.Minute, "a", "b")
	})

	t.Run("refuses", func(t *testing.T) {
		h := open(t)
		for _, c := range []struct {
			node string
			ttl  time.Duration
		}{{"", time.Minute}, {strings.Repeat("n", 256), time.Minute}, {"a", 0}, {"a", -time.Minute}} {
			if _, err := h.Nodes.Announce(t.Context(), c.node, c.ttl); !fault.Is(err, fault.Invalid) {
				t.Errorf("Announce(%.5q, %v): %v, want invalid", c.node, c.ttl, err)
			}
		}
		live(t, h)
	})

	t.Run("many at once", func(t *testing.T) {
		h := open(t)
		var all sync.WaitGroup
		var names []string
		for i := range 16 {
			name := fmt.Sprintf("node-%02d", i)
			names = append(names, name)
			all.Go(func() {
				for range 20 {
					if got, err := h.Nodes.Announce(t.Context(), name, time.Hour); err != nil || !slices.Contains(got, name) {
						t.Errorf("%q, %v", got, err)
					}
				}
			})
		}
		all.Wait()
		live(t, h, names...)
	})
}

func announce(t *testing.T, h Harness, node string, ttl time.Duration, want ...string) {
	t.Helper()
	if got, err := h.Nodes.Announce(t.Context(), node, ttl); err != nil || !slices.Equal(got, want) {
		t.Fatalf("Announce(%q): %q, %v, want %q", node, got, err, want)
	}
}

func live(t *testing.T, h Harness, want ...string) {
	t.Helper()
	if got, err := h.Nodes.Live(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Fatalf("Live: %q, %v, want %q", got, err, want)
	}
}

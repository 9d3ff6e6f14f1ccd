// Package limitstest is the contract suite of ports/limits.
//
// Invariants:
//  1. Time passes only through Harness.Advance, so that no test sleeps unless the adapter's clock is real.
package limitstest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"imapped/ports/limits"
)

// Harness is one count under test.
type Harness struct {
	Failures limits.Failures
	// Advance makes so much time pass.
	Advance func(time.Duration)
}

// Run runs the suite. open makes an empty count for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Run("counts", func(t *testing.T) {
		h := open(t)
		check(t, h, "user/ann", 0, 0)
		for want := 1; want <= 5; want++ {
			add(t, h, "user/ann", time.Minute, want)
		}
		check(t, h, "user/ann", 5, time.Minute)
		check(t, h, "user/bob", 0, 0)
		check(t, h, "", 0, 0)
		add(t, h, "user/ann ", time.Minute, 1)
	})

	t.Run("forgets after the window since the last", func(t *testing.T) {
		h := open(t)
		add(t, h, "k", time.Minute, 1)
		h.Advance(40 * time.Second)
		check(t, h, "k", 1, 20*time.Second)
		add(t, h, "k", time.Minute, 2)
		h.Advance(40 * time.Second)
		check(t, h, "k", 2, 20*time.Second)
		h.Advance(20 * time.Second)
		check(t, h, "k", 0, 0)
		add(t, h, "k", time.Minute, 1)
	})

	t.Run("clear", func(t *testing.T) {
		h := open(t)
		add(t, h, "k", time.Minute, 1)
		add(t, h, "other", time.Minute, 1)
		for range 2 {
			if err := h.Failures.Clear(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		check(t, h, "k", 0, 0)
		check(t, h, "other", 1, time.Minute)
		add(t, h, "k", time.Minute, 1)
	})

	t.Run("many at once", func(t *testing.T) {
		h := open(t)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 100 {
					for _, key := range []string{"shared", fmt.Sprint(i)} {
						if _, err := h.Failures.Add(t.Context(), key, time.Hour); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		check(t, h, "shared", 800, time.Hour)
		check(t, h, "3", 100, time.Hour)
	})
}

func add(t *testing.T, h Harness, key string, window time.Duration, want int) {
	t.Helper()
	n, err := h.Failures.Add(t.Context(), key, window)
	if err != nil || n != want {
		t.Fatalf("Add(%q): %d, %v, want %d", key, n, err, want)
	}
}

// check compares a count; the time that is left may be shorter by what the test itself took.
func check(t *testing.T, h Harness, key string, want int, left time.Duration) {
	t.Helper()
	n, got, err := h.Failures.Count(t.Context(), key)
	if err != nil || n != want || got > left || got < left-5*time.Second {
		t.Fatalf("Count(%q): %d, %v, %v, want %d, %v", key, n, got, err, want, left)
	}
}

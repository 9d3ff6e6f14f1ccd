package memory

import (
	"context"
	"sync"
	"time"

	"imapped/ports/clock"
	"imapped/ports/limits"
)

var _ limits.Failures = (*Failures)(nil)

// Failures is a limits.Failures within one process.
type Failures struct {
	clock clock.Clock
	keys  int

	mu     sync.Mutex
	counts map[string]count
}

type count struct {
	n     int
	until time.Time // when they are forgotten
}

// defaultKeys is how many keys are remembered where nobody says: about 2 MB.
const defaultKeys = 10_000

// NewFailures returns a count of failures that remembers at most so many keys, 10,000 for 0. When there are more, those with the
// fewest failures go first: a guesser who makes up names pushes out his own, not the name that he guesses at.
func NewFailures(c clock.Clock, keys int) *Failures {
	if keys <= 0 {
		keys = defaultKeys
	}
	return &Failures{clock: c, keys: keys, counts: map[string]count{}}
}

// Add implements limits.Failures.
func (f *Failures) Add(ctx context.Context, key string, window time.Duration) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	now := f.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.counts[key]
	if !now.Before(c.until) {
		c = count{}
	}
	if !ok && len(f.counts) >= f.keys {
		f.evict(now)
	}
	c.n++
	c.until = now.Add(window)
	f.counts[key] = c
	return c.n, nil
}

// evict forgets what has run out, or else the one key that matters least.
func (f *Failures) evict(now time.Time) {
	var least string
	var lc count
	full := true
	for key, c := range f.counts {
		switch {
		case !now.Before(c.until):
			delete(f.counts, key)
			full = false
		case lc.n == 0, c.n < lc.n, c.n == lc.n && c.until.Before(lc.until):
			least, lc = key, c
		}
	}
	if full {
		delete(f.counts, least)
	}
}

// Count implements limits.Failures.
func (f *Failures) Count(ctx context.Context, key string) (int, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	now := f.clock.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counts[key]
	if !now.Before(c.until) {
		return 0, 0, nil
	}
	return c.n, c.until.Sub(now), nil
}

// Clear implements limits.Failures.
func (f *Failures) Clear(ctx context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.counts, key)
	return ctx.Err()
}

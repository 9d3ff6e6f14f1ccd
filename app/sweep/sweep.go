// Package sweep removes what is not needed any more: messages that were removed long ago from the undo list, and blobs
// that nothing names.
//
// Invariants:
//  1. A blob goes only when nothing named it at a moment after the round began, and when it had then not been stored, or
//     stored again, for the time of grace. Whoever stores a blob names it within that time or not at all (an APPEND that
//     takes longer is refused), so a message that is being added never loses its body; what is stored again between the
//     marking and the deleting stays too (blob.Sweeper.Delete).
//  2. A reading that fails is never read as "nothing more is named": the round ends before it deletes anything.
//     Where each user's blobs lie apart, what one user names keeps nothing of another's.
//     Nor is what another store names: that the blobs belong to the store is looked at after it was read, and before anything
//     is deleted. So a database that took another's place deletes nothing.
//  3. Memory is bounded: of each named key 8 octets are held, at most Config.Marks of them; with more, the keys are dealt
//     with range after range.
package sweep

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

// The defaults of Config.
const (
	DefaultGrace     = time.Hour
	DefaultRetention = 7 * 24 * time.Hour
	DefaultEvery     = 6 * time.Hour
	DefaultMarks     = 2 << 20 // 16 MiB
)

// batch is how many blobs are deleted together.
const batch = 256

// Config is what Sweep works on. Zero values stand for the defaults.
type Config struct {
	References metadata.References
	Undo       metadata.Undo
	Blobs      blob.Sweeper
	Claimed    func(context.Context) error                  // fails unless the blobs belong to the store of References; nil: they do
	Areas      func(context.Context) iter.Seq2[Area, error] // nil: all blobs are in Blobs; else that is not used
	Clock      clock.Clock
	Log        *slog.Logger  // nil: slog.Default
	Grace      time.Duration // how long a blob that nothing names is spared; not below DefaultGrace but in tests
	Retention  time.Duration // how long removed messages can be restored; negative: not at all
	Every      time.Duration // how often Run sweeps
	Marks      int           // how many named blobs are held in memory at a time
}

// Area is a part of the stored blobs that is swept by itself.
type Area struct {
	User  account.UserID // whose accounts name what is in it; 0: all accounts
	Blobs blob.Sweeper
}

// Swept is what a sweep did.
type Swept struct {
	Purged  int   // messages that left the undo list
	Deleted int   // blobs that nothing named; a few of them may have been stored again just then, and stayed
	Bytes   int64 // their sizes
	Kept    int   // blobs that stayed
}

// Run sweeps at once, and again every Config.Every, until ctx is done. A sweep that fails is logged and tried again the
// next time; one that finds another process at it is only tried again.
func Run(ctx context.Context, c Config) {
	c = c.withDefaults()
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		switch done, err := Sweep(ctx, c); {
		case ctx.Err() != nil:
			return
		case fault.Is(err, fault.Conflict):
			c.Log.DebugContext(ctx, "another process sweeps the mail store", "err", err)
		case err != nil:
			c.Log.ErrorContext(ctx, "the sweep of the mail store failed", "err", err)
		case done.Purged+done.Deleted > 0:
			c.Log.InfoContext(ctx, "swept the mail store", "purged", done.Purged, "deleted", done.Deleted,
				"bytes", done.Bytes, "kept", done.Kept)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.Retention == 0 {
		c.Retention = DefaultRetention
	}
	if c.Every == 0 {
		c.Every = DefaultEvery
	}
	if c.Marks == 0 {
		c.Marks = DefaultMarks
	}
	return c
}

// Sweep forgets what was removed longer than Retention ago and deletes the blobs that nothing names. It may run beside
// everything else, but not twice at a time. After an error Swept says what was done before it.
func Sweep(ctx context.Context, c Config) (done Swept, err error) {
	const op = "sweep"
	c = c.withDefaults()
	now := c.Clock.Now()
	if done.Purged, err = c.Undo.PurgeRetained(ctx, now.Add(-max(c.Retention, 0))); err != nil {
		return done, fault.Wrap(op, err)
	}
	if c.Areas == nil {
		return done, fault.Wrap(op, c.sweep(ctx, Area{Blobs: c.Blobs}, &done))
	}
	failed, first := 0, error(nil)
	for area, err := range c.Areas(ctx) {
		if err == nil {
			err = c.sweep(ctx, area, &done)
		}
		if fault.Is(err, fault.Conflict) || ctx.Err() != nil {
			return done, fault.Wrap(op, err)
		}
		if err != nil { // the others are swept all the same
			failed, first = failed+1, cmp.Or(first, err)
		}
	}
	return done, fault.Wrap(fmt.Sprintf("%s, failing for %d users", op, failed), first)
}

// sweep deletes the blobs of an area that nothing names.
func (c Config) sweep(ctx context.Context, area Area, done *Swept) error {
	for lo := uint64(0); ; {
		// Before the marks are read: what is stored from here on was stored again after it.
		cutoff := c.Clock.Now().Add(-c.Grace)
		m, err := c.mark(ctx, area.User, lo)
		if err != nil {
			return err
		}
		if c.Claimed != nil {
			if err := c.Claimed(ctx); err != nil {
				return err
			}
		}
		if err := c.delete(ctx, area.Blobs, m, cutoff, done); err != nil {
			return err
		}
		if m.hi == math.MaxUint64 {
			return nil
		}
		lo = m.hi + 1
	}
}

// marks is the beginnings of the named keys from lo to hi, both included. Two keys with the same beginning count as one:
// then a blob stays that could go.
type marks struct {
	lo, hi uint64
	keys   []uint64 // sorted, each once, after the last add
}

func prefix(k blob.Key) uint64 { return binary.BigEndian.Uint64(k[:]) }

// bounds returns the lowest and the highest key of the range.
func (m *marks) bounds() (from, to blob.Key) {
	to = blob.Last()
	binary.BigEndian.PutUint64(from[:], m.lo)
	binary.BigEndian.PutUint64(to[:], m.hi)
	return from, to
}

func (m *marks) covers(p uint64) bool { return m.lo <= p && p <= m.hi }

// mark reads which keys from lo on a user's accounts name, or all for 0, as far as they can be held.
func (c Config) mark(ctx context.Context, user account.UserID, lo uint64) (*marks, error) {
	m := &marks{lo: lo, hi: math.MaxUint64}
	limit := max(c.Marks, 2)
	err := c.References.References(ctx, user, func(k blob.Key) error {
		if p := prefix(k); m.covers(p) {
			m.keys = append(m.keys, p)
			if len(m.keys) >= limit {
				m.compact()
				if len(m.keys) > limit/2 {
					m.halve()
				}
			}
		}
		return nil
	})
	m.compact()
	return m, err
}

func (m *marks) compact() {
	slices.Sort(m.keys)
	m.keys = slices.Compact(m.keys)
}

// halve gives up the upper half of the range's keys. The keys are compact and more than one.
func (m *marks) halve() {
	half := len(m.keys) / 2
	m.hi = m.keys[half] - 1
	m.keys = m.keys[:half]
}

// delete deletes the blobs of the marks' range that are not marked and older than cutoff.
func (c Config) delete(ctx context.Context, blobs blob.Sweeper, m *marks, cutoff time.Time, done *Swept) error {
	keys := make([]blob.Key, 0, batch)
	flush := func() error {
		err := blobs.Delete(ctx, cutoff, keys...)
		if err == nil {
			done.Deleted += len(keys)
		}
		keys = keys[:0]
		return err
	}
	from, to := m.bounds()
	for s, err := range blobs.Keys(ctx, from, to) {
		if err != nil {
			return err
		}
		p := prefix(s.Key)
		if !m.covers(p) {
			continue // nothing is known of it, whatever the listing says
		}
		if _, named := slices.BinarySearch(m.keys, p); named || !s.Time.Before(cutoff) {
			done.Kept++
			continue
		}
		keys = append(keys, s.Key)
		done.Bytes += s.Size
		if len(keys) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

package sweep_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imapped/app/sweep"
	"imapped/domain/account"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a store and a blob store in maps.
type world struct {
	mu      sync.Mutex // held while the store is called
	named   map[blob.Key]bool
	stored  map[blob.Key]time.Time
	purged  time.Time
	reads   int // of References
	rounds  int // of Keys
	listed  int // by them
	failRef int // after so many references the reading fails
	onKeys  func()
	err     error
}

func (w *world) Now() time.Time { return now }

func (w *world) References(_ context.Context, _ account.UserID, fn func(blob.Key) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	n := 0
	for k := range w.named {
		for range 1 + int(k[31])%2 { // doubled or not
			if err := fn(k); err != nil {
				return err
			}
		}
		if n++; w.failRef > 0 && n == w.failRef {
			return w.err
		}
	}
	return nil
}

func (w *world) Retained(context.Context, account.ID, string, time.Time, func(metadata.Retained) error) error {
	panic("not used")
}

func (w *world) PurgeRetained(_ context.Context, before time.Time) (int, error) {
	w.purged = before
	return 3, nil
}

func (w *world) Keys(_ context.Context, from, to blob.Key) iter.Seq2[blob.Stored, error] {
	return func(yield func(blob.Stored, error) bool) {
		w.mu.Lock()
		w.rounds++
		w.mu.Unlock()
		if w.onKeys != nil {
			w.onKeys()
		}
		for k, at := range w.stored {
			if !k.Between(from, to) {
				continue
			}
			w.listed++
			if !yield(blob.Stored{Key: k, Size: 10, Time: at}, nil) {
				return
			}
		}
	}
}

func (w *world) Delete(_ context.Context, before time.Time, keys ...blob.Key) error {
	for _, k := range keys {
		if at, ok := w.stored[k]; ok && at.Before(before) {
			delete(w.stored, k)
		}
	}
	return nil
}

func (w *world) config() sweep.Config {
	return sweep.Config{References: w, Undo: w, Blobs: w, Clock: w}
}

func key(rnd *rand.Rand) (k blob.Key) {
	for i := 0; i < len(k); i += 8 {
		binary.BigEndian.PutUint64(k[i:], rnd.Uint64())
	}
	return k
}

// TestSweep: whatever the memory, exactly what is named or young stays.
func TestSweep(t *testing.T) {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("IMAPPED_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, marks := range []int{0, 1, 2, 3, 10, 100, 999, 1000, 1001} {
		t.Run(fmt.Sprint(marks), func(t *testing.T) {
			w := &world{named: map[blob.Key]bool{}, stored: map[blob.Key]time.Time{}}
			want, garbage := map[blob.Key]bool{}, 0
			for range 1000 {
				k := key(rnd)
				switch rnd.IntN(10) {
				case 0: // the ends of what a key may be
					k = blob.Key{}
				case 1:
					for i := range k {
						k[i] = 0xff
					}
				}
				age := time.Duration(rnd.IntN(4)) * 30 * time.Minute
				w.stored[k] = now.Add(-age)
				w.named[k] = rnd.IntN(2) == 0
				if !w.named[k] {
					delete(w.named, k)
				}
			}
			w.named[key(rnd)] = true // named, but not there
			for k, at := range w.stored {
				if w.named[k] || now.Sub(at) <= time.Hour {
					want[k] = true
				} else {
					garbage++
				}
			}
			c := w.config()
			c.Marks = marks
			done, err := sweep.Sweep(t.Context(), c)
			if err != nil || done.Deleted != garbage || done.Bytes != int64(garbage)*10 || done.Kept != len(want) || done.Purged != 3 {
				t.Errorf("%+v, %v; %d are garbage, %d not", done, err, garbage, len(want))
			}
			if len(w.stored) != len(want) {
				t.Errorf("%d blobs are left, want %d", len(w.stored), len(want))
			}
			for k := range want {
				if _, ok := w.stored[k]; !ok {
					t.Fatalf("%v is gone", k)
				}
			}
			if !w.purged.Equal(now.Add(-7 * 24 * time.Hour)) {
				t.Errorf("purged what was removed before %v", w.purged)
			}
			if w.listed != garbage+len(want) {
				t.Errorf("%d blobs were listed, in ranges, of %d", w.listed, garbage+len(want))
			}
			if marks > 2 && w.rounds > 4*len(w.named)/marks+2 {
				t.Errorf("%d rounds for %d names, %d at a time", w.rounds, len(w.named), marks)
			}
		})
	}
}

// several are the stores of users, and which of them fails.
type several struct {
	users  map[account.UserID]*world
	broken account.UserID
}

func (s several) References(ctx context.Context, user account.UserID, fn func(blob.Key) error) error {
	return s.users[user].References(ctx, user, fn)
}

func (s several) areas(context.Context) iter.Seq2[sweep.Area, error] {
	return func(yield func(sweep.Area, error) bool) {
		for user, w := range s.users {
			a, err := sweep.Area{User: user, Blobs: w}, error(nil)
			if user == s.broken {
				a, err = sweep.Area{}, w.err
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// TestAreas: what one user names keeps nothing of another's, and a user whose blobs cannot be had keeps nobody from being swept.
func TestAreas(t *testing.T) {
	ours, both, garbage, old := blob.Key{1}, blob.Key{2}, blob.Key{3}, now.Add(-48*time.Hour)
	all := func() map[blob.Key]time.Time { return map[blob.Key]time.Time{ours: old, both: old, garbage: old} }
	failed := errors.New("no data key")
	s := several{users: map[account.UserID]*world{
		1: {named: map[blob.Key]bool{ours: true, both: true}, stored: all()},
		2: {named: map[blob.Key]bool{both: true}, stored: all()},
		3: {stored: all(), err: failed},
	}, broken: 3}
	c := sweep.Config{References: s, Undo: s.users[1], Areas: s.areas, Clock: s.users[1]}
	done, err := sweep.Sweep(t.Context(), c)
	if !errors.Is(err, failed) || done.Deleted != 3 || done.Kept != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	for user, want := range map[account.UserID]int{1: 2, 2: 1, 3: 3} {
		if n := len(s.users[user].stored); n != want {
			t.Errorf("user %d has %d blobs, want %d", user, n, want)
		}
	}
}

// TestFailure: a reading that breaks off deletes nothing.
func TestFailure(t *testing.T) {
	w := &world{named: map[blob.Key]bool{{1}: true, {2}: true}, stored: map[blob.Key]time.Time{{1}: {}, {2}: {}, {3}: {}},
		failRef: 1, err: errors.New("the disk is broken")}
	if _, err := sweep.Sweep(t.Context(), w.config()); !errors.Is(err, w.err) || len(w.stored) != 3 {
		t.Errorf("%v, %d blobs are left", err, len(w.stored))
	}
}

// TestNotOurs: nothing is deleted where the blobs turn out to belong to another store after its names were read.
func TestNotOurs(t *testing.T) {
	w := &world{named: map[blob.Key]bool{}, stored: map[blob.Key]time.Time{{1}: {}, {2}: {}}}
	c, refused := w.config(), errors.New("they belong to another database")
	c.Claimed = func(context.Context) error {
		if w.reads == 0 {
			t.Error("it is asked before the names were read")
		}
		return refused
	}
	if _, err := sweep.Sweep(t.Context(), c); !errors.Is(err, refused) || len(w.stored) != 2 {
		t.Errorf("%v, %d blobs are left", err, len(w.stored))
	}
}

// TestConcurrentAdd: a message is added between the marking and the deleting, with a blob that was garbage until then.
func TestConcurrentAdd(t *testing.T) {
	old, other := blob.Key{1}, blob.Key{2}
	w := &world{named: map[blob.Key]bool{}, stored: map[blob.Key]time.Time{old: now.Add(-48 * time.Hour), other: now.Add(-48 * time.Hour)}}
	w.onKeys = func() { // what Put and AddMessages do
		w.stored[old] = now
		w.named[old] = true
	}
	if _, err := sweep.Sweep(t.Context(), w.config()); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.stored[old]; !ok {
		t.Error("the message lost its body")
	}
	if _, ok := w.stored[other]; ok {
		t.Error("the garbage stayed")
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{named: map[blob.Key]bool{}, stored: map[blob.Key]time.Time{}, err: errors.New("once"), failRef: 1}
		w.named[blob.Key{1}] = true
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		c := w.config()
		c.Clock, c.Log = clock.System{}, slog.New(slog.DiscardHandler)
		go func() {
			sweep.Run(ctx, c)
			close(ended)
		}()
		synctest.Wait()
		w.expect(t, 1, 0)
		w.mu.Lock()
		w.failRef = 0
		w.mu.Unlock()
		time.Sleep(2*sweep.DefaultEvery + time.Minute)
		synctest.Wait()
		w.expect(t, 3, 2)
		stop()
		<-ended
	})
}

// expect fails the test unless so many sweeps began, and so many got to the blobs.
func (w *world) expect(t *testing.T, began, whole int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reads != began || w.rounds != whole {
		t.Errorf("%d sweeps, %d of them whole, want %d and %d", w.reads, w.rounds, began, whole)
	}
}

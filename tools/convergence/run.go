package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"imapped/tools/convergence/realimap"
)

// Failure is a history that violates something.
type Failure struct {
	History History
	Err     error
}

// many plays histories with rising seeds, some at the same time, and returns the first that fails, or nil. With on it
// goes on, and tells of all that fail; what happened in these is written to files in the folder traces, unless it is "".
func (t *template) many(histories int, seed uint64, parallel int, on bool, traces string, out io.Writer) *Failure {
	var mu sync.Mutex
	var first *Failure
	next, done, ops := uint64(0), 0, 0
	began := time.Now()
	told := began
	fmt.Fprintf(out, "%d histories from seed %d\n", histories, seed)
	var wg sync.WaitGroup
	for range max(parallel, 1) {
		wg.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				stop := first != nil && !on || n >= uint64(histories)
				mu.Unlock()
				if stop {
					return
				}
				h := generate(seed + n)
				err := t.traced(h, traces)
				for tries := 0; tries < unjudged && errors.Is(err, realimap.ErrStalled); tries++ {
					fmt.Fprintf(out, "seed %d: once more: %v\n", seed+n, err)
					err = t.traced(h, traces)
				}
				mu.Lock()
				if err != nil && on {
					fmt.Fprintf(out, "seed %d: %.300v\n", seed+n, err)
				}
				if err != nil && first == nil {
					first = &Failure{h, err}
				}
				done++
				ops += len(h.Ops)
				if now := time.Now(); now.Sub(told) >= 5*time.Second || done == histories {
					told = now
					fmt.Fprintf(out, "%d histories, %d operations, %.1f histories a second\n",
						done, ops, float64(done)/now.Sub(began).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// unjudged is how often a history is played again of which the server does not say what it did: that tells nothing of us.
const unjudged = 5

// traced plays a history, and writes what happened to a file of the folder when it fails.
func (t *template) traced(h History, folder string) error {
	if folder == "" {
		return t.play(h, nil)
	}
	var trace bytes.Buffer
	err := t.play(h, &trace)
	if err == nil {
		return nil
	}
	path := filepath.Join(folder, fmt.Sprintf("%d.trace", h.Seed))
	return errors.Join(err, os.WriteFile(path, trace.Bytes(), 0o600))
}

// tries is how often a history is played before it counts as one that does not fail: what goroutines do when differs from
// run to run.
const tries = 12

// fails plays a history several times, two at a time, and returns a failure, or nil.
func (t *template) fails(h History, tries int) error {
	var mu sync.Mutex
	var failure error
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range (tries + 1) / 2 {
				mu.Lock()
				stop := failure != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := t.play(h, nil); err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failure
}

// shrink leaves out operations for as long as the history fails (delta debugging).
func (t *template) shrink(f Failure, out io.Writer) *Failure {
	began := time.Now()
	if err := t.fails(f.History, 2*tries); err == nil {
		f.Err = errors.Join(f.Err, errors.New("it does not fail every time"))
		return &f
	}
	until := began.Add(time.Minute)
	for size := len(f.History.Ops) / 2; size > 0 && time.Now().Before(until); {
		shrunk := false
		for at := 0; at < len(f.History.Ops) && time.Now().Before(until); {
			h := f.History
			h.Ops = slices.Delete(slices.Clone(h.Ops), at, min(at+size, len(h.Ops)))
			if n := len(h.Ops); n == 0 || h.Ops[n-1].Kind != Settle {
				h.Ops = append(h.Ops, Op{Kind: Settle})
			}
			if len(h.Ops) >= len(f.History.Ops) {
				at += size
				continue
			}
			if err := t.fails(h, tries); err != nil {
				f, shrunk = Failure{h, err}, true
			} else {
				at += size
			}
		}
		fmt.Fprintf(out, "shrunk to %d operations\n", len(f.History.Ops))
		if !shrunk || size > len(f.History.Ops) {
			size = min(size/2, len(f.History.Ops)/2)
		}
	}
	return &f
}

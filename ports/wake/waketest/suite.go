// Package waketest is the contract suite of ports/wake.
//
// Invariants:
//  1. It asks for no more than wake-ups are: it waits for one where one must come, and proves absence only by another
//     that came later on the same bus.
package waketest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/ports/wake"
)

// patience bounds the wait for a wake-up that must come.
const patience = 10 * time.Second

// Run runs the suite. open makes a bus for each test; its end is the maker's concern.
func Run(t *testing.T, open func(t *testing.T) wake.Bus) {
	t.Run("delivers", func(t *testing.T) {
		bus := open(t)
		a, b := bus.Subscribe(), bus.Subscribe()
		defer a.Close()
		defer b.Close()
		for id := account.ID(1); id <= 3; id++ {
			bus.Publish(id)
			for _, s := range []wake.Subscription{a, b} {
				if got := next(t, s); !slices.Equal(got, []account.ID{id}) {
					t.Fatalf("woken for %v, want %d", got, id)
				}
			}
		}
		if ids, all := a.Take(); len(ids) > 0 || all {
			t.Errorf("taken again: %v, %v", ids, all)
		}
	})

	t.Run("each once", func(t *testing.T) {
		bus := open(t)
		s := bus.Subscribe()
		defer s.Close()
		for _, id := range []account.ID{7, 3, 7, 3, 5} {
			bus.Publish(id)
		}
		var got []account.ID
		for !slices.Contains(got, 5) {
			got = append(got, next(t, s)...)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, []account.ID{3, 5, 7}) {
			t.Errorf("woken for %v", got)
		}
	})

	t.Run("bounded", func(t *testing.T) {
		bus := open(t)
		s := bus.Subscribe() // nobody receives
		defer s.Close()
		const n = 100_000
		done := make(chan struct{})
		go func() {
			defer close(done)
			for id := range account.ID(n) {
				bus.Publish(id + 1)
			}
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("Publish waits for a subscription")
		}
		select {
		case <-s.C():
		case <-time.After(patience):
			t.Fatal("no wake-up came")
		}
		ids, all := s.Take()
		if !all && len(ids) < n || all && len(ids) > 0 {
			t.Errorf("%d accounts, all: %v", len(ids), all)
		}
		// What came through was forgotten: the next one is told alone.
		bus.Publish(3)
		if got := next(t, s); !slices.Equal(got, []account.ID{3}) {
			t.Errorf("woken for %v afterwards", got)
		}
	})

	t.Run("closed", func(t *testing.T) {
		bus := open(t)
		a, b := bus.Subscribe(), bus.Subscribe()
		a.Close()
		a.Close() // twice is allowed
		bus.Publish(1)
		next(t, b)
		select {
		case <-a.C():
			t.Error("a closed subscription is woken")
		default:
		}
		b.Close()
		bus.Publish(2) // to nobody
		again := bus.Subscribe()
		defer again.Close()
		bus.Publish(3)
		if got := next(t, again); !slices.Equal(got, []account.ID{3}) {
			t.Errorf("woken for %v", got)
		}
	})

	t.Run("many at once", func(t *testing.T) {
		bus := open(t)
		stay := bus.Subscribe()
		defer stay.Close()
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 200 {
					s := bus.Subscribe()
					bus.Publish(account.ID(i + 1))
					select {
					case <-s.C():
					case <-time.After(patience):
						t.Error("no wake-up")
					}
					s.Close()
				}
			})
		}
		all.Wait()
		next(t, stay)
	})
}

// next waits for a wake-up and takes it.
func next(t *testing.T, s wake.Subscription) []account.ID {
	t.Helper()
	select {
	case _, ok := <-s.C():
		if !ok {
			t.Fatal("the channel was closed")
		}
	case <-time.After(patience):
		t.Fatal("no wake-up came")
	}
	ids, all := s.Take()
	if all {
		t.Fatal("all accounts, although nothing was missed")
	}
	return ids
}

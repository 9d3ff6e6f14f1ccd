// Package eventstest is the contract suite of ports/events.
//
// Invariants:
//  1. It asks for no more than hints are: it waits for one where one must come, and proves absence only by another
//     hint that came later on the same bus.
package eventstest

import (
	"sync"
	"testing"
	"time"

	"imapped/ports/events"
)

// patience bounds the wait for a hint that must come.
const patience = 10 * time.Second

// Run runs the suite. open makes a bus for each test; its end is the maker's concern.
func Run(t *testing.T, open func(t *testing.T) events.Bus) {
	t.Run("delivers", func(t *testing.T) {
		bus := open(t)
		s := bus.Subscribe(1, 2)
		defer s.Close()
		bus.Publish(events.Hint{Account: 1, Mailbox: 2, ModSeq: 3})
		wait(t, s)
		bus.Publish(events.Hint{Account: 1, Mailbox: 2, ModSeq: 4})
		wait(t, s)
	})

	t.Run("every subscriber hears", func(t *testing.T) {
		bus := open(t)
		var subs []events.Subscription
		for range 2000 {
			subs = append(subs, bus.Subscribe(1, 2))
		}
		bus.Publish(events.Hint{Account: 1, Mailbox: 2})
		for _, s := range subs {
			wait(t, s)
			s.Close()
		}
	})

	t.Run("only its own topic", func(t *testing.T) {
		bus := open(t)
		box, list, other := bus.Subscribe(1, 2), bus.Subscribe(1, 0), bus.Subscribe(2, 2)
		defer box.Close()
		defer list.Close()
		defer other.Close()
		bus.Publish(events.Hint{Account: 1, Mailbox: 0})
		wait(t, list)
		bus.Publish(events.Hint{Account: 2, Mailbox: 2})
		wait(t, other)
		bus.Publish(events.Hint{Account: 1, Mailbox: 3})
		silent(t, box)
		silent(t, list)
	})

	t.Run("publish does not wait", func(t *testing.T) {
		bus := open(t)
		s := bus.Subscribe(1, 2) // nobody receives
		defer s.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 10_000 {
				bus.Publish(events.Hint{Account: 1, Mailbox: 2})
			}
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("Publish waits for a subscriber")
		}
		wait(t, s)
	})

	t.Run("closed", func(t *testing.T) {
		bus := open(t)
		a, b, c := bus.Subscribe(1, 2), bus.Subscribe(1, 2), bus.Subscribe(1, 2)
		a.Close()
		a.Close() // twice is allowed
		bus.Publish(events.Hint{Account: 1, Mailbox: 2})
		wait(t, b)
		wait(t, c)
		silent(t, a)
		c.Close()
		bus.Publish(events.Hint{Account: 1, Mailbox: 2})
		wait(t, b)
		silent(t, c)
		b.Close()
		bus.Publish(events.Hint{Account: 1, Mailbox: 2}) // to nobody
		again := bus.Subscribe(1, 2)
		defer again.Close()
		bus.Publish(events.Hint{Account: 1, Mailbox: 2})
		wait(t, again)
	})

	t.Run("many at once", func(t *testing.T) {
		bus := open(t)
		stay := bus.Subscribe(1, 1)
		defer stay.Close()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 500 {
					s := bus.Subscribe(1, 1)
					bus.Publish(events.Hint{Account: 1, Mailbox: 1})
					select {
					case <-s.C():
					case <-time.After(patience):
						t.Error("no hint")
					}
					s.Close()
				}
			})
		}
		all.Wait()
		wait(t, stay)
	})
}

// wait fails the test unless a hint comes.
func wait(t *testing.T, s events.Subscription) {
	t.Helper()
	select {
	case _, ok := <-s.C():
		if !ok {
			t.Fatal("the channel was closed")
		}
	case <-time.After(patience):
		t.Fatal("no hint came")
	}
}

// silent fails the test when a hint is there.
func silent(t *testing.T, s events.Subscription) {
	t.Helper()
	select {
	case <-s.C():
		t.Fatal("a hint that is none of its business, or a closed channel")
	default:
	}
}

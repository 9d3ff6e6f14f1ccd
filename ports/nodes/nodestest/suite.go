// Package nodestest is the contract suites of ports/nodes.
//
// Invariants:
//  1. What may be lost is sent again until it is heard: the suite asks for no more than the port promises.
//  2. Whoever waits for a list of nodes looks when Changed tells it to, not by the clock.
package nodestest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"imapped/domain/mailbox"
	"imapped/ports/nodes"
)

// RunCalls runs the suite of Calls. open returns the ends of n nodes that can hear one another; they end with the test.
func RunCalls(t *testing.T, open func(t *testing.T, n int) []nodes.Calls) {
	t.Run("all others hear", func(t *testing.T) {
		ends := open(t, 3)
		first, second := listen(t, ends[1]), listen(t, ends[2])
		for _, call := range []nodes.Call{
			{What: nodes.Free},
			{What: nodes.Accounts},
			{What: nodes.Queue, Account: 7},
			{What: nodes.Watching, Account: 1 << 40, Mailbox: 1<<31 - 1},
			{What: nodes.Bodies, Account: 3, Mailbox: 4, UIDs: mailbox.SetOf[uint32](1, 2, 3, 9, 1<<32-1)},
		} {
			first.until(t, ends[0], call)
			second.until(t, ends[0], call)
		}
	})
	t.Run("a long set", func(t *testing.T) {
		ends := open(t, 2)
		var uids []uint32
		for n := range uint32(nodes.MaxRanges) {
			uids = append(uids, n*2+1_000_000_000)
		}
		listen(t, ends[1]).until(t, ends[0], nodes.Call{What: nodes.Bodies, Account: 1, Mailbox: 2, UIDs: mailbox.SetOf(uids...)})
	})
	t.Run("one call at a time, and none after the end", func(t *testing.T) {
		ends := open(t, 2)
		var mu sync.Mutex
		inside, ended := 0, false
		heard := make(chan struct{}, 1)
		stop := ends[1].Receive(func(nodes.Call) {
			mu.Lock()
			inside++
			if inside > 1 || ended {
				t.Errorf("%d calls at the same time, ended: %v", inside, ended)
			}
			mu.Unlock()
			select {
			case heard <- struct{}{}:
			default:
			}
			mu.Lock()
			inside--
			mu.Unlock()
		})
		var wg sync.WaitGroup
		quit := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-quit:
						return
					default:
						ends[0].Send(nodes.Call{What: nodes.Free})
					}
				}
			})
		}
		select {
		case <-heard:
		case <-time.After(patience):
			t.Error("nothing was heard")
		}
		stop()
		mu.Lock()
		ended = true
		mu.Unlock()
		ends[0].Send(nodes.Call{What: nodes.Free})
		close(quit)
		wg.Wait()
	})
}

// patience is how long the suite waits for anything.
const patience = 10 * time.Second

// listener keeps what a node heard.
type listener struct {
	mu    sync.Mutex
	calls []nodes.Call
	news  chan struct{}
}

func listen(t *testing.T, c nodes.Calls) *listener {
	l := &listener{news: make(chan struct{}, 1)}
	t.Cleanup(c.Receive(func(call nodes.Call) {
		l.mu.Lock()
		l.calls = append(l.calls, call)
		l.mu.Unlock()
		select {
		case l.news <- struct{}{}:
		default:
		}
	}))
	return l
}

func (l *listener) has(call nodes.Call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.calls, func(c nodes.Call) bool {
		return c.What == call.What && c.Account == call.Account && c.Mailbox == call.Mailbox && slices.Equal(c.UIDs, call.UIDs)
	})
}

// until sends the call until the listener has heard it.
func (l *listener) until(t *testing.T, from nodes.Calls, call nodes.Call) {
	t.Helper()
	over := time.NewTimer(patience)
	defer over.Stop()
	again := time.NewTicker(patience / 100)
	defer again.Stop()
	from.Send(call)
	for !l.has(call) {
		select {
		case <-l.news:
		case <-again.C:
			from.Send(call)
		case <-over.C:
			t.Fatalf("never heard: %+v", call)
		}
	}
}

package session

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imapped/domain/fault"
	"imapped/ports/clock"
)

func TestSearchesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(clock.System{}, 1)
		long, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		var wg sync.WaitGroup
		wg.Go(func() {
			short, err := g.enter(t.Context())
			if err != nil {
				t.Error(err)
			}
			order = append(order, "short")
			short.leave()
		})
		synctest.Wait() // the short one waits
		for range 10 {
			if err := long.tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		order = append(order, "long, first slice")
		time.Sleep(slice)
		if err := long.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		order = append(order, "long, second slice")
		long.leave()
		long.leave()
		wg.Wait()
		want := []string{"long, first slice", "short", "long, second slice"}
		for i := range want {
			if order[i] != want[i] {
				t.Fatalf("order %q, want %q", order, want)
			}
		}
	})
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(clock.System{}, 1)
		held, _ := g.enter(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.enter(ctx); !fault.Is(err, fault.Canceled) {
			t.Errorf("%v", err)
		}
		if err := held.tick(ctx); !fault.Is(err, fault.Canceled) {
			t.Errorf("a search whose client went away goes on: %v", err)
		}
		held.leave()
		if again, err := g.enter(t.Context()); err != nil {
			t.Error(err)
		} else {
			again.leave()
		}
	})
}

package postgres

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gates
		leave, err := g.enter(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		other, err := g.enter(t.Context(), 2) // another account's
		if err != nil {
			t.Fatal(err)
		}
		other()
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, err := g.enter(impatient, 1)
			gaveUp <- err
		}()
		entered := make(chan func(), 1)
		go func() {
			leave, err := g.enter(t.Context(), 1)
			if err != nil {
				t.Error(err)
			}
			entered <- leave
		}()
		synctest.Wait()
		if len(entered)+len(gaveUp) > 0 {
			t.Error("two are in at the same time")
		}
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		leave()
		(<-entered)()
		if n := len(g.of); n != 0 {
			t.Errorf("%d gates are left", n)
		}
	})
}

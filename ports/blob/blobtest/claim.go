package blobtest

import (
	"sync"
	"testing"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// RunClaims runs the suite of blob.Claimable. fresh makes an empty store, and returns what opens it once more, as another
// process does, and what makes it nobody's, as an operator does.
func RunClaims(t *testing.T, fresh func(t *testing.T) (open func(t *testing.T) blob.Claimable, free func(t *testing.T))) {
	ours, theirs := blob.Installation{1, 15: 2}, blob.Installation{1, 15: 3}
	t.Run("claim", func(t *testing.T) {
		open, free := fresh(t)
		fails(t, open(t).ClaimedBy(t.Context(), ours), fault.NotFound)
		for range 2 {
			must(t, open(t).Claim(t.Context(), ours))
			must(t, open(t).ClaimedBy(t.Context(), ours))
			fails(t, open(t).Claim(t.Context(), theirs), fault.Forbidden)
			fails(t, open(t).ClaimedBy(t.Context(), theirs), fault.Forbidden)
		}
		free(t)
		fails(t, open(t).ClaimedBy(t.Context(), ours), fault.NotFound)
		must(t, open(t).Claim(t.Context(), theirs))
		fails(t, open(t).Claim(t.Context(), ours), fault.Forbidden)
	})
	t.Run("claims at once", func(t *testing.T) {
		open, _ := fresh(t)
		var all sync.WaitGroup
		var errs [8]error
		for i := range errs {
			s := open(t)
			all.Go(func() { errs[i] = s.Claim(t.Context(), blob.Installation{byte(i)}) })
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				fails(t, err, fault.Forbidden)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d have claimed it", won, len(errs))
		}
	})
}

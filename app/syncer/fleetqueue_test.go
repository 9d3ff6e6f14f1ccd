package syncer_test

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

func (s *nodeStore) Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) ([]metadata.Queued, error) {
	return counted(s, "Mutations", func() ([]metadata.Queued, error) { return s.Store.Mutations(ctx, acc, after, limit) })
}

func (s *nodeStore) Intend(ctx context.Context, f metadata.Fence, in []metadata.Intended) ([]mutation.ID, error) {
	ids, err := counted(s, "Intend", func() ([]mutation.ID, error) { return s.Store.Intend(ctx, f, in) })
	if err == nil && s.intended != nil {
		s.intended()
	}
	return ids, err
}

func (s *nodeStore) Settle(ctx context.Context, f metadata.Fence, now time.Time, out []metadata.Outcome) ([]metadata.Applied, error) {
	return counted(s, "Settle", func() ([]metadata.Applied, error) { return s.Store.Settle(ctx, f, now, out) })
}

// fixed is a list of nodes that never changes.
type fixed []string

func (n fixed) Nodes(context.Context) ([]string, error) { return n, nil }
func (fixed) Changed() <-chan struct{}                  { return nil }

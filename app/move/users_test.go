package move_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"imapped/adapters/blobfs"
	"imapped/app/move"
	"imapped/domain/account"
	"imapped/ports/blob"
)

// apart is a store of blobs for each user.
type apart struct {
	t      *testing.T
	mu     sync.Mutex
	stores map[account.UserID]*blobfs.Store
}

// For implements blob.Stores.
func (a *apart) For(_ context.Context, user account.UserID) (blob.Store, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stores[user] == nil {
		a.stores[user] = openBlobs(a.t)
	}
	return a.stores[user], nil
}

// TestUsersApart: what each user's accounts name is in their store, and nothing else is.
func TestUsersApart(t *testing.T) {
	in, url, to := newInstallation(t, 60), empty(t), &apart{t: t, stores: map[account.UserID]*blobfs.Store{}}
	_, err := in.run(t, url, nil, func(c *move.Config) { c.To = to })
	must(t, err)
	s := openPostgres(t, url)
	defer func() { must(t, s.Close()) }()
	users, err := s.Users(t.Context())
	must(t, err)
	total := 0
	for _, u := range users {
		named, stored := map[blob.Key]bool{}, map[blob.Key]bool{}
		must(t, s.References(t.Context(), u.ID, func(key blob.Key) error {
			named[key] = true
			return nil
		}))
		one, err := to.For(t.Context(), u.ID)
		must(t, err)
		for b, err := range one.(*blobfs.Store).Keys(t.Context(), blob.Key{}, blob.Last()) {
			must(t, err)
			stored[b.Key] = true
		}
		if !maps.Equal(named, stored) {
			t.Errorf("user %d names %d blobs and has %d, or others", u.ID, len(named), len(stored))
		}
		total += len(named)
	}
	if total == 0 || len(to.stores) != len(users) {
		t.Errorf("%d blobs, %d stores of %d users", total, len(to.stores), len(users))
	}
}

package s3

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"imapped/adapters/s3/blobseal"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/secrets"
)

var _ blob.Stores = (*Users)(nil)

// Users gives every user a Store of their own in one bucket, sealed under a data key of their own.
type Users struct {
	store  *Store
	keys   secrets.DataKeys
	sealer secrets.Sealer

	mu     sync.Mutex // guards stores; not held while keys are read
	stores map[account.UserID]*Store
}

// NewUsers returns the users of a Store, whose data keys are in keys, sealed by sealer.
func NewUsers(s *Store, keys secrets.DataKeys, sealer secrets.Sealer) *Users {
	return &Users{store: s, keys: keys, sealer: sealer, stores: map[account.UserID]*Store{}}
}

// For implements blob.Stores.
func (u *Users) For(ctx context.Context, user account.UserID) (blob.Store, error) {
	s, err := u.Of(ctx, user)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Of returns a user's Store, which can be swept too. The user gets a data key at the first time.
func (u *Users) Of(ctx context.Context, user account.UserID) (*Store, error) {
	if s := u.known(user); s != nil {
		return s, nil
	}
	key, err := u.key(ctx, user)
	if err != nil {
		return nil, fault.Wrap("get the data key of a user", err)
	}
	s := u.store.Sealed(fmt.Sprintf("users/%d/", user), key)
	u.mu.Lock()
	defer u.mu.Unlock()
	if other := u.stores[user]; other != nil {
		return other, nil
	}
	u.stores[user] = s
	return s, nil
}

func (u *Users) known(user account.UserID) *Store {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.stores[user]
}

func (u *Users) key(ctx context.Context, user account.UserID) (*blobseal.Key, error) {
	fresh := make([]byte, blobseal.KeySize)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	bound := secrets.DataKeyContext(user)
	sealed, err := u.sealer.Seal(fresh, bound)
	if err != nil {
		return nil, err
	}
	if sealed, err = u.keys.DataKey(ctx, user, sealed); err != nil {
		return nil, err
	}
	data, err := u.sealer.Open(sealed, bound)
	if err != nil {
		return nil, err
	}
	return blobseal.New(data)
}

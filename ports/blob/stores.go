package blob

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
)

// Stores gives the store that a user's blobs are in. Where blobs are sealed under keys of their users, each user has one
// of their own, and what is stored through one is not found through another; else all have the same.
type Stores interface {
	// For returns a user's store; fault.NotFound when there is no such user. Where it was asked before, the answer costs
	// next to nothing.
	For(ctx context.Context, user account.UserID) (Store, error)
}

// Shared is one store for all users.
type Shared struct{ Store }

// For implements Stores.
func (s Shared) For(context.Context, account.UserID) (Store, error) { return s.Store, nil }

// Of returns the store of one user, which is looked up when it is used.
func Of(s Stores, user account.UserID) Store {
	if one, ok := s.(Shared); ok {
		return one.Store
	}
	return of{s, user}
}

// of is what Of returns.
type of struct {
	stores Stores
	user   account.UserID
}

// store returns the user's store. That it cannot be had says nothing about a blob: nobody may take it for a blob that is
// missing or damaged, and get another one in its place. Why it cannot is not for clients, who are told what this returns: who
// made Stores logs it.
func (o of) store(ctx context.Context) (Store, error) {
	s, err := o.stores.For(ctx, o.user)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Corrupt) {
		err = fault.New(fault.Unavailable, "", "the store of the user's messages cannot be opened")
	}
	return s, err
}

// Put implements Store.
func (o of) Put(ctx context.Context, blobs ...[]byte) ([]Key, error) {
	s, err := o.store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Put(ctx, blobs...)
}

// Create implements Store.
func (o of) Create(ctx context.Context) (Writer, error) {
	s, err := o.store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Create(ctx)
}

// Open implements Store.
func (o of) Open(ctx context.Context, key Key) (Blob, error) {
	s, err := o.store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, key)
}

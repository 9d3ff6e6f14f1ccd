package blob

import (
	"context"

	"imapped/domain/account"
)

// Stores gives the store that a user's blobs are in. Where blobs are sealed under keys of their users, each user has one
// of their own, and what is stored through one is not found through another; else all have the same.
type Stores interface {
	// For returns a user's store; fault.NotFound when there is no such user.
	For(ctx context.Context, user account.UserID) (Store, error)
}

// Shared is one store for all users.
type Shared struct{ Store }

// For implements Stores.
func (s Shared) For(context.Context, account.UserID) (Store, error) { return s.Store, nil }

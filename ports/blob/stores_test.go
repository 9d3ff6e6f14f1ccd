package blob_test

import (
	"context"
	"errors"
	"testing"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

// one is a store that answers every call with the error.
type one struct {
	blob.Store
	err error
}

func (o one) Put(context.Context, ...[]byte) ([]blob.Key, error)        { return nil, o.err }
func (o one) Create(context.Context) (blob.Writer, error)               { return nil, o.err }
func (o one) Open(context.Context, blob.Key) (blob.Blob, error)         { return nil, o.err }
func (o one) For(context.Context, account.UserID) (blob.Store, error)   { return nil, o.err }
func (o one) store(context.Context, account.UserID) (blob.Store, error) { return o, nil }

// storesFunc is blob.Stores as a function.
type storesFunc func(context.Context, account.UserID) (blob.Store, error)

func (f storesFunc) For(ctx context.Context, user account.UserID) (blob.Store, error) {
	return f(ctx, user)
}

// TestOf: a user's store answers for itself; that there is none to ask is never an answer about a blob.
func TestOf(t *testing.T) {
	calls := func(s blob.Store) (errs []error) {
		_, put := s.Put(t.Context(), nil)
		_, create := s.Create(t.Context())
		_, open := s.Open(t.Context(), blob.Key{})
		return []error{put, create, open}
	}
	for _, kind := range []fault.Kind{fault.NotFound, fault.Corrupt, fault.Unavailable, fault.Canceled} {
		failed := one{err: fault.New(kind, "", "a test")}
		for _, err := range calls(blob.Of(storesFunc(failed.store), 1)) {
			if !errors.Is(err, failed.err) {
				t.Errorf("a user's store that fails with %q: %v", kind, err)
			}
		}
		for _, err := range calls(blob.Of(blob.Shared{Store: failed}, 1)) {
			if !errors.Is(err, failed.err) {
				t.Errorf("the shared store that fails with %q: %v", kind, err)
			}
		}
		want := kind
		if kind == fault.NotFound || kind == fault.Corrupt {
			want = fault.Unavailable
		}
		for _, err := range calls(blob.Of(failed, 1)) {
			if !fault.Is(err, want) {
				t.Errorf("no store because of %q: %v, want one of the kind %q", kind, err, want)
			}
		}
	}
}

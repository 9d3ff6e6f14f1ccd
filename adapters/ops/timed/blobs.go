package timed

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/ports/blob"
)

// NewBlobs returns a store that is next, timed.
func NewBlobs(next blob.Store, o Observe) blob.Store { return &blobs{next, o} }

// NewStores returns stores that are those of next, timed. One that all users share stays one.
func NewStores(next blob.Stores, o Observe) blob.Stores {
	if one, ok := next.(blob.Shared); ok {
		return blob.Shared{Store: NewBlobs(one.Store, o)}
	}
	return stores{next, o}
}

// stores is what NewStores returns.
type stores struct {
	next    blob.Stores
	observe Observe
}

// For implements blob.Stores.
func (s stores) For(ctx context.Context, user account.UserID) (blob.Store, error) {
	one, err := s.next.For(ctx, user)
	if err != nil {
		return nil, err
	}
	return NewBlobs(one, s.observe), nil
}

// blobs is what NewBlobs returns.
type blobs struct {
	next    blob.Store
	observe Observe
}

// Put implements blob.Store.
func (b *blobs) Put(ctx context.Context, all ...[]byte) ([]blob.Key, error) {
	began := time.Now()
	keys, err := b.next.Put(ctx, all...)
	b.observe("put", time.Since(began), err)
	return keys, err
}

// Create implements blob.Store.
func (b *blobs) Create(ctx context.Context) (blob.Writer, error) {
	began := time.Now()
	w, err := b.next.Create(ctx)
	b.observe("create", time.Since(began), err)
	if err != nil {
		return nil, err
	}
	return &writer{w, b.observe}, nil
}

// Open implements blob.Store. What it returns is next's own, so that a file stays one.
func (b *blobs) Open(ctx context.Context, key blob.Key) (blob.Blob, error) {
	began := time.Now()
	f, err := b.next.Open(ctx, key)
	b.observe("open", time.Since(began), err)
	return f, err
}

// writer is a blob.Writer whose Commit is timed: writing goes at the pace of who sends.
type writer struct {
	blob.Writer
	observe Observe
}

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context) (blob.Key, error) {
	began := time.Now()
	key, err := w.Writer.Commit(ctx)
	w.observe("commit", time.Since(began), err)
	return key, err
}

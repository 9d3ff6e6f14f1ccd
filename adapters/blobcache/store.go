package blobcache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

var (
	_ blob.Store   = (*Store)(nil)
	_ blob.Sweeper = (*Store)(nil)
)

// Behind is the store that holds the blobs.
type Behind interface {
	blob.Store
	blob.Sweeper
}

// Store is another store, seen through a cache.
type Store struct {
	cache  *Cache
	behind Behind
	user   account.UserID // whose blobs these are; 0: those of all
}

// Over returns the store behind, which holds the blobs of all users, seen through the cache.
func (c *Cache) Over(behind Behind) *Store { return c.OverUser(behind, 0) }

// OverUser returns the store behind, which holds the blobs of one user, seen through the cache. All that is returned for a
// user is over the same blobs.
func (c *Cache) OverUser(behind Behind, user account.UserID) *Store {
	return &Store{cache: c, behind: behind, user: user}
}

// name returns what a blob's file is called: by its key, or, where it is one user's, as no file of anybody else is.
func (s *Store) name(key blob.Key) blob.Key {
	if s.user == 0 {
		return key
	}
	return sha256.Sum256(append(fmt.Appendf(nil, "users/%d/", s.user), key[:]...))
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, blobs ...[]byte) ([]blob.Key, error) {
	keys, err := s.behind.Put(ctx, blobs...)
	if err != nil {
		return nil, err
	}
	for i, b := range blobs {
		s.cache.add(s.name(keys[i]), bytes.NewReader(b), int64(len(b)))
	}
	return keys, nil
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.As(fault.Canceled, "open a blob", err)
	}
	if b := s.cache.open(ctx, s.name(key), key); b != nil {
		s.cache.looked(&s.cache.hits, "hit")
		return b, nil
	}
	s.cache.looked(&s.cache.misses, "miss")
	return s.fetch(ctx, key)
}

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	w, err := s.behind.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &writer{Writer: w, store: s}, nil
}

// Keys implements blob.Sweeper.
func (s *Store) Keys(ctx context.Context, from, to blob.Key) iter.Seq2[blob.Stored, error] {
	return s.behind.Keys(ctx, from, to)
}

// Delete implements blob.Sweeper. What other processes have in their caches leaves them in time.
func (s *Store) Delete(ctx context.Context, before time.Time, keys ...blob.Key) error {
	err := s.behind.Delete(ctx, before, keys...)
	for _, key := range keys {
		s.cache.forget(s.name(key))
	}
	return err
}

// writer is a blob that is written to the store behind, and copied into the cache when it is there.
type writer struct {
	blob.Writer
	store *Store
	size  int64
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.size += int64(n)
	return n, err
}

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context) (blob.Key, error) {
	key, err := w.Writer.Commit(ctx)
	if err == nil {
		w.store.cache.add(w.store.name(key), w.Writer, w.size)
	}
	return key, err
}

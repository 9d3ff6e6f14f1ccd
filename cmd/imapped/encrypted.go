package main

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"imapped/adapters/blobcache"
	"imapped/adapters/s3"
	"imapped/app/sweep"
	"imapped/domain/account"
	"imapped/ports/blob"
	"imapped/ports/secrets"
)

// encryptedBlobs is an object store in which each user's messages are sealed under a data key of their own.
type encryptedBlobs struct {
	users *s3.Users
	keys  secrets.SealedDataKeys
	cache *blobcache.Cache // nil: nothing is kept here
	log   *slog.Logger

	told atomic.Int64 // when a data key was last said not to open, in nanoseconds since 1970
}

// sayEvery bounds how often a data key that does not open is logged.
const sayEvery = time.Minute

// For implements blob.Stores.
func (b *encryptedBlobs) For(ctx context.Context, user account.UserID) (blob.Store, error) {
	s, err := b.of(ctx, user)
	if err == nil {
		return s, nil
	}
	if last, now := b.told.Load(), time.Now().UnixNano(); now-last >= int64(sayEvery) && b.told.CompareAndSwap(last, now) {
		b.log.ErrorContext(ctx, "the messages of a user cannot be read or stored", "user", int64(user), "err", err)
	}
	return nil, err
}

func (b *encryptedBlobs) of(ctx context.Context, user account.UserID) (blobcache.Behind, error) {
	s, err := b.users.Of(ctx, user)
	switch {
	case err != nil:
		return nil, err
	case b.cache == nil:
		return s, nil
	}
	return b.cache.OverUser(s, user), nil
}

// areas yields what the sweep looks at: the messages of each user who has a data key.
func (b *encryptedBlobs) areas(ctx context.Context) iter.Seq2[sweep.Area, error] {
	return func(yield func(sweep.Area, error) bool) {
		keys, err := b.keys.AllDataKeys(ctx)
		if err != nil {
			yield(sweep.Area{}, err)
			return
		}
		for _, user := range slices.Sorted(maps.Keys(keys)) {
			s, err := b.of(ctx, user)
			if !yield(sweep.Area{User: user, Blobs: s}, err) {
				return
			}
		}
	}
}

package blobfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"imapped/adapters/blobfile"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Blob, error) {
	const op = "open a blob"
	if err := ctx.Err(); err != nil {
		return nil, mapErr(op, err)
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, mapErr(op, err)
	}
	size, err := s.checked.Check(ctx, key, f)
	if err != nil {
		if fault.Is(err, fault.Corrupt) {
			s.setAside(ctx, key, f)
		}
		return nil, mapErr(op, errors.Join(err, f.Close()))
	}
	return blobfile.New(f, size), nil
}

// setAside moves a damaged blob out of the way, so that it can be fetched and stored again. It moves the file that was
// checked only, not one that has replaced it meanwhile.
func (s *Store) setAside(ctx context.Context, key blob.Key, f *os.File) {
	s.checked.Remove(key)
	release, err := s.hold(ctx, exclusive)
	if err != nil {
		return // it stays, and fails its check again
	}
	defer release()
	bad, err := f.Stat()
	if err != nil {
		return
	}
	if now, err := os.Stat(s.path(key)); err != nil || !os.SameFile(bad, now) {
		return
	}
	// Where it cannot be moved, it stays, and fails its check again.
	_ = os.Rename(s.path(key), filepath.Join(s.dir, corruptDir, fmt.Sprintf("%v.%d", key, time.Now().UnixNano())))
}

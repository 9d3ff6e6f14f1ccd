package blobfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io/fs"
	"os"
	"sync"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// writer is a blob that is being written: a temporary file and the hash of what it holds.
type writer struct {
	store *Store
	f     *os.File
	hash  hash.Hash
	size  int64
	err   error // the first error of a write: what was written is not a blob any more

	committed bool
	moved     bool // the file has its final name
	close     sync.Once
	closeErr  error
}

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	const op = "start a blob"
	if err := ctx.Err(); err != nil {
		return nil, mapErr(op, err)
	}
	f, err := s.temp()
	if err != nil {
		return nil, mapErr(op, err)
	}
	return &writer{store: s, f: f, hash: sha256.New()}, nil
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	const op = "write a blob"
	if w.committed {
		return 0, fault.New(fault.Invalid, op, "it is committed")
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.f.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	w.err = mapErr(op, err)
	return n, w.err
}

// ReadAt implements io.ReaderAt: beyond what has been written it returns io.EOF.
func (w *writer) ReadAt(p []byte, off int64) (int, error) { return w.f.ReadAt(p, off) }

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context) (key blob.Key, err error) {
	const op = "store a blob"
	switch {
	case w.committed:
		return key, fault.New(fault.Invalid, op, "it is committed already")
	case w.err != nil:
		return key, w.err
	case ctx.Err() != nil:
		return key, mapErr(op, ctx.Err())
	}
	key = blob.Key(w.hash.Sum(nil))
	there, err := w.store.touch(ctx, key, w.size)
	if err != nil {
		return key, mapErr(op, err)
	}
	if !there {
		if err := w.f.Sync(); err != nil {
			return key, mapErr(op, err)
		}
		if _, err := w.store.name(ctx, []pending{{key, w.f}}); err != nil {
			return key, mapErr(op, err)
		}
		w.moved = true
		if err := syncDir(w.store.folder(key)); err != nil {
			return key, mapErr(op, err)
		}
	}
	w.committed = true
	return key, nil
}

// Close implements blob.Writer.
func (w *writer) Close() error {
	w.close.Do(func() {
		var err error
		if !w.moved {
			err = os.Remove(w.f.Name())
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // the store was closed first
		}
		w.closeErr = mapErr("close a blob", errors.Join(err, w.f.Close()))
	})
	return w.closeErr
}

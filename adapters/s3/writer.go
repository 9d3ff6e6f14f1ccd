package s3

import (
	"context"
	"crypto/sha256"
	"hash"
	"os"
	"sync"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// writer is a blob that is being written: a local file without a name, so that nothing is left of it when the process
// dies, and the hash of what it holds.
type writer struct {
	store *Store
	f     *os.File
	hash  hash.Hash
	size  int64
	err   error // the first error of a write: what was written is not a blob any more

	committed bool
	close     sync.Once
	closeErr  error
}

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	const op = "start a blob"
	if err := ctx.Err(); err != nil {
		return nil, mapErr(ctx, op, err)
	}
	f, err := os.CreateTemp(s.spool, "imapped-*")
	if err == nil {
		if err = os.Remove(f.Name()); err != nil {
			_ = f.Close() // the first error is the one to tell
		}
	}
	if err != nil {
		return nil, spoolErr(op, err)
	}
	return &writer{store: s, f: f, hash: sha256.New()}, nil
}

// spoolErr is an error of the local disk.
func spoolErr(op string, err error) error {
	if err == nil {
		return nil
	}
	return unavailable(op, "the folder for temporary files cannot be used", err)
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
	w.err = spoolErr(op, err)
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
		return key, mapErr(ctx, op, ctx.Err())
	}
	key = blob.Key(w.hash.Sum(nil))
	if err := w.store.store(ctx, []upload{{key, w.f, w.size}}); err != nil {
		return key, mapErr(ctx, op, err)
	}
	w.committed = true
	return key, nil
}

// Close implements blob.Writer.
func (w *writer) Close() error {
	w.close.Do(func() { w.closeErr = spoolErr("close a blob", w.f.Close()) })
	return w.closeErr
}

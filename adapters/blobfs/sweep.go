package blobfs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"imapped/ports/blob"
)

// Keys implements blob.Sweeper. The order is that of the folders; those outside are not looked into.
func (s *Store) Keys(ctx context.Context, from, to blob.Key) iter.Seq2[blob.Stored, error] {
	return func(yield func(blob.Stored, error) bool) {
		for i := int(from[0]); i <= int(to[0]); i++ {
			if !s.list(ctx, fmt.Sprintf("%02x", i), from, to, yield) {
				return
			}
		}
	}
}

// list yields the blobs of one folder from one key to another, and says whether to go on.
func (s *Store) list(ctx context.Context, name string, from, to blob.Key, yield func(blob.Stored, error) bool) bool {
	const op = "list blobs"
	d, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return yield(blob.Stored{}, mapErr(op, err))
	}
	defer func() { _ = d.Close() }() // only read
	for {
		if err := ctx.Err(); err != nil {
			yield(blob.Stored{}, mapErr(op, err))
			return false
		}
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			st, ok, err := stored(e, from, to)
			if err != nil {
				return yield(blob.Stored{}, mapErr(op, err))
			}
			if ok && !yield(st, nil) {
				return false
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return yield(blob.Stored{}, mapErr(op, err))
		}
	}
}

// stored reads an entry of a folder; not ok for what is no blob from one key to another, or is gone meanwhile.
func stored(e fs.DirEntry, from, to blob.Key) (st blob.Stored, ok bool, err error) {
	if len(e.Name()) != hex.EncodedLen(len(st.Key)) {
		return st, false, nil
	}
	if n, _ := hex.Decode(st.Key[:], []byte(e.Name())); n != len(st.Key) || !st.Key.Between(from, to) {
		return st, false, nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return st, false, nil
	}
	if err != nil {
		return st, false, err
	}
	st.Size, st.Time = info.Size(), info.ModTime()
	return st, true, nil
}

// Delete implements blob.Sweeper. An open blob stays readable until it is closed.
func (s *Store) Delete(ctx context.Context, before time.Time, keys ...blob.Key) error {
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return mapErr("delete blobs", err)
		}
		if err := s.delete(ctx, before, key); err != nil {
			return mapErr("delete blobs", err)
		}
	}
	return nil
}

// delete deletes a blob unless it was stored again. Its time is that of the opened file: over a network the time of a name
// may be one that this machine remembers.
func (s *Store) delete(ctx context.Context, before time.Time, key blob.Key) error {
	release, err := s.hold(ctx, exclusive)
	if err != nil {
		return err
	}
	defer release()
	f, err := os.Open(s.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil || !info.ModTime().Before(before) {
		return err
	}
	s.checked.Remove(key)
	return os.Remove(s.path(key))
}

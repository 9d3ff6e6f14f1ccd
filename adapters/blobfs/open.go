package blobfs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// file is an open blob.
type file struct {
	f    *os.File
	size int64
}

// ReadAt implements io.ReaderAt.
func (b *file) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }

// Close implements io.Closer.
func (b *file) Close() error { return b.f.Close() }

// Size implements blob.Blob.
func (b *file) Size() int64 { return b.size }

// File implements blob.FileBlob.
func (b *file) File() *os.File { return b.f }

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
	size, err := s.check(ctx, key, f)
	if err != nil {
		if fault.Is(err, fault.Corrupt) {
			s.setAside(key, f)
		}
		return nil, mapErr(op, errors.Join(err, f.Close()))
	}
	return &file{f, size}, nil
}

// check returns the blob's size; fault.Corrupt when it is not what it was, or its bytes do not match its key.
func (s *Store) check(ctx context.Context, key blob.Key, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if known, ok := s.checked.size(key); ok {
		if known != size {
			return 0, fault.Newf(fault.Corrupt, "", "blob %v has %d bytes, it had %d", key, size, known)
		}
		return size, nil
	}
	h := sha256.New()
	buf := make([]byte, min(size+1, 128<<10))
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := f.ReadAt(buf, off)
		h.Write(buf[:n])
		off += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	if blob.Key(h.Sum(nil)) != key {
		return 0, fault.Newf(fault.Corrupt, "", "blob %v does not match its key", key)
	}
	s.checked.add(key, size)
	return size, nil
}

// setAside moves a damaged blob out of the way, so that it can be fetched and stored again. It moves the file that was
// checked only, not one that has replaced it meanwhile.
func (s *Store) setAside(key blob.Key, f *os.File) {
	s.sweep.Lock()
	defer s.sweep.Unlock()
	s.checked.remove(key)
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

// checked remembers which blobs this process has checked, in a table where each key has one place: the newest holds it.
// A blob that was pushed out is checked again.
type checked struct {
	mu    sync.Mutex
	table []checkedKey
}

type checkedKey struct {
	tag  uint64 // 8 bytes of the key, beyond those that choose the place
	size int64  // plus one; 0: empty
}

const checkedPlaces = 1 << 16 // 1 MB

func place(key blob.Key) (int, uint64) {
	return int(binary.LittleEndian.Uint16(key[:])) % checkedPlaces, binary.LittleEndian.Uint64(key[8:])
}

func (c *checked) size(key blob.Key) (int64, bool) {
	i, tag := place(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil || c.table[i].tag != tag || c.table[i].size == 0 {
		return 0, false
	}
	return c.table[i].size - 1, true
}

func (c *checked) add(key blob.Key, size int64) {
	i, tag := place(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil {
		c.table = make([]checkedKey, checkedPlaces)
	}
	c.table[i] = checkedKey{tag, size + 1}
}

func (c *checked) remove(key blob.Key) {
	i, tag := place(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil && c.table[i].tag == tag {
		c.table[i] = checkedKey{}
	}
}

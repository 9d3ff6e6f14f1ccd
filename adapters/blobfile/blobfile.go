// Package blobfile is what the stores that keep a blob as a local file share: an open file as a blob, and the check of
// its bytes.
//
// Invariants:
//  1. A file is checked as a whole the first time that a Checked sees its key, and by its size every time.
//  2. What a Checked remembers is a table of fixed size; a blob that was pushed out of it is checked again.
package blobfile

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

var _ blob.FileBlob = (*File)(nil)

// File is an open blob.
type File struct {
	f    *os.File
	size int64
}

// New returns the blob in f, which has size bytes and belongs to the File from here on.
func New(f *os.File, size int64) *File { return &File{f, size} }

// ReadAt implements io.ReaderAt.
func (b *File) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }

// Close implements io.Closer.
func (b *File) Close() error { return b.f.Close() }

// Size implements blob.Blob.
func (b *File) Size() int64 { return b.size }

// File implements blob.FileBlob.
func (b *File) File() *os.File { return b.f }

// Checked remembers which blobs this process has checked, in a table where each key has one place: the newest holds it.
// The zero Checked is ready.
type Checked struct {
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

// Check returns the blob's size; fault.Corrupt when it is not what it was, or its bytes do not match its key. Other
// errors are those of the file, or of ctx.
func (c *Checked) Check(ctx context.Context, key blob.Key, f *os.File) (int64, error) {
	return c.CheckAs(ctx, key, key, f)
}

// CheckAs is Check for a file that is remembered, by Add and Remove too, under another name than its key: there may be
// several of one key.
func (c *Checked) CheckAs(ctx context.Context, name, key blob.Key, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if known, ok := c.size(name); ok {
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
	c.Add(name, size)
	return size, nil
}

func (c *Checked) size(key blob.Key) (int64, bool) {
	i, tag := place(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil || c.table[i].tag != tag || c.table[i].size == 0 {
		return 0, false
	}
	return c.table[i].size - 1, true
}

// Add notes that a blob of that size was found to match its key.
func (c *Checked) Add(key blob.Key, size int64) {
	i, tag := place(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table == nil {
		c.table = make([]checkedKey, checkedPlaces)
	}
	c.table[i] = checkedKey{tag, size + 1}
}

// Remove forgets a blob.
func (c *Checked) Remove(key blob.Key) {
	i, tag := place(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil && c.table[i].tag == tag {
		c.table[i] = checkedKey{}
	}
}

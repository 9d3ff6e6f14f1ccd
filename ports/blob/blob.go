// Package blob is the port to the store of raw messages.
//
// Invariants:
//  1. A blob's key is the SHA-256 of its bytes; a blob is immutable.
//  2. When Put or Commit has returned nil the blobs survive a crash of the machine; before, they are not visible.
//  3. Bytes that do not match their key are never given out as good: Open or a read fails with fault.Corrupt.
package blob

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"iter"
	"os"
	"time"
)

// Key is the SHA-256 of a blob's bytes.
type Key [32]byte

// String returns the key in hex.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Between says whether the key is from one to another, both included, in the order of their bytes.
func (k Key) Between(from, to Key) bool {
	return bytes.Compare(from[:], k[:]) <= 0 && bytes.Compare(k[:], to[:]) <= 0
}

// Last returns the highest key.
func Last() (k Key) {
	for i := range k {
		k[i] = 0xff
	}
	return k
}

// Store keeps blobs.
type Store interface {
	// Put stores small blobs together, with one wait for durability, and returns their keys in order. It does not
	// retain the slices. A blob that is there already costs no write.
	Put(ctx context.Context, blobs ...[]byte) ([]Key, error)
	// Create starts a blob that is written in pieces.
	Create(ctx context.Context) (Writer, error)
	// Open returns the blob; fault.NotFound when there is none, fault.Corrupt when it fails its check. A blob is
	// checked as a whole on its first opening by a process, by its size on every one.
	Open(ctx context.Context, key Key) (Blob, error)
}

// Writer is a blob that is being written. One goroutine writes; any number may read meanwhile what has been written.
type Writer interface {
	io.Writer
	io.ReaderAt
	// Commit makes the blob durable and visible and returns its key. The Writer stays readable until Close.
	Commit(ctx context.Context) (Key, error)
	// Close releases the writer and, without an earlier Commit, removes what was written.
	Close() error
}

// Blob is an open blob. It may be read by several goroutines.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// FileBlob is a Blob that is a local file, so that it can be sent without passing through the process.
type FileBlob interface {
	Blob
	File() *os.File
}

// Sweeper is the part of a store that removes what nothing names any more.
type Sweeper interface {
	// Keys lists every stored blob whose key is from one to another, both included, with the time it was last stored or
	// named again by a Put. The order is the store's own. What is outside costs little where the store can pass over it.
	Keys(ctx context.Context, from, to Key) iter.Seq2[Stored, error]
	// Delete removes blobs that were not stored again since the time given; missing ones are no error.
	Delete(ctx context.Context, before time.Time, keys ...Key) error
}

// Stored is one entry of a listing.
type Stored struct {
	Key  Key
	Size int64
	Time time.Time
}

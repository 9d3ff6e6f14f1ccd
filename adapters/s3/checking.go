package s3

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync/atomic"

	"imapped/ports/blob"
)

// checking reads a blob that was not checked yet: invariant 2 of the package.
type checking struct {
	key     blob.Key
	src     io.ReaderAt
	size    int64
	matched func()
	good    atomic.Bool

	// turn is held by who reads towards the check; it guards what follows. A read from the store happens while it is
	// held, so others who need the check wait for that read, which has its own deadline.
	turn chan struct{}
	hash hash.Hash
	at   int64 // so many bytes are in the hash
	err  error // the blob is damaged
}

// newChecking returns a reader of a blob that is not empty. It calls matched when all bytes were found to match.
func newChecking(key blob.Key, src io.ReaderAt, size int64, matched func()) *checking {
	return &checking{key: key, src: src, size: size, matched: matched, turn: make(chan struct{}, 1), hash: sha256.New()}
}

// ReadAt implements io.ReaderAt. It does not read over the end.
func (c *checking) ReadAt(p []byte, off int64) (int, error) {
	if c.good.Load() {
		return c.src.ReadAt(p, off)
	}
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	switch {
	case c.err != nil:
		return 0, c.err
	case c.good.Load():
		return c.src.ReadAt(p, off)
	case off == c.at:
		return c.forward(p)
	}
	buf := make([]byte, 256<<10)
	for c.at < c.size {
		if _, err := c.forward(buf[:min(int64(len(buf)), c.size-c.at)]); err != nil {
			return 0, err
		}
	}
	return c.src.ReadAt(p, off)
}

// forward reads the next bytes and adds them to the hash. The last ones are returned only when all match.
func (c *checking) forward(p []byte) (int, error) {
	n, err := c.src.ReadAt(p, c.at)
	c.hash.Write(p[:n])
	c.at += int64(n)
	if n < len(p) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	if c.at < c.size {
		return n, nil
	}
	if blob.Key(c.hash.Sum(nil)) != c.key {
		c.err = mismatch(c.key)
		clear(p)
		return 0, c.err
	}
	c.good.Store(true)
	c.matched()
	return n, nil
}

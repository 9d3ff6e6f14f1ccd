package blobcache

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// piece is how much is asked of the store behind at a time.
const piece = 256 << 10

// flight is one download, for any number of readers.
type flight struct {
	store *Store
	key   blob.Key
	name  blob.Key // of its file

	// opened is closed when the readers may begin: the size is known, or err is set. A blob that is not streamed has
	// arrived by then.
	opened chan struct{}
	once   sync.Once

	// These are written before opened is closed.
	size int64
	f    *os.File // what has arrived; nil: everything is read from src

	mu    sync.Mutex
	more  sync.Cond
	src   blob.Blob // the store behind; closed when the file is complete
	users int       // the download and the readers
	have  int64     // so much may be read from the file
	done  bool      // nothing more comes
	pass  bool      // the cache has no room, or its disk failed: what is not in the file is read from src
	err   error     // the download failed
}

// fetch joins the blob's download, or begins it.
func (s *Store) fetch(ctx context.Context, key blob.Key) (blob.Blob, error) {
	const op = "open a blob"
	c, name := s.cache, s.name(key)
	for {
		c.flying.Lock()
		f, joined := c.flights[name]
		if !joined {
			f = &flight{store: s, key: key, name: name, opened: make(chan struct{}), users: 1}
			f.more.L = &f.mu
			if !c.start(f.run) {
				c.flying.Unlock()
				return s.behind.Open(ctx, key)
			}
			c.flights[name] = f
		}
		f.join()
		c.flying.Unlock()
		select {
		case <-f.opened:
		case <-ctx.Done():
			f.leave()
			return nil, fault.As(fault.Canceled, op, ctx.Err())
		}
		b, err := f.blob(ctx)
		if err == nil || !joined {
			return b, err
		}
		// It began before this call: the blob may have been stored meanwhile.
	}
}

// blob returns what a reader gets; the caller has joined.
func (f *flight) blob(ctx context.Context) (blob.Blob, error) {
	f.mu.Lock()
	err, complete := f.err, f.done && !f.pass
	f.mu.Unlock()
	if err == nil && !complete {
		return &stream{f: f}, nil
	}
	if err == nil {
		if b := f.store.cache.open(ctx, f.name, f.key); b != nil {
			f.leave()
			return b, nil
		}
		return &stream{f: f}, nil // its file is gone already, but is open here
	}
	f.leave()
	return nil, err
}

func (f *flight) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users++
}

// leave ends one use; the last one closes everything.
func (f *flight) leave() {
	f.mu.Lock()
	f.users--
	last, src := f.users == 0, f.src
	f.mu.Unlock()
	if !last {
		return
	}
	if src != nil {
		_ = src.Close() // only read
	}
	if f.f != nil {
		_ = f.f.Close() // its name, or its removal, does not depend on it
	}
}

func (f *flight) open() { f.once.Do(func() { close(f.opened) }) }

// run downloads the blob.
func (f *flight) run() {
	c := f.store.cache
	src, err := f.store.behind.Open(c.ctx, f.key)
	if err == nil {
		f.change(func() { f.src, f.size = src, src.Size() })
		err = f.download()
	}
	c.flying.Lock()
	delete(c.flights, f.name)
	c.flying.Unlock()
	f.change(func() { f.done, f.err = true, err })
	f.open()
	f.leave()
}

// change changes what readers wait for.
func (f *flight) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	f.more.Broadcast()
}

// download writes the file. A disk that fails leaves the readers with the store behind.
func (f *flight) download() error {
	const op = "read a blob"
	c := f.store.cache
	a := c.begin(f.size)
	if a == nil {
		f.change(func() { f.pass = true })
		return nil
	}
	f.f = a.f
	if f.size > streamed {
		f.open()
	}
	h := sha256.New()
	buf := make([]byte, min(f.size, piece))
	for off := int64(0); off < f.size; {
		if c.ctx.Err() != nil {
			a.abandon("", nil)
			return fault.New(fault.Unavailable, op, "the program is ending")
		}
		want := buf[:min(int64(len(buf)), f.size-off)]
		n, err := f.src.ReadAt(want, off)
		if n < len(want) {
			a.abandon("", nil)
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fault.Wrap(op, err)
		}
		h.Write(want)
		if _, err := a.f.Write(want); err != nil {
			a.abandon("write a file", err)
			f.change(func() { f.pass = true })
			return nil
		}
		off += int64(n)
		f.change(func() { f.have = min(off, f.size-1) })
	}
	if blob.Key(h.Sum(nil)) != f.key {
		a.abandon("", nil)
		return fault.Newf(fault.Corrupt, op, "blob %v does not match its key", f.key)
	}
	c.checked.Add(f.name, f.size)
	a.land(f.name)
	var src blob.Blob
	f.change(func() { f.have, f.done, src, f.src = f.size, true, f.src, nil })
	_ = src.Close() // only read
	return nil
}

// stream reads a blob while it arrives.
type stream struct {
	f    *flight
	once sync.Once
}

// Size implements blob.Blob.
func (s *stream) Size() int64 { return s.f.size }

// Close implements io.Closer.
func (s *stream) Close() error {
	s.once.Do(s.f.leave)
	return nil
}

// ReadAt implements io.ReaderAt. It waits for the bytes; the store behind has deadlines, so they come or it fails.
func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	const op = "read a blob"
	f := s.f
	switch {
	case off < 0:
		return 0, fault.New(fault.Invalid, op, "negative offset")
	case off >= f.size:
		return 0, io.EOF
	}
	end := min(off+int64(len(p)), f.size)
	f.mu.Lock()
	for f.have < end && !f.done && !f.pass {
		f.more.Wait()
	}
	here, err := f.have >= end, f.err
	f.mu.Unlock()
	switch {
	case here:
		n, err := f.f.ReadAt(p[:end-off], off)
		if err == nil && n < len(p) {
			err = io.EOF
		}
		return n, err
	case err != nil:
		return 0, err
	}
	return f.src.ReadAt(p, off) // not closed before the last reader leaves
}

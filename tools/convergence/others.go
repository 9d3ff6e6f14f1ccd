package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/upstream"
)

// simClock is the machine's clock, put forward.
type simClock struct{ ahead atomic.Int64 }

func (c *simClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *simClock) jump(d time.Duration) { c.ahead.Add(int64(d)) }

// anybody lets everybody in as one user.
type anybody struct{ user account.UserID }

func (a anybody) Check(_ context.Context, name, _, _ string) (account.User, *account.Account, error) {
	return account.User{ID: a.user, Name: name}, nil, nil
}

// plainSealer does not seal.
type plainSealer struct{}

func (plainSealer) Seal(plain, _ []byte) (account.Secret, error) {
	return account.Secret{KeyID: "plain", Sealed: bytes.Clone(plain)}, nil
}

func (plainSealer) Open(s account.Secret, _ []byte) ([]byte, error) {
	return bytes.Clone(s.Sealed), nil
}

// disk is a blob store in memory. What is in it is durable.
type disk struct {
	mu    sync.Mutex
	blobs map[blob.Key][]byte
}

// Put implements blob.Store.
func (d *disk) Put(_ context.Context, raws ...[]byte) ([]blob.Key, error) {
	keys := make([]blob.Key, len(raws))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, raw := range raws {
		keys[i] = sha256.Sum256(raw)
		if d.blobs[keys[i]] == nil {
			d.blobs[keys[i]] = bytes.Clone(raw)
		}
	}
	return keys, nil
}

// Open implements blob.Store.
func (d *disk) Open(_ context.Context, k blob.Key) (blob.Blob, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.blobs[k]
	if !ok {
		return nil, fault.New(fault.NotFound, "open blob", "no such blob")
	}
	return opened{bytes.NewReader(b)}, nil
}

// Create implements blob.Store.
func (d *disk) Create(context.Context) (blob.Writer, error) { return &written{d: d}, nil }

type opened struct{ *bytes.Reader }

func (opened) Close() error { return nil }

// written is a blob of disk that is being written.
type written struct {
	d  *disk
	mu sync.Mutex
	b  []byte
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *written) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := copy(p, w.b[min(off, int64(len(w.b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (w *written) Commit(ctx context.Context) (blob.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys, err := w.d.Put(ctx, w.b)
	if err != nil {
		return blob.Key{}, err
	}
	return keys[0], nil
}

func (w *written) Close() error { return nil }

// readBlob returns a blob's bytes, or nil where there is none.
func readBlob(ctx context.Context, from blob.Store, k blob.Key) ([]byte, error) {
	b, err := from.Open(ctx, k)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	return io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
}

// blobs is a blob store as one process sees it.
type blobs struct {
	lane
	to blob.Store
}

func (s blobs) Put(ctx context.Context, raws ...[]byte) ([]blob.Key, error) {
	return call(s.lane, "Put", true, func() ([]blob.Key, error) { return s.to.Put(ctx, raws...) })
}

func (s blobs) Open(ctx context.Context, k blob.Key) (blob.Blob, error) {
	return call(s.lane, "Open", false, func() (blob.Blob, error) { return s.to.Open(ctx, k) })
}

func (s blobs) Create(ctx context.Context) (blob.Writer, error) {
	return call(s.lane, "Create", false, func() (blob.Writer, error) {
		w, err := s.to.Create(ctx)
		return blobWriter{w, s.lane}, err
	})
}

// blobWriter is a blob that one process writes.
type blobWriter struct {
	blob.Writer
	life lane
}

func (w blobWriter) Commit(ctx context.Context) (blob.Key, error) {
	return call(w.life, "Commit", true, func() (blob.Key, error) { return w.Writer.Commit(ctx) })
}

// dialer is the upstream as one process sees it.
type dialer struct {
	lane
	to upstream.Dialer
}

func (d dialer) Dial(ctx context.Context, t upstream.Target) (upstream.Conn, error) {
	if err := d.pass(); err != nil {
		return nil, &upstream.StepError{Step: upstream.StepTCP, Err: err}
	}
	c, err := d.to.Dial(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := d.pass(); err != nil {
		_ = c.Close()
		return nil, &upstream.StepError{Step: upstream.StepTCP, Err: err}
	}
	d.keep(c)
	return wire{c, d.lane}, nil
}

// wire is a connection of one process.
type wire struct {
	upstream.Conn
	life lane
}

func (w wire) Do(ctx context.Context, cmds ...upstream.Command) error {
	err := w.life.depart()
	if err == nil {
		err = w.Conn.Do(ctx, cmds...)
		w.life.landed()
		if err == nil {
			err = w.life.pass()
		}
	}
	if w.life.isDead() {
		_ = w.Conn.Close()
		for _, cmd := range cmds {
			cmd.Result().Err = errDead
		}
		return errDead
	}
	return err
}

func (w wire) Idle(ctx context.Context, fn func(upstream.Event) bool) error {
	if err := w.life.pass(); err != nil {
		return err
	}
	return w.Conn.Idle(ctx, fn)
}

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

// disk is the blobs that are durable.
type disk struct {
	mu    sync.Mutex
	blobs map[blob.Key][]byte
}

// get returns a blob's bytes, or nil.
func (d *disk) get(k blob.Key) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.blobs[k]
}

func (d *disk) put(b []byte) blob.Key {
	k := blob.Key(sha256.Sum256(b))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.blobs[k] == nil {
		d.blobs[k] = bytes.Clone(b)
	}
	return k
}

// blobs is the blob store as one process sees it.
type blobs struct {
	lane
	disk *disk
}

func (s blobs) Put(_ context.Context, raws ...[]byte) ([]blob.Key, error) {
	return call(s.lane, "Put", true, func() ([]blob.Key, error) {
		keys := make([]blob.Key, len(raws))
		for i, raw := range raws {
			keys[i] = s.disk.put(raw)
		}
		return keys, nil
	})
}

func (s blobs) Open(_ context.Context, k blob.Key) (blob.Blob, error) {
	return call(s.lane, "Open", false, func() (blob.Blob, error) {
		b := s.disk.get(k)
		if b == nil {
			return nil, fault.New(fault.NotFound, "open blob", "no such blob")
		}
		return opened{bytes.NewReader(b)}, nil
	})
}

func (s blobs) Create(context.Context) (blob.Writer, error) {
	return call(s.lane, "Create", false, func() (blob.Writer, error) { return &blobWriter{s: s}, nil })
}

type opened struct{ *bytes.Reader }

func (opened) Close() error { return nil }

type blobWriter struct {
	s  blobs
	mu sync.Mutex
	b  []byte
}

func (w *blobWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *blobWriter) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := copy(p, w.b[min(off, int64(len(w.b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (w *blobWriter) Commit(context.Context) (blob.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return call(w.s.lane, "Commit", true, func() (blob.Key, error) { return w.s.disk.put(w.b), nil })
}

func (w *blobWriter) Close() error { return nil }

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

package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"imapped/domain/fault"
)

const (
	// leastWindow and mostWindow bound how much a request asks for: from what is wanted at a random place up to what is
	// read ahead of one who reads on and on. It is not held in memory but in the connection.
	leastWindow = 64 << 10
	mostWindow  = 8 << 20
	// drained is how much that nobody wants is read so that its connection can be used again.
	drained = 64 << 10
)

// reader reads one version of an object. It may be read by several goroutines.
type reader struct {
	*bucket
	found
	name string
	head []byte // the first bytes

	ctx    context.Context // until Close
	cancel context.CancelFunc

	mu     sync.Mutex // not held while anything is read
	idle   *window    // nobody reads it now
	next   int64      // where the last read ended: who reads there reads on
	ahead  int64      // how much the last request asked for
	closed bool
}

func newReader(b *bucket, name string, f found, head []byte) *reader {
	r := &reader{bucket: b, found: f, name: name, head: head, next: int64(len(head)), ahead: int64(len(head))}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// window is the answer to a request for a range.
type window struct {
	body   io.ReadCloser
	off    int64
	left   int64
	cancel context.CancelFunc
	timer  *time.Timer // ends the request when the store is silent for too long
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(r.head)) {
		n = copy(p, r.head[off:])
	}
	want := len(p)
	if over := off + int64(want) - r.size; over > 0 {
		want -= int(min(over, int64(want)))
	}
	if n >= want {
		if want < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	w, ahead := r.take(off + int64(n))
	for failed := 0; n < want; {
		if w == nil {
			if w, err = r.window(off+int64(n), max(int64(want-n), ahead)); err != nil {
				return n, r.mapErr(err)
			}
		}
		k, rerr := w.read(r.timeout, p[n:want])
		if n += k; k > 0 {
			failed = 0
		}
		if rerr == nil && w.left > 0 {
			continue
		}
		w.close()
		w = nil
		if rerr == nil {
			continue
		}
		// The answer broke off: the rest is asked for anew.
		if failed++; failed == attempts {
			return n, r.mapErr(rerr)
		}
		if err := pause(r.ctx, failed-1); err != nil {
			return n, r.mapErr(err)
		}
	}
	r.giveBack(w, off+int64(n))
	if want < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *reader) mapErr(err error) error {
	const op = "read an object"
	if status(err) == http.StatusPreconditionFailed {
		return fault.New(fault.Unavailable, op, "it was written anew meanwhile")
	}
	return mapErr(r.ctx, op, err)
}

// take takes the window at off, if there is one, and says how much the next request shall ask for.
func (r *reader) take(off int64) (w *window, ahead int64) {
	r.mu.Lock()
	if r.next == off {
		r.ahead = min(2*r.ahead, mostWindow)
	} else {
		r.ahead = leastWindow
	}
	ahead = r.ahead
	var other *window
	if r.idle != nil && r.idle.off == off {
		w = r.idle
	} else {
		other = r.idle
	}
	r.idle = nil
	r.mu.Unlock()
	other.close()
	return w, ahead
}

// giveBack keeps a window for who reads on.
func (r *reader) giveBack(w *window, next int64) {
	r.mu.Lock()
	r.next = next
	if w != nil && r.idle == nil && !r.closed {
		r.idle, w = w, nil
	}
	r.mu.Unlock()
	w.close()
}

// Close ends the reading.
func (r *reader) Close() error {
	r.mu.Lock()
	w := r.idle
	r.idle, r.closed = nil, true
	r.mu.Unlock()
	w.close()
	r.cancel()
	return nil
}

// window asks for n bytes from off on, or as many as there are.
func (r *reader) window(off, n int64) (*window, error) {
	n = min(n, r.size-off)
	ctx, cancel := context.WithCancel(r.ctx)
	timer := time.AfterFunc(3*r.timeout, cancel)
	f, body, err := r.get(ctx, r.name, r.etag, off, n)
	if err == nil && f.size != r.size {
		err = errors.Join(errors.New("the object's size changed"), body.Close())
	}
	if err != nil {
		timer.Stop()
		cancel()
		if ctx.Err() != nil && r.ctx.Err() == nil {
			return nil, context.DeadlineExceeded
		}
		return nil, err
	}
	timer.Stop()
	return &window{body: body, off: off, left: n, cancel: cancel, timer: timer}, nil
}

// read fills p as far as the window goes. Within timeout some bytes come, or it fails.
func (w *window) read(timeout time.Duration, p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), w.left)]
	for n < len(p) && err == nil {
		var k int
		w.timer.Reset(timeout)
		k, err = w.body.Read(p[n:])
		if !w.timer.Stop() && err != nil {
			err = context.DeadlineExceeded
		}
		n += k
	}
	w.off, w.left = w.off+int64(n), w.left-int64(n)
	switch {
	case n == len(p):
		err = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// close lets the connection go. A little that nobody read is read first; nil is no window.
func (w *window) close() {
	if w == nil {
		return
	}
	if w.left <= drained {
		w.timer.Reset(time.Second)
		_, _ = io.CopyN(io.Discard, w.body, w.left+1) // up to the end of the answer; a failure costs the connection
	}
	w.timer.Stop()
	_ = w.body.Close() // only read
	w.cancel()
}

package syncer

import (
	"context"
	"io"
	"sync"

	"imapped/domain/fault"
	"imapped/domain/mirror"
	"imapped/ports/blob"
	"imapped/ports/upstream"
)

// flight is one body that is being fetched on demand. Whoever fetches it writes; any number wait or read along.
type flight struct {
	key flightKey

	// These are the fetching goroutine's.
	want     mirror.Body
	validity uint32
	why      string // what to say when it does not come

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when anything below changes
	readers int
	w       blob.Writer // nil until the size is known, and where the body is held in memory
	size    int64
	got     int64
	down    bool // every byte came; the store has it
	ended   bool // stored, or failed with err
	err     error
}

func newFlight(key flightKey) *flight { return &flight{key: key, changed: make(chan struct{})} }

// change changes the flight and wakes everybody.
func (f *flight) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	close(f.changed)
	f.changed = make(chan struct{})
}

// attach counts a reader; detach ends it.
func (f *flight) attach() { f.change(func() { f.readers++ }) }

func (f *flight) detach() {
	f.change(func() { f.readers-- })
	f.letGo()
}

// letGo closes the writer when nobody needs it any more.
func (f *flight) letGo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended && f.readers == 0 && f.w != nil {
		_ = f.w.Close() // without a Commit it removes what was written
		f.w = nil
	}
}

func (f *flight) streaming() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers > 0
}

// have returns how many bytes came.
func (f *flight) have() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got
}

// land says that every byte came and the rest is the store's.
func (f *flight) land() { f.change(func() { f.down = true }) }

func (f *flight) landed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down || f.ended
}

func (f *flight) end(err error) {
	f.change(func() { f.ended, f.err = true, err })
	f.letGo()
}

// await waits until ready says so under the lock, or ctx is done.
func (f *flight) await(ctx context.Context, ready func() bool) error {
	for {
		f.mu.Lock()
		ok, changed := ready(), f.changed
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait waits until the body is stored or cannot be had.
func (f *flight) wait(ctx context.Context) error {
	if err := f.await(ctx, func() bool { return f.ended }); err != nil {
		return err
	}
	return f.err
}

// sized waits until the size is known, and says whether the bytes can be read along; else the body is stored.
func (f *flight) sized(ctx context.Context) (streaming bool, err error) {
	err = f.await(ctx, func() bool {
		streaming = f.w != nil && (!f.ended || f.err == nil)
		return streaming || f.ended
	})
	if err == nil && !streaming {
		err = f.err
	}
	return streaming, err
}

// copy writes what arrives, from where the last connection broke on.
func (f *flight) copy(ctx context.Context, o *owner, l *link, m upstream.Message) error {
	const op = "fetch body from the upstream"
	if f.w == nil {
		w, err := o.blobs.Create(ctx)
		if err != nil {
			return fault.Wrap("store body", err)
		}
		f.change(func() { f.w, f.size = w, m.BodySize })
	} else if f.have()+m.BodySize != f.size {
		return fault.New(fault.Corrupt, op, "its size is another than before")
	}
	buf := make([]byte, 32<<10)
	for f.have() < f.size {
		n, err := m.Body.Read(buf[:min(int64(len(buf)), f.size-f.have())])
		if n > 0 {
			l.touch()
			if _, werr := f.w.Write(buf[:n]); werr != nil {
				return fault.Wrap("store body", werr)
			}
			f.change(func() { f.got += int64(n) })
		}
		if err == io.EOF && f.have() == f.size {
			break
		}
		if err != nil {
			return fault.As(fault.Unavailable, op, err)
		}
	}
	return nil
}

// reader reads a body while it comes. It is a session.Bytes.
type reader struct {
	f    *flight
	once sync.Once
}

// Size returns the size that the upstream announced.
func (r *reader) Size() int64 { return r.f.size }

// ReadAt waits for bytes that have not come yet. It fails when they cannot be had.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	f := r.f
	if off < 0 {
		return 0, fault.New(fault.Invalid, "read body", "negative offset")
	}
	if off >= f.size {
		return 0, io.EOF
	}
	end := min(off+int64(len(p)), f.size)
	// The fetching goroutine watches the network and always ends the flight, so that this wait is bounded.
	if err := f.await(context.Background(), func() bool { return f.got >= end || f.ended }); err != nil {
		return 0, err
	}
	if f.have() < end {
		return 0, f.err
	}
	n, err := f.w.ReadAt(p[:end-off], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Close ends the reading; it may be called more than once.
func (r *reader) Close() error {
	r.once.Do(r.f.detach)
	return nil
}

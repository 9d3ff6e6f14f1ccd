package realimap

import (
	"io"
	"sync"
	"time"
)

// intake is what our process sends. It is read as soon as it comes, so that the end of the process is seen at once, whatever
// is still to be passed on.
type intake struct {
	mu   sync.Mutex
	buf  []byte
	err  error
	more chan struct{} // closed and replaced when there is more in buf
	over chan struct{} // closed with err: our process has hung up
}

func newIntake() *intake { return &intake{more: make(chan struct{}), over: make(chan struct{})} }

// fill reads to the end of the connection.
func (t *intake) fill(from io.Reader) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		t.mu.Lock()
		t.buf = append(t.buf, b[:n]...)
		close(t.more)
		t.more = make(chan struct{})
		if err != nil {
			t.err = err
			close(t.over)
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}

// Read implements io.Reader.
func (t *intake) Read(p []byte) (int, error) {
	for {
		t.mu.Lock()
		n, err, more := copy(p, t.buf), t.err, t.more
		t.buf = t.buf[n:]
		t.mu.Unlock()
		if n > 0 || err != nil && len(p) > 0 {
			if n > 0 {
				err = nil
			}
			return n, err
		}
		select {
		case <-more:
		case <-t.over:
		}
	}
}

// within says whether something comes within the time, or is there.
func (t *intake) within(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		t.mu.Lock()
		n, more := len(t.buf), t.more
		t.mu.Unlock()
		if n > 0 {
			return true
		}
		select {
		case <-more:
		case <-t.over:
			t.mu.Lock()
			defer t.mu.Unlock()
			return len(t.buf) > 0
		case <-timer.C:
			return false
		}
	}
}

// ended says whether our process has hung up.
func (t *intake) ended() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

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
	more chan struct{} // closed and replaced when buf or err changes
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

// Read implements io.Reader, for one goroutine.
func (t *intake) Read(p []byte) (int, error) {
	if !t.wait(nil) {
		return 0, t.err // it does not change any more
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := copy(p, t.buf)
	t.buf = t.buf[n:]
	return n, nil
}

// wait waits until something is there. It says no when our process hangs up, or timeout comes, before.
func (t *intake) wait(timeout <-chan time.Time) bool {
	for {
		t.mu.Lock()
		n, err, more := len(t.buf), t.err, t.more
		t.mu.Unlock()
		if n > 0 || err != nil {
			return n > 0
		}
		select {
		case <-more:
		case <-timeout:
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

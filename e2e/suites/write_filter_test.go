package suites

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// filter is a proxy that reads along what the upstream says. It loses answers on purpose, each exactly when the upstream
// has carried out what it answers.
type filter struct {
	net.Listener
	upstream string
	ctx      context.Context

	mu      sync.Mutex
	line    func(line []byte) (instead []byte, lost bool) // nil: every line passes
	refuses bool
	live    map[net.Conn]bool
	losses  chan struct{} // an element for each answer that was lost
}

// filtered starts one, and ends it with the test.
func filtered(t *testing.T, upstream string) *filter {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	f := &filter{Listener: l, upstream: upstream, ctx: ctx, live: map[net.Conn]bool{}, losses: make(chan struct{}, 100)}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		l.Close()
		f.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(c) })
		}
	})
	return f
}

// set says what becomes of each line of the upstream's: it is replaced, or lost with all connections, after which none is
// accepted until refuse(false).
func (f *filter) set(line func(line []byte) (instead []byte, lost bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.line = line
}

// refuse closes every connection, also those to come, or accepts them again.
func (f *filter) refuse(yes bool) {
	f.mu.Lock()
	f.refuses = yes
	f.mu.Unlock()
	if yes {
		f.cut()
	}
}

func (f *filter) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.live {
		c.Close()
	}
}

// keep notes a connection; it says no when there is to be none.
func (f *filter) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses || f.ctx.Err() != nil {
		return false
	}
	f.live[c] = true
	return true
}

func (f *filter) forget(c net.Conn) {
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.live, c)
}

func (f *filter) serve(client net.Conn) {
	defer f.forget(client)
	if !f.keep(client) {
		return
	}
	up, err := (&net.Dialer{}).DialContext(f.ctx, "tcp", f.upstream)
	if err != nil {
		return
	}
	defer f.forget(up)
	if !f.keep(up) {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		_, _ = io.Copy(up, client) // its end is the end of the connection
		up.Close()
	})
	defer client.Close()
	in := bufio.NewReaderSize(up, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		out, lost := f.judge(line)
		if lost {
			f.refuse(true)
			f.losses <- struct{}{}
			return
		}
		if _, werr := client.Write(out); werr != nil || err != nil {
			return
		}
	}
}

func (f *filter) judge(line []byte) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.line == nil {
		return line, false
	}
	return f.line(line)
}

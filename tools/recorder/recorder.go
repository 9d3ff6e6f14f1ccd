package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

const dialTimeout = 10 * time.Second

// Command is one command that a client sent.
type Command struct {
	Conn int    // the connection, counted from 1
	Verb string // in upper case, "UID FETCH" in one
	// Args is what followed; a literal appears as {N}.
	Args string
	// Literals are the sizes of its literals.
	Literals []int64
}

// String returns the command as it was sent, without tag.
func (c Command) String() string {
	if c.Args == "" {
		return c.Verb
	}
	return c.Verb + " " + c.Args
}

// Totals counts what passed.
type Totals struct {
	Connections int
	// Bodies are whole messages in FETCH answers (BODY[], RFC822, BINARY[]), BodyBytes their sizes.
	Bodies, BodyBytes int64
	// Up and Down are all bytes from and to clients.
	Up, Down int64
}

// Recorder is a running recorder. Its methods may be called from several goroutines.
type Recorder struct {
	upstream string
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	commands []Command
	resets   int // calls of Reset
	totals   Totals
	accepted int
	live     map[net.Conn]struct{}
}

// Listen starts a recorder on addr ("127.0.0.1:0" takes a free port) in front of upstream, a host:port.
func Listen(addr, upstream string) (*Recorder, error) {
	r := &Recorder{upstream: upstream, live: map[net.Conn]struct{}{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	listener, err := (&net.ListenConfig{}).Listen(r.ctx, "tcp", addr)
	if err != nil {
		r.cancel()
		return nil, fmt.Errorf("recorder: %w", err)
	}
	r.listener = listener
	r.wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(c) })
		}
	})
	return r, nil
}

// Addr is the host:port that clients dial.
func (r *Recorder) Addr() string { return r.listener.Addr().String() }

// Commands returns the commands since the last Reset, in the order in which their first lines were complete.
func (r *Recorder) Commands() []Command {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commands)
}

// Totals returns the counts since the last Reset.
func (r *Recorder) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.totals
}

// Reset forgets commands and counts.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands, r.totals = nil, Totals{}
	r.resets++
}

// Close stops listening, closes what is live, and waits for the end of all goroutines.
func (r *Recorder) Close() error {
	r.cancel()
	err := r.listener.Close()
	r.mu.Lock()
	for c := range r.live {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return err
}

// track keeps a connection for Close; it returns false, and closes the connection, when Close has begun.
func (r *Recorder) track(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		c.Close()
		return false
	}
	r.live[c] = struct{}{}
	return true
}

func (r *Recorder) untrack(c net.Conn) {
	r.mu.Lock()
	delete(r.live, c)
	r.mu.Unlock()
	c.Close()
}

func (r *Recorder) serve(client net.Conn) {
	if !r.track(client) {
		return
	}
	defer r.untrack(client)
	dialer := net.Dialer{Timeout: dialTimeout}
	upstream, err := dialer.DialContext(r.ctx, "tcp", r.upstream)
	if err != nil || !r.track(upstream) {
		return
	}
	defer r.untrack(upstream)

	r.mu.Lock()
	r.accepted++
	r.totals.Connections++
	talk := newConversation(r, r.accepted)
	r.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { tap(upstream, client, talk.fromClient) })
	wg.Go(func() { tap(client, upstream, talk.fromServer) })
	wg.Wait()
}

// tap copies src to dst and shows each piece to see before it is written.
func tap(dst, src net.Conn, see func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		see(buf[:n])
		if _, werr := dst.Write(buf[:n]); werr != nil {
			// The writer is gone: end the reader too, or it would wait for a peer that has nobody to talk to.
			src.Close()
			return
		}
		if err != nil {
			if w, ok := dst.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
				_ = w.CloseWrite() // fails only on a connection that is gone
			} else {
				dst.Close()
			}
			return
		}
	}
}

package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// Mode says how connections of a listener begin.
type Mode uint8

// The modes.
const (
	PlainMode Mode = iota // in the clear, with STARTTLS where there is a certificate
	TLSMode               // with TLS (port 993)
)

// Server serves IMAP. Make one with New.
type Server struct {
	opt  Options
	caps fsm.Set

	buffers   syntax.BufferPool
	outputs   sync.Pool // of *[]byte with a capacity of outputBuffer
	parsed    sync.Pool // of *parsed
	scratch   sync.Pool // of *scratch
	deflaters *sync.Pool

	name     string // begins the ids of its sessions: no other server's do, of this node or another
	nextID   atomic.Uint64
	accepted atomic.Uint64
	refused  atomic.Uint64
	running  sync.WaitGroup // connections

	mu        sync.Mutex
	conns     map[*conn]struct{}
	perIP     map[netip.Addr]int
	listeners map[net.Listener]struct{}
	draining  bool
}

// New returns a server that has no listener yet.
func New(o Options) (*Server, error) {
	o, caps, err := o.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opt: o, caps: caps, deflaters: newDeflaterPool(), name: strings.ToLower(rand.Text()[:8]),
		conns: map[*conn]struct{}{}, perIP: map[netip.Addr]int{}, listeners: map[net.Listener]struct{}{},
	}
	s.outputs.New = func() any { b := make([]byte, 0, outputBuffer); return &b }
	s.parsed.New = func() any { return new(parsed) }
	s.scratch.New = func() any { return new(scratch) }
	return s, nil
}

// Serve accepts connections from l until Shutdown is called or ctx is done, and then returns nil; it closes l. The
// connections live on: Shutdown waits for them. When ctx is done they are cut.
func (s *Server) Serve(ctx context.Context, l net.Listener, mode Mode) error {
	if mode == TLSMode && s.opt.TLS == nil {
		return errors.New("serve: a TLS listener needs a TLS configuration")
	}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return errors.Join(errors.New("serve: the server is shut down"), l.Close())
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		stop()
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(ctx, nc, mode)
		case ctx.Err() != nil || s.isDraining():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Out of file descriptors, a connection that was gone before it was accepted: go on after a pause.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.opt.Logger.Warn("accept failed", "err", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// admit starts a connection unless there are too many.
func (s *Server) admit(ctx context.Context, nc net.Conn, mode Mode) {
	ip := remoteIP(nc)
	s.mu.Lock()
	full := len(s.conns) >= s.opt.MaxConns || !ip.IsLoopback() && s.perIP[ip] >= s.opt.MaxConnsPerIP
	if full || s.draining {
		s.mu.Unlock()
		s.refused.Add(1)
		s.turnAway(nc, mode)
		return
	}
	c := newConn(ctx, s, nc, ip, mode)
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.running.Add(1)
	s.mu.Unlock()
	s.accepted.Add(1)
	go func() {
		defer s.running.Done()
		c.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if s.perIP[ip]--; s.perIP[ip] == 0 {
			delete(s.perIP, ip)
		}
	}()
}

// Load is how busy a server is.
type Load struct {
	Open     int    // connections now
	Accepted uint64 // since the start
	Refused  uint64 // since the start, because there were too many or the server was shutting down
}

// Load returns how busy the server is.
func (s *Server) Load() Load {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Load{Open: open, Accepted: s.accepted.Load(), Refused: s.refused.Load()}
}

// turnAway closes a connection that cannot be served; in the clear with a reason. The few octets fit into the socket's
// buffer, so that nobody waits.
func (s *Server) turnAway(nc net.Conn, mode Mode) {
	if mode == PlainMode {
		_ = nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = nc.Write([]byte("* BYE [UNAVAILABLE] Too many connections\r\n"))
	}
	_ = nc.Close()
}

func remoteIP(nc net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// Shutdown stops accepting, lets running commands finish, says BYE to every client and waits until all connections
// have ended. When ctx is done before, it cuts those that are left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// secureServer returns the TLS side of nc.
func (s *Server) secureServer(nc net.Conn) *tls.Conn { return tls.Server(nc, s.opt.TLS) }

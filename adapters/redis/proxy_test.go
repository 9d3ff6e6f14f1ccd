package redis_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes connections on to a server, or does not.
type proxy struct {
	l      net.Listener
	target string
	wg     sync.WaitGroup
	hole   atomic.Bool // octets are swallowed

	mu    sync.Mutex
	down  bool // connections are refused
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target, conns: map[net.Conn]struct{}{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.refuse()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[up] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
		both.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, err := pair[0].Read(buf)
				if !p.hole.Load() {
					_, _ = pair[1].Write(buf[:n])
				}
				if err != nil {
					break
				}
			}
			c.Close()
			up.Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	delete(p.conns, up)
}

// refuse cuts what there is and lets nothing through.
func (p *proxy) refuse() { p.set(true) }

// swallow keeps the connections, and what is said over them.
func (p *proxy) swallow() { p.hole.Store(true) }

// restore ends both. Connections that there were are cut.
func (p *proxy) restore() {
	p.hole.Store(false)
	p.set(false)
}

func (p *proxy) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		_ = c.Close()
	}
}

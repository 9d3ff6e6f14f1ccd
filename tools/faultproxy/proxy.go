package faultproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds the dial to the upstream.
const dialTimeout = 10 * time.Second

// Proxy is a running proxy. Its methods may be called from several goroutines.
type Proxy struct {
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	upstream string
	listener net.Listener // nil while refusing
	faults   Faults
	changed  chan struct{} // closed by Set
	passed   [2]int64      // bytes of each direction since Set, for CutAt
	spent    [2]bool       // the cut of the direction has happened
	stats    Stats
	conns    map[*link]struct{}
}

// Listen starts a proxy on addr ("127.0.0.1:0" takes a free port) in front of upstream, a host:port.
func Listen(addr, upstream string) (*Proxy, error) {
	p := newProxy(upstream)
	if err := p.open(addr); err != nil {
		p.cancel()
		return nil, err
	}
	return p, nil
}

func newProxy(upstream string) *Proxy {
	p := &Proxy{upstream: upstream, changed: make(chan struct{}), conns: map[*link]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Addr is the host:port that clients dial. It stays the same while the proxy refuses.
func (p *Proxy) Addr() string { return p.addr }

// Stats returns the present counts.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Set replaces the faults and starts counting anew for CutAt. It fails only where the address cannot be had again after
// Refuse.
func (p *Proxy) Set(f Faults) error {
	p.mu.Lock()
	lifted := p.faults.BlackHole && !f.BlackHole
	refused := p.faults.Refuse
	p.faults, p.passed, p.spent = f, [2]int64{}, [2]bool{}
	close(p.changed)
	p.changed = make(chan struct{})
	var robbed []*link
	for l := range p.conns {
		if lifted && l.robbed {
			robbed = append(robbed, l)
		}
	}
	listener := p.listener
	if f.Refuse {
		p.listener = nil
	}
	p.mu.Unlock()

	for _, l := range robbed {
		l.reset()
	}
	switch {
	case f.Refuse && listener != nil:
		return listener.Close()
	case !f.Refuse && refused && p.ctx.Err() == nil:
		return p.open(p.addr)
	}
	return nil
}

// Redirect makes new connections go to another upstream, a host:port. Live ones stay where they are.
func (p *Proxy) Redirect(upstream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = upstream
}

// Cut resets every live connection now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	live := make([]*link, 0, len(p.conns))
	for l := range p.conns {
		live = append(live, l)
	}
	p.mu.Unlock()
	for _, l := range live {
		l.reset()
	}
}

// Close stops listening, resets what is live, and waits for the end of all goroutines.
func (p *Proxy) Close() error {
	p.cancel()
	p.mu.Lock()
	listener := p.listener
	p.listener = nil
	p.mu.Unlock()
	if listener != nil {
		listener.Close()
	}
	p.Cut()
	p.wg.Wait()
	return nil
}

func (p *Proxy) open(addr string) error {
	listener, err := (&net.ListenConfig{}).Listen(p.ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("fault proxy: %w", err)
	}
	p.mu.Lock()
	p.listener, p.addr = listener, listener.Addr().String()
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed: a listener on loopback has no other error to go on from
			}
			p.wg.Go(func() { p.accept(client) })
		}
	})
	return nil
}

// accept serves one client until its connection ends.
func (p *Proxy) accept(client net.Conn) {
	p.mu.Lock()
	p.stats.Accepted++
	target := p.upstream
	p.mu.Unlock()
	dialer := net.Dialer{Timeout: dialTimeout}
	upstream, err := dialer.DialContext(p.ctx, "tcp", target)
	if err != nil {
		abort(client)
		return
	}
	p.serve(client, upstream)
}

// serve passes bytes between two connections until both directions have ended, and closes both.
func (p *Proxy) serve(client, upstream net.Conn) {
	l := &link{proxy: p, client: client, upstream: upstream, done: make(chan struct{})}
	p.mu.Lock()
	p.conns[l] = struct{}{}
	p.mu.Unlock()
	if p.ctx.Err() != nil { // Close may have looked before l was there
		l.reset()
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.pump(up, client, upstream) })
	wg.Go(func() { l.pump(down, upstream, client) })
	wg.Wait()
	client.Close()
	upstream.Close()
	p.mu.Lock()
	delete(p.conns, l)
	p.mu.Unlock()
}

// state returns the faults of a direction, and a channel that closes when they change.
func (p *Proxy) state(d direction) (Flow, bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.faults.Up
	if d == down {
		f = p.faults.Down
	}
	return f, p.faults.BlackHole, p.changed
}

// admit says how many of n bytes may pass before the direction's cut, and whether the cut is due after them.
func (p *Proxy) admit(d direction, n int) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.faults.Up.CutAt
	if d == down {
		at = p.faults.Down.CutAt
	}
	if at > 0 && !p.spent[d] && p.passed[d]+int64(n) >= at {
		n = int(at - p.passed[d])
		p.spent[d], cut = true, true
		p.stats.Cuts++
	}
	p.passed[d] += int64(n)
	return n, cut
}

// count adds to the bytes written in a direction.
func (p *Proxy) count(d direction, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d == up {
		p.stats.Up += int64(n)
	} else {
		p.stats.Down += int64(n)
	}
}

// abort closes a connection with a reset instead of an orderly end.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // on a connection that is gone there is nothing left to reset
	}
	c.Close()
}

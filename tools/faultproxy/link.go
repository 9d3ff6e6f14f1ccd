package faultproxy

import (
	"net"
	"sync"
	"time"
)

// direction is up (client to upstream) or down.
type direction int

const (
	up direction = iota
	down
)

const (
	chunkSize = 32 << 10
	// queueLength bounds what is under way in a direction to 64 MiB: 25 ms of latency at more than 2 GB/s.
	queueLength = 2048
)

// chunk is bytes under way; without bytes it is the end of the stream.
type chunk struct {
	read time.Time
	data []byte
}

// link is one client's connection through the proxy.
type link struct {
	proxy            *Proxy
	client, upstream net.Conn
	once             sync.Once
	done             chan struct{} // closed by reset
	robbed           bool          // a black hole took bytes; guarded by proxy.mu
}

// reset ends both connections with a reset.
func (l *link) reset() {
	l.once.Do(func() {
		close(l.done)
		abort(l.client)
		abort(l.upstream)
	})
}

// pump reads from src and writes to dst, late, until src ends or the link is reset.
func (l *link) pump(d direction, src, dst net.Conn) {
	queue := make(chan chunk, queueLength)
	var wg sync.WaitGroup
	wg.Go(func() { l.deliver(d, queue, dst) })
	for {
		buf := make([]byte, chunkSize)
		n, err := src.Read(buf)
		if n > 0 && !l.enqueue(queue, chunk{time.Now(), buf[:n]}) {
			break
		}
		if err != nil {
			l.enqueue(queue, chunk{read: time.Now()})
			break
		}
	}
	close(queue)
	wg.Wait()
}

func (l *link) enqueue(queue chan<- chunk, c chunk) bool {
	select {
	case queue <- c:
		return true
	case <-l.done:
		return false
	}
}

// deliver writes the chunks of the queue when they are due.
func (l *link) deliver(d direction, queue <-chan chunk, dst net.Conn) {
	var free time.Time // when the line is free again, where its bandwidth is limited
	var seen int64     // bytes of this connection, for CorruptEvery
	for c := range queue {
		flow, hole, ok := l.due(d, c, &free)
		if !ok {
			return
		}
		switch {
		case hole:
			l.proxy.mu.Lock()
			l.robbed = true
			l.proxy.mu.Unlock()
		case len(c.data) == 0:
			if w, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = w.CloseWrite() // fails only on a connection that is gone
			} else {
				dst.Close()
			}
		default:
			corrupt(c.data, seen, flow.CorruptEvery)
			seen += int64(len(c.data))
			n, cut := l.proxy.admit(d, len(c.data))
			if !l.write(d, dst, c.data[:n], flow.OneByte) || cut {
				l.reset()
				return
			}
		}
	}
}

// due waits until a chunk may be written under the faults of that moment; it returns false when the link was reset.
func (l *link) due(d direction, c chunk, free *time.Time) (flow Flow, hole, ok bool) {
	for {
		flow, hole, changed := l.proxy.state(d)
		var wake <-chan time.Time
		if !flow.Stall {
			at := c.read.Add(flow.Delay)
			if flow.Bandwidth > 0 && free.After(at) {
				at = *free
			}
			wait := time.Until(at)
			if wait <= 0 || hole {
				if flow.Bandwidth > 0 {
					if *free = at; at.Before(time.Now()) {
						*free = time.Now()
					}
					*free = free.Add(time.Duration(int64(len(c.data)) * int64(time.Second) / flow.Bandwidth))
				}
				return flow, hole, true
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			wake = timer.C
		}
		select {
		case <-wake:
		case <-changed:
		case <-l.done:
			return flow, hole, false
		}
	}
}

// write writes data, in pieces of one byte where that is asked for, and counts it.
func (l *link) write(d direction, dst net.Conn, data []byte, oneByte bool) bool {
	for len(data) > 0 {
		piece := data
		if oneByte {
			piece = data[:1]
		}
		n, err := dst.Write(piece)
		l.proxy.count(d, n)
		if err != nil {
			return false
		}
		data = data[n:]
	}
	return true
}

// corrupt inverts the lowest bit of each every-th byte of a stream, of which data begins at offset.
func corrupt(data []byte, offset, every int64) {
	if every <= 0 {
		return
	}
	for i := every - 1 - offset%every; i < int64(len(data)); i += every {
		data[i] ^= 1
	}
}

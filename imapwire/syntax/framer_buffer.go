package syntax

import (
	"errors"
	"io"
	"sync"
)

// BufferPool lends buffers to framers. It is safe for concurrent use; one for a whole server is right. The zero value is
// ready.
type BufferPool struct {
	classes [poolClasses]sync.Pool // of *[]byte with a capacity of poolSmallest << index
}

const (
	poolSmallest = 4 << 10
	poolClasses  = 5 // up to 64 KiB; larger ones are left to the garbage collector
)

// get returns a buffer of length 0 with a capacity of at least n, and the box that it goes back in.
func (p *BufferPool) get(n int) ([]byte, *[]byte) {
	size := poolSmallest
	for i := range poolClasses {
		if n <= size {
			if p != nil {
				if box, ok := p.classes[i].Get().(*[]byte); ok {
					return (*box)[:0], box
				}
			}
			b := make([]byte, 0, size)
			return b, &b
		}
		size <<= 1
	}
	return make([]byte, 0, n), nil
}

func (p *BufferPool) put(box *[]byte) {
	if p == nil || box == nil {
		return
	}
	size := poolSmallest
	for i := range poolClasses {
		if cap(*box) == size {
			mangle((*box)[:size])
			p.classes[i].Put(box)
			return
		}
		size <<= 1
	}
}

// giveBack returns the buffer to the pool; the caller replaces buf.
func (f *Framer) giveBack() {
	mangle(f.buf)
	f.pool.put(f.box)
	f.box = nil
}

// makeRoom moves what is still needed to the beginning of the buffer, or to one of twice the size. The size follows
// what has arrived, never a number that the peer sent.
func (f *Framer) makeRoom() {
	need := len(f.buf) - f.base
	buf := f.buf
	if f.base == 0 || need > cap(f.buf)/2 {
		fresh, box := f.pool.get(max(2*need, poolSmallest))
		copy(fresh[:need], f.buf[f.base:])
		f.giveBack()
		buf, f.box = fresh, box
	} else {
		copy(buf, f.buf[f.base:])
		mangle(buf[need:cap(buf)])
	}
	f.buf = buf[:need]
	f.end, f.line, f.scan = f.end-f.base, f.line-f.base, f.scan-f.base
	f.base = 0
	if f.state == stDecide {
		f.frame.Data = f.buf[:f.end:f.end]
	}
}

// LiteralReader reads one streamed literal: first what is buffered, then straight from the connection. Its Read returns
// io.EOF after exactly the announced number of octets, and io.ErrUnexpectedEOF when the connection ends before.
type LiteralReader struct {
	framer *Framer
	conn   io.Reader
	chunk  []byte
	done   bool
}

// LiteralReader returns a reader for the literal that Stream was called for. It must be read to its end, or given up
// with Close, before the framer is used again.
func (f *Framer) LiteralReader(conn io.Reader) *LiteralReader {
	return &LiteralReader{framer: f, conn: conn}
}

// Read reads octets of the literal.
func (r *LiteralReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.chunk) == 0 {
		if r.done {
			return 0, io.EOF
		}
		ev, err := r.framer.Next()
		if err != nil {
			return 0, err
		}
		switch ev {
		case EventChunk:
			r.chunk = r.framer.Chunk()
		case NeedData:
			return r.direct(p)
		default:
			r.done = true
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *LiteralReader) direct(p []byte) (int, error) {
	if left := r.framer.left; uint64(len(p)) > left {
		p = p[:left]
	}
	n, err := r.conn.Read(p)
	r.framer.left -= uint64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if r.framer.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// Close gives up the rest of the literal: the framer will drop it and go on with the frame, without an EventLiteralEnd.
func (r *LiteralReader) Close() error {
	if !r.done {
		r.done, r.chunk = true, nil
		r.framer.dropRest()
	}
	return nil
}

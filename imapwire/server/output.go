package server

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"imapped/domain/mailbox"
)

const (
	// outputBuffer is how much of an answer is collected before it is sent.
	outputBuffer = 32 << 10
	// sendfileMin is from which size on a part of a file is sent without passing through the buffer.
	sendfileMin = 16 << 10
	// writePiece is how much may be written within one write time limit.
	writePiece = 1 << 20
)

// output is the sending side of a connection. A response is written between begin and end, in pieces of any size; then
// nobody else writes. The first failure to write stays, and turns all further writing into nothing.
type output struct {
	mu      sync.Mutex
	b       []byte // what is to be sent; a response appends to it
	box     *[]byte
	pool    *sync.Pool
	nc      net.Conn // where it goes
	tcp     *net.TCPConn
	z       *deflater // nil without compression
	timeout time.Duration
	failed  error
}

// begin locks the output for one response.
func (o *output) begin() {
	o.mu.Lock()
	if o.b == nil {
		o.box = o.pool.Get().(*[]byte)
		o.b = (*o.box)[:0]
	}
}

// end ends a response.
func (o *output) end() {
	if len(o.b) >= outputBuffer/2 {
		o.send()
	}
	o.mu.Unlock()
}

// flush sends everything and gives the buffer back.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b != nil {
		o.send()
		*o.box = (*o.box)[:0]
		if cap(o.b) == outputBuffer {
			*o.box = o.b[:0]
		}
		o.pool.Put(o.box)
		o.b, o.box = nil, nil
	}
	if o.z != nil && o.failed == nil {
		o.deadline()
		o.fail(o.z.Flush())
	}
	return o.failed
}

func (o *output) fail(err error) {
	if o.failed == nil {
		o.failed = err
	}
}

func (o *output) deadline() { o.fail(o.nc.SetWriteDeadline(time.Now().Add(o.timeout))) }

// send passes what is collected on. o.mu is held.
func (o *output) send() {
	for b := o.b; len(b) > 0 && o.failed == nil; {
		piece := b[:min(len(b), writePiece)]
		o.deadline()
		var err error
		if o.z != nil {
			_, err = o.z.Write(piece)
		} else {
			_, err = o.nc.Write(piece)
		}
		o.fail(err)
		b = b[len(piece):]
	}
	o.b = o.b[:0]
}

// space returns room for n octets (at most outputBuffer) at the end of o.b; the caller appends what it filled.
func (o *output) space(n int) []byte {
	if cap(o.b)-len(o.b) < n {
		o.send()
	}
	return o.b[len(o.b) : len(o.b)+n]
}

// copyRange appends n octets of r from off on: they are part of the response in hand. A reader that gives fewer breaks
// the connection, because their number has been announced.
func (o *output) copyRange(r readerAt, off, n int64) {
	if f, ok := r.(interface{ File() *os.File }); ok && n >= sendfileMin && o.tcp != nil && o.z == nil {
		o.sendFile(f.File(), off, n)
		return
	}
	for n > 0 && o.failed == nil {
		room := o.space(int(min(n, outputBuffer/2)))
		k, err := r.ReadAt(room, off)
		o.b = o.b[:len(o.b)+k]
		off, n = off+int64(k), n-int64(k)
		if k < len(room) {
			if err == nil {
				err = errors.New("short read")
			}
			o.fail(err)
		}
	}
}

// readerAt is io.ReaderAt, named here so that the File method can be looked for.
type readerAt interface {
	ReadAt(p []byte, off int64) (int, error)
}

// number appends a decimal number.
func (o *output) number(n uint64) { o.b = strconv.AppendUint(o.b, n, 10) }

// text appends a string.
func (o *output) text(s string) { o.b = append(o.b, s...) }

// untagged appends "* ", the text and CRLF as one response.
func (o *output) untagged(text string) {
	o.begin()
	o.b = append(o.b, "* "...)
	o.b = append(o.b, text...)
	o.b = append(o.b, "\r\n"...)
	o.end()
}

// set appends a sequence set.
func (o *output) set(s mailbox.Set) { o.b = s.Append(o.b) }

package upstream

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

const (
	readBuffer  = 64 << 10 // what an active connection reads at a time
	smallRead   = 4 << 10  // less than this in a read: the connection is not busy
	inlineBody  = 2 << 10  // bodies up to here are not streamed
	writeChunk  = 8 << 10
	maxHeader   = 256 << 10 // octets of a header that are kept
	maxGarbage  = 64        // lines that are no IMAP, before the connection is given up
	maxListed   = 100_000   // mailboxes of one listing
	maxName     = 4 << 10   // octets of a mailbox name; longer ones are passed over
	maxFlags    = 512       // flags of one message, and
	maxFlag     = 255       // octets of one; what is beyond is passed over
	maxCommand  = 8_000     // octets of a message set in one command
	maxSetCount = 4 << 20   // ranges of one enumeration
	maxPairs    = 1 << 20   // messages of one COPYUID

	// While connecting.
	maxAnswers      = 1000 // responses to one command
	maxCapabilities = 500
	maxIDWords      = 60 // RFC 2971 allows 30 pairs
)

// wire is a connection below commands: octets in both directions, counted.
type wire struct {
	nc      net.Conn
	rr      *syntax.RespReader
	buffers *sync.Pool // of *[readBuffer]byte
	silence time.Duration
	stall   time.Duration // how long a response may stop in its middle

	// arm sets the deadline of the next read; it is called before each.
	arm func()

	big      *[readBuffer]byte // only while the connection is busy
	from, to int               // what big holds
	full     bool              // the last read filled what it was given: more is there

	meter
	total *meter // of all connections
}

// meter counts what is used.
type meter struct{ commands, sent, received atomic.Int64 }

func (m *meter) usage() upstream.Usage {
	return upstream.Usage{Commands: m.commands.Load(), Sent: m.sent.Load(), Received: m.received.Load()}
}

// began counts a command.
func (w *wire) began() {
	w.commands.Add(1)
	w.total.commands.Add(1)
}

// newWire returns a wire that reads from the beginning of a connection, or behind STARTTLS.
func newWire(nc net.Conn, d *Dialer) *wire {
	w := &wire{nc: nc, total: &d.total, buffers: &d.buffers, silence: d.silence(), stall: d.stall()}
	w.arm = func() {
		patience := w.silence
		if w.rr.InResponse() {
			patience = w.stall
		}
		_ = nc.SetReadDeadline(time.Now().Add(patience))
	}
	w.rr = syntax.NewRespReader(loginLimits(), &d.lines, inlineBody)
	return w
}

// loginLimits returns what a server may send before and while we log in: nothing is streamed, and nothing that is too
// large is read to its end.
func loginLimits() syntax.Limits {
	lim := syntax.Upstream()
	lim.Line, lim.Command, lim.LiteralInline, lim.LiteralStream, lim.Discard = 64<<10, 256<<10, 64<<10, 0, 0
	return lim
}

// Read reads octets from the connection. While it is busy they come through a large buffer, which an idle connection
// does not hold.
func (w *wire) Read(p []byte) (int, error) {
	if w.from < w.to {
		n := copy(p, w.big[w.from:w.to])
		if w.from += n; w.from == w.to && !w.full {
			w.release()
		}
		return n, nil
	}
	if !w.full || len(p) >= readBuffer/2 {
		n, err := w.receive(p)
		w.full = n == len(p) || n >= smallRead
		return n, err
	}
	if w.big == nil {
		w.big = w.buffers.Get().(*[readBuffer]byte)
	}
	n, err := w.receive(w.big[:])
	w.from, w.to, w.full = 0, n, n >= smallRead
	if n == 0 {
		w.release()
		return 0, err
	}
	return w.Read(p)
}

func (w *wire) receive(p []byte) (int, error) {
	w.arm()
	n, err := w.nc.Read(p)
	w.received.Add(int64(n))
	w.total.received.Add(int64(n))
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && w.rr.InResponse() {
		err = fault.Wrap("read in the middle of a response", upstream.ErrSilent)
	}
	return n, err
}

func (w *wire) release() {
	if w.big != nil {
		w.buffers.Put(w.big)
		w.big, w.from, w.to = nil, 0, 0
	}
}

// next returns the next response; it is valid until the next call.
func (w *wire) next() (*syntax.Response, error) {
	for {
		r, err := w.rr.Next()
		if r != nil || err != nil {
			return r, err
		}
		f := w.rr.Framer()
		n, err := w.Read(f.Reserve())
		f.Commit(n)
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// buffered says whether octets were received that nobody has taken.
func (w *wire) buffered() bool { return w.from < w.to || len(w.rr.Framer().TakeBuffered()) > 0 }

func (w *wire) write(b []byte) error {
	_ = w.nc.SetWriteDeadline(time.Now().Add(w.silence))
	n, err := w.nc.Write(b)
	w.sent.Add(int64(n))
	w.total.sent.Add(int64(n))
	return err
}

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"imapped/app/session"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// conn is one client's connection. Fields without a note belong to the main goroutine.
type conn struct {
	srv    *Server
	id     string // of the session, in logs
	log    *slog.Logger
	ip     netip.Addr
	mode   Mode
	opened time.Time

	ctx    context.Context // ends when the client is gone or the server cuts the connection
	cancel context.CancelFunc

	nc    net.Conn  // the socket
	rd    io.Reader // where commands come from: the socket, TLS over it, an inflater over that
	tls   bool
	fr    *syntax.Framer
	began time.Time // when the frame in hand began, or the last literalPace octets of its literal; zero before it
	got   int       // octets since then
	up    *upload   // the APPEND or REPLACE in hand

	out output

	state   fsm.State       // moves under jobs.mu
	sess    session.Session // nil before login
	sel     *selected       // nil without a mailbox; its fields: see there
	enabled extensions      // set by main and by commands that imply CONDSTORE
	bad     int             // BAD answers in a row; under jobs.mu
	jobs    jobs            // what runs
	hang    hangup          // why the connection is to end
	readErr error           // a command could not read its continuation
}

// gonePatience is how long commands may go on when the client sends nothing more.
const gonePatience = time.Second

// extensions is a set of what ENABLE enables.
type extensions struct{ bits atomic.Uint32 }

const (
	extCondStore uint32 = 1 << iota
	extQResync
	extUTF8
)

func (e *extensions) has(x uint32) bool { return e.bits.Load()&x != 0 }
func (e *extensions) add(x uint32)      { e.bits.Or(x) }

// name tells whether the extension with ENABLE's name is enabled.
func (e *extensions) name(s string) bool {
	switch s {
	case "CONDSTORE":
		return e.has(extCondStore)
	case "QRESYNC":
		return e.has(extQResync)
	case "UTF8=ACCEPT":
		return e.has(extUTF8)
	}
	return false
}

// hangup wakes the main goroutine out of a read in order to end the connection. Its lock also orders the changes of the
// read deadline.
type hangup struct {
	mu     sync.Mutex
	reason string // what BYE says; empty while the connection lives on
}

func newConn(ctx context.Context, s *Server, nc net.Conn, ip netip.Addr, mode Mode) *conn {
	id := s.name + "-" + strconv.FormatUint(s.nextID.Add(1), 10)
	c := &conn{
		srv: s, id: id, log: s.opt.Logger.With("session", id, "remote", ip.String()), ip: ip, mode: mode, opened: time.Now(),
		nc: nc, rd: nc, fr: syntax.NewFramer(syntax.Commands, *s.opt.PreAuth, &s.buffers),
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.jobs.free.L = &c.jobs.mu
	c.out = output{pool: &s.outputs, nc: nc, timeout: s.opt.WriteTimeout}
	c.out.tcp, _ = nc.(*net.TCPConn)
	return c
}

// serve runs the connection from its greeting to its end.
func (c *conn) serve() {
	stop := context.AfterFunc(c.ctx, func() { _ = c.nc.Close() })
	defer stop()
	defer c.close()
	c.guard(func() {
		if c.mode == TLSMode && !c.startTLS() {
			return
		}
		c.greet()
		for c.state != fsm.LoggedOut && c.step() {
		}
	})
}

// guard runs f and recovers from its panics: the one place that does.
func (c *conn) guard(f func()) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		c.log.Error("panic", "value", v, "stack", string(debug.Stack()))
		if c.srv.opt.OnPanic != nil {
			c.srv.opt.OnPanic(v)
		}
		// What the client saw of the answer may have ended anywhere: no further response would be read as one.
		c.cut()
	}()
	f()
}

// close ends the connection: commands that run are waited for, then everything is given back.
func (c *conn) close() {
	defer c.cancel()
	c.jobs.wait()
	c.endUpload()
	_ = c.out.flush()
	if c.sel != nil {
		c.sel.box.Close()
	}
	if c.sess != nil {
		c.sess.Close()
	}
	_ = c.out.nc.Close() // with TLS's own farewell, so that the client knows that nothing was cut off
	_ = c.nc.Close()
}

// cut ends the connection at once.
func (c *conn) cut() {
	c.cancel()
	_ = c.nc.Close()
}

// drain asks the connection to end after what it is doing. Any goroutine may call it.
func (c *conn) drain() { c.end("Server is shutting down") }

// end makes the main goroutine say BYE with the reason as soon as it would read. Any goroutine may call it.
func (c *conn) end(reason string) {
	c.hang.mu.Lock()
	defer c.hang.mu.Unlock()
	if c.hang.reason == "" {
		c.hang.reason = reason
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// ending returns why the connection is to end; empty when it is not.
func (c *conn) ending() string {
	c.hang.mu.Lock()
	defer c.hang.mu.Unlock()
	return c.hang.reason
}

// arm sets the read deadline.
func (c *conn) arm(t time.Time) {
	c.hang.mu.Lock()
	defer c.hang.mu.Unlock()
	if c.hang.reason == "" {
		_ = c.nc.SetReadDeadline(t)
	}
}

// startTLS does the handshake and says whether it succeeded.
func (c *conn) startTLS() bool {
	t := c.srv.secureServer(c.nc)
	ctx, cancel := context.WithDeadline(c.ctx, c.opened.Add(c.srv.opt.LoginTimeout))
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		c.log.Info("TLS handshake failed", "err", err)
		return false
	}
	c.tls, c.rd = true, t
	c.out.mu.Lock()
	c.out.nc, c.out.tcp = tlsConn{t, c.nc}, nil
	c.out.mu.Unlock()
	return true
}

// tlsConn writes through TLS and sets deadlines on the socket below: a write that timed out breaks TLS for good either
// way, and the read deadline must stay hangup's business alone.
type tlsConn struct {
	*tls.Conn
	socket net.Conn
}

// SetWriteDeadline is the socket's: crypto/tls makes a connection useless after a write that timed out in it.
func (t tlsConn) SetWriteDeadline(d time.Time) error { return t.socket.SetWriteDeadline(d) }

// secure says whether a password may cross the connection.
func (c *conn) secure() bool { return c.tls || c.ip.IsLoopback() || c.srv.opt.AllowPlainAuth }

// env is what fsm's verdicts depend on.
func (c *conn) env() fsm.Env {
	return fsm.Env{Secure: c.secure(), Caps: c.srv.caps, Enabled: c.enabled.name}
}

// capabilities returns what is to be announced now.
func (c *conn) capabilities() string {
	place := fsm.Authed
	switch {
	case c.sess != nil:
	case c.secure():
		place = fsm.Open
	default:
		place = fsm.Plain
	}
	return fsm.Announce(place, c.srv.caps, fsm.Offer{
		TLS: !c.tls, Deflate: c.out.z != nil, AppendLimit: uint64(c.srv.opt.AppendLimit),
	})
}

func (c *conn) greet() {
	c.out.untagged("OK [CAPABILITY " + c.capabilities() + "] " + c.srv.opt.Hello)
}

// bye says why the connection ends, after what still runs.
func (c *conn) bye(text string) {
	c.jobs.wait()
	c.out.untagged("BYE " + text)
	_ = c.out.flush()
}

// lost ends the connection after a failed read.
func (c *conn) lost(err error) {
	var stream syntax.StreamError
	var timeout net.Error
	switch {
	case c.ending() != "":
		c.bye(c.ending())
	case errors.As(err, &stream):
		c.bye("[TOOBIG] " + stream.Error())
	case errors.Is(err, errDeflate):
		c.bye(err.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		switch {
		case c.state == fsm.NotAuthenticated:
			c.bye("Login took too long")
		case c.fr.InFrame():
			c.bye("Command took too long")
		default:
			c.bye("Autologout; idle for too long")
		}
	default:
		// The client is gone and nobody waits for the answers; or it only closed its side and reads on. Writing tells,
		// but what waits for the upstream does not write.
		t := time.AfterFunc(gonePatience, c.cancel)
		c.jobs.wait()
		t.Stop()
	}
}

package upstream

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// Conn is a logged-in connection. It implements ports/upstream.Conn, News and Meter.
type Conn struct {
	wire   *wire
	server upstream.Server
	traits traits
	listX  bool // XLIST is the way to special uses
	// condEnabled says that CONDSTORE is enabled; else SELECT asks for it each time.
	condEnabled bool
	// examined says that the last mailbox to be opened was by EXAMINE. Guarded by who sends.
	examined  bool
	keepAlive time.Duration
	drain     time.Duration
	log       *slog.Logger
	onCommand func(verb string, took time.Duration, err error) // may be nil

	turn    chan struct{} // holds one token: who has it writes
	hurry   chan struct{} // tells an Idle that somebody waits for turn
	waiting atomic.Int32  // how many wait for turn
	waited  chan struct{} // capacity 1: one of them does no more
	closed  chan struct{} // closed when the connection is lost
	ended   chan struct{} // closed when the reading goroutine is gone
	writer  syntax.CommandWriter
	tags    uint64
	mu      sync.Mutex
	pending []*op // in the order of sending
	err     error // why the connection is lost
	gone    bool  // nothing may become pending any more
	bye     error
	noise   string    // the last line that was no IMAP
	body    *batch    // whose callback is reading from the connection
	cut     bool      // that read is to end at once: its caller is gone
	midway  bool      // the reading goroutine waits for the rest of a response,
	since   time.Time // since then
	exists  uint32    // of the selected mailbox
	news    upstream.Event
	newsC   chan struct{}
	// Learned by the way: what the server offers and refuses.
	noListReturn, noESearch bool

	// The reading goroutine's own.
	fetch   fetching
	flags   map[string]flag.Set // flag lists seen, so that equal ones are made once
	flagKey []byte
	garbage int
}

var (
	_ upstream.Conn  = (*Conn)(nil)
	_ upstream.News  = (*Conn)(nil)
	_ upstream.Meter = (*Conn)(nil)
)

// op is one command on the wire.
type op struct {
	tag      string
	batch    *batch
	answer   answer
	outcome  *upstream.Outcome // its Sent is the writer's; nil for IDLE
	plus     chan struct{}     // gets a token for each continuation request
	done     chan struct{}     // closed when it is answered, or never will be
	answered bool              // finish was called; under batch.mu
	waits    bool              // a continuation request is for it; under Conn.mu
	whole    bool              // all of it was handed to the wire; under Conn.mu
	quiet    bool              // it is an IDLE: no answer is owed; under Conn.mu
	name     string            // the command's, when it is observed; else empty
	begun    time.Time         // when it is observed
}

// answer is what a command does with its answer. Its methods run on the reading goroutine with batch.mu held.
type answer interface {
	// verb returns the command's name, for errors.
	verb() string
	// encode writes the command after its tag.
	encode(w *syntax.CommandWriter)
	// take takes an untagged response that belongs to the command and returns true; head says that no older command is
	// pending. It is called, without effect on anything of the caller's, when the batch is dead too.
	take(r *syntax.Response, head bool) bool
	// finish ends the command: err is nil after OK. r is nil when there was no answer; then it may also be called by Do.
	finish(r *syntax.Response, err error)
}

// batch is the commands of one call of Do.
type batch struct {
	mu       sync.Mutex // held while an answer runs
	dead     bool       // under mu: the caller is gone, nothing of its may be touched
	canceled chan struct{}
	left     int         // under Conn.mu
	timer    *time.Timer // under Conn.mu: set when the batch was abandoned
	done     chan struct{}
	lost     error // set before done is closed when the connection was lost first
}

func newConn(d *Dialer, w *wire, h *handshake) *Conn {
	c := &Conn{
		wire: w, server: h.server, traits: h.traits,
		listX:       h.offers("XLIST") && !h.offers("SPECIAL-USE"),
		condEnabled: h.enabled["CONDSTORE"] || h.enabled["QRESYNC"],
		keepAlive:   orDefault(d.KeepAlive, 9*time.Minute), drain: orDefault(d.Drain, 10*time.Second), log: d.Log,
		turn: make(chan struct{}, 1), hurry: make(chan struct{}, 1), waited: make(chan struct{}, 1), closed: make(chan struct{}),
		ended: make(chan struct{}), newsC: make(chan struct{}, 1), flags: map[string]flag.Set{},
	}
	c.onCommand = d.OnCommand
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.writer.LiteralPlus, c.writer.LiteralMinus = h.offers("LITERAL+"), h.offers("LITERAL-")
	c.writer.UTF8 = c.server.UTF8
	w.arm = c.arm
	w.rr.Framer().SetLimits(syntax.Upstream())
	go c.read()
	return c
}

// Server returns what is known of the server.
func (c *Conn) Server() upstream.Server { return c.server }

// Usage returns what the connection has used.
func (c *Conn) Usage() upstream.Usage {
	return c.wire.usage()
}

// TakeNews returns what was said unasked of the selected mailbox.
func (c *Conn) TakeNews() upstream.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev := c.news
	c.news = upstream.Event{}
	return ev
}

// observe tells onCommand how a command ended.
func (c *Conn) observe(o *op, err error) {
	if o.name != "" {
		c.onCommand(o.name, time.Since(o.begun), err)
	}
}

// tell records news. c.mu is held.
func (c *Conn) tell(ev upstream.Event) {
	c.news.Exists = c.news.Exists || ev.Exists
	c.news.Expunge = c.news.Expunge || ev.Expunge
	c.news.Flags = c.news.Flags || ev.Flags
	select {
	case c.newsC <- struct{}{}:
	default:
	}
}

// arm sets the deadline of the next read: none between responses while nothing is owed.
func (c *Conn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.midway, c.since = c.wire.rr.InResponse(), time.Now()
	c.armLocked()
}

func (c *Conn) armLocked() {
	var at time.Time
	switch {
	case c.cut:
		at = time.Unix(1, 0)
	case c.bye != nil:
		at = time.Now().Add(min(c.wire.silence, byeWait))
	case c.midway:
		at = c.since.Add(c.wire.stall)
	case len(c.pending) > 0 && !c.pending[0].quiet:
		at = time.Now().Add(c.wire.silence)
	}
	_ = c.wire.nc.SetReadDeadline(at)
}

// byeWait is how long after BYE the end of the connection is waited for.
const byeWait = 2 * time.Second

// fail ends the connection: the first reason stays.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.bye != nil {
		err = c.bye
	} else if c.noise != "" && !fault.Is(err, fault.Canceled) {
		err = fault.As(fault.KindOf(err), "server says \""+c.noise+"\"", err)
	}
	c.err = err
	close(c.closed)
	_ = c.wire.nc.Close()
}

func (c *Conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close says LOGOUT when nobody else is writing, does not wait for the answer, and closes.
func (c *Conn) Close() error {
	select {
	case c.turn <- struct{}{}:
		select {
		case <-c.closed:
		default:
			_ = c.wire.nc.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := c.wire.nc.Write([]byte("Z LOGOUT\r\n")); err == nil {
				c.wire.began()
			}
		}
		<-c.turn
	default:
	}
	c.fail(fault.New(fault.Unavailable, "upstream", "the connection is closed"))
	<-c.ended
	return nil
}

// acquire takes the right to write, and interrupts an Idle that holds it.
func (c *Conn) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap("upstream", err)
	}
	select {
	case <-c.closed:
		return c.failure()
	case c.turn <- struct{}{}:
		return nil
	default:
	}
	c.waiting.Add(1)
	defer func() {
		c.waiting.Add(-1)
		select {
		case c.waited <- struct{}{}:
		default:
		}
	}()
	for {
		select {
		case c.hurry <- struct{}{}:
			continue // it holds one token: the next round waits
		case c.turn <- struct{}{}:
			return nil
		case <-ctx.Done():
			return fault.Wrap("upstream", ctx.Err())
		case <-c.closed:
			return c.failure()
		}
	}
}

func (c *Conn) release() { <-c.turn }

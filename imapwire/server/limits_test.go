package server

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

func (c *client) rest() string {
	_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("the connection is open: %v after %q", err, b)
	}
	return string(b)
}

// background sends without waiting for the server to take it; the end of the connection ends it.
func (c *client) background(s string) {
	go func() { _, _ = io.WriteString(c.nc, s) }()
}

func TestTimeouts(t *testing.T) {
	store := newFake()
	sampleMail(store)
	short := 50 * time.Millisecond
	for _, c := range []struct {
		name   string
		modify func(*Options)
		login  bool
		send   string
		want   string
	}{
		{"login", func(o *Options) { o.LoginTimeout = short }, false, "", "* BYE Login took too long\r\n"},
		{"login, half a line", func(o *Options) { o.LoginTimeout = short }, false, "a LOGIN", "* BYE Login took too long\r\n"},
		{"login, authenticate", func(o *Options) { o.LoginTimeout = short }, false, "a AUTHENTICATE PLAIN\r\n", "* BYE Login took too long\r\n"},
		{"autologout", func(o *Options) { o.IdleTimeout = short }, true, "", "* BYE Autologout; idle for too long\r\n"},
		{"autologout in IDLE", func(o *Options) { o.IdleTimeout = short }, true, "a IDLE\r\n", "* BYE Autologout; idle for too long\r\n"},
		{"half a line", func(o *Options) { o.CommandTimeout = short }, true, "a NOO", "* BYE Command took too long\r\n"},
		{"a slow literal", func(o *Options) { o.CommandTimeout = short }, true, "a SELECT {5+}\r\nx", "* BYE Command took too long\r\n"},
		{"a slow message", func(o *Options) { o.CommandTimeout = short }, true, "a APPEND INBOX {5000+}\r\nx", "* BYE Command took too long\r\n"},
		{"a message that does not come", func(o *Options) { o.CommandTimeout = short }, true, "a APPEND INBOX {5000}\r\n", "* BYE Command took too long\r\n"},
		{"no end of a refused literal", func(o *Options) { o.CommandTimeout = short }, true, "a APPEND x {5000+}\r\nx", "* BYE Command took too long\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ts := startServer(t, store, c.modify)
			cl := dial(t, ts.addr)
			if c.login {
				cl.login("")
			} else {
				cl.line()
			}
			cl.send(c.send)
			if got := cl.rest(); !strings.HasSuffix(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, func(o *Options) { o.KeepAlive = 20 * time.Millisecond })
	c := dial(t, ts.addr).login("INBOX")
	c.send("a IDLE\r\n")
	c.line()
	for range 3 {
		if l := c.line(); l != "* OK Still here" {
			t.Fatalf("%q", l)
		}
	}
}

func TestTooManyBadCommands(t *testing.T) {
	ts := startServer(t, newFake(), func(o *Options) { o.MaxBad = 3 })
	c := dial(t, ts.addr)
	c.line()
	c.send("a X\r\nb X\r\nc NOOP\r\nd X\r\ne X\r\nf X\r\ng NOOP\r\n")
	got := c.rest()
	if !strings.Contains(got, "f BAD Unknown command\r\n* BYE Too many bad commands\r\n") || strings.Contains(got, "g OK") {
		t.Errorf("%q", got)
	}
}

func TestConnectionLimits(t *testing.T) {
	ts := startServer(t, newFake(), func(o *Options) { o.MaxConns, o.MaxConnsPerIP = 3, 2 })
	far := serveStrangers(t, ts)
	first := dial(t, far)
	first.line()
	dial(t, far).line()
	if got := dial(t, far).rest(); got != "* BYE [UNAVAILABLE] Too many connections\r\n" {
		t.Errorf("third of an address: %q", got)
	}
	dial(t, ts.addr).line() // loopback has no limit of its own
	if got := dial(t, ts.addr).rest(); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("fourth in all: %q", got)
	}
	// A connection that ended makes room.
	first.send("a LOGOUT\r\n")
	first.rest()
	for {
		c := dial(t, far)
		if strings.HasPrefix(c.line(), "* OK") {
			return
		}
	}
}

func TestOversized(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("")
	// A line of 10 MB, then a command on the same connection.
	c.background("a NOOP " + strings.Repeat("x", 10<<20) + "\r\nb NOOP\r\n")
	if l := c.line(); !strings.HasPrefix(l, "a BAD [TOOBIG] line too long") {
		t.Errorf("%q", l)
	}
	if l := c.line(); l != "b OK Noop completed" {
		t.Errorf("%q", l)
	}
	// Before login there is no patience for that.
	c = dial(t, ts.addr)
	c.line()
	c.background("a NOOP " + strings.Repeat("x", 10<<20))
	if l := c.line(); !strings.HasPrefix(l, "* BYE [TOOBIG]") {
		t.Errorf("%q", l)
	}
	// Endless literals that nobody waits for.
	c = dial(t, ts.addr).login("")
	c.background("a APPEND x {1000000000+}\r\n" + strings.Repeat("y", 1<<20))
	if l := c.line(); !strings.HasPrefix(l, "* BYE [TOOBIG]") {
		t.Errorf("%q", l)
	}
	// A thousand commands in one write.
	c = dial(t, ts.addr).login("INBOX")
	c.background(strings.Repeat("t FETCH 1:* FLAGS\r\n", 1000) + "end NOOP\r\n")
	if got := c.until("end"); len(got) != 4001 {
		t.Errorf("%d lines", len(got))
	}
}

// A client that does not read holds up nobody but itself, and not for ever.
func TestSlowReader(t *testing.T) {
	store := newFake()
	store.deliver("INBOX", "Subject: big\n\n"+strings.Repeat("all the same line\n", 500_000))
	ts := startServer(t, store, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
	c := dial(t, ts.addr).login("INBOX")
	c.send("a FETCH 1 BODY[]\r\n")
	ts.allGone()
}

// allGone waits until the server has no connection left.
func (ts *testServer) allGone() {
	ts.t.Helper()
	done := make(chan struct{})
	go func() {
		ts.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(testTimeout):
		ts.t.Fatal("connections are left")
	}
}

func TestShutdown(t *testing.T) {
	store := newFake()
	sampleMail(store)
	release, opened := make(chan struct{}), make(chan struct{})
	store.openBody = func(ctx context.Context, _ mailbox.UID) error {
		close(opened)
		<-release
		return nil
	}
	ts := startServer(t, store, nil)
	idle := dial(t, ts.addr).login("INBOX")
	idle.send("i IDLE\r\n")
	idle.line()
	quiet := dial(t, ts.addr).login("")
	busy := dial(t, ts.addr).login("INBOX")
	busy.send("b FETCH 1 BODY[TEXT]\r\n")
	<-opened
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ts.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if got := idle.rest(); got != "* BYE Server is shutting down\r\n" {
		t.Errorf("in IDLE: %q", got)
	}
	if got := quiet.rest(); got != "* BYE Server is shutting down\r\n" {
		t.Errorf("between commands: %q", got)
	}
	if nc, err := net.Dial("tcp", ts.addr); err == nil {
		t.Error("new connections are accepted")
		_ = nc.Close()
	}
	close(release)
	if got := busy.rest(); !strings.Contains(got, "b OK Fetch completed\r\n* BYE Server is shutting down\r\n") {
		t.Errorf("in a command: %q", got)
	}
	wg.Wait()
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	store := newFake()
	sampleMail(store)
	opened := make(chan struct{})
	store.openBody = func(ctx context.Context, _ mailbox.UID) error {
		close(opened)
		<-ctx.Done()
		return ctx.Err()
	}
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	c.send("b FETCH 1 BODY[TEXT]\r\n")
	<-opened
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ts.Shutdown(ctx); err != context.Canceled {
		t.Errorf("shutdown: %v", err)
	}
}

// A message that cannot be had does not keep the others back.
func TestUnavailableBody(t *testing.T) {
	store := newFake()
	sampleMail(store)
	store.openBody = func(_ context.Context, uid mailbox.UID) error {
		if uid == 2 {
			return fault.New(fault.Unavailable, "fetch body", "the upstream is down")
		}
		return nil
	}
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	got := strings.Join(c.do("FETCH 1:3 (BODY.PEEK[]<0.1>)"), "\n")
	want := "* 1 FETCH (BODY[]<0> {1}\nF)\n* 3 FETCH (BODY[]<0> {1}\nF)\nx NO [UNAVAILABLE] fetch body: the upstream is down"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	ts := startServer(t, newFake(), nil)
	c := dial(t, ts.addr)
	c.line()
	before := panics.Load()
	c.send("a LOGIN panic x\r\n")
	c.rest()
	if panics.Load() != before+1 {
		t.Error("the panic was not reported")
	}
	panics.Add(-1)
	dial(t, ts.addr).login("")
}

// One huge header, asked for many times in one command, is not held in memory as many times.
func TestHugeHeaderManyTimes(t *testing.T) {
	store := newFake()
	store.deliver("INBOX", strings.Repeat("X-Long: "+strings.Repeat("y", 900)+"\n", 10_000)+"\ntext\n")
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	got := c.do("FETCH 1 (" + strings.Repeat("BODY.PEEK[HEADER.FIELDS.NOT (A)] ", 99) + "UID)")
	if !strings.HasPrefix(got[0], "x NO [LIMIT]") {
		t.Errorf("%.200q", got[0])
	}
	if got := c.do("FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (A)]<0.10>"); len(got) != 3 {
		t.Errorf("%.200q", got)
	}
}

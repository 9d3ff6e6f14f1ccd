package server

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func withTLS(o *Options) { o.TLS, _ = testTLS() }

// secured returns c behind TLS.
func secured(t *testing.T, c *client) *client {
	t.Helper()
	_, pool := testTLS()
	tc := tls.Client(c.nc, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	_ = tc.SetDeadline(time.Now().Add(testTimeout))
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	_ = tc.SetDeadline(time.Time{})
	return &client{t: t, nc: tc, r: bufio.NewReader(tc)}
}

// strangers makes every connection come from an address that is not loopback.
type strangers struct{ net.Listener }

func (l strangers) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stranger{nc}, nil
}

type stranger struct{ net.Conn }

func (stranger) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4000} }

func serveStrangers(t *testing.T, ts *testServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- ts.Serve(t.Context(), strangers{l}, PlainMode) }()
	t.Cleanup(func() { <-done }) //nolint:errcheck // it says that it was stopped
	return l.Addr().String()
}

func TestPlainStrangersNeedTLS(t *testing.T) {
	ts := startServer(t, newFake(), withTLS)
	c := dial(t, serveStrangers(t, ts))
	if l := c.line(); !strings.Contains(l, " STARTTLS LOGINDISABLED]") || strings.Contains(l, "AUTH=PLAIN") {
		t.Errorf("greeting: %s", l)
	}
	for _, cmd := range []string{"LOGIN u secret", "AUTHENTICATE PLAIN AHUAc2VjcmV0", "AUTHENTICATE PLAIN"} {
		if got := c.do(cmd); got[0] != "x NO [PRIVACYREQUIRED] Use TLS before logging in" {
			t.Errorf("%s: %q", cmd, got)
		}
	}
	// Not even the literal of a password is asked for.
	if got := c.do("LOGIN {1}"); !strings.HasPrefix(got[0], "x NO [PRIVACYREQUIRED]") {
		t.Errorf("literal: %q", got)
	}
	if got := c.do("STARTTLS"); got[0] != "x OK Begin TLS negotiation now" {
		t.Fatalf("STARTTLS: %q", got)
	}
	c = secured(t, c)
	got := c.do("CAPABILITY")
	if strings.Contains(got[0], "STARTTLS") || strings.Contains(got[0], "LOGINDISABLED") || !strings.Contains(got[0], "AUTH=PLAIN") {
		t.Errorf("after STARTTLS: %q", got)
	}
	if got := c.do("STARTTLS"); !strings.HasPrefix(got[0], "x BAD") {
		t.Errorf("a second STARTTLS: %q", got)
	}
	if got := c.do("LOGIN u secret"); !strings.HasPrefix(got[0], "x OK [CAPABILITY") {
		t.Errorf("login: %q", got)
	}
}

func TestAllowPlainAuth(t *testing.T) {
	ts := startServer(t, newFake(), func(o *Options) { o.AllowPlainAuth = true })
	c := dial(t, serveStrangers(t, ts))
	if l := c.line(); !strings.Contains(l, "AUTH=PLAIN") || strings.Contains(l, "STARTTLS") {
		t.Errorf("greeting: %s", l)
	}
	if got := c.do("LOGIN u secret"); !strings.HasPrefix(got[0], "x OK") {
		t.Errorf("login: %q", got)
	}
}

func TestImplicitTLS(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, withTLS)
	c := secured(t, dial(t, ts.listen(t, TLSMode)))
	if l := c.line(); !strings.Contains(l, "AUTH=PLAIN]") {
		t.Errorf("greeting: %s", l)
	}
	c.do("LOGIN u secret")
	c.do("SELECT INBOX")
	if got := strings.Join(c.do("FETCH 1 BODY[]"), "\n"); !strings.Contains(got, "Hello Bob\nsecond line\n)") {
		t.Errorf("body: %s", got)
	}
}

// What arrives in the clear behind STARTTLS must not be taken for something the client sent under TLS.
func TestStartTLSInjection(t *testing.T) {
	ts := startServer(t, newFake(), withTLS)
	c := dial(t, ts.addr)
	c.line()
	c.send("x STARTTLS\r\ny LOGIN u secret\r\n")
	_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
	rest, _ := io.ReadAll(c.r)
	if strings.Contains(string(rest), "y ") {
		t.Errorf("the injected command was answered: %q", rest)
	}
}

// compressed returns c with COMPRESS=DEFLATE on.
func compressed(t *testing.T, c *client) *client {
	t.Helper()
	if got := c.do("COMPRESS DEFLATE"); got[0] != "x OK DEFLATE active" {
		t.Fatalf("COMPRESS: %q", got)
	}
	w, err := flate.NewWriter(c.nc, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, nc: deflated{c.nc, w}, r: bufio.NewReader(flate.NewReader(c.r))}
}

type deflated struct {
	net.Conn
	w *flate.Writer
}

func (d deflated) Write(p []byte) (int, error) {
	if _, err := d.w.Write(p); err != nil {
		return 0, err
	}
	return len(p), d.w.Flush()
}

func TestCompress(t *testing.T) {
	store := newFake()
	sampleMail(store)
	big := store.deliver("INBOX", "Subject: big\n\n"+strings.Repeat("all the same line\n", 20_000))
	for _, secure := range []bool{false, true} {
		ts := startServer(t, store, withTLS)
		c := dial(t, ts.addr)
		c.line()
		if secure {
			c.do("STARTTLS")
			c = secured(t, c)
		}
		c.do("LOGIN u secret")
		if got := c.do("COMPRESS LZW"); got[0] != "x BAD Unknown compression" {
			t.Errorf("unknown mechanism: %q", got)
		}
		c = compressed(t, c)
		if got := c.do("COMPRESS DEFLATE"); !strings.HasPrefix(got[0], "x NO [COMPRESSIONACTIVE]") {
			t.Errorf("a second COMPRESS: %q", got)
		}
		if got := c.do("CAPABILITY"); strings.Contains(got[0], "COMPRESS") {
			t.Errorf("announced although active: %q", got)
		}
		c.do("SELECT INBOX")
		got := c.do("UID FETCH 4 BODY.PEEK[TEXT]")
		if len(got) != 20_003 {
			t.Errorf("UID %d: %d lines", big, len(got))
		}
		c.send("i IDLE\r\n")
		if l := c.line(); l != "+ idling" {
			t.Errorf("IDLE: %q", l)
		}
		store.setFlags("INBOX", 1, `\Flagged`)
		for !strings.HasPrefix(c.line(), "* 1 FETCH") {
		}
		c.send("DONE\r\n")
		c.until("i")
	}
}

// Commands that came in the clear behind COMPRESS belong to the compressed stream already.
func TestCompressPipelined(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("")
	var tail strings.Builder
	w, _ := flate.NewWriter(&tail, flate.DefaultCompression)
	_, _ = w.Write([]byte("y NOOP\r\nz LOGOUT\r\n"))
	_ = w.Flush()
	c.send("x COMPRESS DEFLATE\r\n" + tail.String())
	c.until("x")
	c.r = bufio.NewReader(flate.NewReader(c.r))
	c.until("y")
	c.until("z")
}

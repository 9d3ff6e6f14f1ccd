package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// panics counts the recovered panics of all servers that tests started: any of them fails the run, unless its test
// counted it off again.
var panics atomic.Int64

func TestMain(m *testing.M) {
	code := m.Run()
	if n := panics.Load(); n != 0 {
		println("panics were recovered:", n)
		code = 1
	}
	os.Exit(code)
}

// testServer is a server on loopback.
type testServer struct {
	*Server
	t     testing.TB
	store *fake
	addr  string
}

// startServer starts a server with a plain listener; modify may change its options.
func startServer(t testing.TB, store *fake, modify func(*Options)) *testServer {
	t.Helper()
	o := Options{Sessions: store, OnPanic: func(any) { panics.Add(1) }}
	if modify != nil {
		modify(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, t: t, store: store}
	ts.addr = ts.listen(t, PlainMode)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return ts
}

func (ts *testServer) listen(t testing.TB, mode Mode) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ts.Serve(ctx, l, mode); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

// testTLS returns a server's TLS configuration and the pool that trusts it.
var testTLS = sync.OnceValues(func() (*tls.Config, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
})

// client is a test's connection.
type client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

const testTimeout = 10 * time.Second

func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (c *client) send(s string) {
	c.t.Helper()
	_ = c.nc.SetWriteDeadline(time.Now().Add(testTimeout))
	if _, err := c.nc.Write([]byte(s)); err != nil {
		c.t.Fatalf("send %.60q: %v", s, err)
	}
}

// line reads a line without its end.
func (c *client) line() string {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, s)
	}
	if len(s) < 2 || s[len(s)-2] != '\r' {
		c.t.Fatalf("line without CRLF: %q", s)
	}
	return s[:len(s)-2]
}

// until reads lines up to the tagged one, and returns them.
func (c *client) until(tag string) []string {
	c.t.Helper()
	var lines []string
	for {
		l := c.line()
		lines = append(lines, l)
		if len(l) > len(tag) && l[:len(tag)+1] == tag+" " {
			return lines
		}
	}
}

// do sends a command and returns what answers it; the tag is "x".
func (c *client) do(cmd string) []string {
	c.t.Helper()
	c.send("x " + cmd + "\r\n")
	return c.until("x")
}

// login logs in and, with a name, selects a mailbox.
func (c *client) login(box string) *client {
	c.t.Helper()
	c.line()
	c.do("LOGIN u secret")
	if box != "" {
		c.do("SELECT " + box)
	}
	return c
}

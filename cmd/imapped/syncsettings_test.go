package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/app/admin"
	"imapped/domain/account"
)

// slowUpstream is an IMAP server without mailboxes that answers LIST only when it is told to.
type slowUpstream struct {
	net.Listener
	wg      sync.WaitGroup
	release chan struct{}
	lists   chan int // how many LISTs wait, each time that one comes

	mu      sync.Mutex
	waiting int
}

func startSlow(t *testing.T) *slowUpstream {
	t.Helper()
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &slowUpstream{Listener: l, release: make(chan struct{}), lists: make(chan int, 100)}
	u.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			u.wg.Go(func() { u.serve(conn) })
		}
	})
	t.Cleanup(u.wg.Wait)
	t.Cleanup(func() { l.Close() })
	return u
}

func (u *slowUpstream) serve(conn net.Conn) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(time.Minute)) != nil {
		return
	}
	fmt.Fprint(conn, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
	for in := bufio.NewScanner(conn); in.Scan(); {
		tag, command, _ := strings.Cut(in.Text(), " ")
		if strings.HasPrefix(command, "CAPABILITY") {
			fmt.Fprint(conn, "* CAPABILITY IMAP4rev1\r\n")
		}
		if strings.HasPrefix(command, "LIST") {
			u.mu.Lock()
			u.waiting++
			u.lists <- u.waiting
			u.mu.Unlock()
			<-u.release
			u.mu.Lock()
			u.waiting--
			u.mu.Unlock()
		}
		if _, err := fmt.Fprintf(conn, "%s OK done\r\n", tag); err != nil {
			return
		}
	}
}

// TestSyncConcurrency: with SYNC_CONCURRENCY=2, two of four accounts are synchronised at a time, and not three.
func TestSyncConcurrency(t *testing.T) {
	up := startSlow(t)
	in, err := openInstance(t.Context(), configOf(t, "IMAPPED_DATA="+filepath.Join(t.TempDir(), "data"), "SYNC_CONCURRENCY=2"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.admin.CreateUser(t.Context(), demoName, []byte(demoName)); err != nil {
		t.Fatal(err)
	}
	port := up.Addr().(*net.TCPAddr).Port
	for n := range 4 {
		if _, err := in.admin.AddAccount(t.Context(), admin.NewAccount{
			User: demoName, Email: fmt.Sprintf("a%d@example.org", n), Secret: []byte(demoName),
			Endpoint: account.Endpoint{Host: "127.0.0.1", Port: uint16(port), TLS: account.TLSPlain, Insecure: true},
		}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	m := in.newManager()
	go func() { ran <- m.Run(ctx) }()
	next := func() int {
		t.Helper()
		select {
		case n := <-up.lists:
			return n
		case <-time.After(time.Minute):
			t.Fatal("nothing is synchronised")
			return 0
		}
	}
	for next() < 2 {
	}
	select { // a third would come now
	case n := <-up.lists:
		t.Errorf("%d accounts are synchronised at the same time", n)
	case <-time.After(300 * time.Millisecond):
	}
	close(up.release)
	for range 2 { // the others' turn
		next()
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := in.close(); err != nil {
		t.Error(err)
	}
}

// counted counts the connections that are open.
type counted struct {
	net.Listener
	mu   sync.Mutex
	open int
	most int
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	c.most = max(c.most, c.open)
	return &countedConn{Conn: conn, c: c}, nil
}

type countedConn struct {
	net.Conn
	c    *counted
	once sync.Once
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.c.mu.Lock()
		defer c.c.mu.Unlock()
		c.c.open--
	})
	return c.Conn.Close()
}

// TestPolling: with one connection nothing listens to the upstream, and what is new there comes with the next look, which
// PERIODIC_SYNC_INTERVAL_SECONDS says when to take; by default that would be after minutes.
func TestPolling(t *testing.T) {
	var l counted
	up := startUpstreamOn(t, func(inner net.Listener) net.Listener {
		l.Listener = inner
		return &l
	})
	conf := configOf(t, "IMAPPED_DATA="+filepath.Join(t.TempDir(), "data"), "UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT=1", "PERIODIC_SYNC_INTERVAL_SECONDS=0.2")
	m := startMirrorWith(t, conf, up)
	most := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.most
	}
	if n := most(); n != 1 {
		t.Errorf("%d connections to the upstream", n)
	}
	there := dialMail(t, up.addr, "") // one more
	before := there.ok("STATUS INBOX (MESSAGES)")
	there.ok("%s", appendLine("INBOX", "Subject: polled\r\n\r\ntext\r\n"))
	// Not opened: a mailbox that a client has open is looked at more often.
	here := dialMail(t, m.addr, "")
	want := there.ok("STATUS INBOX (MESSAGES)")
	if want == before {
		t.Fatalf("the new message is not there: %q", want)
	}
	here.eventually(func(s string) bool { return s == want }, "STATUS INBOX (MESSAGES)")
	if n := most(); n != 2 {
		t.Errorf("%d connections to the upstream, the client's own among them", n)
	}
}

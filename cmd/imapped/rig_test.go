package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"imapped/app/admin"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/imapwire/server"
)

// testConfig is the default configuration on a data directory of the test's.
func testConfig(data string) *config.Config { return config.Default().In(data) }

// upstreamRig is a running sample upstream, as demo has one.
type upstreamRig struct {
	in   *instance
	addr string
}

// startUpstream runs the sample upstream until the test ends.
func startUpstream(t *testing.T) upstreamRig {
	t.Helper()
	return startUpstreamOn(t, func(l net.Listener) net.Listener { return l })
}

// startUpstreamOn is startUpstream with a listener around its own.
func startUpstreamOn(t *testing.T, around func(net.Listener) net.Listener) upstreamRig {
	t.Helper()
	in, err := openInstance(t.Context(), testConfig(t.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	box, _, err := openSample(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := in.newServer(nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.WithoutCancel(t.Context()), around(l), server.PlainMode) }()
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, err := range []error{s.Shutdown(end), <-served, box.Close(end), in.close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return upstreamRig{in, l.Addr().String()}
}

// mirrorRig is a running mirror of an upstreamRig on a data directory of the test's.
type mirrorRig struct {
	in      *instance
	s       *serving
	account account.Account
	addr    string
	stop    func() // ends it in order; more than once does nothing
}

// startMirror sets the account up on the first call for a data directory, serves it, and waits for the first round.
func startMirror(t *testing.T, data string, up upstreamRig) *mirrorRig {
	t.Helper()
	return startMirrorWith(t, testConfig(data), up)
}

// startMirrorWith is startMirror with a configuration.
func startMirrorWith(t *testing.T, conf *config.Config, up upstreamRig) *mirrorRig {
	t.Helper()
	in, err := openInstance(t.Context(), conf, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &mirrorRig{in: in}
	if r.account, err = in.admin.Account(t.Context(), demoName+"@127.0.0.1"); err != nil {
		r.account = addSample(t, in, up)
	}
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	if r.s, err = newServing(in, sweepFlags{}, nil, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- r.s.run(ctx, []listener{{l, server.PlainMode}}) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for _, err := range []error{<-ran, in.close()} {
			if err != nil {
				t.Errorf("stopping: %v", err)
			}
		}
	}
	t.Cleanup(func() { r.stop() })
	<-r.s.manager.Ready()
	if err := r.s.manager.Force(t.Context(), r.account.ID, nil); err != nil {
		t.Fatalf("first round: %v", err)
	}
	return r
}

func addSample(t *testing.T, in *instance, up upstreamRig) account.Account {
	t.Helper()
	target, err := parseTarget("imap://"+demoName+"@"+up.addr, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.admin.CreateUser(t.Context(), demoName, []byte(demoName)); err != nil {
		t.Fatal(err)
	}
	a, err := in.admin.AddAccount(t.Context(), admin.NewAccount{
		User: demoName, Email: target.email(), Endpoint: target.Endpoint, Username: demoName, Secret: []byte(demoName),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mailClient is an IMAP client that does one command after the other.
type mailClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	n    int
}

// dialMail logs in, and selects a mailbox where one is named.
func dialMail(t *testing.T, addr, mailbox string) *mailClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := &mailClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	c.ok("LOGIN %s %s", demoName, demoName)
	if mailbox != "" {
		c.ok("SELECT %s", mailbox)
	}
	return c
}

// do sends a command, with literals where the line has a newline in it, and returns the untagged lines and the tagged
// one without its tag. A literal that the server refuses is not sent.
func (c *mailClient) do(format string, args ...any) (untagged, tagged string) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	head, literal, has := strings.Cut(fmt.Sprintf(format, args...), "\n")
	c.write(tag + " " + head + "\r\n")
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v after %q", head, err, all.String())
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return all.String(), strings.TrimSpace(rest)
		}
		if strings.HasPrefix(line, "+") && has {
			c.write(literal + "\r\n")
			continue
		}
		all.WriteString(line)
	}
}

func (c *mailClient) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// ok is do for a command that succeeds.
func (c *mailClient) ok(format string, args ...any) string {
	c.t.Helper()
	untagged, tagged := c.do(format, args...)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%.100s is answered %q", fmt.Sprintf(format, args...), tagged)
	}
	return untagged
}

// appendLine is an APPEND for do, with the message.
func appendLine(mailbox, message string) string {
	return fmt.Sprintf("APPEND %s {%d}\n%s", mailbox, len(message), message)
}

// eventually asks again until the answer is as wanted.
func (c *mailClient) eventually(want func(untagged string) bool, format string, args ...any) {
	c.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	last := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-again.C {
		if last = c.ok(format, args...); want(last) {
			return
		}
		c.ok("NOOP")
	}
	c.t.Fatalf("%s keeps being answered %q", fmt.Sprintf(format, args...), last)
}

// found returns how many messages an answer to SEARCH names.
func found(untagged string) int {
	for line := range strings.Lines(untagged) {
		if numbers, ok := strings.CutPrefix(line, "* SEARCH"); ok {
			return len(strings.Fields(numbers))
		}
	}
	return 0
}

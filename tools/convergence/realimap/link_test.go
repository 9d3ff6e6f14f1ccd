package realimap

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"imapped/ports/upstream"
	"imapped/tools/convergence/upstreamsim"
)

// proxied is a link between a client and a server that the test plays.
type proxied struct {
	t              *testing.T
	s              *Server
	client, server net.Conn
	fromClient     *bufio.Reader // what the server gets
	fromServer     *bufio.Reader // what the client gets
	link           *link
	ended          chan struct{}
}

func newProxied(t *testing.T) *proxied {
	s := &Server{changed: make(chan struct{}), log: func(string, ...any) {}, shadow: newShadow()}
	client, a := pipe(t)
	b, server := pipe(t)
	p := &proxied{
		t: t, s: s, client: client, server: server, fromClient: bufio.NewReader(server), fromServer: bufio.NewReader(client),
		ended: make(chan struct{}),
	}
	p.link = newLink(s, a, b)
	go func() {
		defer close(p.ended)
		p.link.run()
	}()
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		<-p.ended
	})
	return p
}

// pipe returns both ends of a connection.
func pipe(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if dialed, err = new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

func (p *proxied) send(c net.Conn, text string) {
	p.t.Helper()
	if _, err := fmt.Fprint(c, text); err != nil {
		p.t.Fatal(err)
	}
}

// want reads lines until the text has come.
func (p *proxied) want(r *bufio.Reader, text string) {
	p.t.Helper()
	got := ""
	for len(got) < len(text) {
		line, err := r.ReadString('\n')
		if got += line; err != nil {
			p.t.Fatalf("got %q, %v, want %q", got, err, text)
		}
	}
	if got != text {
		p.t.Fatalf("got %q, want %q", got, text)
	}
}

// lost checks that the client's connection ends.
func (p *proxied) lost() {
	p.t.Helper()
	if line, err := p.fromServer.ReadString('\n'); err == nil {
		p.t.Fatalf("the connection lives: %q", line)
	}
}

func TestFaults(t *testing.T) {
	p := func(t *testing.T, f upstreamsim.Fault) *proxied {
		p := newProxied(t)
		p.s.Arm(f)
		return p
	}
	t.Run("refused, after what came before, without its literal", func(t *testing.T) {
		p := p(t, upstreamsim.Fault{On: upstreamsim.ClassAppend, Do: upstreamsim.Refuse, Text: "no"})
		p.send(p.client, "1 NOOP\r\n2 APPEND a {5+}\r\nhello\r\n3 NOOP\r\n")
		p.want(p.fromClient, "1 NOOP\r\n")
		p.send(p.server, "* 1 EXISTS\r\n1 OK\r\n")
		p.want(p.fromServer, "* 1 EXISTS\r\n1 OK\r\n2 NO [CANNOT] no\r\n")
		p.want(p.fromClient, "3 NOOP\r\n")
	})
	t.Run("a refused SELECT leaves nothing selected", func(t *testing.T) {
		p := p(t, upstreamsim.Fault{Do: upstreamsim.Busy})
		p.send(p.client, "1 SELECT a\r\n")
		p.want(p.fromClient, "proxy UNSELECT\r\n")
		p.send(p.server, "proxy OK\r\n")
		p.want(p.fromServer, "1 NO [UNAVAILABLE] not now\r\n")
	})
	t.Run("cut before", func(t *testing.T) {
		p := p(t, upstreamsim.Fault{On: upstreamsim.ClassStore, Do: upstreamsim.CutBefore})
		p.send(p.client, "1 UID STORE 1 +FLAGS (a)\r\n")
		p.lost()
		if line, err := p.fromClient.ReadString('\n'); err == nil {
			t.Fatalf("the server gets %q", line)
		}
	})
	t.Run("cut after, with one that was sent behind", func(t *testing.T) {
		p := p(t, upstreamsim.Fault{On: upstreamsim.ClassCopy, Do: upstreamsim.CutAfter, N: 1})
		p.send(p.client, "1 UID COPY 1 b\r\n2 UID EXPUNGE 1\r\n3 UID EXPUNGE 2\r\n")
		p.want(p.fromClient, "1 UID COPY 1 b\r\n")
		p.send(p.server, "1 OK [COPYUID 1 1 1] done\r\n")
		p.want(p.fromClient, "2 UID EXPUNGE 1\r\n")
		p.send(p.server, "2 OK\r\n")
		p.lost()
	})
	t.Run("cut half-way through an answer", func(t *testing.T) {
		p := newProxied(t)
		p.s.rnd = rand.New(rand.NewPCG(1, 1)) //nolint:gosec // not a secret
		p.s.Arm(upstreamsim.Fault{On: upstreamsim.ClassFetch, Do: upstreamsim.CutHalf})
		p.send(p.client, "1 UID FETCH 1 BODY[]\r\n")
		p.want(p.fromClient, "1 UID FETCH 1 BODY[]\r\n")
		p.send(p.server, "* 1 FETCH (UID 1 BODY[] {4000}\r\n"+strings.Repeat("x", 4000)+")\r\n1 OK\r\n")
		n := 0
		for {
			_, err := p.fromServer.ReadByte()
			if err != nil {
				break
			}
			n++
		}
		if n >= 4000 {
			t.Errorf("%d octets came", n)
		}
	})
	t.Run("hung up while all is still", func(t *testing.T) {
		p := newProxied(t)
		p.s.mu.Lock()
		p.s.still = 1
		p.s.mu.Unlock()
		p.send(p.client, "1 CREATE a\r\n2 CREATE b\r\n")
		_ = p.client.Close()
		<-p.link.intake.over
		p.s.mu.Lock()
		p.s.still = 0
		p.s.mu.Unlock()
		p.s.touch(0)
		<-p.ended
		if line, err := p.fromClient.ReadString('\n'); err == nil {
			t.Fatalf("the server gets %q", line)
		}
	})
	t.Run("held, and given up", func(t *testing.T) {
		told := make(chan struct{})
		p := p(t, upstreamsim.Fault{On: upstreamsim.ClassBoxes, Do: upstreamsim.HoldBefore, Told: func(string) { close(told) }})
		p.send(p.client, "1 CREATE a\r\n")
		<-told
		_ = p.client.Close()
		<-p.ended
		if line, err := p.fromClient.ReadString('\n'); err == nil {
			t.Fatalf("the server gets %q", line)
		}
	})
	t.Run("between", func(t *testing.T) {
		p := newProxied(t)
		p.s.Arm(upstreamsim.Fault{On: upstreamsim.ClassBoxes, Do: upstreamsim.Interpose, Hook: func() { p.send(p.server, "* 2 EXISTS\r\n") }})
		p.send(p.client, "1 CREATE a\r\n")
		p.want(p.fromServer, "* 2 EXISTS\r\n")
		p.want(p.fromClient, "1 CREATE a\r\n")
	})
}

func TestHidden(t *testing.T) {
	s := &Server{c: Config{Hide: upstream.Server{UIDPlus: true, CondStore: true}, Only: []string{"$Work"}}}
	for in, want := range map[string]string{
		"* CAPABILITY IMAP4rev1 UIDPLUS MOVE CONDSTORE QRESYNC\r\n": "* CAPABILITY IMAP4rev1 MOVE\r\n",
		"1 OK [CAPABILITY IMAP4rev1 CONDSTORE IDLE] in\r\n":         "1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n",
		"1 OK [APPENDUID 1 2] done\r\n":                             "1 OK done\r\n",
		"* OK [COPYUID 1 2 3] Moved.\r\n":                           "* OK Moved.\r\n",
		"* OK [PERMANENTFLAGS (\\Seen a \\*)] Flags permitted.\r\n": "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)] Flags permitted.\r\n",
	} {
		if got := string(s.filter([]byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

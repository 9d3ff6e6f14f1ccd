// Package upstreamtest is an IMAP server for tests that plays recorded transcripts: it expects lines and answers
// lines, on a loopback port.
//
// Invariants:
//  1. A server does what its scripts say and nothing else. Whatever the client does otherwise fails the test, with the
//     script's line.
//  2. Each connection plays the next script; a connection too many fails the test.
//  3. Everything ends with the test: the listener, the connections, the goroutines.
package upstreamtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/ports/upstream"
)

// Server plays scripts. A script is text, a line each; empty lines and those that begin with "#" are skipped.
//
//	S: text       sends text and CRLF
//	S- text       sends text without CRLF
//	C: tag text   expects a line: any tag, which the script calls tag from here on, and the text; text that ends in
//	              "..." stands for every text that begins so
//	c: text       expects exactly this line (DONE, the end of a literal)
//	! close       closes the connection
//	! cut n       closes the connection after n octets of the next S line
//	! silent      answers nothing more, and waits for the client to close
//	! pause d     waits for the duration d
//	! wait name   waits until the test calls Signal(name)
//	! tls         does a TLS handshake
//	! big n c     sends n octets c
//	! take n      reads n octets, whatever they are
//	! expect n c  reads n octets, each of which must be c
//	! may-end     from here on the client may close
//
// In S lines a word that is a tag's name is replaced by the client's tag, as the first word and as "name". \xNN, \r, \n
// and \\ stand for octets. When a script ends, the client's LOGOUT is accepted and the connection is read to its end.
type Server struct {
	tls      *tls.Config
	implicit bool

	t       testing.TB
	ln      net.Listener
	scripts []string
	mu      sync.Mutex
	signals map[string]chan struct{}
	conns   []net.Conn
	closing bool
	wg      sync.WaitGroup
}

// New starts a server that plays a script for each connection, in order. It ends with the test.
func New(t testing.TB, scripts ...string) *Server {
	t.Helper()
	return NewTLS(t, nil, false, scripts...)
}

// NewTLS is New with TLS: from the first octet when implicit, else at "! tls".
func NewTLS(t testing.TB, cfg *tls.Config, implicit bool, scripts ...string) *Server {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{tls: cfg, implicit: implicit, t: t, ln: ln, scripts: scripts, signals: map[string]chan struct{}{}}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// Target returns where the server is, for a plain connection as user "u" with the password "p".
func (s *Server) Target() upstream.Target {
	addr := s.ln.Addr().(*net.TCPAddr)
	return upstream.Target{
		Endpoint: account.Endpoint{Host: "127.0.0.1", Port: uint16(addr.Port), TLS: account.TLSPlain},
		Username: "u", Password: []byte("p"),
	}
}

// Signal lets "! wait name" go on, now or when it comes.
func (s *Server) Signal(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.signal(name)
	select {
	case <-c:
	default:
		close(c)
	}
}

func (s *Server) signal(name string) chan struct{} {
	if s.signals[name] == nil {
		s.signals[name] = make(chan struct{})
	}
	return s.signals[name]
}

// close waits a little for scripts whose client has gone to end by themselves, so that one that was not played to its
// end is seen, and then ends everything.
func (s *Server) close() {
	s.mu.Lock()
	for _, c := range s.signals {
		select {
		case <-c:
		default:
			close(c)
		}
	}
	s.mu.Unlock()
	_ = s.ln.Close()
	played := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(played)
	}()
	select {
	case <-played:
		return
	case <-time.After(2 * time.Second):
	}
	s.mu.Lock()
	s.closing = true
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	<-played
}

func (s *Server) accept() {
	for i := 0; ; i++ {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, nc)
		s.mu.Unlock()
		if i >= len(s.scripts) {
			s.t.Errorf("upstreamtest: connection %d has no script", i+1)
			_ = nc.Close()
			continue
		}
		s.wg.Go(func() { s.serve(nc, s.scripts[i]) })
	}
}

var (
	errOver   = errors.New("the script closed the connection")
	errClosed = errors.New("the client closed the connection")
)

func (s *Server) serve(nc net.Conn, script string) {
	p := &player{server: s, nc: nc, tags: map[string]string{}}
	defer func() { _ = p.nc.Close() }()
	if s.implicit {
		p.nc = tls.Server(nc, s.tls)
	}
	p.r = bufio.NewReader(p.nc)
	for i, line := range strings.Split(script, "\n") {
		line = strings.TrimLeft(line, " \t")
		if err := p.step(line); err != nil {
			s.mu.Lock()
			quiet := s.closing || errors.Is(err, errOver) || p.mayEnd && errors.Is(err, errClosed)
			s.mu.Unlock()
			if !quiet {
				s.t.Errorf("upstreamtest: line %d, %q: %v", i+1, line, err)
			}
			return
		}
	}
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.HasSuffix(line, " LOGOUT\r\n") {
			s.t.Errorf("upstreamtest: after the end of the script the client says %q", line)
			return
		}
	}
}

// player plays one script.
type player struct {
	server *Server
	nc     net.Conn
	r      *bufio.Reader
	tags   map[string]string
	cut    int // octets until the connection is closed, when above 0
	mayEnd bool
}

func (p *player) step(line string) error {
	switch {
	case line == "" || line[0] == '#':
		return nil
	case strings.HasPrefix(line, "S: "), line == "S:":
		return p.send(p.answer(strings.TrimPrefix(line[2:], " ")) + "\r\n")
	case strings.HasPrefix(line, "S- "):
		return p.send(p.answer(line[3:]))
	case strings.HasPrefix(line, "C: "):
		return p.command(line[3:])
	case strings.HasPrefix(line, "c: "):
		got, err := p.readLine()
		if err == nil && got != line[3:] {
			err = fmt.Errorf("the client says %q", got)
		}
		return err
	case strings.HasPrefix(line, "! "):
		return p.direct(strings.Fields(line[2:]))
	}
	return errors.New("not a line of a script")
}

func (p *player) direct(words []string) error {
	number := func(i int) int {
		n, err := strconv.Atoi(words[i])
		if err != nil {
			p.server.t.Errorf("upstreamtest: %v: %v", words, err)
		}
		return n
	}
	switch words[0] {
	case "close":
		return errOver
	case "cut":
		p.cut = number(1)
	case "silent":
		_, _ = io.Copy(io.Discard, p.r)
		return errOver
	case "pause":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		time.Sleep(d)
	case "wait":
		p.server.mu.Lock()
		c := p.server.signal(words[1])
		p.server.mu.Unlock()
		<-c
	case "tls":
		p.nc = tls.Server(p.nc, p.server.tls)
		p.r = bufio.NewReader(p.nc)
	case "big":
		chunk := bytes.Repeat([]byte(words[2]), 32<<10)
		for n := number(1); n > 0; n -= len(chunk) {
			if _, err := p.nc.Write(chunk[:min(n, len(chunk))]); err != nil {
				return fmt.Errorf("%w: %w", errClosed, err)
			}
		}
	case "take":
		if _, err := io.CopyN(io.Discard, p.r, int64(number(1))); err != nil {
			return fmt.Errorf("%w: %w", errClosed, err)
		}
	case "expect":
		return p.expect(number(1), words[2][0])
	case "may-end":
		p.mayEnd = true
	default:
		return fmt.Errorf("unknown directive %q", words[0])
	}
	return nil
}

// expect reads n octets c.
func (p *player) expect(n int, c byte) error {
	buf := make([]byte, 32<<10)
	for left := n; left > 0; {
		got, err := p.r.Read(buf[:min(left, len(buf))])
		if i := bytes.IndexFunc(buf[:got], func(r rune) bool { return r != rune(c) }); i >= 0 {
			return fmt.Errorf("octet %d is %q", n-left+i, buf[i])
		}
		if left -= got; err != nil {
			return fmt.Errorf("%w: %w", errClosed, err)
		}
	}
	return nil
}

func (p *player) readLine() (string, error) {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%w: %w", errClosed, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func (p *player) command(want string) error {
	name, text, _ := strings.Cut(want, " ")
	line, err := p.readLine()
	if err != nil {
		return err
	}
	tag, got, _ := strings.Cut(line, " ")
	prefix, open := strings.CutSuffix(text, "...")
	if got != text && !(open && strings.HasPrefix(got, prefix)) {
		return fmt.Errorf("the client says %q", line)
	}
	p.tags[name] = tag
	return nil
}

func (p *player) send(text string) error {
	if p.cut > 0 && len(text) >= p.cut {
		_, _ = io.WriteString(p.nc, text[:p.cut])
		return errOver
	}
	if p.cut > 0 {
		p.cut -= len(text)
	}
	if _, err := io.WriteString(p.nc, text); err != nil {
		return fmt.Errorf("%w: %w", errClosed, err)
	}
	return nil
}

// answer puts the client's tags and the escaped octets into a server's line.
func (p *player) answer(text string) string {
	word, rest, found := strings.Cut(text, " ")
	if tag, ok := p.tags[word]; ok {
		if text = tag; found {
			text += " " + rest
		}
	}
	for name, tag := range p.tags {
		text = strings.ReplaceAll(text, `(TAG "`+name+`")`, `(TAG "`+tag+`")`)
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out.WriteByte(text[i])
			continue
		}
		switch i++; text[i] {
		case 'r':
			out.WriteByte('\r')
		case 'n':
			out.WriteByte('\n')
		case '\\':
			out.WriteByte('\\')
		case 'x':
			if i+2 < len(text) {
				if v, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
					out.WriteByte(byte(v))
					i += 2
					continue
				}
			}
			out.WriteString(`\x`)
		default:
			out.WriteByte('\\')
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

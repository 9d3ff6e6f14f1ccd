package suites

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// memoryLimit is what the program may reach while it is treated badly.
const memoryLimit = 300 << 20

// raw is a plain connection on which bytes are sent and lines are read.
type raw struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	r := &raw{t, conn, bufio.NewReader(conn)}
	r.line()
	return r
}

// line returns the next line; "" is the end of the connection.
func (r *raw) line() string {
	r.t.Helper()
	s, err := r.in.ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatal("no answer within a minute")
	}
	return strings.TrimRight(s, "\r\n")
}

// send sends bytes; the other side may close the connection meanwhile.
func (r *raw) send(s string) {
	_, _ = io.WriteString(r.conn, s)
}

// answered reads until a line begins with one of the prefixes, and returns it; "" at the end of the connection.
func (r *raw) answered(prefixes ...string) string {
	r.t.Helper()
	for {
		s := r.line()
		if s == "" {
			return ""
		}
		for _, p := range prefixes {
			if strings.HasPrefix(s, p) {
				return s
			}
		}
	}
}

// bounded checks that the program lives, answers a new client, and has not grown beyond the limit.
func bounded(t *testing.T, p *harness.Process) {
	t.Helper()
	c, err := p.Login(t.Context())
	if err != nil {
		t.Fatalf("a new client cannot log in: %v\n%s", err, p.Log())
	}
	defer c.Close()
	if _, err := c.Cmd("NOOP"); err != nil {
		t.Error(err)
	}
	_, peak, err := p.Memory()
	must(t, err)
	if peak > memoryLimit {
		t.Errorf("peak RSS is %d MB, more than %d MB", peak>>20, memoryLimit>>20)
	}
}

func TestHostileClientsBeforeLogin(t *testing.T) {
	_, p := theMirror(t)
	for _, c := range []struct{ name, send, want string }{
		{"a literal of 4 GB that waits", "a LOGIN {4294967295}\r\n", "a "},
		{"a literal of 4 GB that does not wait", "a LOGIN {4294967295+}\r\n" + strings.Repeat("x", 1<<20), "* BYE"},
		{"a literal beyond 64 bits", "a LOGIN {18446744073709551619}\r\nabc\r\n", "a BAD"},
		{"a line of 10 MB", "a LOGIN " + strings.Repeat("x", 10<<20) + "\r\n", "* BYE"},
		{"a line of 10 MB without a command", strings.Repeat("x", 10<<20), "* BYE"},
		{"a hundred thousand parentheses", "a LIST " + strings.Repeat("(", 100_000) + "\r\n", "a BAD"},
		{"bytes of all values", string(everyByte()) + "\r\n", "*"},
		{"a command for later", "a FETCH 1 BODY[]\r\n", "a "},
		{"an APPEND", "a APPEND INBOX {4294967295+}\r\nabc", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dialRaw(t, p.Addr)
			go r.send(c.send)
			switch s := r.answered("a BAD", "a NO", "* BYE", "* BAD"); {
			case s == "":
				// Closing is an answer to a flood; the connection's end may overtake a BYE when bytes are left unread.
				if len(c.send) < 60_000 && !strings.Contains(c.send, "+}") {
					t.Error("the connection was closed without an answer")
				}
			case strings.HasPrefix(s, "a "):
				r.send("b NOOP\r\n")
				if strings.Contains(c.send, "+}") {
					break // the NOOP is a part of the literal
				}
				if s := r.answered("b "); !strings.HasPrefix(s, "b OK") {
					t.Errorf("the next command was answered %q", s)
				}
			}
			bounded(t, p)
		})
	}
}

func everyByte() []byte {
	b := make([]byte, 0, 256)
	for i := range 256 {
		if i != '\n' && i != '\r' {
			b = append(b, byte(i))
		}
	}
	return b
}

func TestHostileClientsAfterLogin(t *testing.T) {
	w, p := theMirror(t)
	r := dialRaw(t, p.Addr)
	r.send("l LOGIN corpus " + harness.Password + "\r\ns EXAMINE INBOX\r\n")
	if s := r.answered("s "); !strings.HasPrefix(s, "s OK") {
		t.Fatal(s)
	}
	inbox := len(w.boxes[0].Messages)
	for i, c := range []struct{ send, want string }{
		{"UID FETCH 1:4294967295 (FLAGS)", "OK"},
		{"UID SEARCH UID 1:4294967295", "OK"},
		{"SEARCH 1:4294967295", ""},
		{"FETCH 1:4294967295 (FLAGS)", ""},
		{"FETCH " + strings.TrimSuffix(strings.Repeat("1:*,", 4000), ",") + " (FLAGS)", ""},
		{"FETCH 1 (BODY[" + strings.Repeat("1.", 3000) + "1])", ""},
		{"FETCH 0 (FLAGS)", "BAD"},
		{"FETCH 99999999999 (FLAGS)", "BAD"},
		{"FETCH 1 BODY[]<4294967295.4294967295>", "OK"},
		{"SEARCH " + strings.Repeat("NOT ", 20_000) + "ALL", ""},
		{"SEARCH " + strings.Repeat("(", 20_000) + "ALL" + strings.Repeat(")", 20_000), ""},
		{"SEARCH " + strings.Repeat("OR ALL ", 5000) + "ALL", ""},
		{`LIST "" "` + strings.Repeat("*%", 500) + `x"`, "OK"},
		{"STATUS INBOX (" + strings.TrimSuffix(strings.Repeat("MESSAGES ", 3000), " ") + ")", ""},
		{"NOSUCHCOMMAND", "BAD"},
		{"FETCH", "BAD"},
		{"FETCH 1 (FLAGS", "BAD"},
	} {
		tag := fmt.Sprintf("h%d", i)
		r.send(tag + " " + c.send + "\r\n")
		s := r.answered(tag+" ", "* BYE")
		switch {
		case s == "" || strings.HasPrefix(s, "* BYE"):
			t.Fatalf("%.60s ended the connection: %q", c.send, s)
		case c.want != "" && !strings.HasPrefix(s, tag+" "+c.want):
			t.Errorf("%.60s was answered %.200q, want %s", c.send, s, c.want)
		}
	}
	r.send("z SEARCH ALL\r\n")
	if s := r.answered("* SEARCH"); len(strings.Fields(s)) != inbox+2 {
		t.Errorf("after all that SEARCH finds %d messages, want %d", len(strings.Fields(s))-2, inbox)
	}
	bounded(t, p)
}

// nasty returns messages that take parsers apart.
func nasty() map[string][]byte {
	head := "From: a@b.example\r\nSubject: nasty\r\nMIME-Version: 1.0\r\n"
	var deep, wide, long, refs bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	deep.WriteString("Content-Type: text/plain\r\n\r\nbottom\r\n")
	wide.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range 100_000 {
		wide.WriteString("--b\r\n\r\nx\r\n")
	}
	wide.WriteString("--b--\r\n")
	for i := range 100_000 {
		fmt.Fprintf(&long, "X-Header-%d: %s\r\n", i, strings.Repeat("y", 85))
	}
	refs.WriteString("References:")
	for i := range 50_000 {
		fmt.Fprintf(&refs, "\r\n <%d@ref.example>", i)
	}
	rfc822 := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 5000)
	return map[string][]byte{
		"html":     []byte(head + "Content-Type: text/html\r\n\r\n" + strings.Repeat("<b><div a=\"1\"><!--", 60_000)),
		"deep":     append([]byte(head), deep.Bytes()...),
		"wide":     append([]byte(head), wide.Bytes()...),
		"headers":  append(append([]byte(head), long.Bytes()...), "\r\nbody\r\n"...),
		"refs":     append(append([]byte(head), refs.Bytes()...), "\r\n\r\nbody\r\n"...),
		"rfc822":   []byte(head + rfc822 + "Subject: inner\r\n\r\nx\r\n"),
		"address":  []byte("From: " + strings.Repeat("(((", 50_000) + "\r\nTo: " + strings.Repeat("\"a\" <b@c>,", 20_000) + "\r\n\r\nx\r\n"),
		"words":    []byte("Subject: " + strings.Repeat("=?utf-8?q?=C3?= ", 30_000) + "\r\n\r\nx\r\n"),
		"boundary": []byte(head + "Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("b", 5000) + "\"\r\n\r\n" + strings.Repeat("--"+strings.Repeat("b", 70)+"\r\n", 5000)),
		"empty":    []byte("\r\n"),
		"headless": []byte("\r\nonly a body\r\n"),
		"eight":    []byte("Subject: \xff\xfe\x80 caf\xe9\r\nFrom: \"\xc3\xa9\xff\" <x@y>\r\n\r\n\x80\x81\r\n"),
	}
}

func TestHostileMail(t *testing.T) {
	w := theWorld(t)
	var all [][]byte
	mails := nasty()
	for _, name := range []string{"html", "deep", "wide", "headers", "refs", "rfc822", "address", "words", "boundary", "empty", "headless", "eight"} {
		all = append(all, mails[name])
	}
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 3, Messages: harness.Dress(all, 12)}}
	p := synced(t, account(t, w, "hostile", "", boxes), boxes)
	c := login(t, p.Login)
	ours, err := fetchBox(c, "INBOX", itemsBody)
	must(t, err)
	theirs, err := fetchBox(upstreamLogin(t, w, "hostile"), "INBOX", itemsBody)
	must(t, err)
	sameMail(t, map[string][]row{"INBOX": ours}, map[string][]row{"INBOX": theirs})
	for _, text := range []string{
		"FETCH 1:* (ENVELOPE BODY BODYSTRUCTURE)", "FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[TEXT])", "FETCH 1:* (BODY.PEEK[1] BODY.PEEK[1.MIME])",
		"FETCH 1:* BODY.PEEK[HEADER.FIELDS (REFERENCES)]", "FETCH 1:* (BINARY.PEEK[1])", "FETCH 1:* (PREVIEW)",
		`SEARCH TEXT "zzyzx"`, `SEARCH BODY "bottom"`, `SEARCH HEADER X-Header-99999 "y"`, `SEARCH SUBJECT "nasty"`,
	} {
		start := time.Now()
		_, err := c.Cmd(text)
		var status *imapc.StatusError
		if err != nil && (!errors.As(err, &status) || status.Name != "NO") {
			t.Errorf("%s: %v", text, err)
			c = login(t, p.Login)
			cmd(t, c, "EXAMINE INBOX")
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s took %s", text, d)
		}
	}
	now, peak, err := p.Memory()
	must(t, err)
	t.Logf("figure: hostile mail: RSS %d MB, peak %d MB", now>>20, peak>>20)
	bounded(t, p)
}

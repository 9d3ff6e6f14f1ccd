package imapc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Client is one connection. One goroutine uses it.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	tags int
	// Timeout bounds each read of an answer.
	Timeout time.Duration
	// Greeting is the first answer.
	Greeting Response

	line []byte // the buffer of readLine
}

// Response is one answer of the server.
type Response struct {
	Tag  string // "*", "+" or a tag
	Name string // in upper case: OK, FETCH, EXISTS; "" for a continuation
	Num  uint32 // of "* 3 EXISTS"
	Code string // of a status answer, without brackets
	Text string // of a status answer or a continuation
	Data []Node // what follows the name otherwise
}

// Status says whether the answer is one of OK, NO, BAD, BYE and PREAUTH.
func (r Response) Status() bool {
	switch r.Name {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// Reply is all that a command was answered.
type Reply struct {
	Response // the tagged one
	Untagged []Response
}

// StatusError is a NO, a BAD or a BYE.
type StatusError struct {
	Command string
	Response
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: %s [%s] %s", e.Command, e.Name, e.Code, e.Text)
}

// Dial connects and reads the greeting, until ctx ends. Without a configuration for TLS the connection is plain.
func Dial(ctx context.Context, addr string, conf *tls.Config) (*Client, error) {
	var conn net.Conn
	var err error
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	if conf != nil {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: conf}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), Timeout: time.Minute}
	defer context.AfterFunc(ctx, c.Close)()
	if c.Greeting, err = c.Read(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("greeting: %w", err)
	}
	return c, nil
}

// Login dials and logs in, until ctx ends.
func Login(ctx context.Context, addr, user, password string) (*Client, error) {
	c, err := Dial(ctx, addr, nil)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, c.Close)()
	if _, err := c.Cmd("LOGIN " + Quote(user) + " " + Quote(password)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the connection without a LOGOUT.
func (c *Client) Close() { c.conn.Close() }

// Conn is the connection, for what a command cannot say.
func (c *Client) Conn() net.Conn { return c.conn }

// Quote returns s as a quoted string.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Send sends a command without waiting and returns its tag. Strings are sent as they are, []byte as literals that do
// not wait (RFC 7888).
func (c *Client) Send(parts ...any) (string, error) {
	c.tags++
	tag := "t" + strconv.Itoa(c.tags)
	b := []byte(tag + " ")
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(fmt.Appendf(b, "{%d+}\r\n", len(p)), p...)
		default:
			return "", fmt.Errorf("imapc: cannot send a %T", p)
		}
	}
	return tag, c.Write(append(b, "\r\n"...))
}

// Write sends bytes as they are.
func (c *Client) Write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// Wait reads answers up to the one with the tag. A NO or BAD is a *StatusError.
func (c *Client) Wait(tag string) (*Reply, error) {
	reply := &Reply{}
	err := c.Each(tag, func(r Response) error {
		reply.Untagged = append(reply.Untagged, r)
		return nil
	}, &reply.Response)
	return reply, err
}

// Each calls fn for every untagged answer up to the tagged one, which is stored in last where that is not nil.
func (c *Client) Each(tag string, fn func(Response) error, last *Response) error {
	for {
		r, err := c.Read()
		if err != nil {
			return err
		}
		switch r.Tag {
		case "*":
			if err := fn(r); err != nil {
				return err
			}
			if r.Name == "BYE" {
				if last != nil {
					*last = r
				}
				if rest, err := c.Read(); err == nil && rest.Tag == tag { // LOGOUT
					return nil
				}
				return &StatusError{"connection", r}
			}
		case "+":
			return fmt.Errorf("imapc: unexpected continuation %q", r.Text)
		case tag:
			if last != nil {
				*last = r
			}
			if r.Name != "OK" {
				return &StatusError{"command " + tag, r}
			}
			return nil
		default:
			return fmt.Errorf("imapc: answer to %s while waiting for %s", r.Tag, tag)
		}
	}
}

// Cmd sends a command and waits for its answer.
func (c *Client) Cmd(parts ...any) (*Reply, error) {
	tag, err := c.Send(parts...)
	if err != nil {
		return nil, err
	}
	reply, err := c.Wait(tag)
	var status *StatusError
	if errors.As(err, &status) {
		status.Command = fmt.Sprintf("%.80s", fmt.Sprint(parts...))
		if strings.HasPrefix(strings.ToUpper(status.Command), "LOGIN") {
			status.Command = "LOGIN"
		}
	}
	return reply, err
}

// Stream sends a command and calls fn for each untagged answer.
func (c *Client) Stream(fn func(Response) error, parts ...any) error {
	tag, err := c.Send(parts...)
	if err != nil {
		return err
	}
	return c.Each(tag, fn, nil)
}

// Idle enters IDLE; it returns the tag for Done.
func (c *Client) Idle() (string, error) {
	tag, err := c.Send("IDLE")
	if err != nil {
		return "", err
	}
	r, err := c.Read()
	if err == nil && r.Tag != "+" {
		err = fmt.Errorf("imapc: IDLE answered with %+v", r)
	}
	return tag, err
}

// Done leaves IDLE.
func (c *Client) Done(tag string) (*Reply, error) {
	if err := c.Write([]byte("DONE\r\n")); err != nil {
		return nil, err
	}
	return c.Wait(tag)
}

// Read reads one answer.
func (c *Client) Read() (Response, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return Response{}, err
	}
	var p parser
	var text strings.Builder
	for {
		line, err := c.readLine()
		if err != nil {
			return Response{}, err
		}
		text.Write(line)
		size, ok := literalSize(line)
		if !ok {
			break
		}
		text.WriteString("\r\n")
		data := make([]byte, size)
		if _, err := io.ReadFull(c.in, data); err != nil {
			return Response{}, err
		}
		p.literals = append(p.literals, string(data))
	}
	p.text = text.String()
	return p.response()
}

const (
	maxLine    = 64 << 20
	maxLiteral = 256 << 20
)

// readLine returns a line without its CRLF; it is valid until the next call.
func (c *Client) readLine() ([]byte, error) {
	c.line = c.line[:0]
	for {
		part, err := c.in.ReadSlice('\n')
		c.line = append(c.line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(c.line) > maxLine {
			return nil, errors.New("imapc: an endless line")
		}
	}
	n := len(c.line)
	if n < 2 || c.line[n-2] != '\r' {
		return nil, fmt.Errorf("imapc: a line ends in a bare LF: %.200q", c.line)
	}
	return c.line[:n-2], nil
}

// literalSize returns the size of the literal announced at the end of a line.
func literalSize(line []byte) (int, bool) {
	if len(line) == 0 || line[len(line)-1] != '}' {
		return 0, false
	}
	open := strings.LastIndexByte(string(line), '{')
	if open < 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(line[open+1:len(line)-1]), 10, 31)
	if err != nil || n > maxLiteral {
		return 0, false
	}
	return int(n), true
}

// response reads a whole answer.
func (p *parser) response() (Response, error) {
	var r Response
	var rest string
	r.Tag, rest, _ = strings.Cut(p.text, " ")
	p.pos = len(p.text) - len(rest)
	if r.Tag == "+" {
		r.Text = rest
		return r, nil
	}
	if r.Tag == "" {
		return r, p.fail("an answer without a tag")
	}
	name, err := p.atom()
	if err != nil {
		return r, err
	}
	if n, err := strconv.ParseUint(name.Text, 10, 32); err == nil && r.Tag == "*" {
		r.Num = uint32(n)
		if err := p.space(); err != nil {
			return r, err
		}
		if name, err = p.atom(); err != nil {
			return r, err
		}
	}
	r.Name = strings.ToUpper(name.Text)
	if r.Status() {
		return r, p.status(&r)
	}
	if r.Tag != "*" {
		return r, p.fail("a tagged answer that is no status")
	}
	if !p.end() {
		if err := p.space(); err != nil {
			return r, err
		}
		r.Data, err = p.nodes()
	}
	return r, err
}

// status reads what follows OK, NO, BAD, BYE or PREAUTH: [CODE] text.
func (p *parser) status(r *Response) error {
	if err := p.space(); err != nil {
		return err
	}
	r.Text = p.text[p.pos:]
	if strings.HasPrefix(r.Text, "[") {
		code, text, ok := strings.Cut(r.Text[1:], "] ")
		if !ok {
			return p.fail("an unclosed response code")
		}
		r.Code, r.Text = code, text
	}
	if r.Text == "" {
		return p.fail("a status without text")
	}
	return nil
}

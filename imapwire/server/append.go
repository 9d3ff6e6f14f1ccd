package server

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"imapped/app/session"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// upload is an APPEND or REPLACE whose messages are on their way to the application. Main owns it from the first
// literal to the end of the command.
type upload struct {
	session.Append
	replaced mailbox.UID // REPLACE: the message to be replaced
}

// endUpload forgets what was not committed.
func (c *conn) endUpload() {
	if c.up != nil {
		c.up.Close()
		c.up = nil
	}
}

// takeMessage takes the message that a command has announced as its last literal, while it arrives. An answer that is
// not nil refuses the command; an error ends the connection.
func (c *conn) takeMessage(cmd fsm.Command, p *parsed) (*answer, error) {
	lit := c.fr.Literal()
	m := &p.cmd.Append[len(p.cmd.Append)-1]
	flags, refused := flagsOf(m.Flags)
	if refused == nil {
		refused = c.mayUpload(cmd, &p.cmd, m)
	}
	if refused != nil {
		return refused, nil
	}
	var date time.Time
	if m.HasDate {
		date = m.Date.Time()
	}
	if !c.fr.Stream() {
		return tooBig(), nil
	}
	if !lit.NonSync {
		c.goAhead()
	}
	c.began, c.got = time.Now(), 0
	return c.upload(cmd, lit, flags, date)
}

func tooBig() *answer {
	return &answer{result: fsm.NO, code: "TOOBIG", text: "The message is too large"}
}

// goAhead asks for a literal that waits.
func (c *conn) goAhead() {
	c.out.begin()
	c.out.text("+ Ready\r\n")
	c.out.end()
}

// mayUpload decides whether the message may come, and begins the upload with the first. m is its description.
func (c *conn) mayUpload(cmd fsm.Command, args *syntax.Command, m *syntax.AppendMsg) *answer {
	for _, need := range []struct {
		on    bool
		param string
	}{{m.UTF8, "UTF8"}, {m.Binary && !m.UTF8, "BINARY"}, {c.up != nil, "MULTIAPPEND"}} {
		if need.on {
			if refused := c.param(cmd, need.param); refused != nil {
				return refused
			}
		}
	}
	switch {
	case m.Size == 0: // RFC 3502 section 6.3.11: a client gives up its APPEND in this way
		a := no("", "There is no empty message")
		return &a
	case m.Size > uint64(c.srv.opt.AppendLimit):
		return tooBig()
	case c.up == nil:
		if refused := c.beginUpload(cmd, args); refused != nil {
			return refused
		}
	}
	return c.hasRoom(cmd, m.Size)
}

// beginUpload begins the upload of an APPEND or REPLACE.
func (c *conn) beginUpload(cmd fsm.Command, args *syntax.Command) *answer {
	up := &upload{}
	if cmd != fsm.Append {
		var refused *answer
		if up.replaced, refused = c.toReplace(cmd, args.Set); refused != nil {
			return refused
		}
	}
	name, refused := c.mailboxName(args.Mailbox)
	if refused != nil {
		return refused
	}
	app, err := c.sess.Append(c.ctx, name)
	if err != nil {
		a := c.failureTo(cmd, err)
		return &a
	}
	up.Append, c.up = app, up
	return nil
}

// toReplace returns the UID of the message that a REPLACE names.
func (c *conn) toReplace(cmd fsm.Command, set syntax.NumSet) (mailbox.UID, *answer) {
	if refused := c.isReadOnly(); refused != nil {
		return 0, refused
	}
	v := c.sel.box.View()
	seqs, valid := c.resolve(v, set, cmd == fsm.UIDReplace)
	switch {
	case !valid:
		a := bad("No such message")
		return 0, &a
	case len(seqs) == 0:
		a := no("NONEXISTENT", "There is no message with this UID")
		return 0, &a
	}
	return v.UID(seqs[0].First), nil
}

// upload passes a literal on. When that fails, the rest of the literal is dropped, and the command is refused.
func (c *conn) upload(cmd fsm.Command, lit syntax.Literal, flags flag.Set, date time.Time) (*answer, error) {
	r := c.fr.LiteralReader(liveReader{c})
	body := &bodyReader{r: r, left: lit.Size, binary: lit.Binary}
	err := c.up.Add(c.ctx, body, int64(lit.Size), flags, date)
	_ = r.Close() // from here on the framer drops what was not read
	var a answer
	switch {
	case body.failed != nil:
		return nil, body.failed
	case body.nul:
		a = bad("NUL in a literal; it takes a literal8")
	case err != nil:
		a = c.failureTo(cmd, err)
	case body.left > 0:
		a = c.failure(cmd, errors.New("the message was not read to its end"))
	default:
		return nil, nil
	}
	return &a, nil
}

// bodyReader reads a message for the application, and remembers why it ended.
type bodyReader struct {
	r      io.Reader
	left   uint64
	binary bool  // NUL may be part of it (RFC 3516)
	nul    bool  // it was where it must not be
	failed error // the connection failed
}

var errNUL = errors.New("NUL in a literal")

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	if b.nul {
		return 0, errNUL
	}
	n, err := b.r.Read(p)
	b.left -= uint64(n)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	if !b.binary && bytes.IndexByte(p[:n], 0) >= 0 {
		b.nul = true
		return 0, errNUL
	}
	return n, err
}

// liveReader reads from the client within the time limits.
type liveReader struct{ c *conn }

// Read implements io.Reader.
func (r liveReader) Read(p []byte) (int, error) {
	c := r.c
	if err := c.out.flush(); err != nil {
		return 0, err
	}
	for {
		c.arm(c.readDeadline())
		n, err := c.rd.Read(p)
		c.received(n)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Append answers APPEND (RFC 9051 section 6.3.12, RFC 3502), whose messages have all come.
func (c *conn) Append(j *job) answer {
	done, err := c.up.Commit(c.ctx, nil, 0)
	if err != nil {
		return c.failureTo(j.cmd, err)
	}
	a := ok("Append completed")
	if c.srv.caps.Has(fsm.CapUidplus) {
		a.code = appendUID(&done)
	}
	return a
}

// Replace answers REPLACE (RFC 8508).
func (c *conn) Replace(j *job) answer { return c.replace(j) }

// UIDReplace answers UID REPLACE.
func (c *conn) UIDReplace(j *job) answer { return c.replace(j) }

func (c *conn) replace(j *job) answer {
	done, err := c.up.Commit(c.ctx, c.sel.box, c.up.replaced)
	if err != nil {
		return c.failure(j.cmd, err) // not TRYCREATE: it may be the message that is gone
	}
	if c.srv.caps.Has(fsm.CapUidplus) {
		// Before the EXPUNGE, so that the client knows what has come in its place (RFC 8508 section 4.3).
		c.out.untagged("OK [" + appendUID(&done) + "] Replaced")
	}
	a := ok("Replace completed")
	a.highest = true
	return a
}

// appendUID returns the response code for what was appended (RFC 4315 section 3).
func appendUID(done *session.Appended) string {
	code := strconv.AppendUint([]byte("APPENDUID "), uint64(done.UIDValidity), 10)
	return string(appendUIDs(append(code, ' '), done.UIDs))
}

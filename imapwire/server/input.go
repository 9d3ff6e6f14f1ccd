package server

import (
	"errors"
	"net"
	"time"

	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// fill reads once from the client: for the next command, or for what a running one waits for. Before it waits, it sends
// what has been collected.
func (c *conn) fill(next bool) error {
	if err := c.out.flush(); err != nil {
		return err
	}
	if c.began.IsZero() && c.fr.InFrame() {
		c.began = time.Now()
	}
	for {
		c.arm(c.readDeadline())
		n, err := c.rd.Read(c.fr.Reserve())
		c.received(n)
		c.fr.Commit(n)
		if n > 0 {
			return nil
		}
		if err == nil {
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && next && c.jobs.busy() && c.ending() == "" && !c.fr.InFrame() {
			continue // not idle: an answer is on its way
		}
		return err
	}
}

// literalPace is how much of a literal must arrive within one command's time: a long one takes its time, and a client
// that sends almost nothing does not hold its connection for ever.
const literalPace = 64 << 10

// received counts octets against the time limits.
func (c *conn) received(n int) {
	switch {
	case n == 0:
	case c.began.IsZero():
		c.began, c.got = time.Now(), n
	default:
		if c.got += n; c.got >= literalPace && c.fr.Remaining() > 0 {
			c.began, c.got = time.Now(), 0
		}
	}
}

// readDeadline is until when the next octets must come.
func (c *conn) readDeadline() time.Time {
	o := &c.srv.opt
	var d time.Time
	switch {
	case c.began.IsZero():
		d = time.Now().Add(o.IdleTimeout)
	default:
		d = c.began.Add(o.CommandTimeout)
	}
	if login := c.opened.Add(o.LoginTimeout); c.state == fsm.NotAuthenticated && login.Before(d) {
		return login
	}
	return d
}

// next returns the framer's next event that is not about reading.
func (c *conn) next() (syntax.Event, error) {
	for {
		if c.ending() != "" {
			return 0, net.ErrClosed
		}
		ev, err := c.fr.Next()
		if err != nil || ev != syntax.NeedData {
			return ev, err
		}
		if err := c.fill(true); err != nil {
			return 0, err
		}
	}
}

// line returns a line that is no command, after a continuation request (AUTHENTICATE, IDLE). ok is false when it was
// too long. The line is valid until the next read.
func (c *conn) line() (line []byte, ok bool, err error) {
	c.began = time.Time{}
	for {
		if c.ending() != "" {
			return nil, false, net.ErrClosed
		}
		ev, err := c.fr.NextLine()
		switch {
		case err != nil:
			return nil, false, err
		case ev == syntax.EventFrame:
			return c.fr.Frame().Data, true, nil
		case ev == syntax.EventReject:
			return nil, false, nil
		}
		if err := c.fill(false); err != nil {
			return nil, false, err
		}
	}
}

// step takes one frame from the client and begins the command in it. It returns false when the connection ends.
func (c *conn) step() bool {
	c.began = time.Time{}
	defer c.endUpload()
	p := c.srv.parsed.Get().(*parsed)
	refused, err := c.receive(p)
	switch {
	case err != nil:
		c.putParsed(p)
		c.lost(err)
		return false
	case refused != nil:
		c.reply(p.cmd.Tag, fsm.Unknown, refused)
		c.putParsed(p)
	default:
		c.dispatch(p)
	}
	if c.readErr != nil {
		c.lost(c.readErr)
		return false
	}
	if c.tooBad() {
		c.bye("Too many bad commands")
		return false
	}
	return true
}

// receive reads one frame into p. A frame that was refused gives the answer to send; its tag, if it has one, is then in
// p.cmd. An empty line gives neither an answer nor a tag.
func (c *conn) receive(p *parsed) (*answer, error) {
	var refused *answer
	for {
		ev, err := c.next()
		if err != nil {
			return nil, err
		}
		switch ev {
		case syntax.EventLiteral:
			if refused == nil {
				if refused, err = c.literal(p); err != nil {
					return nil, err
				}
			}
			if refused != nil {
				c.fr.Refuse() // where a message was begun, this changes nothing: its rest is dropped
			}
		case syntax.EventReject:
			p.frame.CopyFrom(c.fr.Frame())
			p.cmd.Reset()
			p.cmd.Tag = p.frame.Tag()
			if refused == nil {
				a := bad("%s", c.fr.Reason())
				if c.fr.Reason() == syntax.ReasonLine || c.fr.Reason() == syntax.ReasonCommand {
					a.code = "TOOBIG"
				}
				refused = &a
			}
			c.fr.Release()
			return refused, nil
		case syntax.EventFrame:
			p.frame.CopyFrom(c.fr.Frame())
			c.fr.Release()
			if refused != nil {
				p.cmd.Reset()
				p.cmd.Tag = p.frame.Tag()
			}
			return refused, nil
		}
	}
}

// literal decides about a literal that a command announces: the state first, then the grammar, then the size, and only
// then may it come. It returns nil when the literal is welcome; a message has then been taken already. An error ends the
// connection.
func (c *conn) literal(p *parsed) (*answer, error) {
	parser := syntax.Parser{Limits: c.fr.Limits()}
	kind, err := parser.Probe(c.fr.Frame(), &p.cmd)
	cmd := commandOf(p.cmd.Verb, p.cmd.UID)
	if a := c.verdict(cmd); a != nil {
		return a, nil
	}
	if err != nil {
		a := badSyntax(err)
		return &a, nil
	}
	policy := cmd.Row().Literals
	if policy == fsm.LiteralsNone || kind == syntax.LiteralAsData && policy != fsm.LiteralsStream {
		a := bad("%s takes no such literal", cmd)
		return &a, nil
	}
	if kind == syntax.LiteralAsData {
		return c.takeMessage(cmd, p)
	}
	if !c.fr.Inline() {
		return &answer{result: fsm.BAD, code: "TOOBIG", text: "Literal too large"}, nil
	}
	if !c.fr.Literal().NonSync {
		c.goAhead()
	}
	return nil, nil
}

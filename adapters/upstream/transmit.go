package upstream

import (
	"context"
	"slices"

	"imapped/domain/fault"
)

// transmit makes the commands pending and writes them. The caller has the turn. Whoever begins to write goes on to the
// end, whatever his context says, for a command cut in the middle would swallow the next one; only the octets of a
// message are not worth that: see sender.message.
func (c *Conn) transmit(ctx context.Context, ops []*op) error {
	c.mu.Lock()
	if c.gone || c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.pending = append(c.pending, ops...)
	c.armLocked()
	c.mu.Unlock()

	s := sender{c: c, ctx: ctx}
	c.writer.Reset()
	for _, o := range ops {
		if err := s.command(o); err != nil {
			return c.broken(err)
		}
	}
	if err := s.flush(); err != nil {
		return c.broken(err)
	}
	return nil
}

// sender writes commands through Conn.writer, several at a time.
type sender struct {
	c   *Conn
	ctx context.Context //nolint:containedctx // a sender is one call of transmit
	ops []*op           // of which something stands in the writer
}

// command writes a command, or leaves it in the writer for later.
func (s *sender) command(o *op) error {
	if a, ok := o.answer.(*appending); ok {
		return s.message(o, a)
	}
	if a, ok := o.answer.(*searching); ok && !a.extended {
		if gone, err := s.after(o); gone || err != nil {
			return err
		}
	}
	refused, err := s.head(o)
	if err != nil || refused {
		return err
	}
	return s.end()
}

// after waits until no other search is pending: nothing in the answer to a SEARCH says which command it belongs to. gone
// says that the command was given up meanwhile.
func (s *sender) after(o *op) (gone bool, err error) {
	c := s.c
	for {
		c.mu.Lock()
		before := slices.IndexFunc(c.pending, func(p *op) bool {
			_, search := p.answer.(*searching)
			return search || p == o
		})
		if before < 0 || c.pending[before] == o {
			c.mu.Unlock()
			return false, nil
		}
		other := c.pending[before]
		c.mu.Unlock()
		if err := s.flush(); err != nil {
			return false, err
		}
		select {
		case <-other.done:
		case <-s.ctx.Done():
			c.withdraw(o, fault.Wrap(o.answer.verb(), s.ctx.Err()))
			return true, nil
		}
	}
}

// head encodes a command without its line end, and writes it up to its last literal that has to wait.
func (s *sender) head(o *op) (refused bool, err error) {
	w := &s.c.writer
	s.c.wire.began()
	s.ops = append(s.ops, o)
	o.answer.encode(w.Raw(o.tag).SP())
	for len(w.Splits) > 0 {
		if refused, err = s.literal(o); err != nil {
			return false, err
		}
		if refused {
			w.Reset()
			s.ops = s.ops[:0]
			return true, nil
		}
	}
	return false, nil
}

// end writes the line end; a full writer is written out.
func (s *sender) end() error {
	if s.c.writer.End(); len(s.c.writer.Buf) >= writeChunk {
		return s.flush()
	}
	return nil
}

// flush writes out what the writer holds: whole commands.
func (s *sender) flush() error { return s.write(len(s.c.writer.Buf), true) }

// write writes out the first n octets of what the writer holds. whole says that the last command ends there. Commands
// are marked before the first of their octets is written, and not marked when the connection is known to be lost.
func (s *sender) write(n int, whole bool) error {
	c, w := s.c, &s.c.writer
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	last := len(s.ops) - 1
	for i, o := range s.ops {
		if o.outcome != nil {
			o.outcome.Sent = true
		}
		o.whole = whole || i < last
	}
	c.mu.Unlock()
	if whole {
		s.ops = s.ops[:0]
	} else {
		s.ops = append(s.ops[:0], s.ops[last])
	}
	if n == 0 {
		return nil
	}
	err := c.wire.write(w.Buf[:n])
	w.Buf = append(w.Buf[:0], w.Buf[n:]...)
	return err
}

// literal writes what stands before the first split and waits for "+"; refused says that the command was answered
// instead, so that its rest must not be sent. A server that did both is out of step: what it would take for a command
// next is the literal.
func (s *sender) literal(o *op) (refused bool, err error) {
	c, w := s.c, &s.c.writer
	split := w.Splits[0]
	w.Splits = append(w.Splits[:0], w.Splits[1:]...)
	for i := range w.Splits {
		w.Splits[i] -= split
	}
	c.expect(o, true)
	defer c.expect(o, false)
	if err := s.write(split, false); err != nil {
		return false, err
	}
	select {
	case <-o.plus:
		select {
		case <-o.done:
		default:
			return false, nil
		}
	case <-o.done:
		select {
		case <-o.plus:
		default:
			return true, nil
		}
	}
	return false, fault.New(fault.Unavailable, o.answer.verb(), "the server asks for a literal and answers before it has it")
}

// message writes an APPEND. Its first octets are read before anything of it is sent, so that a message that cannot be
// read costs nothing but its command.
func (s *sender) message(o *op, a *appending) error {
	c := s.c
	if err := s.ctx.Err(); err != nil {
		c.withdraw(o, fault.Wrap("APPEND", err))
		return nil
	}
	buf := c.wire.buffers.Get().(*[readBuffer]byte)
	defer c.wire.buffers.Put(buf)
	body, err := a.open()
	if err == nil {
		defer body.close()
		err = body.fill(buf[:])
	}
	if err != nil {
		c.withdraw(o, err)
		return nil
	}
	// Who does not want it any more is not to wait for a stalled server.
	stop := context.AfterFunc(s.ctx, func() {
		c.fail(fault.New(fault.Unavailable, "APPEND", "given up in the middle of a message"))
	})
	defer stop()
	refused, err := s.head(o)
	if err != nil || refused {
		return err
	}
	for {
		if err := s.octets(body.chunk); err != nil {
			return err
		}
		if body.left == 0 {
			return s.end()
		}
		if err := body.fill(buf[:]); err != nil {
			a.give(o, err)
			return fault.New(fault.Unavailable, "APPEND", "given up in the middle of a message: "+err.Error())
		}
	}
}

// octets writes a piece of a message; a small one goes out with what stands before and behind it.
func (s *sender) octets(b []byte) error {
	c, w := s.c, &s.c.writer
	if len(b) <= writeChunk {
		w.Buf = append(w.Buf, b...)
		return nil
	}
	if err := s.write(len(w.Buf), false); err != nil {
		return err
	}
	if err := c.wire.write(b); err != nil {
		return err
	}
	c.mu.Lock() // the server cannot answer before it has everything: its silence begins anew
	c.armLocked()
	c.mu.Unlock()
	return nil
}

// expect says whether the next continuation request is for o.
func (c *Conn) expect(o *op, waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.waits = waits
}

// withdraw ends a pending command of which nothing was sent.
func (c *Conn) withdraw(o *op, err error) {
	c.mu.Lock()
	i := slices.Index(c.pending, o)
	if i < 0 { // the connection is lost, and the reading goroutine has it
		c.mu.Unlock()
		return
	}
	c.pending = slices.Concat(c.pending[:i], c.pending[i+1:]) // the reading goroutine may be looking at the old one
	c.armLocked()
	c.mu.Unlock()

	o.batch.mu.Lock()
	o.answered = true
	o.answer.finish(nil, err)
	o.batch.mu.Unlock()
	c.complete(o)
}

// broken ends the connection after a failed write and waits until nothing is pending.
func (c *Conn) broken(err error) error {
	c.fail(lost("write", err))
	<-c.ended
	return c.failure()
}

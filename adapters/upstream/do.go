package upstream

import (
	"context"
	"strconv"
	"time"

	"imapped/domain/fault"
	"imapped/ports/upstream"
)

// Do sends the commands and waits for their answers, as ports/upstream.Conn says. A command's Err is nil until it is
// known better, so that callbacks of a later command can ask whether an earlier one failed.
func (c *Conn) Do(ctx context.Context, cmds ...upstream.Command) error {
	var todo []answer
	for _, cmd := range cmds {
		cmd.Result().Err = nil
		todo = append(todo, c.answers(cmd)...)
	}
	if len(todo) == 0 {
		return nil
	}
	if err := c.attempt(ctx, todo); err != nil {
		return err
	}
	if again := c.plainer(todo); len(again) > 0 {
		return c.Do(ctx, again...)
	}
	return nil
}

// attempt sends the commands in one flush and waits until each is answered. When it fails, those that were not are
// finished with the same error.
func (c *Conn) attempt(ctx context.Context, todo []answer) error {
	if err := c.acquire(ctx); err != nil {
		for _, a := range todo {
			a.finish(nil, err)
		}
		return err
	}
	b := &batch{canceled: make(chan struct{}), done: make(chan struct{}), left: len(todo)}
	ops := make([]*op, len(todo))
	for i, a := range todo {
		ops[i] = c.newOp(b, a)
	}
	err := c.transmit(ops)
	c.release()
	if err == nil {
		select {
		case <-b.done:
			return b.lost
		case <-ctx.Done():
			err = fault.Wrap("upstream", ctx.Err())
			c.abandon(b)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range ops {
		if !o.answered {
			o.answer.finish(nil, err)
		}
	}
	return err
}

// plainer returns the commands whose better form the server refused although it offers it, and remembers that: they
// are sent again in the plain form, which cannot be refused so.
func (c *Conn) plainer(done []answer) (again []upstream.Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range done {
		switch a := a.(type) {
		case *listing:
			if a.refused {
				c.noListReturn = true
				again = append(again, a.cmd)
			}
		case *enumerating:
			if a.refused {
				c.noESearch = true
				again = append(again, a.cmd)
			}
		}
	}
	return again
}

func (c *Conn) newOp(b *batch, a answer) *op {
	c.tags++
	return &op{
		tag: "A" + strconv.FormatUint(c.tags, 10), batch: b, answer: a,
		plus: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// transmit makes the commands pending and writes them. The caller has the turn. Whoever begins to write goes on to the
// end, whatever his context says: a command cut in the middle would swallow the next one.
func (c *Conn) transmit(ops []*op) error {
	c.mu.Lock()
	if c.gone || c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.pending = append(c.pending, ops...)
	c.armLocked()
	c.mu.Unlock()
	c.wire.commands.Add(int64(len(ops)))

	w := &c.writer
	w.Reset()
	for _, o := range ops {
		w.Raw(o.tag).SP()
		o.answer.encode(w)
		w.End()
		for len(w.Splits) > 0 {
			refused, err := c.literal(o)
			if err != nil {
				return c.broken(err)
			}
			if refused {
				w.Reset()
			}
		}
		if len(w.Buf) >= writeChunk {
			if err := c.wire.write(w.Buf); err != nil {
				return c.broken(err)
			}
			w.Reset()
		}
	}
	if err := c.wire.write(w.Buf); err != nil {
		return c.broken(err)
	}
	return nil
}

// literal writes what stands before the first split and waits for "+"; refused says that the command was answered
// instead, so that its rest must not be sent.
func (c *Conn) literal(o *op) (refused bool, err error) {
	w := &c.writer
	split := w.Splits[0]
	c.expect(o, true)
	defer c.expect(o, false)
	if err := c.wire.write(w.Buf[:split]); err != nil {
		return false, err
	}
	w.Buf = append(w.Buf[:0], w.Buf[split:]...)
	w.Splits = append(w.Splits[:0], w.Splits[1:]...)
	for i := range w.Splits {
		w.Splits[i] -= split
	}
	select {
	case <-o.plus:
		return false, nil
	case <-o.done:
		return true, nil
	}
}

// expect says whether the next continuation request is for o.
func (c *Conn) expect(o *op, waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.waits = waits
}

// broken ends the connection after a failed write and waits until nothing is pending.
func (c *Conn) broken(err error) error {
	c.fail(lost("write", err))
	<-c.ended
	return c.failure()
}

// abandon gives up a batch whose caller does not wait any longer: from its return on nothing of the caller's is
// touched. A body that is being read is interrupted; what the server still sends is dropped.
func (c *Conn) abandon(b *batch) {
	close(b.canceled)
	c.mu.Lock()
	if c.body == b {
		c.cut = true
		c.armLocked()
	}
	c.mu.Unlock()
	b.mu.Lock() // waits for a callback that is running
	b.dead = true
	b.mu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-b.done: // it was answered meanwhile
	default:
		b.timer = time.AfterFunc(c.drain, func() {
			c.fail(fault.New(fault.Unavailable, "upstream", "the answer to a cancelled command takes too long"))
		})
	}
}

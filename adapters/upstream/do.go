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
	var todo []task
	for _, cmd := range cmds {
		outcome := cmd.Result()
		*outcome = upstream.Outcome{}
		for _, a := range c.answers(cmd) {
			todo = append(todo, task{a, outcome})
		}
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

// task is a command that is to be sent for somebody.
type task struct {
	answer  answer
	outcome *upstream.Outcome // of which the sender sets Sent
}

// attempt sends the commands in one flush and waits until each is answered. When it fails, those that were not are
// finished with the same error.
func (c *Conn) attempt(ctx context.Context, todo []task) error {
	if err := c.acquire(ctx); err != nil {
		for _, t := range todo {
			t.answer.finish(nil, err)
		}
		return err
	}
	b := &batch{canceled: make(chan struct{}), done: make(chan struct{}), left: len(todo)}
	ops := make([]*op, len(todo))
	for i, t := range todo {
		ops[i] = c.newOp(b, t)
	}
	err := c.transmit(ctx, ops)
	c.release()
	if err == nil {
		select {
		case <-b.done:
			return b.lost
		case <-ctx.Done():
			err = fault.Wrap("upstream", ctx.Err())
			c.abandon(b)
		}
	} else if ctx.Err() != nil { // which is why it failed, perhaps
		err = fault.Wrap("upstream", ctx.Err())
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
func (c *Conn) plainer(done []task) (again []upstream.Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range done {
		switch a := t.answer.(type) {
		case *listing:
			if a.refused {
				c.noListReturn = true
				again = append(again, a.cmd)
			}
		case *searching:
			if a.refused {
				c.noESearch = true
				again = append(again, a.cmd)
			}
		}
	}
	return again
}

func (c *Conn) newOp(b *batch, t task) *op {
	c.tags++
	o := &op{
		tag: "A" + strconv.FormatUint(c.tags, 10), batch: b, answer: t.answer, outcome: t.outcome,
		plus: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if c.onCommand != nil && t.outcome != nil {
		o.name, o.begun = t.answer.verb(), time.Now()
	}
	return o
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

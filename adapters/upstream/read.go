package upstream

import (
	"errors"
	"io"
	"slices"

	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// read is the reading goroutine: it lives as long as the connection.
func (c *Conn) read() {
	defer close(c.ended)
	for {
		r, err := c.wire.next()
		if err == nil {
			err = c.handle(r)
		}
		if err != nil {
			c.fail(lost("read", err))
			break
		}
	}
	c.wire.release()
	c.fetch.drop()

	c.mu.Lock()
	c.gone = true
	owed, err := c.pending, c.err
	c.pending = nil
	c.mu.Unlock()
	for _, o := range owed {
		o.batch.mu.Lock()
		if !o.batch.dead {
			o.batch.lost, o.answered = err, true
			o.answer.finish(nil, err)
		}
		o.batch.mu.Unlock()
		c.observe(o, err)
		c.complete(o)
	}
}

// complete ends a command that is not pending any more.
func (c *Conn) complete(o *op) {
	close(o.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.batch.left--; o.batch.left == 0 {
		if o.batch.timer != nil {
			o.batch.timer.Stop()
		}
		close(o.batch.done)
	}
}

// handle acts upon one response.
func (c *Conn) handle(r *syntax.Response) error {
	switch r.Kind {
	case syntax.RespTagged:
		c.tagged(r)
	case syntax.RespContinue:
		c.proceed()
	case syntax.RespFetch:
		return c.fetched(r)
	case syntax.RespStatus:
		c.status(r)
	case syntax.RespExists, syntax.RespExpunge, syntax.RespVanished:
		if !c.give(r) {
			c.changed(r)
		}
	case syntax.RespGarbage:
		if c.garbage++; c.garbage > maxGarbage {
			return fault.New(fault.Unavailable, "read", "the server does not speak IMAP any more")
		}
		if len(r.Text) > 0 {
			c.mu.Lock()
			c.noise = printable(r.Text)
			c.mu.Unlock()
		}
	default:
		c.give(r)
	}
	return nil
}

// tagged ends a command.
func (c *Conn) tagged(r *syntax.Response) {
	tag := string(r.Tag)
	c.mu.Lock()
	i := slices.IndexFunc(c.pending, func(o *op) bool { return o.tag == tag })
	if i < 0 {
		c.mu.Unlock()
		return
	}
	o := c.pending[i]
	c.pending = slices.Delete(c.pending, i, i+1)
	c.noise, c.garbage = "", 0
	whole := o.whole
	c.mu.Unlock()

	var err error
	if r.Status != syntax.StatusOK {
		err = refusal(o.answer.verb(), r, false)
	} else if !whole {
		err = fault.New(fault.Unavailable, o.answer.verb(), "the server says OK to a command that it has not got whole")
	}
	o.batch.mu.Lock()
	if !o.batch.dead {
		o.answered = true
		o.answer.finish(r, err)
	}
	o.batch.mu.Unlock()
	c.observe(o, err)
	c.complete(o)
}

// proceed passes a continuation request on to the command that waits for one: the oldest that was sent in part.
func (c *Conn) proceed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.pending {
		if o.waits {
			select {
			case o.plus <- struct{}{}:
			default:
			}
			return
		}
	}
}

// give offers a response to the pending commands, oldest first, and says whether one took it. What an abandoned
// command would take is dropped. One that names its command is for that one: servers carry several commands out before
// they say of the first that it is done.
func (c *Conn) give(r *syntax.Response) bool {
	c.mu.Lock()
	pending := c.pending
	c.mu.Unlock()
	named := slices.IndexFunc(pending, func(o *op) bool { return o.tag == string(r.ESearch.Tag) })
	for i, o := range pending {
		if named >= 0 && i != named {
			continue
		}
		o.batch.mu.Lock()
		taken := o.answer.take(r, i == 0)
		o.batch.mu.Unlock()
		if taken {
			return true
		}
	}
	return false
}

// changed records news of the selected mailbox.
func (c *Conn) changed(r *syntax.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Kind {
	case syntax.RespExists:
		if r.Num != c.exists {
			c.exists = r.Num
			c.tell(upstream.Event{Exists: true})
		}
	case syntax.RespExpunge:
		if c.exists > 0 && !c.traits.noRenumber {
			c.exists--
		}
		c.tell(upstream.Event{Expunge: true})
	case syntax.RespVanished:
		for _, n := range r.Nums {
			if count := n.Last - n.First + 1; !r.Earlier && !c.traits.noRenumber {
				c.exists -= min(c.exists, count)
			}
		}
		c.tell(upstream.Event{Expunge: true})
	}
}

// status acts upon an untagged condition.
func (c *Conn) status(r *syntax.Response) {
	if r.Status == syntax.StatusBYE {
		c.mu.Lock()
		c.bye = refusal("upstream", r, false)
		c.mu.Unlock()
		c.log.Info("upstream says goodbye", "text", printable(r.Text))
		return
	}
	if r.Code.ID == syntax.CodeAlert {
		c.log.Warn("upstream alert", "text", printable(r.Text))
	}
	c.give(r)
}

// bodyReader is a body on its way to a callback. It fails at once when the caller of Do is gone.
type bodyReader struct {
	c     *Conn
	batch *batch
	lit   *syntax.LiteralReader
	skip  int64 // octets in front that were not asked for
	err   error // the connection's end
}

func (b *bodyReader) Read(p []byte) (int, error) {
	for b.skip > 0 && len(p) > 0 {
		n, err := b.read(p[:min(int64(len(p)), b.skip)])
		b.skip -= int64(n)
		if err != nil {
			return 0, err
		}
	}
	return b.read(p)
}

func (b *bodyReader) read(p []byte) (int, error) {
	c := b.c
	if b.err != nil {
		return 0, b.err
	}
	c.mu.Lock()
	select {
	case <-b.batch.canceled:
		c.mu.Unlock()
		return 0, fault.New(fault.Canceled, "read body", "the caller is gone")
	default:
	}
	c.body = b.batch
	c.mu.Unlock()

	n, err := b.lit.Read(p)

	c.mu.Lock()
	cut := c.cut
	c.body, c.cut = nil, false
	c.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case cut:
		return n, fault.New(fault.Canceled, "read body", "the caller is gone")
	}
	b.err = lost("read body", err)
	return n, b.err
}

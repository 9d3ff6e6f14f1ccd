package server

import (
	"bytes"
	"sync"
	"time"

	"imapped/imapwire/syntax"
)

// Idle answers IDLE (RFC 9051 section 6.3.13). Main waits for DONE; a watcher tells what happens meanwhile.
func (c *conn) Idle(j *job) answer {
	c.out.begin()
	c.out.text("+ idling\r\n")
	c.out.end()
	j.tag = bytes.Clone(j.tag)
	c.putParsed(j.p) // an idle connection holds no buffer
	j.p, j.args = nil, nil

	var watcher sync.WaitGroup
	stop := make(chan struct{})
	if c.sel != nil {
		watcher.Go(func() { c.guard(func() { c.watch(stop) }) })
	}
	line, fits, err := c.line()
	close(stop)
	watcher.Wait()
	switch {
	case err != nil:
		c.readErr = err
		return answer{silent: true}
	case !fits || !syntax.EqualFold(bytes.TrimRight(line, " "), "DONE"):
		return bad("Expected DONE")
	}
	return ok("Idle completed")
}

// watch tells the client what happens in its mailbox until stop is closed.
func (c *conn) watch(stop <-chan struct{}) {
	var tick <-chan time.Time
	if every := c.srv.opt.KeepAlive; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	c.update(true, true)
	for {
		if c.out.flush() != nil {
			c.cut()
			return
		}
		select {
		case <-stop:
			return
		case <-c.sel.box.Hint():
			c.sel.dirty = true
			c.update(true, false)
		case <-tick:
			c.out.untagged("OK Still here")
		}
	}
}

package upstream

import (
	"cmp"
	"context"
	"time"

	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// shortIdle is an IDLE that the server ends by itself so soon that another one would not help.
const (
	shortIdle     = time.Second
	maxShortIdles = 3
)

// Idle waits for news, as ports/upstream.Conn says. fn runs on the caller's goroutine.
func (c *Conn) Idle(ctx context.Context, fn func(upstream.Event) bool) error {
	if !c.server.Idle {
		return fault.New(fault.Invalid, "IDLE", "the server does not offer it")
	}
	short := 0
	for {
		if ev := c.TakeNews(); ev != (upstream.Event{}) && !fn(ev) {
			return nil
		}
		err := c.acquire(ctx)
		if ctx.Err() != nil { // being told to stop is no failure
			if err == nil {
				c.release()
			}
			return nil
		}
		if err != nil {
			return err
		}
		begin := time.Now()
		again, err := c.idleOnce(ctx, fn)
		c.release()
		for c.waiting.Load() > 0 { // who made it end comes first
			select {
			case <-c.waited:
			case <-ctx.Done():
				return err
			case <-c.closed:
				return cmp.Or(err, c.failure())
			}
		}
		if err != nil || !again {
			return err
		}
		if short++; time.Since(begin) > shortIdle {
			short = 0
		}
		if short > maxShortIdles {
			return fault.New(fault.Unavailable, "IDLE", "the server ends it at once, again and again")
		}
	}
}

// idleOnce is one IDLE command (RFC 2177); again says that it is to be issued anew. The caller has the turn.
func (c *Conn) idleOnce(ctx context.Context, fn func(upstream.Event) bool) (again bool, err error) {
	select {
	case <-c.hurry: // left over
	default:
	}
	a := &idling{}
	b := &batch{canceled: make(chan struct{}), done: make(chan struct{}), left: 1}
	o := c.newOp(b, task{answer: a})
	o.waits = true
	if err := c.transmit(ctx, []*op{o}); err != nil {
		return false, err
	}
	select {
	case <-o.plus:
	case <-b.done: // refused, or over already
		return a.err == nil && b.lost == nil, a.err
	}
	c.hush(o, true)
	keepAlive := time.NewTimer(c.keepAlive)
	defer keepAlive.Stop()
	again = true
wait:
	for {
		select {
		case <-c.newsC:
			if ev := c.TakeNews(); ev != (upstream.Event{}) && !fn(ev) {
				again = false
				break wait
			}
		case <-ctx.Done():
			again = false
			break wait
		case <-c.hurry:
			break wait
		case <-keepAlive.C:
			break wait
		case <-b.done:
			return a.err == nil, a.err
		}
	}
	c.hush(o, false)
	if err := c.wire.write([]byte("DONE\r\n")); err != nil {
		return false, c.broken(err)
	}
	<-b.done // or the connection falls silent, which ends it
	if _, refused := asRefusal(a.err); refused && b.lost == nil {
		return again, nil // it is over, which is what was wanted
	}
	return again, a.err
}

// hush says whether the server owes nothing, so that it may be silent.
func (c *Conn) hush(o *op, quiet bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.quiet, o.waits = quiet, false
	c.armLocked()
}

// idling is the answer to IDLE.
type idling struct{ err error }

func (i *idling) verb() string                         { return "IDLE" }
func (i *idling) encode(w *syntax.CommandWriter)       { w.Raw("IDLE") }
func (i *idling) take(*syntax.Response, bool) bool     { return false }
func (i *idling) finish(_ *syntax.Response, err error) { i.err = err }

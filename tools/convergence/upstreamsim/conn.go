package upstreamsim

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"imapped/domain/fault"
	"imapped/ports/upstream"
)

// conn is one connection.
type conn struct {
	s    *Server
	turn sync.Mutex    // one Do at a time
	dead chan struct{} // closed when the connection is lost; s.mu guards the closing

	// These belong to s.mu.
	closed   bool
	selected *Box
	validity uint32          // of selected, when it was
	seen     [3]uint64       // what Idle has told of the mailbox
	told     upstream.Status // what the selection knows of it
	looked   map[*Box]int    // the count of commands when it asked last for what is in a mailbox
	called   map[string]*Box // what it was told of last when it asked for that name
	asked    int             // the count of commands when it asked for what is marked
}

var errCut = fault.New(fault.Unavailable, "read", "connection reset by peer")

// errOwed is the Err of a command that is not answered yet.
var errOwed = errors.New("not answered")

// Server implements upstream.Conn.
func (c *conn) Server() upstream.Server { return c.s.c.Features }

// Close implements upstream.Conn.
func (c *conn) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.kill()
	return nil
}

// kill loses the connection; s.mu is held.
func (c *conn) kill() {
	if !c.closed {
		c.closed = true
		close(c.dead)
		delete(c.s.conns, c)
	}
}

func (c *conn) lost() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// Do implements upstream.Conn.
func (c *conn) Do(ctx context.Context, cmds ...upstream.Command) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	sent := !c.lost() && ctx.Err() == nil
	for _, cmd := range cmds {
		*cmd.Result() = upstream.Outcome{Err: errOwed, Sent: sent}
	}
	for i, cmd := range cmds {
		err := c.one(ctx, cmd, cmds[i+1:])
		c.s.mu.Lock()
		c.s.commands++
		c.s.touch()
		c.s.mu.Unlock()
		out := cmd.Result()
		if err == nil && errors.Is(out.Err, errOwed) {
			out.Err = nil
		}
		if err != nil {
			_ = c.Close()
			for _, rest := range cmds[i:] {
				rest.Result().Err = err
			}
			c.s.log("upstream: lost: %s: %v", describe(cmd), err)
			return err
		}
		c.s.log("upstream: %s: %v", describe(cmd), out.Err)
	}
	return nil
}

// one carries out one command. Its error is the connection's end.
func (c *conn) one(ctx context.Context, cmd upstream.Command, behind []upstream.Command) error {
	if c.lost() {
		return errCut
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s := c.s
	f := s.Take(classOf(cmd))
	if f == nil {
		return c.carryOut(ctx, cmd, false)
	}
	if f.Told != nil {
		f.Told(describe(cmd))
	}
	switch f.Do {
	case CutBefore:
		return errCut
	case CutHalf:
		return c.carryOut(ctx, cmd, true)
	case Busy, Refuse:
		cmd.Result().Err = busy()
		if f.Do == Refuse {
			cmd.Result().Err = refused(f.Text)
		}
		if _, ok := cmd.(*upstream.Select); ok {
			s.mu.Lock()
			c.selected = nil
			s.mu.Unlock()
		}
		return nil
	case BlackHole:
		return c.wait(ctx, nil)
	case HoldBefore:
		if err := c.wait(ctx, s.Hold(f.N)); err != nil {
			return err
		}
		return c.carryOut(ctx, cmd, false)
	case Interpose:
		f.Hook()
		return c.carryOut(ctx, cmd, false)
	case HoldAfter:
		if err := c.carryOut(ctx, cmd, false); err != nil {
			return err
		}
		if err := c.wait(ctx, s.Hold(f.N)); err != nil {
			forget(cmd)
			return err
		}
		return nil
	}
	if err := c.carryOut(ctx, cmd, false); err != nil { // CutAfter
		return err
	}
	forget(cmd)
	for _, ghost := range behind[:min(f.N, len(behind))] {
		if classOf(ghost) < ClassWrite {
			continue
		}
		err := c.carryOut(ctx, ghost, false)
		s.log("upstream: unheard: %s: %v", describe(ghost), ghost.Result().Err)
		ghost.Result().Err = errOwed
		forget(ghost)
		if err != nil {
			break
		}
	}
	return errCut
}

// forget takes back what an answer said that did not arrive.
func forget(cmd upstream.Command) {
	switch cmd := cmd.(type) {
	case *upstream.Append:
		cmd.UID, cmd.UIDValidity = 0, 0
	case *upstream.Copy:
		cmd.Pairs, cmd.UIDValidity, cmd.Done = nil, 0, nil
	case *upstream.Deleted:
		cmd.UIDs = nil
	}
}

// wait waits for the end of a hold (nil: there is none), of the context, or of the connection.
func (c *conn) wait(ctx context.Context, h *Hold) error {
	var done <-chan struct{}
	if h != nil {
		done = h.Done()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.dead:
		return errCut
	}
}

// carryOut gives a command its effect and its answer; half loses the connection on the way.
func (c *conn) carryOut(ctx context.Context, cmd upstream.Command, half bool) error {
	var raw string
	switch cmd := cmd.(type) {
	case *upstream.Append:
		r, err := cmd.Open()
		if err != nil {
			cmd.Err, cmd.Sent = err, false
			return nil //nolint:nilerr // it is the command's outcome
		}
		raw, err = upload(ctx, r, cmd.Size, half)
		if err != nil {
			return err
		}
	case *upstream.Fetch, *upstream.Select:
	default:
		if half {
			return errCut
		}
	}
	s := c.s
	s.mu.Lock()
	if b := c.selected; b != nil && (b.removed || b.validity != c.validity) {
		s.mu.Unlock()
		return errCut // BYE: what was selected is no more
	}
	answer := c.effect(ctx, cmd, raw, half)
	s.touch()
	s.mu.Unlock()
	if answer != nil {
		return answer()
	}
	return nil
}

// upload reads a message that is appended.
func upload(ctx context.Context, r io.ReadCloser, size int64, half bool) (string, error) {
	defer func() { _ = r.Close() }()
	var raw strings.Builder
	if half {
		_, _ = io.CopyN(&raw, r, size/2)
		return "", errCut
	}
	n, err := io.Copy(&raw, r)
	switch {
	case err != nil:
		return "", err
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case n != size:
		return "", errCut
	}
	return raw.String(), nil
}

// Idle implements upstream.Conn.
func (c *conn) Idle(ctx context.Context, fn func(upstream.Event) bool) error {
	s := c.s
	if !s.c.Features.Idle {
		return fault.New(fault.Invalid, "idle", "not offered")
	}
	for {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // as the port has it
		}
		if c.lost() {
			return errCut
		}
		s.mu.Lock()
		b, changed := c.selected, s.changed
		if b != nil && (b.removed || b.validity != c.validity) {
			c.kill()
			s.mu.Unlock()
			return errCut
		}
		was, now := c.seen, c.seen
		if b != nil {
			now = b.version()
			c.see()
		}
		s.mu.Unlock()
		if now != was {
			e := upstream.Event{Exists: now[0] != was[0], Expunge: now[1] < was[1]}
			e.Flags = !e.Exists && !e.Expunge
			if !fn(e) {
				return nil
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-c.dead:
		}
	}
}

// see brings the selection up to date; s.mu is held.
func (c *conn) see() {
	if c.selected != nil {
		c.seen, c.told = c.selected.version(), c.s.statusOf(c.selected)
	}
}

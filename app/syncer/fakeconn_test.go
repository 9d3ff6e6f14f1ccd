package syncer_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/upstream"
)

type fconn struct {
	w        *world
	turn     sync.Mutex // commands are executed one Do after the other
	mu       sync.Mutex
	budget   int // events left; negative: endless
	dead     bool
	closed   bool
	selected *mbox
	validity uint32          // of selected, when it was
	seen     [3]uint64       // what Idle last knew of the mailbox
	told     upstream.Status // what the selection knows of it
}

// errOwed is the Err of a command that is not answered yet.
var errOwed = errors.New("not answered")

var errCut = fault.New(fault.Unavailable, "read", "connection reset by peer")

func (c *fconn) Server() upstream.Server { return c.w.server }

func (c *fconn) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.dead, c.closed = true, true
	c.mu.Unlock()
	if !closed {
		c.w.mu.Lock()
		c.w.open--
		c.w.mu.Unlock()
	}
	return nil
}

// event uses up one event and says whether the connection is still there.
func (c *fconn) event() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.budget == 0 {
		c.dead = true
	}
	if c.budget > 0 {
		c.budget--
	}
	return !c.dead
}

func (c *fconn) Do(ctx context.Context, cmds ...upstream.Command) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	for _, cmd := range cmds {
		*cmd.Result() = upstream.Outcome{Err: errOwed}
	}
	for i, cmd := range cmds {
		err := c.alive(ctx)
		if err == nil {
			err = c.one(ctx, cmd)
		}
		if cmd.Result().Err == errOwed {
			cmd.Result().Err = nil
		}
		if err == nil && (!c.event() || c.severed(cmd)) {
			err = errCut
		}
		if err != nil {
			_ = c.Close()
			c.haunt(cmds[i+1:])
			for _, rest := range cmds[i:] {
				rest.Result().Err = err
			}
			return err
		}
	}
	return nil
}

func (c *fconn) alive(ctx context.Context) error {
	c.w.mu.Lock()
	hang := c.w.hang
	c.w.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCut
	}
	return nil
}

func (c *fconn) one(ctx context.Context, cmd upstream.Command) error {
	w := c.w
	w.mu.Lock()
	w.counts[fmt.Sprintf("%T", cmd)[len("*upstream."):]]++
	if w.refuse != nil {
		if err := w.refuse(cmd); err != nil {
			cmd.Result().Err = err
			if _, ok := cmd.(*upstream.Select); ok {
				c.selected = nil
			}
			w.mu.Unlock()
			return nil
		}
	}
	var after func() error
	if isChange(cmd) {
		w.mu.Unlock()
		return c.change(ctx, cmd)
	}
	if c.selected != nil && c.selected.validity != c.validity { // no selection outlives its UIDs
		switch cmd.(type) {
		case *upstream.Fetch, *upstream.Enumerate:
			w.mu.Unlock()
			return errCut
		}
	}
	switch cmd := cmd.(type) {
	case *upstream.List:
		c.list(cmd)
	case *upstream.Status:
		c.status(cmd)
	case *upstream.Select:
		after = c.doSelect(cmd)
	case *upstream.Fetch:
		after = c.fetch(ctx, cmd)
	case *upstream.Unselect:
		c.selected = nil
	case *upstream.Enumerate:
		if c.selected == nil {
			cmd.Err = &upstream.Refusal{Status: "BAD", Text: "nothing selected"}
			break
		}
		var uids []uint32
		for _, m := range c.selected.msgs {
			uids = append(uids, m.uid)
		}
		cmd.UIDs = mailbox.SetOf(uids...)
	}
	w.mu.Unlock()
	if after != nil {
		return after()
	}
	return nil
}

// statusOf is what STATUS says: of the selected mailbox, as many servers do, what the selection knows.
func (c *fconn) statusOf(b *mbox) upstream.Status {
	s := c.told
	if b != c.selected {
		s = c.w.statusOf(b)
	}
	if c.w.lieState != nil {
		c.w.lieState(false, &s)
	}
	return s
}

func (w *world) statusOf(b *mbox) upstream.Status {
	s := upstream.Status{Name: b.name, Messages: uint32(len(b.msgs)), UIDNext: b.next, UIDValidity: b.validity}
	if w.server.CondStore {
		s.HighestModSeq = b.modseq
	}
	if w.lieExists != nil {
		s.Messages = uint32(max(0, int(s.Messages)+w.lieExists(b.name)))
	}
	return s
}

func (c *fconn) list(cmd *upstream.List) {
	w := c.w
	boxes := slices.SortedFunc(func(yield func(*mbox) bool) {
		for _, b := range w.boxes {
			if !yield(b) {
				return
			}
		}
	}, func(a, b *mbox) int { return cmp.Compare(a.name, b.name) })
	for i, b := range boxes {
		if w.listOnly > 0 && i >= w.listOnly {
			break
		}
		l := upstream.Listed{Name: b.name, Delimiter: b.delim, Attrs: b.attrs}
		if w.misname != nil {
			l.Name = w.misname(b.name)
		}
		if cmd.Status && b.attrs&mailbox.NoSelect == 0 {
			s := c.statusOf(b)
			l.Status = &s
		}
		cmd.Mailboxes = append(cmd.Mailboxes, l)
	}
}

func noSuchMailbox() error {
	return fault.As(fault.NotFound, "refused", &upstream.Refusal{Status: "NO", Code: "NONEXISTENT", Text: "no such mailbox"})
}

func (c *fconn) status(cmd *upstream.Status) {
	b := c.w.boxes[cmd.Name]
	if b == nil || b.attrs&mailbox.NoSelect != 0 {
		cmd.Err = noSuchMailbox()
		return
	}
	name := cmd.Name
	*cmd = c.statusOf(b)
	cmd.Name = name
}

func (c *fconn) doSelect(cmd *upstream.Select) func() error {
	b := c.w.boxes[cmd.Name]
	c.selected = b
	if b == nil || b.attrs&mailbox.NoSelect != 0 {
		cmd.Err = noSuchMailbox()
		return nil
	}
	s := c.w.statusOf(b)
	if c.w.lieState != nil {
		c.w.lieState(true, &s)
	}
	c.told, c.validity = s, b.validity
	cmd.Permanent, cmd.AnyKeyword = flag.Make(flag.AllSystem), !c.w.noKeywords
	cmd.Messages, cmd.UIDNext, cmd.UIDValidity, cmd.HighestModSeq = s.Messages, s.UIDNext, s.UIDValidity, s.HighestModSeq
	c.seen = b.version()
	if cmd.Resync == nil || cmd.Resync.UIDValidity != b.validity {
		return nil
	}
	var changed []fmsg
	for _, m := range b.msgs {
		if m.modseq > cmd.Resync.ModSeq {
			changed = append(changed, *m)
		}
	}
	cmd.Vanished = b.gone(cmd.Resync.ModSeq)
	return func() error {
		for _, m := range changed {
			if !c.event() {
				return errCut
			}
			if err := cmd.OnChange(upstream.Message{UID: m.uid, Has: upstream.ItemFlags, Flags: m.flags, ModSeq: m.modseq}); err != nil {
				cmd.Err = err
				return nil
			}
		}
		return nil
	}
}

func (b *mbox) gone(since uint64) mailbox.Set {
	var uids []uint32
	for _, v := range b.vanished {
		if v.modseq > since {
			uids = append(uids, v.uid)
		}
	}
	return mailbox.SetOf(uids...)
}

func (b *mbox) version() [3]uint64 { return [3]uint64{uint64(b.next), uint64(len(b.msgs)), b.modseq} }

func (c *fconn) fetch(ctx context.Context, cmd *upstream.Fetch) func() error {
	b := c.selected
	if b == nil {
		cmd.Err = &upstream.Refusal{Status: "BAD", Text: "nothing selected"}
		return nil
	}
	set := cmd.UIDs
	if cmd.Open && len(b.msgs) > 0 { // n:* names the last message even when n is beyond it
		last := b.msgs[len(b.msgs)-1].uid
		r := set[len(set)-1]
		set = append(slices.Clone(set[:len(set)-1]), mailbox.Range{First: min(r.First, last), Last: max(r.First, last)})
		set = mailbox.Normalize(set)
	}
	var found []fmsg
	for _, m := range b.msgs {
		if set.Contains(m.uid) && m.modseq > cmd.ChangedSince && !c.w.noFetch[m.raw] {
			found = append(found, *m)
		}
	}
	if cmd.Vanished {
		cmd.Gone = b.gone(cmd.ChangedSince)
	}
	condstore := c.w.server.CondStore
	return func() error {
		for _, m := range found {
			if !c.event() {
				return errCut
			}
			if err := c.answer(ctx, cmd, m, condstore); err != nil {
				return err
			}
			if cmd.Err != errOwed {
				return nil
			}
		}
		return nil
	}
}

func (c *fconn) answer(ctx context.Context, cmd *upstream.Fetch, m fmsg, condstore bool) error {
	a := upstream.Message{UID: m.uid, Has: cmd.Items &^ upstream.ItemBody}
	if condstore {
		a.ModSeq = m.modseq
	}
	if cmd.Items&upstream.ItemFlags != 0 {
		a.Flags = m.flags
	}
	if cmd.Items&upstream.ItemDate != 0 {
		a.Date = m.date
	}
	if cmd.Items&upstream.ItemSize != 0 {
		a.Size = int64(len(m.raw))
	}
	if cmd.Items&upstream.ItemIdent != 0 {
		head, _, _ := bytes.Cut([]byte(m.raw), []byte("\r\n\r\n"))
		if c.w.spoil != nil {
			head = []byte(c.w.spoil(string(head)))
		}
		a.Header = message.FilterHeader(nil, append(head, "\r\n\r\n"...), message.IdentFields[:], false)
	}
	var r *cutReader
	if cmd.Items&upstream.ItemBody != 0 {
		raw := m.raw[min(cmd.Offset, int64(len(m.raw))):]
		c.w.mu.Lock()
		c.w.bodies[m.raw]++
		if c.w.noBody[m.raw] {
			raw = ""
		}
		slow := c.w.slow
		if c.w.poison == m.raw {
			c.mu.Lock()
			c.budget = 0
			c.mu.Unlock()
		}
		c.w.mu.Unlock()
		r = &cutReader{c: c, ctx: ctx, rest: raw, slow: slow, half: len(raw) / 2}
		a.Has |= upstream.ItemBody
		a.Body, a.BodySize = r, int64(len(raw))
	}
	err := cmd.OnMessage(a)
	if r != nil && r.broken != nil {
		return r.broken
	}
	if err != nil {
		cmd.Err = err
	}
	return nil
}

// cutReader gives a body in pieces, each of which is an event.
type cutReader struct {
	c      *fconn
	ctx    context.Context
	rest   string
	slow   chan struct{}
	half   int
	broken error
}

func (r *cutReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	if r.slow != nil && len(r.rest) <= r.half {
		select {
		case <-r.slow:
		case <-r.ctx.Done():
			r.broken = context.Cause(r.ctx)
			return 0, r.broken
		}
	}
	if !r.c.event() {
		r.broken = errCut
		return 0, errCut
	}
	n := copy(p[:min(len(p), 64<<10)], r.rest)
	if r.slow != nil && len(r.rest) > r.half {
		n = min(n, len(r.rest)-r.half)
	}
	r.rest = r.rest[n:]
	return n, nil
}

func (c *fconn) Idle(ctx context.Context, fn func(upstream.Event) bool) error {
	for {
		if ctx.Err() != nil {
			return nil
		}
		if err := c.alive(ctx); err != nil {
			return err
		}
		c.w.mu.Lock()
		now, was := c.selected.version(), c.seen
		c.seen = now
		changed := c.w.changed
		c.w.mu.Unlock()
		if now != was {
			e := upstream.Event{Exists: now[0] != was[0], Expunge: now[1] < was[1]}
			e.Flags = !e.Exists && !e.Expunge
			if !fn(e) {
				return nil
			}
			continue
		}
		c.w.idles(1)
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.w.idles(-1)
	}
}

func (w *world) idles(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idling += n
}

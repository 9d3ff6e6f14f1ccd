package syncer_test

import (
	"context"
	"io"
	"slices"
	"strings"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/upstream"
)

// change carries out a writing command. A connection may be cut before its effect and after it; what was sent behind it
// is then carried out all the same, or not, as world.ghost says.
func (c *fconn) change(ctx context.Context, cmd upstream.Command) error {
	cmd.Result().Sent = true
	if !c.event() {
		return errCut
	}
	var raw string
	if a, ok := cmd.(*upstream.Append); ok {
		var err error
		if raw, err = c.upload(ctx, a); err != nil {
			return err
		}
	}
	c.w.mu.Lock()
	hook := c.w.before
	c.w.mu.Unlock()
	if hook != nil {
		hook(cmd)
	}
	err := errCut
	c.w.change(func() {
		if c.selected == nil || c.selected.validity == c.validity && c.w.boxes[c.selected.name] == c.selected {
			err = nil
			c.effect(cmd, raw)
		}
	})
	return err
}

// upload reads a message in pieces, each of which is an event.
func (c *fconn) upload(ctx context.Context, a *upstream.Append) (string, error) {
	r, err := a.Open()
	if err != nil {
		return "", errCut
	}
	defer r.Close()
	var raw strings.Builder
	for {
		n, err := io.CopyN(&raw, r, 64<<10)
		if !c.event() || ctx.Err() != nil {
			return "", errCut
		}
		if err == io.EOF && int64(raw.Len()) == a.Size {
			return raw.String(), nil
		}
		if err != nil || n == 0 {
			return "", errCut
		}
	}
}

// effect changes the model; w.mu is held.
func (c *fconn) effect(cmd upstream.Command, raw string) {
	w := c.w
	needs := func() bool {
		if c.selected == nil {
			cmd.Result().Err = &upstream.Refusal{Status: "BAD", Text: "nothing selected"}
		}
		return c.selected != nil
	}
	switch cmd := cmd.(type) {
	case *upstream.Store:
		if needs() {
			c.store(cmd)
		}
	case *upstream.Append:
		b := w.boxes[cmd.Name]
		if b == nil || b.attrs&mailbox.NoSelect != 0 {
			cmd.Err = tryCreate()
			return
		}
		uid := b.add(raw, w.keep(cmd.Flags), b.modseq+1)
		b.find(uid).date = cmd.Date
		if w.server.UIDPlus {
			cmd.UIDValidity, cmd.UID = b.validity, uid
		}
	case *upstream.Copy:
		if needs() {
			c.copy(cmd)
		}
	case *upstream.Expunge:
		switch {
		case !needs():
		case (len(cmd.UIDs) == 0) != cmd.All:
			cmd.Err = fault.New(fault.Invalid, "expunge", "which messages?")
		case len(cmd.UIDs) > 0 && !w.server.UIDPlus:
			cmd.Err = &upstream.Refusal{Status: "BAD", Text: "unknown command"}
		default:
			for _, m := range slices.Clone(c.selected.msgs) {
				if m.flags.Has(flag.Deleted) && (len(cmd.UIDs) == 0 || cmd.UIDs.Contains(m.uid)) {
					c.selected.drop(m)
				}
			}
		}
	case *upstream.Deleted:
		if needs() {
			var uids []uint32
			for _, m := range c.selected.msgs {
				if m.flags.Has(flag.Deleted) {
					uids = append(uids, m.uid)
				}
			}
			cmd.UIDs = mailbox.SetOf(uids...)
		}
	default:
		w.changeBoxes(cmd)
	}
}

// keep returns what of the flags the upstream keeps.
func (w *world) keep(f flag.Set) flag.Set {
	if w.noKeywords {
		return flag.Make(f.Sys)
	}
	return f
}

func (c *fconn) store(cmd *upstream.Store) {
	for _, m := range c.selected.msgs {
		if !cmd.UIDs.Contains(m.uid) {
			continue
		}
		now := m.flags.Union(c.w.keep(cmd.Flags))
		if cmd.Remove {
			now = m.flags.Minus(cmd.Flags)
		}
		if !now.Equal(m.flags) {
			c.selected.modseq++
			m.flags, m.modseq = now, c.selected.modseq
		}
	}
}

func (c *fconn) copy(cmd *upstream.Copy) {
	to := c.w.boxes[cmd.To]
	switch {
	case to == nil || to.attrs&mailbox.NoSelect != 0:
		cmd.Err = tryCreate()
		return
	case cmd.Move && !c.w.server.Move:
		cmd.Err = &upstream.Refusal{Status: "BAD", Text: "unknown command"}
		return
	}
	for _, m := range slices.Clone(c.selected.msgs) {
		if !cmd.UIDs.Contains(m.uid) {
			continue
		}
		uid := to.add(m.raw, m.flags, to.modseq+1)
		to.find(uid).date = m.date
		if c.w.server.UIDPlus {
			cmd.UIDValidity = to.validity
			cmd.Pairs = append(cmd.Pairs, upstream.Pair{From: m.uid, To: uid})
		}
		if cmd.Move {
			c.selected.drop(m)
		}
	}
}

// drop expunges a message.
func (b *mbox) drop(m *fmsg) {
	b.modseq++
	b.vanished = append(b.vanished, fmsg{uid: m.uid, modseq: b.modseq})
	b.msgs = slices.DeleteFunc(b.msgs, func(x *fmsg) bool { return x == m })
}

func tryCreate() error {
	return fault.As(fault.NotFound, "refused", &upstream.Refusal{Status: "NO", Code: "TRYCREATE", Text: "no such mailbox"})
}

func alreadyExists() error {
	return fault.As(fault.Exists, "refused", &upstream.Refusal{Status: "NO", Code: "ALREADYEXISTS", Text: "mailbox exists"})
}

// changeBoxes carries out commands about mailboxes as a whole; w.mu is held.
func (w *world) changeBoxes(cmd upstream.Command) {
	switch cmd := cmd.(type) {
	case *upstream.Create:
		if w.boxes[cmd.Name] != nil {
			cmd.Err = alreadyExists()
			return
		}
		w.validity++
		w.boxes[cmd.Name] = &mbox{name: cmd.Name, delim: '/', attrs: cmd.Use, validity: w.validity, next: 1, modseq: 1}
	case *upstream.Delete:
		if w.boxes[cmd.Name] == nil {
			cmd.Err = noSuchMailbox()
			return
		}
		delete(w.boxes, cmd.Name)
	case *upstream.Rename:
		switch {
		case w.boxes[cmd.From] == nil:
			cmd.Err = noSuchMailbox()
		case w.boxes[cmd.To] != nil:
			cmd.Err = alreadyExists()
		default:
			w.move(cmd.From, cmd.To)
		}
	case *upstream.Subscribe:
		w.subscribed[cmd.Name] = !cmd.Off
	}
}

// move renames a mailbox and those below it; w.mu is held.
func (w *world) move(from, to string) {
	for name, b := range w.boxes {
		if name == from || strings.HasPrefix(name, from+string(b.delim)) {
			delete(w.boxes, name)
			b.name = to + name[len(from):]
			defer func() { w.boxes[b.name] = b }()
		}
	}
}

// isChange says whether a command changes something, or is asked for only in order to.
func isChange(cmd upstream.Command) bool {
	switch cmd.(type) {
	case *upstream.Store, *upstream.Append, *upstream.Copy, *upstream.Expunge, *upstream.Deleted, *upstream.Create,
		*upstream.Delete, *upstream.Rename, *upstream.Subscribe:
		return true
	}
	return false
}

// haunt carries out what was sent behind the command on which a connection was cut.
func (c *fconn) haunt(rest []upstream.Command) {
	c.w.mu.Lock()
	ghost := c.w.ghost
	c.w.mu.Unlock()
	for _, cmd := range rest {
		if !isChange(cmd) || ghost == nil {
			continue
		}
		var raw string
		if a, ok := cmd.(*upstream.Append); ok {
			r, err := a.Open()
			if err != nil {
				return
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				return
			}
			raw = string(b)
		}
		cmd.Result().Sent = true
		if !ghost() {
			return
		}
		saved := *cmd.Result()
		c.w.change(func() {
			if c.selected == nil || c.selected.validity == c.validity && c.w.boxes[c.selected.name] == c.selected {
				c.effect(cmd, raw)
			}
		})
		*cmd.Result() = saved
		switch cmd := cmd.(type) { // the answer is lost
		case *upstream.Append:
			cmd.UID, cmd.UIDValidity = 0, 0
		case *upstream.Copy:
			cmd.Pairs, cmd.UIDValidity = nil, 0
		}
	}
}

// severed says whether the connection is cut after the command's effect.
func (c *fconn) severed(cmd upstream.Command) bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.w.cutAfter != nil && c.w.cutAfter(cmd)
}

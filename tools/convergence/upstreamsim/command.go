package upstreamsim

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/upstream"
)

// effect carries out a command; s.mu is held. What it returns, if anything, gives the answer, without s.mu.
func (c *conn) effect(ctx context.Context, cmd upstream.Command, raw string, half bool) (answer func() error) {
	s, b := c.s, c.selected
	switch cmd := cmd.(type) {
	case *upstream.List:
		c.list(cmd)
		return nil
	case *upstream.Status:
		c.status(cmd)
		return nil
	case *upstream.Select:
		return c.open(cmd, half)
	case *upstream.Unselect:
		c.selected = nil
		return nil
	case *upstream.Noop:
		c.see()
		return nil
	case *upstream.Append:
		s.append(cmd, raw)
		return nil
	case *upstream.Create, *upstream.Delete, *upstream.Rename, *upstream.Subscribe:
		c.changeBoxes(cmd)
		return nil
	}
	if b == nil {
		cmd.Result().Err = bad("nothing is selected")
		return nil
	}
	switch cmd := cmd.(type) {
	case *upstream.Fetch:
		return c.fetch(ctx, cmd, half)
	case *upstream.Enumerate:
		c.looked[b] = s.commands
		cmd.UIDs = b.uids(func(*Message) bool { return true })
	case *upstream.Deleted:
		cmd.UIDs = b.uids(func(m *Message) bool { return m.flags.Has(flag.Deleted) })
		c.asked = s.commands
	case *upstream.Store:
		for _, m := range b.msgs {
			if cmd.UIDs.Contains(m.uid) {
				op := flag.Op{Add: s.keep(cmd.Flags)}
				if cmd.Remove {
					op = flag.Op{Remove: cmd.Flags}
				}
				b.set(m, op.Apply(m.flags))
			}
		}
	case *upstream.Expunge:
		switch {
		case !cmd.All && (len(cmd.UIDs) == 0 || !s.c.Features.UIDPlus):
			cmd.Err = bad("unknown command")
		default:
			for _, m := range slices.Clone(b.msgs) {
				if m.flags.Has(flag.Deleted) && (cmd.All || cmd.UIDs.Contains(m.uid)) {
					if cmd.All && m.marked > 0 && m.marked >= c.asked {
						s.unlucky = append(s.unlucky, m)
					}
					b.drop(m)
				}
			}
		}
	case *upstream.Copy:
		c.copy(cmd)
	}
	return nil
}

func (b *Box) uids(wanted func(*Message) bool) mailbox.Set {
	var uids []uint32
	for _, m := range b.msgs {
		if wanted(m) {
			uids = append(uids, m.uid)
		}
	}
	return mailbox.SetOf(uids...)
}

func (s *Server) append(cmd *upstream.Append, raw string) {
	b := s.boxes[cmd.Name]
	if b == nil {
		cmd.Err = tryCreate()
		return
	}
	m := &Message{Raw: raw, Date: cmd.Date, flags: s.keep(cmd.Flags)}
	s.add(b, m)
	if s.c.Features.UIDPlus {
		cmd.UIDValidity, cmd.UID = b.validity, m.uid
	}
}

func (c *conn) copy(cmd *upstream.Copy) {
	s := c.s
	to := s.boxes[cmd.To]
	switch {
	case cmd.Move && !s.c.Features.Move:
		cmd.Err = bad("unknown command")
		return
	case to == nil:
		cmd.Err = tryCreate()
		return
	}
	for _, m := range slices.Clone(c.selected.msgs) {
		if !cmd.UIDs.Contains(m.uid) {
			continue
		}
		made := &Message{Raw: m.Raw, Date: m.Date, From: m, flags: m.flags}
		s.add(to, made)
		if s.c.Features.UIDPlus {
			cmd.UIDValidity = to.validity
			cmd.Pairs = append(cmd.Pairs, upstream.Pair{From: m.uid, To: made.uid})
		}
		if cmd.Move {
			c.selected.drop(m)
		}
	}
	cmd.Done = cmd.UIDs
}

func (c *conn) changeBoxes(cmd upstream.Command) {
	s := c.s
	switch cmd := cmd.(type) {
	case *upstream.Create:
		if s.boxes[cmd.Name] != nil {
			cmd.Err = exists()
			return
		}
		s.make(cmd.Name, cmd.Use)
	case *upstream.Delete:
		if b := s.boxes[cmd.Name]; b == nil {
			cmd.Err = noSuchMailbox()
		} else {
			was := c.called[cmd.Name]
			other := was != nil && was != b // it got that name since
			for _, m := range b.msgs {
				if other || m.born > 0 && m.born >= c.looked[b] {
					s.unlucky = append(s.unlucky, m)
				}
			}
			s.remove(b)
		}
	case *upstream.Rename:
		if s.boxes[cmd.From] == nil {
			cmd.Err = noSuchMailbox()
		} else if !s.rename(cmd.From, cmd.To) {
			cmd.Err = exists()
		}
	}
}

func (s *Server) statusOf(b *Box) upstream.Status {
	st := upstream.Status{Name: b.name, Messages: uint32(len(b.msgs)), UIDNext: b.next, UIDValidity: b.validity}
	if s.c.Features.CondStore {
		st.HighestModSeq = b.modseq
	}
	return st
}

// statusFor is what STATUS says: of the selected mailbox, as many servers do, what the selection knows.
func (c *conn) statusFor(b *Box) upstream.Status {
	if b == c.selected {
		return c.told
	}
	return c.s.statusOf(b)
}

func (c *conn) list(cmd *upstream.List) {
	s := c.s
	delim := string(s.c.Delimiter)
	cmd.Mailboxes = nil
	parents := map[string]bool{}
	for name, b := range s.boxes {
		l := upstream.Listed{Name: name, Delimiter: s.c.Delimiter, Attrs: b.attrs}
		if cmd.Status {
			st := c.statusFor(b)
			l.Status = &st
		}
		cmd.Mailboxes = append(cmd.Mailboxes, l)
		for i := strings.LastIndex(name, delim); i > 0; i = strings.LastIndex(name[:i], delim) {
			parents[name[:i]] = true
		}
	}
	for name := range parents {
		if s.c.Parents && s.boxes[name] == nil {
			cmd.Mailboxes = append(cmd.Mailboxes, upstream.Listed{
				Name: name, Delimiter: s.c.Delimiter, Attrs: mailbox.NoSelect, NonExist: true,
			})
		}
	}
	slices.SortFunc(cmd.Mailboxes, func(a, b upstream.Listed) int { return cmp.Compare(a.Name, b.Name) })
}

func (c *conn) status(cmd *upstream.Status) {
	b := c.s.boxes[cmd.Name]
	if b == nil {
		cmd.Err = noSuchMailbox()
		return
	}
	c.looked[b], c.called[cmd.Name] = c.s.commands, b
	st := c.statusFor(b)
	cmd.Messages, cmd.UIDNext, cmd.UIDValidity, cmd.HighestModSeq = st.Messages, st.UIDNext, st.UIDValidity, st.HighestModSeq
}

func (c *conn) open(cmd *upstream.Select, half bool) func() error {
	s := c.s
	b := s.boxes[cmd.Name]
	if c.selected = b; b == nil {
		cmd.Err = noSuchMailbox()
		return nil
	}
	c.validity = b.validity
	c.looked[b], c.called[cmd.Name] = s.commands, b
	c.see()
	st := c.told
	cmd.Messages, cmd.UIDNext, cmd.UIDValidity, cmd.HighestModSeq = st.Messages, st.UIDNext, st.UIDValidity, st.HighestModSeq
	cmd.Permanent, cmd.AnyKeyword, cmd.Vanished = s.permanent(), s.c.AnyKeyword, nil
	var changed []upstream.Message
	if r := cmd.Resync; r != nil && r.UIDValidity == b.validity {
		for _, m := range b.msgs {
			if m.modseq > r.ModSeq {
				changed = append(changed, upstream.Message{UID: m.uid, Has: upstream.ItemFlags, Flags: m.flags, ModSeq: m.modseq})
			}
		}
		cmd.Vanished = b.gone(r.ModSeq)
	}
	return func() error {
		for i, m := range changed {
			if half && i >= len(changed)/2 {
				return errCut
			}
			if err := cmd.OnChange(m); err != nil {
				cmd.Err = err
				return nil //nolint:nilerr // it is the command's outcome
			}
		}
		if half {
			return errCut
		}
		return nil
	}
}

func (b *Box) gone(since uint64) mailbox.Set {
	var uids []uint32
	for _, v := range b.vanished {
		if v.modseq > since {
			uids = append(uids, v.uid)
		}
	}
	return mailbox.SetOf(uids...)
}

func (c *conn) fetch(ctx context.Context, cmd *upstream.Fetch, half bool) func() error {
	b := c.selected
	set := cmd.UIDs
	if cmd.Open && len(set) > 0 && len(b.msgs) > 0 { // n:* names the last message even when n is beyond it
		last := b.msgs[len(b.msgs)-1].uid
		r := set[len(set)-1]
		set = mailbox.Normalize(append(slices.Clone(set[:len(set)-1]), mailbox.Range{First: min(r.First, last), Last: max(r.First, last)}))
	}
	var found []upstream.Message
	var raws []string
	for _, m := range b.msgs {
		if !set.Contains(m.uid) || m.modseq <= cmd.ChangedSince {
			continue
		}
		a := upstream.Message{UID: m.uid, Has: cmd.Items}
		if c.s.c.Features.CondStore {
			a.ModSeq = m.modseq
		}
		if cmd.Items&upstream.ItemFlags != 0 {
			a.Flags = m.flags
		}
		if cmd.Items&upstream.ItemDate != 0 {
			a.Date = m.Date
		}
		if cmd.Items&upstream.ItemSize != 0 {
			a.Size = int64(len(m.Raw))
		}
		found, raws = append(found, a), append(raws, m.Raw)
	}
	if cmd.Vanished {
		cmd.Gone = b.gone(cmd.ChangedSince)
	}
	return func() error {
		for i, a := range found {
			last := half && i >= len(found)/2
			if last && cmd.Items&upstream.ItemBody == 0 {
				return errCut
			}
			if err := c.answer(ctx, cmd, a, raws[i], last); err != nil {
				return err
			}
			if last {
				return errCut
			}
			if cmd.Err != errOwed { //nolint:errorlint // it is that very value while nobody has set another
				return nil
			}
		}
		if half {
			return errCut
		}
		return nil
	}
}

// answer gives one message; half loses the connection within its body.
func (c *conn) answer(ctx context.Context, cmd *upstream.Fetch, a upstream.Message, raw string, half bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if cmd.Items&upstream.ItemIdent != 0 {
		head, _, _ := bytes.Cut([]byte(raw), []byte("\r\n\r\n"))
		a.Header = message.FilterHeader(nil, append(head, "\r\n\r\n"...), message.IdentFields[:], false)
	}
	var broken error
	if cmd.Items&upstream.ItemBody != 0 {
		rest := raw[min(cmd.Offset, int64(len(raw))):]
		a.BodySize = int64(len(rest))
		a.Body = strings.NewReader(rest)
		if half {
			a.Body = io.MultiReader(strings.NewReader(rest[:len(rest)/2]), failing{&broken})
		}
	}
	if err := cmd.OnMessage(a); err != nil && broken == nil {
		cmd.Err = err
	}
	return broken
}

// failing is the end of a connection within a body.
type failing struct{ err *error }

func (f failing) Read([]byte) (int, error) {
	*f.err = errCut
	return 0, errCut
}

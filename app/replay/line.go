package replay

import (
	"context"
	"errors"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/upstream"
)

// line is replay's connection.
type line struct {
	Conn
	server   upstream.Server
	selected *upstream.Select // nil: nothing, or it is not known what
	at       time.Time        // when it was selected
	opened   bool             // something may be selected, known or not
}

// fresh is for how long a selected mailbox is taken to be what it was.
const fresh = 2 * time.Second

// connect returns the connection, a new one when there is none.
func (w *work) connect(ctx context.Context) (*line, error) {
	if w.line == nil {
		c, err := w.host.Dial(ctx)
		if err != nil {
			return nil, err
		}
		w.line = &line{Conn: c, server: c.Server()}
	}
	return w.line, nil
}

// errElsewhere says that a mailbox is not what the mirror knows under its name: its UIDs mean nothing here.
var errElsewhere = fault.New(fault.Unavailable, "open mailbox", "the mirror has to look at the mailbox first")

// open selects a mailbox for changing it. It fails with errElsewhere when its UIDs are not those that are known here, and
// with a refusal when the upstream does not open it.
func (w *work) open(ctx context.Context, id mailbox.ID) (*upstream.Select, error) {
	sel, err := w.selectBox(ctx, id)
	if err != nil {
		return nil, err
	}
	if known := w.boxes[id].Upstream; sel.UIDValidity != known.UIDValidity && (known.UIDValidity != 0 || !known.Synced.IsZero()) {
		w.line.selected = nil
		return nil, errElsewhere
	}
	return sel, nil
}

// selectBox selects a mailbox, whatever it is.
func (w *work) selectBox(ctx context.Context, id mailbox.ID) (*upstream.Select, error) {
	l, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	raw, now := w.boxes[id].Upstream.Name, w.Clock.Now()
	if s := l.selected; s != nil && s.Name == raw && now.Sub(l.at) < fresh {
		return s, nil
	}
	s := &upstream.Select{Name: raw}
	l.selected, l.opened = nil, true
	if err := l.Do(ctx, s); err != nil {
		return nil, err
	}
	if s.Err != nil {
		return nil, s.Err
	}
	l.selected, l.at = s, now
	return s, nil
}

// leave returns what is to be sent before something happens to mailboxes as a whole, one of which may be selected.
func (l *line) leave() []upstream.Command {
	if !l.opened {
		return nil
	}
	l.selected, l.opened = nil, false
	return []upstream.Command{&upstream.Unselect{}}
}

// status asks for the state of mailboxes by name. What is refused has its Err.
func (w *work) status(ctx context.Context, names ...string) ([]*upstream.Status, error) {
	l, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	cmds := l.leave()
	out := make([]*upstream.Status, len(names))
	for i, name := range names {
		out[i] = &upstream.Status{Name: name}
		cmds = append(cmds, out[i])
	}
	if err := l.Do(ctx, cmds...); err != nil {
		return nil, err
	}
	if leave, ok := cmds[0].(*upstream.Unselect); ok && leave.Err != nil { // of a mailbox that is still selected it tells what was
		return nil, fault.As(fault.Unavailable, "leave a mailbox", leave.Err)
	}
	return out, nil
}

// closed deals with items whose mailbox cannot be opened. It returns what concerns more than this mailbox.
func (w *work) closed(id mailbox.ID, items []int, err error) error {
	switch {
	case errors.Is(err, errElsewhere):
		w.hold(id)
		w.host.Look(id)
		return nil
	case !isRefusal(err):
		return err
	}
	w.stale = w.stale || fault.Is(err, fault.Unavailable)
	for _, i := range items {
		w.again(i, errText(err), w.backoff(w.queue[i].Attempts, w.cfg.RetryMax))
	}
	w.host.Look(Lists)
	return nil
}

// intentOf is what is known of a mailbox that was just opened, or asked for its status: what is placed there now gets a
// UID at or above UIDNext.
func (w *work) intentOf(id mailbox.ID, validity, next uint32) mutation.Intent {
	if known := w.boxes[id].Upstream; next == 0 && known.UIDValidity == validity {
		next = known.UIDNext
	}
	return mutation.Intent{UIDValidity: validity, UIDNext: next}
}

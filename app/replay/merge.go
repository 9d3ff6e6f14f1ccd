package replay

import (
	"context"
	"fmt"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// holder returns another mailbox here that the upstream knows by the name; 0 when there is none.
func (w *work) holder(id mailbox.ID, raw string) mailbox.ID {
	for other, m := range w.boxes {
		if other != id && m.Upstream.Name == raw {
			return other
		}
	}
	return 0
}

// merge makes one mailbox of one that a client made and one that somebody gave the same name upstream: what is in the
// former goes to the latter.
func (w *work) merge(ctx context.Context, id, into mailbox.ID) error {
	w.adopt(id)
	if w.boxes[into].Deleting {
		return nil // it is on its way out, or comes back
	}
	if w.boxes[id].Messages > 0 {
		moved, err := w.Edits.CopyMessages(ctx, w.fence.Account, metadata.CopyEdit{
			From: id, To: into, UIDs: mailbox.SetFrom(1), Move: true, Now: w.Clock.Now(),
		})
		if fault.Is(err, fault.NotFound) {
			return nil // a client deleted one of them
		}
		if err != nil {
			return fault.Wrap("merge mailboxes of one name", err)
		}
		w.host.Changed(into, moved.ToModSeq)
	}
	err := w.Mirror.RemoveMailbox(ctx, w.fence, id)
	w.host.Changed(Lists, 0)
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	return fault.Wrap("merge mailboxes of one name", err)
}

// rawName is what the upstream would call a mailbox; false while it is not known how it spells names.
func (w *work) rawName(name string) (string, bool) {
	codec, ok := w.codec()
	raw, err := codec.Raw(name)
	return raw, ok && err == nil
}

// entangled says whether something waits for messages that are yet to be made in the mailbox, so that they cannot be made
// elsewhere.
func (w *work) entangled(id mailbox.ID) bool {
	for i := range w.queue {
		q := &w.queue[i]
		if q.Source.Mailbox == id || q.Ref.Mailbox == id && (q.Departed || q.State == mutation.Sent) && q.Ref.UID != 0 {
			return true
		}
	}
	return false
}

// blocks says whether a mailbox's deletion is queued behind the Create of another, or behind what that takes from it.
func (w *work) blocks(id, deleting mailbox.ID) bool {
	before := false
	for i := range w.queue {
		switch q := &w.queue[i]; {
		case q.Ref.Mailbox == id && (q.Kind == mutation.Create || q.Source.Mailbox == deleting):
			before = true
		case q.Kind == mutation.Delete && q.Ref.Mailbox == deleting:
			return before
		}
	}
	return false
}

// evade makes a mailbox under the next free name, here and upstream.
func (w *work) evade(ctx context.Context, id mailbox.ID, use mailbox.Attr) (refused, err error) {
	taken := map[string]bool{}
	for other, m := range w.boxes {
		if other != id {
			taken[m.Name] = true
		}
		taken[m.Upstream.Name] = true
	}
	m := w.boxes[id]
	for n := 2; ; n++ {
		name := fmt.Sprintf("%s (%d)", m.Name, n) // what domain/mirror appends is not part of a name upstream
		raw, known := w.rawName(name)
		if !known {
			w.adopt(id)
			return nil, nil
		}
		if taken[name] || taken[raw] {
			continue
		}
		m.Name = name
		m, err = w.Mirror.SaveMailbox(ctx, w.fence, m)
		if err != nil {
			return nil, fault.Wrap("give a mailbox another name", err)
		}
		w.boxes[id] = m
		w.host.Changed(Lists, 0)
		return w.create(ctx, id, name, use)
	}
}

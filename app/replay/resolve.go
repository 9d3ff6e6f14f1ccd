package replay

import (
	"cmp"
	"context"
	"io"
	"slices"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// resolve finds out what became of the changes of one mailbox that were sent and not answered.
func (w *work) resolve(ctx context.Context, j job) error {
	var placements []int
	for _, i := range j.items {
		if w.queue[i].Kind.Places() {
			placements = append(placements, i)
			continue
		}
		if err := w.resolveBox(ctx, i); err != nil {
			return err
		}
	}
	if len(placements) == 0 {
		return nil
	}
	if err := w.resolvePlacements(ctx, j.sent, placements); err != nil {
		return err
	}
	w.host.Look(j.sent) // it was passed over
	return nil
}

// notDone records that a change was certainly not carried out, unless its command may still be: then it is looked at
// again.
func (w *work) notDone(i int) {
	if w.early() {
		w.holdFor(w.queue[i].Ref.Mailbox, w.certain.Sub(w.Clock.Now()))
		return
	}
	w.again(i, "", 0)
}

// early says whether a command whose connection was lost may still be carried out.
func (w *work) early() bool { return w.Clock.Now().Before(w.certain) }

func (w *work) resolveBox(ctx context.Context, i int) error {
	q := &w.queue[i]
	id := q.Ref.Mailbox
	up, ok := w.boxes[id]
	if !ok {
		w.done(i, 0)
		return nil
	}
	if _, err := w.connect(ctx); err != nil {
		return err
	}
	switch q.Kind {
	case mutation.Create:
		if up.Upstream.Name != "" {
			w.named(i, w.rawOf(id))
			return nil
		}
		codec, known := w.codec()
		raw, refused := codec.Raw(q.Name)
		if !known || refused != nil {
			w.again(i, "", 0)
			return nil //nolint:nilerr // another step will do
		}
		st, err := w.status(ctx, raw)
		if err != nil {
			return err
		}
		switch {
		case st[0].Err != nil || w.holder(id, raw) != 0:
			w.notDone(i)
		case w.isKnown(id, st[0]):
			w.adopt(id)
		default:
			w.named(i, []metadata.RawName{{ID: id, Name: raw, Delimiter: codec.Delimiter}})
		}
	case mutation.Delete:
		if up.Upstream.Name == "" {
			w.done(i, 0)
			return nil
		}
		st, err := w.status(ctx, up.Upstream.Name)
		if err != nil {
			return err
		}
		if st[0].Absent() {
			w.vanished(i, st[0].Err)
		} else {
			w.notDone(i)
		}
	case mutation.Rename:
		raw, to, refused := w.newName(id, q.To)
		if refused != nil || raw == "" || raw == to {
			w.done(i, 0)
			return nil //nolint:nilerr // another step will do
		}
		return w.judgeRename(ctx, i, raw, to, nil)
	default:
		w.again(i, "", 0)
	}
	return nil
}

// resolvePlacements looks for the results of placements into a mailbox.
func (w *work) resolvePlacements(ctx context.Context, id mailbox.ID, items []int) error {
	found := map[int]uint32{}
	bind := true
	if w.boxes[id].Upstream.Name != "" {
		if w.line != nil {
			w.line.selected = nil
		}
		sel, err := w.selectBox(ctx, id)
		if isRefusal(err) { // whether it is gone is for the mirror to find out
			w.hold(id)
			w.host.Look(Lists)
			return nil
		}
		if err != nil {
			return err
		}
		known := w.boxes[id].Upstream.UIDValidity
		bind = known == sel.UIDValidity || known == 0
		groups := map[mutation.Intent][]int{}
		var intents []mutation.Intent
		for _, i := range items {
			intent := w.queue[i].Intent
			if intent.UIDValidity != sel.UIDValidity || !bind {
				intent = mutation.Intent{UIDValidity: sel.UIDValidity}
			}
			if groups[intent] == nil {
				intents = append(intents, intent)
			}
			groups[intent] = append(groups[intent], i)
		}
		slices.SortFunc(intents, func(a, b mutation.Intent) int { return cmp.Compare(b.UIDNext, a.UIDNext) })
		for _, intent := range intents {
			more, same, err := w.examine(ctx, id, groups[intent], intent, found)
			bind = bind && same
			if isRefusal(err) {
				w.hold(id)
				return nil
			}
			if err != nil {
				return err
			}
			for i, uid := range more {
				found[i] = uid
			}
		}
	}
	for _, i := range items {
		q := &w.queue[i]
		if found[i] == 0 {
			// It was not carried out. What else is to be done, when its source is not there any more either, is planned when
			// the mirror knows that.
			w.notDone(i)
			continue
		}
		// Of a Move it is not known whether its source is gone.
		w.placed(i, bound(found[i], bind), q.Kind == mutation.Move && q.SourceUpstream != 0)
		if q.SourceUpstream == 0 {
			w.uploaded(i, q.Row.Flags)
		}
	}
	return nil
}

// bound is the upstream UID that a placed message is to be bound to: none when it belongs to an incarnation of the mailbox
// that the mirror does not know yet, and which it will heal.
func bound(uid uint32, bind bool) uint32 {
	if !bind {
		return 0
	}
	return uid
}

// examine looks for the results of placements into a mailbox among what it has from the intent's UIDNext on and is not
// known here, nor another placement's result, and returns their upstream UIDs, and whether these are of the incarnation that
// the mirror knows.
func (w *work) examine(
	ctx context.Context, id mailbox.ID, items []int, intent mutation.Intent, others map[int]uint32,
) (out map[int]uint32, bind bool, err error) {
	if w.line != nil {
		w.line.selected = nil // it may not have seen yet what other commands made
	}
	sel, err := w.selectBox(ctx, id)
	if err != nil {
		return nil, false, err
	}
	known := w.boxes[id].Upstream.UIDValidity
	bind = known == sel.UIDValidity || known == 0
	from := max(intent.UIDNext, 1)
	if sel.UIDValidity != intent.UIDValidity {
		from = 1
	}
	seen := map[uint32]mutation.Candidate{}
	fetch := &upstream.Fetch{
		UIDs: mailbox.SetFrom(from), Open: true, Items: upstream.ItemMeta,
		OnMessage: func(m upstream.Message) error {
			w.line.Touch()
			if m.Has&upstream.ItemMeta == upstream.ItemMeta && m.UID >= from {
				ident := m.Identity()
				seen[m.UID] = mutation.Candidate{Upstream: m.UID, Likeness: mutation.Likeness{
					Email: ident.Email, MessageID: ident.MessageID, Size: m.Size,
				}}
			}
			return nil
		},
	}
	if sel.Messages > 0 || sel.UIDNext == 0 {
		if err := w.line.Do(ctx, fetch); err != nil {
			return nil, false, err
		}
		if fetch.Err != nil {
			return nil, false, fetch.Err
		}
	}
	for _, uid := range others {
		delete(seen, uid)
	}
	candidates, err := w.strangers(ctx, id, sel.UIDValidity, seen)
	if err != nil || len(candidates) == 0 {
		return nil, bind, err
	}
	wanted := make([]mutation.Likeness, len(items))
	for k, i := range items {
		wanted[k].Email = w.queue[i].Email
	}
	found := mutation.Match(wanted, candidates)
	if slices.Contains(found, 0) { // perhaps the upstream changed the date, or the size
		for k, i := range items {
			if wanted[k], err = w.likeness(ctx, &w.queue[i]); err != nil {
				return nil, false, err
			}
		}
		found = mutation.Match(wanted, candidates)
	}
	out = map[int]uint32{}
	for k, i := range items {
		if found[k] != 0 {
			out[i] = found[k]
		}
	}
	return out, bind, nil
}

// strangers returns those of the messages that are nobody's here. Where the mailbox's UIDs are not those that are known
// here, messages are known by their identity.
func (w *work) strangers(ctx context.Context, id mailbox.ID, validity uint32, seen map[uint32]mutation.Candidate) ([]mutation.Candidate, error) {
	known := w.boxes[id].Upstream.UIDValidity
	foreign := known != 0 && known != validity
	owned := map[mailbox.ObjectID]int{}
	err := w.Mirror.UpstreamRows(ctx, w.fence.Account, id, func(row metadata.UpstreamRow) error {
		switch {
		case row.Placing:
		case foreign:
			owned[row.Email]++
		default:
			delete(seen, row.Upstream)
		}
		return nil
	})
	if err != nil {
		return nil, fault.Wrap("read messages", err)
	}
	out := make([]mutation.Candidate, 0, len(seen))
	for _, c := range seen {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b mutation.Candidate) int { return cmp.Compare(a.Upstream, b.Upstream) })
	return slices.DeleteFunc(out, func(c mutation.Candidate) bool {
		mine := owned[c.Email] > 0
		owned[c.Email]--
		return mine
	}), nil
}

// headLimit is how much of a message is read to find its Message-ID.
const headLimit = 256 << 10

// likeness is what an item's message can be known by.
func (w *work) likeness(ctx context.Context, q *metadata.Queued) (mutation.Likeness, error) {
	l := mutation.Likeness{Email: q.Email, Size: q.Row.Size}
	if q.Content == nil {
		return l, nil
	}
	l.Size = q.Content.Size
	b, err := w.Blobs.Open(ctx, q.Content.Blob)
	if err != nil {
		return l, nil // a body that is damaged here is known by less
	}
	defer func() { _ = b.Close() }()
	head, err := io.ReadAll(io.NewSectionReader(b, 0, min(b.Size(), headLimit)))
	if err != nil {
		return l, nil
	}
	l.MessageID = message.Identify(head, q.Row.Size, q.Row.InternalDate()).MessageID
	return l, nil
}

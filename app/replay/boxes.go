package replay

import (
	"context"
	"errors"
	"slices"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// mailbox carries out a change of a mailbox as a whole.
func (w *work) mailbox(ctx context.Context, i int) error {
	q := &w.queue[i]
	if _, ok := w.boxes[q.Ref.Mailbox]; !ok && q.Kind != mutation.Unsubscribe && q.Kind != mutation.Subscribe {
		w.done(i, 0) // the mailbox is gone
		return nil
	}
	if _, err := w.connect(ctx); err != nil {
		return err
	}
	switch q.Kind {
	case mutation.Create:
		return w.createBox(ctx, i)
	case mutation.Delete:
		return w.deleteBox(ctx, i)
	case mutation.Rename:
		return w.renameBox(ctx, i)
	}
	return w.subscribe(ctx, i)
}

// sure marks a change of a mailbox Sent. It says no when it is not to be sent any more.
func (w *work) sure(ctx context.Context, i int) (bool, error) {
	ids, err := w.intend(ctx, []int{i}, mutation.Intent{})
	return len(ids) > 0, err
}

// rawOf is the mailbox's upstream name, as an outcome has it.
func (w *work) rawOf(id mailbox.ID) []metadata.RawName {
	up := w.boxes[id].Upstream
	return []metadata.RawName{{ID: id, Name: up.Name, Delimiter: up.Delimiter}}
}

// named records that a mailbox was created or renamed.
func (w *work) named(i int, raw []metadata.RawName) {
	q := &w.queue[i]
	w.outcomes = append(w.outcomes, metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Done, Raw: raw})
	w.host.Changed(Lists, 0)
}

func (w *work) createBox(ctx context.Context, i int) error {
	q := &w.queue[i]
	id := q.Ref.Mailbox
	if w.boxes[id].Upstream.Name != "" { // the upstream has one of this name, which the mirror took for it
		w.named(i, w.rawOf(id))
		return nil
	}
	if ok, err := w.sure(ctx, i); err != nil || !ok {
		return err
	}
	name := q.Name
	if raw, known := w.rawName(name); known && w.holder(id, raw) != 0 {
		name = w.boxes[id].Name // it was renamed here, and what was its name is somebody else's now
	}
	refused, err := w.create(ctx, id, name, q.Attrs&mailbox.SpecialUse)
	switch {
	case err != nil:
		return err
	case refused != nil:
		w.refused([]int{i}, refused)
	case w.boxes[id].Upstream.Name == "":
		w.again(i, "", w.backoff(q.Attempts, w.cfg.RetryMax)) // it is not known yet how the upstream spells names
	default:
		w.named(i, w.rawOf(id))
	}
	return nil
}

// adopt leaves it to the mirror to find out which mailbox the upstream has under the name of one that is to be made.
func (w *work) adopt(id mailbox.ID) {
	w.hold(id)
	w.host.Look(Lists)
}

// isKnown says whether what the upstream has under the name of a mailbox that is to be made seems to be another one, which
// somebody renamed there.
func (w *work) isKnown(id mailbox.ID, st *upstream.Status) bool {
	for other, m := range w.boxes {
		if other != id && st.UIDValidity != 0 && m.Upstream.UIDValidity == st.UIDValidity {
			return true
		}
	}
	return false
}

// create makes a mailbox upstream, or finds it there, and notes its name.
func (w *work) create(ctx context.Context, id mailbox.ID, name string, use mailbox.Attr) (refused, err error) {
	l, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	codec, ok := w.codec()
	if !ok {
		w.adopt(id)
		return nil, nil
	}
	raw, err := codec.Raw(name)
	if err != nil {
		return err, nil
	}
	if other := w.holder(id, raw); other != 0 {
		if w.boxes[id].Deleting || w.entangled(id) || w.boxes[other].Deleting && w.blocks(id, other) {
			return w.evade(ctx, id, use)
		}
		return nil, w.merge(ctx, id, other)
	}
	cmd := &upstream.Create{Name: raw, Use: use}
	look := &upstream.Status{Name: raw} // by its UIDVALIDITY it is known again when somebody renames it before the mirror has seen it
	if err := l.Do(ctx, append(l.leave(), cmd, look)...); err != nil {
		return nil, err
	}
	var refusal *upstream.Refusal
	if errors.As(cmd.Err, &refusal) && refusal.Code == "USEATTR" && use != 0 {
		return w.create(ctx, id, name, 0) // the mailbox matters more
	}
	if cmd.Err != nil {
		st, err := w.status(ctx, raw)
		if err != nil {
			return nil, err
		}
		if st[0].Err != nil && !fault.Is(cmd.Err, fault.Exists) { // else somebody renamed it just now
			return cmd.Err, nil
		}
		if st[0].Err != nil || w.isKnown(id, st[0]) {
			w.adopt(id)
			return nil, nil //nolint:nilerr // the mirror has the answer
		}
	}
	// The client may have renamed it meanwhile: what is written is what the store has, with the upstream's name.
	if err := w.readBoxes(ctx); err != nil {
		return nil, err
	}
	m, ok := w.boxes[id]
	if !ok || m.Upstream.Name != "" {
		return nil, nil
	}
	m.Upstream = metadata.Upstream{Name: raw, Delimiter: codec.Delimiter}
	if cmd.Err == nil && look.Err == nil {
		m.Upstream.UIDValidity = look.UIDValidity
	}
	if m, err = w.Mirror.SaveMailbox(ctx, w.fence, m); err != nil {
		return nil, fault.Wrap("save mailbox", err)
	}
	w.boxes[id] = m
	w.host.Look(Lists)
	return nil, nil
}

// another is why a mailbox waits for the mirror.
const another = "the upstream has another mailbox of this name"

// isOther says whether the upstream's mailbox is not the one that is known under its name.
func (w *work) isOther(id mailbox.ID, st *upstream.Status) bool {
	ours := w.boxes[id].Upstream.UIDValidity
	return ours != 0 && st.UIDValidity != ours
}

func (w *work) deleteBox(ctx context.Context, i int) error {
	q := &w.queue[i]
	id := q.Ref.Mailbox
	raw := w.boxes[id].Upstream.Name
	if raw == "" {
		w.done(i, 0)
		return nil
	}
	st, err := w.status(ctx, raw)
	switch {
	case err != nil:
		return err
	case st[0].Absent():
		w.vanished(i, st[0].Err)
		return nil
	case st[0].Err != nil:
		w.refused([]int{i}, st[0].Err)
		return nil //nolint:nilerr // it is the change's outcome
	case q.Attempts == 0 && w.isOther(id, st[0]): // the mirror finds out whether it has another name now
		w.again(i, another, w.backoff(0, w.cfg.RetryMax))
		w.host.Look(Lists)
		return nil
	}
	may, err := w.mayDelete(ctx, id, q.Known, st[0])
	switch {
	case isRefusal(err):
		w.refused([]int{i}, err)
		return nil
	case err != nil:
		return err
	case !may:
		w.spare(id)
		return nil
	}
	if ok, err := w.sure(ctx, i); err != nil || !ok {
		return err
	}
	cmd := &upstream.Delete{Name: raw}
	l := w.line
	if err := l.Do(ctx, append(l.leave(), cmd)...); err != nil {
		return err
	}
	if cmd.Err != nil {
		if st, err = w.status(ctx, raw); err != nil {
			return err
		}
		if st[0].Absent() {
			w.vanished(i, st[0].Err)
		} else {
			w.refused([]int{i}, cmd.Err)
		}
		return nil
	}
	w.done(i, 0)
	w.host.Changed(Lists, 0)
	return nil
}

// vanished leaves it to the mirror to find out what became of a mailbox that is to be deleted and does not have its name any
// more: it may have got another, or it is gone, and the deletion with it.
func (w *work) vanished(i int, absent error) {
	w.again(i, errText(absent), w.backoff(w.queue[i].Attempts, w.cfg.RetryMax))
	w.host.Look(Lists)
}

// spare parks the deletion of a mailbox that has messages that were not here.
func (w *work) spare(id mailbox.ID) {
	for i := range w.queue {
		if q := &w.queue[i]; q.Kind == mutation.Delete && q.Ref.Mailbox == id && q.State != mutation.Parked {
			w.park(i, "the mailbox has messages upstream that were not here yet")
		}
	}
	w.host.Changed(Lists, 0)
	w.host.Look(Lists)
}

// mayDelete says whether a mailbox holds nothing upstream that was not here.
func (w *work) mayDelete(ctx context.Context, id mailbox.ID, known uint32, st *upstream.Status) (bool, error) {
	up := w.boxes[id].Upstream
	is := mutation.Intent{UIDValidity: st.UIDValidity, UIDNext: st.UIDNext}
	if mutation.MayDelete(mutation.Intent{UIDValidity: up.UIDValidity, UIDNext: known}, is) {
		return true, nil
	}
	// What came since may be what was placed from here.
	w.line.selected = nil
	sel, err := w.selectBox(ctx, id)
	if err != nil {
		return false, err
	}
	all := &upstream.Enumerate{}
	if err := w.line.Do(ctx, all); err != nil {
		return false, err
	}
	if all.Err != nil {
		return false, all.Err
	}
	if sel.Messages == 0 && len(all.UIDs) == 0 {
		return true, nil
	}
	if up.UIDValidity != 0 && sel.UIDValidity != up.UIDValidity {
		return false, nil
	}
	var here []uint32
	err = w.Mirror.UpstreamRows(ctx, w.fence.Account, id, func(row metadata.UpstreamRow) error {
		if row.Upstream != 0 {
			here = append(here, row.Upstream)
		}
		return nil
	})
	return len(all.UIDs.Minus(mailbox.SetOf(here...))) == 0 && all.UIDs.Len() >= uint64(sel.Messages), fault.Wrap("read messages", err)
}

func (w *work) renameBox(ctx context.Context, i int) error {
	q := &w.queue[i]
	id := q.Ref.Mailbox
	raw, to, refused := w.newName(id, q.To)
	switch {
	case refused != nil:
		w.refused([]int{i}, refused)
		return nil
	case raw == "" || raw == to: // it is made under its new name, or has it
		w.done(i, 0)
		return nil
	}
	// A mailbox that somebody renamed, and made another of its name, is not the one that is meant.
	st, err := w.status(ctx, raw)
	if err != nil {
		return err
	}
	if st[0].Err == nil && w.isOther(id, st[0]) {
		w.again(i, another, w.backoff(q.Attempts, w.cfg.RetryMax))
		w.host.Look(Lists)
		w.host.Look(id)
		return nil
	}
	if ok, err := w.sure(ctx, i); err != nil || !ok {
		return err
	}
	cmd := &upstream.Rename{From: raw, To: to}
	l := w.line
	if err := l.Do(ctx, append(l.leave(), cmd)...); err != nil {
		return err
	}
	if cmd.Err == nil {
		w.named(i, w.moved(id, to))
		return nil
	}
	return w.judgeRename(ctx, i, raw, to, cmd.Err)
}

// newName returns what the upstream calls a mailbox, and what it is to call it.
func (w *work) newName(id mailbox.ID, name string) (raw, to string, refused error) {
	codec, ok := w.codec()
	if raw = w.boxes[id].Upstream.Name; raw == "" || !ok {
		return "", "", nil
	}
	codec.Delimiter = w.boxes[id].Upstream.Delimiter
	to, refused = codec.Raw(name)
	return raw, to, refused
}

// judgeRename finds out what became of a RENAME that was refused, or not answered (refused is nil then).
func (w *work) judgeRename(ctx context.Context, i int, raw, to string, refused error) error {
	id := w.queue[i].Ref.Mailbox
	st, err := w.status(ctx, raw, to)
	if err != nil {
		return err
	}
	from, there := st[0].Err == nil, st[1].Err == nil
	// Both may be there, when somebody made another mailbox under the old name: then the new one is ours.
	ours := w.boxes[id].Upstream.UIDValidity
	if from && there && ours != 0 && st[1].UIDValidity == ours && st[0].UIDValidity != ours {
		from = false
	}
	switch verdict := mutation.Examine(mutation.Rename, there, from, false); {
	case verdict == mutation.Done:
		w.named(i, w.moved(id, to))
	case refused != nil && from:
		w.refused([]int{i}, refused)
	case verdict == mutation.Again:
		w.notDone(i)
	default: // somebody renamed or removed it meanwhile: the mirror finds out
		w.again(i, "the upstream has the mailbox under neither name", w.backoff(w.queue[i].Attempts, w.cfg.RetryMax))
		w.host.Look(Lists)
	}
	return nil
}

// moved returns the names that a mailbox and those below it have after a rename.
func (w *work) moved(id mailbox.ID, to string) []metadata.RawName {
	old := w.boxes[id].Upstream
	names := []metadata.RawName{{ID: id, Name: to, Delimiter: old.Delimiter}}
	for other, m := range w.boxes {
		if other != id && below(m.Upstream.Name, old) {
			names = append(names, metadata.RawName{ID: other, Name: to + m.Upstream.Name[len(old.Name):], Delimiter: m.Upstream.Delimiter})
		}
	}
	slices.SortFunc(names[1:], func(a, b metadata.RawName) int { return int(a.ID - b.ID) })
	return names
}

func (w *work) subscribe(ctx context.Context, i int) error {
	q := &w.queue[i]
	raw := w.boxes[q.Ref.Mailbox].Upstream.Name
	if raw == "" {
		codec, _ := w.codec()
		var err error
		if raw, err = codec.Raw(q.Name); err != nil {
			w.refused([]int{i}, err)
			return nil
		}
	}
	cmd := &upstream.Subscribe{Name: raw, Off: q.Kind == mutation.Unsubscribe}
	if err := w.line.Do(ctx, cmd); err != nil {
		return err
	}
	if cmd.Err == nil {
		w.done(i, 0)
		return nil
	}
	st, err := w.status(ctx, raw)
	switch {
	case err != nil:
		return err
	case !st[0].Absent():
		w.refused([]int{i}, cmd.Err)
	case cmd.Off || w.boxes[q.Ref.Mailbox].ID == 0 || w.boxes[q.Ref.Mailbox].Deleting:
		w.done(i, 0) // there is nothing to be subscribed
	default: // it is to be made again: by what is to be placed into it, or when the mirror has found out what became of it
		w.again(i, errText(cmd.Err), w.backoff(q.Attempts, w.cfg.RetryMax))
		w.host.Look(Lists)
	}
	return nil
}

// codec returns how the upstream spells names, and false while nothing is known of it.
func (w *work) codec() (mirror.Codec, bool) {
	var c mirror.Codec
	found := false
	for _, m := range w.boxes {
		if m.Upstream.Name != "" && (!found || m.Name == "INBOX") {
			c.Delimiter, found = m.Upstream.Delimiter, true
		}
	}
	if w.line != nil {
		c.UTF8 = w.line.server.UTF8
	}
	return c, found
}

package replay

import (
	"context"
	"io"
	"slices"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// How much is uploaded in one flush: what is under way when a connection breaks must be looked for.
const (
	flushMessages = 50
	flushBytes    = 8 << 20
)

// target makes sure that the mailbox for which messages wait is there upstream. It says no when they have to wait.
func (w *work) target(ctx context.Context, id mailbox.ID, items []int) (bool, error) {
	if w.boxes[id].Upstream.Name != "" {
		return true, nil
	}
	refused, err := w.create(ctx, id, w.boxes[id].Name, 0)
	switch {
	case err != nil:
		return false, err
	case refused != nil:
		w.refused(items, refused)
		return false, nil
	}
	return w.boxes[id].Upstream.Name != "", nil
}

// upload carries out a batch of placements by uploading the messages, as many as go in one flush.
func (w *work) upload(ctx context.Context, j job) error {
	id := j.batch.Mailbox
	if ok, err := w.target(ctx, id, j.items); err != nil || !ok {
		return err
	}
	sel, err := w.open(ctx, id)
	if err != nil {
		return w.closed(id, j.items, err)
	}
	items := w.fitting(j.items)
	appends := map[int]*upstream.Append{}
	bodies := map[int]*body{}
	defer func() {
		for _, b := range bodies {
			_ = b.Close()
		}
	}()
	var ready []int
	for _, i := range items {
		q := &w.queue[i]
		if limit := w.line.server.AppendLimit; limit > 0 && q.Content.Size > limit {
			w.park(i, "the message is larger than the upstream takes")
			continue
		}
		b, err := w.Blobs.Open(ctx, q.Content.Blob)
		switch {
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.Corrupt):
			w.park(i, "the message's body is damaged here: "+err.Error())
			continue
		case err != nil:
			return fault.Wrap("open message", err)
		}
		bodies[i] = &body{Reader: touching{io.NewSectionReader(b, 0, b.Size()), w.line}, blob: b}
		if err := w.keepLocal(ctx, q, sel); err != nil {
			return err
		}
		appends[i] = &upstream.Append{
			Name: w.boxes[id].Upstream.Name, Flags: kept(sel, q.Row.Flags), Date: q.Row.InternalDate(), Size: b.Size(),
			Open: func() (io.ReadCloser, error) { return bodies[i], nil },
		}
		ready = append(ready, i)
	}
	intent := w.intentOf(id, sel.UIDValidity, sel.UIDNext)
	if ready, err = w.intend(ctx, ready, intent); err != nil || len(ready) == 0 {
		return err
	}
	cmds := make([]upstream.Command, len(ready))
	for k, i := range ready {
		cmds[k] = appends[i]
	}
	lost := w.line.Do(ctx, cmds...)
	var unknown []int
	found := map[int]uint32{}
	for _, i := range ready {
		switch a := appends[i]; {
		case a.Err == nil && a.UID != 0 && a.UIDValidity == intent.UIDValidity && a.UID >= intent.UIDNext:
			found[i] = a.UID
			w.placed(i, a.UID, false)
			w.uploaded(i, a.Flags)
		case a.Err == nil:
			unknown = append(unknown, i)
		case isRefusal(a.Err):
			w.refused([]int{i}, a.Err)
		case !a.Sent:
			w.again(i, "", 0)
		}
	}
	if lost != nil {
		return lost // what became of the others is found out later
	}
	return w.confirm(ctx, id, unknown, intent, found)
}

// keepLocal queues, behind a placement, those flags of the message that the upstream's mailbox does not keep: as changes
// that it will refuse they stay.
func (w *work) keepLocal(ctx context.Context, q *metadata.Queued, sel *upstream.Select) error {
	local := q.Row.Flags.Minus(kept(sel, q.Row.Flags))
	if local.Empty() {
		return nil
	}
	_, err := w.Edits.EditFlags(ctx, w.fence.Account, metadata.FlagEdit{
		Mailbox: q.Ref.Mailbox, UIDs: mailbox.SetOf(q.Ref.UID), Mode: metadata.AddFlags, Flags: local, Again: true,
		Now: w.Clock.Now(),
	})
	if fault.Is(err, fault.NotFound) {
		return nil // the mailbox was deleted meanwhile
	}
	return fault.Wrap("keep flags that the upstream does not", err)
}

// fitting returns the first of the items that are uploaded in one flush.
func (w *work) fitting(items []int) []int {
	size := int64(0)
	for k, i := range items {
		if size += w.queue[i].Content.Size; k > 0 && size > flushBytes || k == flushMessages {
			for _, left := range items[k:] {
				delete(w.pass.tried, w.queue[left].ID)
			}
			return items[:k]
		}
	}
	return items
}

// body is a message under way.
type body struct {
	io.Reader
	blob blob.Blob
}

// Close closes the blob; it may be called more than once.
func (b *body) Close() error {
	if b.blob == nil {
		return nil
	}
	err := b.blob.Close()
	b.blob = nil
	return err
}

// touching tells the connection of every read, and ends with an error, which loses the connection and so the command, when
// the fence may not be relied on any more.
type touching struct {
	io.Reader
	c Conn
}

func (t touching) Read(p []byte) (int, error) {
	if err := t.c.Held(); err != nil {
		return 0, err
	}
	t.c.Touch()
	return t.Reader.Read(p)
}

// placed records that an item's message has the UID upstream; with left, the source of a Move may be there still.
func (w *work) placed(i int, uid uint32, left bool) {
	w.done(i, uid)
	w.outcomes[len(w.outcomes)-1].Left = left
	w.host.Placed(w.queue[i].Ref.Mailbox)
}

// uploaded records with which flags the item whose outcome was recorded last was uploaded.
func (w *work) uploaded(i int, flags flag.Set) {
	if w.queue[i].Kind != mutation.Append {
		w.outcomes[len(w.outcomes)-1].Uploaded = &flags
	}
}

// confirm records placements that the upstream says it has carried out, without saying as what: they are looked for. One
// that is not found is the mirror's business: it will come as a new message, or not at all.
func (w *work) confirm(ctx context.Context, id mailbox.ID, items []int, intent mutation.Intent, others map[int]uint32) error {
	if len(items) == 0 {
		return nil
	}
	found, bind, err := w.examine(ctx, id, items, intent, others)
	if err != nil {
		return err
	}
	for _, i := range items {
		w.placed(i, bound(found[i], bind), false)
		w.uploaded(i, w.queue[i].Row.Flags)
	}
	return nil
}

// copies carries out a batch of copies or moves from one mailbox to another.
func (w *work) copies(ctx context.Context, j job) error {
	from, to := j.batch.Mailbox, j.batch.To
	if ok, err := w.target(ctx, to, j.items); err != nil || !ok {
		return err
	}
	sel, err := w.open(ctx, from)
	if err != nil {
		return w.closed(from, j.items, err)
	}
	items, err := w.verify(ctx, from, sel, j.items, func(q *metadata.Queued) uint32 { return q.SourceUpstream })
	if err != nil || len(items) == 0 {
		return err
	}
	intent := w.intentOf(to, sel.UIDValidity, sel.UIDNext)
	if to != from {
		st := &upstream.Status{Name: w.boxes[to].Upstream.Name}
		if err := w.line.Do(ctx, st); err != nil {
			return err
		}
		if st.Err != nil {
			return w.closed(to, items, st.Err)
		}
		known := w.boxes[to].Upstream
		if st.UIDValidity != known.UIDValidity && (known.UIDValidity != 0 || !known.Synced.IsZero()) {
			return w.closed(to, items, errElsewhere)
		}
		intent = w.intentOf(to, st.UIDValidity, st.UIDNext)
	}
	byUID := map[uint32]int{}
	var uids []uint32
	items = slices.DeleteFunc(slices.Clone(items), func(i int) bool {
		uid := w.queue[i].SourceUpstream
		if _, twice := byUID[uid]; twice { // one command makes one copy
			delete(w.pass.tried, w.queue[i].ID)
			return true
		}
		byUID[uid] = i
		uids = append(uids, uid)
		return false
	})
	if items, err = w.intend(ctx, items, intent); err != nil || len(items) == 0 {
		return err
	}
	uids = uids[:0]
	for _, i := range items {
		uids = append(uids, w.queue[i].SourceUpstream)
	}
	move := j.batch.Kind == mutation.Move
	cmd := &upstream.Copy{UIDs: mailbox.SetOf(uids...), To: w.boxes[to].Upstream.Name, Move: move && w.line.server.Move}
	if err := w.line.Do(ctx, cmd); err != nil {
		w.line.selected = nil
		switch {
		case isRefusal(cmd.Err):
			w.refused(items, cmd.Err)
		case cmd.Err != nil && !cmd.Sent:
			for _, i := range items {
				w.again(i, "", 0)
			}
		}
		return err
	}
	found := map[int]uint32{}
	if cmd.UIDValidity == intent.UIDValidity {
		taken := map[uint32]bool{}
		for _, p := range cmd.Pairs {
			i, ok := byUID[p.From]
			if ok && p.To >= intent.UIDNext && !taken[p.To] {
				taken[p.To], found[i] = true, p.To
			}
		}
	}
	var unknown []int
	for _, i := range items {
		if found[i] == 0 {
			unknown = append(unknown, i)
		}
	}
	// A refused command may have done a part (RFC 6851 section 4.4).
	foreign := map[int]bool{}
	if len(unknown) > 0 && !fault.Is(cmd.Err, fault.NotFound) {
		more, bind, err := w.examine(ctx, to, unknown, intent, found)
		if err != nil {
			return err
		}
		for i, uid := range more {
			found[i], foreign[i] = uid, !bind
		}
	}
	var done, left, missed []int
	for _, i := range items {
		if found[i] != 0 {
			done = append(done, i)
			continue
		}
		if cmd.Err != nil {
			left = append(left, i)
			continue
		}
		// The upstream copies what it has, and says nothing of the rest: the mirror finds out that the source is gone, and
		// it is uploaded.
		w.again(i, "the upstream has no such message any more", w.backoff(w.queue[i].Attempts, w.cfg.RetryMax))
		missed = append(missed, i)
	}
	if len(missed) > 0 {
		w.host.Look(from)
	}
	if len(left) > 0 {
		w.refused(left, cmd.Err)
	}
	for _, i := range done {
		w.placed(i, bound(found[i], !foreign[i]), move && (!cmd.Move || cmd.Err != nil))
	}
	return nil
}

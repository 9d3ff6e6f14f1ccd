package session

import (
	"context"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/metadata"
)

// streamSize is from which size on a missing body is streamed to a client that wants nothing but the bytes: it sees
// the first of them at once. Smaller ones are fetched many at a time.
const streamSize = 256 << 10

// needsBody is what cannot be answered without the body.
const needsBody = NeedEnvelope | NeedBody | NeedBodyStructure | NeedHeaders | NeedPreview | NeedParts | NeedBytes

// fetcher is one Fetch.
type fetcher struct {
	m     *selected
	view  *mailbox.View
	need  Need
	want  metadata.Want
	fn    func(*Message) error
	batch batch
	msg   Message // what fn gets; used again for each message
	cur   *item   // the message that msg shows
	lone  bool    // one message only was asked for
	down  bool    // the upstream gave nothing of what it was asked for: it is not asked again
	err   error   // the first body that could not be had
}

// Fetch implements Mailbox. Where the body of a message cannot be had the others are delivered nevertheless, and the
// error comes at the end.
func (m *selected) Fetch(ctx context.Context, seqs mailbox.Set, need Need, fn func(*Message) error) error {
	const op = "fetch"
	now, err := m.entry.refresh(ctx)
	if err != nil {
		return fault.Wrap(op, err)
	}
	f := &fetcher{m: m, view: m.view.Load(), need: need, want: wants(need), fn: fn, lone: seqs.Len() == 1}
	f.batch.m = m
	f.msg.Open = f.open
	var bare item // the message at hand where its row says all
	n := 0
	for seq, row := range f.view.Rows(seqs) {
		if now != f.view.Snapshot() {
			i, ok := now.Find(row.UID)
			if !ok {
				continue
			}
			row = now.At(i)
		}
		if need == 0 {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return fault.As(fault.Canceled, op, ctx.Err())
			}
			bare = item{seq: seq, row: row}
			if err := f.deliver(&bare); err != nil {
				return fault.Wrap(op, err)
			}
			continue
		}
		f.batch.items = append(f.batch.items, item{
			seq: seq, row: row,
			stream: need&^(NeedIdentity|NeedPreviewLazy) == NeedBytes && (f.lone || row.Size >= streamSize),
		})
		if len(f.batch.items) == batchRows {
			if err := f.flush(ctx); err != nil {
				return fault.Wrap(op, err)
			}
		}
	}
	if err := f.flush(ctx); err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, f.err)
}

// wants returns the fragments that answer the need.
func wants(need Need) (want metadata.Want) {
	for _, w := range [...]struct {
		need Need
		want metadata.Want
	}{
		{NeedEnvelope, metadata.WantEnvelope}, {NeedBody, metadata.WantBody},
		{NeedBodyStructure, metadata.WantBodyStructure}, {NeedHeaders, metadata.WantHeaders},
		{NeedPreview | NeedPreviewLazy, metadata.WantPreview}, {NeedParts, metadata.WantParts},
	} {
		if need&w.need != 0 {
			want |= w.want
		}
	}
	return want
}

// flush delivers the batch and empties it.
func (f *fetcher) flush(ctx context.Context) error {
	items := f.batch.items
	if f.need&NeedIdentity != 0 && len(items) > 0 {
		if err := f.batch.identify(ctx, items); err != nil {
			return err
		}
	}
	for len(items) > 0 {
		n, err := f.prepare(ctx, items)
		if err != nil {
			return err
		}
		for i := range items[:n] {
			it := &items[i]
			if f.need&NeedIdentity != 0 && !it.exists || f.need&needsBody != 0 && it.lacks() {
				continue // gone, or what f.err is about
			}
			if err := f.deliver(it); err != nil {
				return err
			}
		}
		items = items[n:]
	}
	f.batch.items = f.batch.items[:0]
	return nil
}

// prepare gets what the first items need beyond their rows, and returns how many these are.
func (f *fetcher) prepare(ctx context.Context, items []item) (int, error) {
	if f.need&(needsBody|NeedPreviewLazy) == 0 {
		return len(items), nil
	}
	n, err := f.batch.read(ctx, items, f.want)
	if err != nil || f.need&needsBody == 0 {
		return n, err
	}
	if f.down {
		return n, nil
	}
	n, asked, err := f.batch.supply(ctx, items[:n])
	if err != nil && (!fault.Is(err, fault.Unavailable) || ctx.Err() != nil) {
		return 0, err
	}
	f.fail(err)
	if asked == 0 {
		return n, nil
	}
	if n, err = f.batch.read(ctx, items[:n], f.want); err != nil {
		return 0, err
	}
	still, err := f.batch.lacking(ctx, items[:n])
	if err != nil {
		return 0, err
	}
	if len(still) > 0 {
		f.fail(errNoBody)
		f.down = len(still) == asked
	}
	return n, nil
}

func (f *fetcher) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// deliver shows the message to the caller.
func (f *fetcher) deliver(it *item) error {
	f.cur = it
	f.msg.Seq, f.msg.Row, f.msg.Recent = it.seq, it.row, f.view.IsRecent(it.row.UID)
	f.msg.Fragments = message.Fragments{}
	if it.stored {
		f.msg.Fragments = it.Fragments
		if f.msg.Preview == nil && f.want&metadata.WantPreview != 0 {
			f.msg.Preview = []byte{} // nil would say that it is not known
		}
	}
	if f.need&NeedIdentity != 0 {
		f.msg.EmailID = it.identity.EmailID.Wire(mailbox.EmailKind)
		f.msg.ThreadID = it.identity.ThreadID.Wire(mailbox.ThreadKind)
		f.msg.Saved = it.identity.Saved
	}
	err := f.fn(&f.msg)
	f.cur = nil
	return err
}

// open is Message.Open.
func (f *fetcher) open(ctx context.Context) (Bytes, error) {
	it := f.cur
	switch {
	case it == nil:
		return nil, fault.New(fault.Invalid, "open message", "the message is not valid any more")
	case it.stored:
		return f.m.openBlob(ctx, it.row.UID, it.blob)
	case f.m.svc.c.Bodies == nil || f.m.local:
		return nil, errNoBody
	}
	f.m.svc.looked("body", "streamed")
	b, err := f.m.svc.c.Bodies.Stream(ctx, f.m.account, f.m.mailbox, it.row.UID)
	if err != nil {
		return nil, fault.Wrap("open message", err)
	}
	return b, nil
}

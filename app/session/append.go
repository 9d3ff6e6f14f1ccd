package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

const (
	// smallMessage is up to which size a message is taken into memory; larger ones go through to the blob store. It is
	// also how much of a message is looked at for the header that identifies it.
	smallMessage = 256 << 10
	// heldBytes is how much of small messages is held before they are stored together.
	heldBytes = 2 << 20
	// maxFragments is how many octets of fragments one APPEND or copy may bring: they are held until it is committed.
	maxFragments = 32 << 20
	// appendTime is how long the messages of an Append may lie in the blob store before its Commit. It is well below the
	// time for which the sweep spares blobs that nothing names yet (app/sweep).
	appendTime = 20 * time.Minute
)

// appending is an Append.
type appending struct {
	svc    *Service
	blobs  blob.Store
	to     place
	gather gather
	parser message.Parser
	size   int64     // octets of all its messages
	held   [][]byte  // small messages that are not stored yet
	at     []int     // their places in gather.messages
	bytes  int       // of held
	oldest time.Time // when the first message was stored; zero: none is
	err    error     // what failed: the Append is good for Close only
}

// gather is messages on their way into a mailbox.
type gather struct {
	messages  []metadata.NewMessage
	fragments int // octets
}

// add takes a message; fault.Limit when they become too many.
func (g *gather) add(n metadata.NewMessage) error {
	g.fragments += n.Content.Fragments.Len()
	if g.fragments > maxFragments {
		return fault.New(fault.Limit, "", "these are too many messages at once")
	}
	g.messages = append(g.messages, n)
	return nil
}

// Append implements Folders.
func (l *login) Append(ctx context.Context, name string) (Append, error) {
	const op = "append"
	p, err := l.find(ctx, name)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if p.placeholder() {
		return nil, fault.New(fault.Invalid, op, onlyHolds)
	}
	return &appending{svc: l.svc, blobs: l.blobs, to: p}, nil
}

// Add implements Append.
func (a *appending) Add(ctx context.Context, r io.Reader, size int64, flags flag.Set, date time.Time) error {
	const op = "append"
	if a.err != nil {
		return a.err
	}
	a.err = fault.New(fault.Internal, op, "the appending broke off") // should what follows panic
	a.err = fault.Wrap(op, a.add(ctx, r, size, flags, date))
	return a.err
}

func (a *appending) add(ctx context.Context, r io.Reader, size int64, flags flag.Set, date time.Time) error {
	if size < 0 {
		return fault.New(fault.Invalid, "", "a message has a size")
	}
	if date.IsZero() {
		date = a.svc.c.Clock.Now()
	}
	_, zone := date.Zone()
	n := metadata.NewMessage{
		Flags: flags, Size: size, Date: date.Unix(), Zone: int16(zone / 60), Content: &metadata.Content{Size: size},
	}
	body := &exactly{ctx: ctx, r: r, left: size}
	var header []byte
	var err error
	if size <= smallMessage {
		header, err = a.addSmall(body, &n)
	} else {
		header, err = a.addLarge(ctx, body, &n)
	}
	if err != nil {
		return err
	}
	n.Identity = message.Identify(header, size, date)
	if err := a.gather.add(n); err != nil {
		return err
	}
	a.size += size
	if a.bytes >= heldBytes {
		return a.store(ctx)
	}
	return nil
}

// addSmall takes the message into memory and returns it.
func (a *appending) addSmall(body *exactly, n *metadata.NewMessage) ([]byte, error) {
	raw := make([]byte, body.left)
	if _, err := io.ReadFull(body, raw); err != nil {
		return nil, err
	}
	frags, err := a.parser.Parse(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	n.Content.Fragments = frags
	a.held, a.at = append(a.held, raw), append(a.at, len(a.gather.messages))
	a.bytes += len(raw)
	return raw, nil
}

// addLarge writes the message to the blob store as it comes and returns its beginning.
func (a *appending) addLarge(ctx context.Context, body *exactly, n *metadata.NewMessage) (_ []byte, err error) {
	w, err := a.blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	in := io.TeeReader(body, w)
	if n.Content.Fragments, err = a.parser.Parse(in, body.left); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what the parser did not need
		return nil, err
	}
	header := make([]byte, smallMessage)
	if _, err := io.ReadFull(io.NewSectionReader(w, 0, smallMessage), header); err != nil {
		return nil, fault.Wrap("read message again", err)
	}
	a.storing()
	n.Content.Blob, err = w.Commit(ctx)
	return header, err
}

// storing notes that a message is about to be stored.
func (a *appending) storing() {
	if a.oldest.IsZero() {
		a.oldest = a.svc.c.Clock.Now()
	}
}

// store makes the held messages durable. Nothing names them yet: if it comes to nothing the sweep removes them.
func (a *appending) store(ctx context.Context) error {
	if len(a.held) == 0 {
		return nil
	}
	a.storing()
	keys, err := a.blobs.Put(ctx, a.held...)
	if err != nil {
		return err
	}
	for i, key := range keys {
		a.gather.messages[a.at[i]].Content.Blob = key
	}
	clear(a.held)
	a.held, a.at, a.bytes = a.held[:0], a.at[:0], 0
	return nil
}

// Commit implements Append.
func (a *appending) Commit(ctx context.Context, from Mailbox, replaced mailbox.UID) (Appended, error) {
	const op = "append"
	switch {
	case a.err != nil:
		return Appended{}, a.err
	case len(a.gather.messages) == 0:
		return Appended{}, fault.New(fault.Invalid, op, "there is no message")
	}
	source, err := replaces(from, replaced)
	if err != nil {
		return Appended{}, fault.Wrap(op, err)
	}
	if err := a.store(ctx); err != nil {
		return Appended{}, fault.Wrap(op, err)
	}
	if clock.Elapsed(a.oldest, a.svc.c.Clock.Now()) > appendTime {
		return Appended{}, fault.Newf(fault.Unavailable, op, "the messages took longer than %v", appendTime)
	}
	e := metadata.AddEdit{
		Mailbox: a.to.info.ID, Messages: a.gather.messages, Quota: a.svc.c.Quota, Now: a.svc.c.Clock.Now(),
	}
	together := source != nil && source.account == a.to.info.Account
	if together {
		e.Replaces = mutation.Ref{Mailbox: source.mailbox, UID: replaced}
	}
	done, err := a.svc.c.Edits.AddMessages(ctx, a.to.info.Account, e)
	if err != nil {
		return Appended{}, fault.Wrap(op, err)
	}
	a.err = fault.New(fault.Invalid, op, "it is committed already")
	a.gather = gather{}
	hints := []events.Hint{{Mailbox: a.to.info.ID, ModSeq: done.ModSeq}}
	if together && source.mailbox != a.to.info.ID {
		hints = append(hints, events.Hint{Mailbox: source.mailbox})
	}
	a.svc.publish(a.to.info.Account, a.to.local, hints...)
	if source != nil && !together {
		// The new message is in another account: it is safe by now, so the old one may go.
		if _, err := source.remove(ctx, metadata.RemoveEdit{UIDs: mailbox.SetOf(replaced)}); err != nil {
			return Appended{}, fault.Wrap(op, err)
		}
	}
	return Appended{UIDValidity: done.UIDValidity, UIDs: done.UIDs}, nil
}

// replaces returns the mailbox of a message that is to be replaced; nil when none is.
func replaces(from Mailbox, replaced mailbox.UID) (*selected, error) {
	if replaced == 0 {
		return nil, nil
	}
	source, ok := from.(*selected)
	switch {
	case !ok:
		return nil, fault.New(fault.Invalid, "", "no mailbox is open to replace a message in")
	case source.readOnly:
		return nil, errReadOnly
	case source.View().Seq(replaced) == 0:
		return nil, fault.New(fault.NotFound, "", "the message to be replaced does not exist")
	}
	return source, nil
}

// Close implements Append.
func (a *appending) Close() {
	a.err = fault.New(fault.Invalid, "append", "it is closed")
	a.gather, a.held, a.at = gather{}, nil, nil
}

// exactly reads left octets: an end before is an error, and what comes after them is left where it is.
type exactly struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if err := e.ctx.Err(); err != nil {
		return 0, fault.As(fault.Canceled, "read message", err)
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && e.left > 0:
		return n, fault.As(fault.Canceled, "read message", io.ErrUnexpectedEOF)
	case e.left == 0:
		return n, nil
	}
	return n, err
}

// Package undo puts back messages that were removed, here or upstream, while their bodies are kept.
//
// Invariants:
//  1. A message comes back as a new one, with a new UID, into the mailbox that it was removed from, which is made again
//     when it is gone. For the upstream it is an APPEND like a client's.
//  2. Each comes back once: it leaves the undo list in the transaction that adds it to its mailbox.
//  3. A batch of messages is held at a time, and the store is not called while it lists them.
package undo

import (
	"context"
	"errors"
	"io"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

const (
	// batchMessages and batchBytes are how many messages, and octets of their fragments, are put back in one transaction.
	batchMessages = 500
	batchBytes    = 4 << 20
	// maxHeader is how much of a message is looked at for the header that identifies it.
	maxHeader = 256 << 10
)

// Config is what Restore works on.
type Config struct {
	Undo      metadata.Undo
	Edits     metadata.Edits
	Folders   metadata.Folders
	Mailboxes metadata.Mailboxes
	Blobs     blob.Store
	Bus       events.Bus
	Clock     clock.Clock
	Changed   func(account.ID) // as session.Config's; nil: nobody wants to know
}

// Restored is what Restore did.
type Restored struct {
	Messages int
	Skipped  int            // messages whose body cannot be read: they stay on the list
	Into     map[string]int // how many into each mailbox
}

// Restore puts back what was removed since a time from the mailboxes that had the name then ("": any), the oldest first,
// without \Deleted. On an error Restored says what had been put back before. fault.NotFound: there is no such account.
func Restore(ctx context.Context, c Config, acc account.ID, name string, since time.Time) (Restored, error) {
	const op = "restore messages"
	r := restorer{c: c, account: acc, tried: map[int64]bool{}, done: Restored{Into: map[string]int{}}}
	// A client may remove messages meanwhile: these are not meant.
	r.until = c.Clock.Now()
	for {
		batch, err := r.next(ctx, name, since)
		if err == nil && len(batch) > 0 {
			err = r.put(ctx, batch)
		}
		if err != nil || len(batch) == 0 {
			return r.done, fault.Wrap(op, err)
		}
	}
}

type restorer struct {
	c       Config
	account account.ID
	until   time.Time
	tried   map[int64]bool // what is not to be tried again
	done    Restored
}

// errEnough ends a listing when the batch is full.
var errEnough = errors.New("enough")

// next returns the next messages of the list, all of one mailbox.
func (r *restorer) next(ctx context.Context, name string, since time.Time) (batch []metadata.Retained, err error) {
	size := 0
	err = r.c.Undo.Retained(ctx, r.account, name, since, func(m metadata.Retained) error {
		switch {
		case r.tried[m.ID], m.Removed.After(r.until):
			return nil
		case len(batch) > 0 && m.Mailbox != batch[0].Mailbox:
			return errEnough
		}
		m.Content.Fragments = m.Content.Fragments.Clone()
		size += m.Content.Fragments.Len()
		batch = append(batch, m)
		if len(batch) == batchMessages || size >= batchBytes {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return batch, nil
}

// put adds the messages of the batch to their mailbox.
func (r *restorer) put(ctx context.Context, batch []metadata.Retained) error {
	e := metadata.AddEdit{Now: r.c.Clock.Now()}
	for i := range batch {
		m := &batch[i]
		r.tried[m.ID] = true
		header, err := r.header(ctx, &m.Content)
		switch {
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.Corrupt):
			r.done.Skipped++
			continue
		case err != nil:
			return err
		}
		e.Restores = append(e.Restores, m.ID)
		e.Messages = append(e.Messages, metadata.NewMessage{
			Flags: m.Row.Flags.Minus(flag.Make(flag.Deleted)), Size: m.Content.Size, Date: m.Row.Date, Zone: m.Row.Zone,
			Identity: message.Identify(header, m.Content.Size, m.Row.InternalDate()), Content: &m.Content,
		})
	}
	if len(e.Messages) == 0 {
		return nil
	}
	name := batch[0].Mailbox
	id, err := r.mailbox(ctx, name)
	if err != nil {
		return err
	}
	e.Mailbox = id
	added, err := r.c.Edits.AddMessages(ctx, r.account, e)
	if err != nil {
		return err
	}
	r.done.Messages += len(e.Messages)
	r.done.Into[name] += len(e.Messages)
	r.changed(events.Hint{Mailbox: id, ModSeq: added.ModSeq})
	return nil
}

// header returns a message's header fields that identify it, having seen that the body can be read.
func (r *restorer) header(ctx context.Context, c *metadata.Content) ([]byte, error) {
	b, err := r.c.Blobs.Open(ctx, c.Blob)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if len(c.Headers) > 0 {
		return c.Headers, nil
	}
	return io.ReadAll(io.NewSectionReader(b, 0, min(b.Size(), maxHeader)))
}

// mailbox returns the mailbox with the name, made when there is none.
func (r *restorer) mailbox(ctx context.Context, name string) (mailbox.ID, error) {
	boxes, err := r.c.Mailboxes.Mailboxes(ctx, r.account)
	if err != nil {
		return 0, err
	}
	for _, b := range boxes {
		if b.Name == name && b.Attrs&mailbox.NoSelect == 0 {
			return b.ID, nil
		}
	}
	made, err := r.c.Folders.CreateMailbox(ctx, r.account, name, 0, r.c.Clock.Now())
	if err != nil {
		return 0, err
	}
	r.changed(events.Hint{})
	return made.ID, nil
}

// changed tells others of a commit.
func (r *restorer) changed(h events.Hint) {
	h.Account = r.account
	r.c.Bus.Publish(h)
	if r.c.Changed != nil {
		r.c.Changed(r.account)
	}
}

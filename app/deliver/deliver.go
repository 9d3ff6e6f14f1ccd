// Package deliver puts mail into accounts that have no upstream: the sample server of `imapped demo`, and tests.
//
// Invariants:
//  1. A message is durable in the blob store before the transaction that shows it.
//  2. Writes carry the account's fence like any owner's; New takes the lease and Close gives it back. Clients may change
//     everything in the account meanwhile: nothing of it is remembered between calls but ids, which stay.
package deliver

import (
	"bytes"
	"context"
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

// leaseTime is how long one taking of the lease lasts; Messages renews it.
const leaseTime = time.Minute

// Config is what a Box works on.
type Config struct {
	Mirror metadata.Mirror
	Leases metadata.Leases
	Blobs  blob.Store
	Bus    events.Bus
	Clock  clock.Clock
}

// Message is one message to deliver.
type Message struct {
	Raw   []byte // RFC 5322 with CRLF
	Flags flag.Set
	Date  time.Time // INTERNALDATE
}

// Box delivers into one account. One goroutine uses it.
type Box struct {
	c     Config
	fence metadata.Fence
}

// New takes the account's lease; fault.Conflict when somebody else owns it.
func New(ctx context.Context, c Config, acc account.ID, owner string) (*Box, error) {
	f, err := c.Leases.Acquire(ctx, acc, owner, c.Clock.Now(), leaseTime)
	if err != nil {
		return nil, fault.Wrap("take account for delivery", err)
	}
	return &Box{c: c, fence: f}, nil
}

// Close gives the lease back.
func (b *Box) Close(ctx context.Context) error {
	return fault.Wrap("release account", b.c.Leases.Release(ctx, b.fence))
}

// Mailbox returns the id of the mailbox with the name, made with attrs when there is none.
func (b *Box) Mailbox(ctx context.Context, name string, attrs mailbox.Attr) (mailbox.ID, error) {
	info, err := b.Open(ctx, name, attrs)
	return info.ID, err
}

// Open returns the mailbox with the name, made with attrs when there is none.
func (b *Box) Open(ctx context.Context, name string, attrs mailbox.Attr) (mailbox.Info, error) {
	const op = "make mailbox"
	boxes, err := b.c.Mirror.Mirrored(ctx, b.fence.Account)
	if err != nil {
		return mailbox.Info{}, fault.Wrap(op, err)
	}
	for _, m := range boxes {
		if m.Name == name {
			return m.Info, nil
		}
	}
	made, err := b.c.Mirror.SaveMailbox(ctx, b.fence, metadata.Mirrored{
		Info: mailbox.Info{Account: b.fence.Account, Name: name, Attrs: attrs, Subscribed: true},
	})
	if err != nil {
		return mailbox.Info{}, fault.Wrap(op, err)
	}
	b.c.Bus.Publish(events.Hint{Account: b.fence.Account})
	return made.Info, nil
}

// Messages delivers into a mailbox, in order, all in one transaction.
func (b *Box) Messages(ctx context.Context, id mailbox.ID, ms ...Message) ([]mailbox.UID, error) {
	const op = "deliver"
	now := b.c.Clock.Now()
	if err := b.c.Leases.Renew(ctx, b.fence, now, leaseTime); err != nil {
		return nil, fault.Wrap(op, err)
	}
	raws := make([][]byte, len(ms))
	for i, m := range ms {
		raws[i] = m.Raw
	}
	keys, err := b.c.Blobs.Put(ctx, raws...)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	u := metadata.Update{Mailbox: id, Now: now}
	for i, m := range ms {
		size := int64(len(m.Raw))
		frags, err := message.Parse(bytes.NewReader(m.Raw), size)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		_, offset := m.Date.Zone()
		u.New = append(u.New, metadata.NewMessage{
			Flags: m.Flags, Size: size, Date: m.Date.Unix(), Zone: int16(offset / 60),
			Identity: message.Identify(m.Raw, size, m.Date),
			Content:  &metadata.Content{Blob: keys[i], Size: size, Fragments: frags},
		})
	}
	done, err := b.c.Mirror.Apply(ctx, b.fence, u)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	b.c.Bus.Publish(events.Hint{Account: b.fence.Account, Mailbox: id, ModSeq: done.ModSeq})
	return done.UIDs, nil
}

package session

import (
	"context"
	"io"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// copyAcross copies or moves messages to a mailbox of another account: they become new messages there, all or none. Of
// a move the second half is done when the first is durable, so that a crash between them leaves two messages, never none.
func (m *selected) copyAcross(ctx context.Context, uids mailbox.Set, to place, move bool) (Copied, error) {
	octets, err := m.octets(ctx, uids)
	if err != nil {
		return Copied{}, err
	}
	if err := m.svc.room(ctx, to.info.Account, octets); err != nil {
		return Copied{}, err // before any body is fetched
	}
	if err := m.supply(ctx, uids); err != nil {
		return Copied{}, err
	}
	source, g, err := m.collect(ctx, uids)
	if err != nil {
		return Copied{}, err
	}
	done := Copied{UIDValidity: to.info.UIDValidity}
	if len(source) == 0 {
		return done, nil
	}
	added, err := m.svc.c.Edits.AddMessages(ctx, to.info.Account, metadata.AddEdit{
		Mailbox: to.info.ID, Messages: g.messages, Quota: m.svc.c.Quota, Now: m.svc.c.Clock.Now(),
	})
	if err != nil {
		return Copied{}, err
	}
	done = Copied{UIDValidity: added.UIDValidity, Source: source, Target: added.UIDs}
	m.svc.publish(to.info.Account, to.local, events.Hint{Mailbox: to.info.ID, ModSeq: added.ModSeq})
	if move {
		if _, err := m.remove(ctx, metadata.RemoveEdit{UIDs: mailbox.SetOf(source...)}); err != nil {
			return Copied{}, fault.Wrap("remove what was copied", err)
		}
	}
	return done, nil
}

// octets returns the size of those of the messages that exist.
func (m *selected) octets(ctx context.Context, uids mailbox.Set) (n int64, err error) {
	if m.svc.c.Quota == 0 {
		return 0, nil
	}
	now, err := m.entry.refresh(ctx)
	if err != nil {
		return 0, err
	}
	for uid := range uids.All {
		if i, exists := now.Find(mailbox.UID(uid)); exists {
			n += now.At(i).Size
		}
	}
	return n, nil
}

// supply sees to it that the bodies of the messages are stored.
func (m *selected) supply(ctx context.Context, uids mailbox.Set) error {
	b := batch{m: m}
	for uid := range uids.All {
		b.items = append(b.items, item{row: mailbox.Row{UID: mailbox.UID(uid)}})
		if len(b.items) == batchRows {
			if err := b.supplyAll(ctx); err != nil {
				return err
			}
		}
	}
	return b.supplyAll(ctx)
}

// supplyAll fetches all bodies that the items lack, and empties the batch.
func (b *batch) supplyAll(ctx context.Context) error {
	for items := b.items; len(items) > 0; {
		n, err := b.read(ctx, items, 0)
		if err != nil {
			return err
		}
		if n, _, err = b.supply(ctx, items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	b.items = b.items[:0]
	return nil
}

// collect returns the messages that exist as new ones, and their UIDs; fault.Unavailable when a body is missing.
func (m *selected) collect(ctx context.Context, uids mailbox.Set) (source []mailbox.UID, g gather, err error) {
	now, err := m.entry.refresh(ctx)
	if err != nil {
		return nil, g, err
	}
	err = m.svc.c.Messages.Contents(ctx, m.account, m.mailbox, uids, metadata.WantAll, func(c *metadata.Content) error {
		i, ok := now.Find(c.UID)
		if !ok {
			return nil // it came after the snapshot, or is gone
		}
		row, content := now.At(i), *c
		content.Fragments = c.Fragments.Clone()
		source = append(source, c.UID)
		return g.add(metadata.NewMessage{
			Flags: row.Flags, Size: c.Size, Date: row.Date, Zone: row.Zone, Content: &content,
		})
	})
	if err != nil {
		return nil, g, err
	}
	for uid := range uids.Minus(mailbox.SetOf(source...)).All {
		if _, exists := now.Find(mailbox.UID(uid)); exists {
			return nil, g, errNoBody
		}
	}
	for i := range g.messages {
		n := &g.messages[i]
		row := mailbox.Row{Date: n.Date, Zone: n.Zone}
		// Headers has all that identifies a message, but for one that has none of it or too much.
		header := n.Content.Headers
		if len(header) == 0 {
			if header, err = m.header(ctx, source[i], n.Content.Blob); err != nil {
				return nil, g, err
			}
		}
		n.Identity = message.Identify(header, n.Size, row.InternalDate())
	}
	return source, g, nil
}

// header returns the beginning of a stored message.
func (m *selected) header(ctx context.Context, uid mailbox.UID, key blob.Key) ([]byte, error) {
	b, err := m.openBlob(ctx, uid, key)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	header, err := io.ReadAll(io.NewSectionReader(b, 0, min(b.Size(), smallMessage)))
	return header, fault.Wrap("read message", err)
}

package session

import (
	"context"
	"errors"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

const (
	// batchRows is how many messages are asked for in one query.
	batchRows = 256
	// batchBytes is how many octets of fragments are held at a time, but for a single message that has more.
	batchBytes = 1 << 20
	// batchMissing is how many bodies are asked of the upstream together, so that the first ones are shown while the
	// rest is on its way.
	batchMissing = 64
)

// item is a message on its way to a client, with what the store says of it beyond its row.
type item struct {
	seq      uint32
	row      mailbox.Row
	identity metadata.Identity
	exists   bool // identity was read
	stored   bool // the body is stored: blob and fragments were read
	stream   bool // the body may stay missing: it is streamed when it is opened
	done     bool // nothing is to be found out any more
	blob     blob.Key
	message.Fragments
}

// batch is messages in the order of their UIDs. Its memory is used again for the next ones.
type batch struct {
	m     *selected
	items []item
	arena []byte
	uids  []mailbox.UID
}

// errEnough ends a query when batchBytes are full.
var errEnough = errors.New("enough")

// set returns the UIDs of the items for which choose is true.
func (b *batch) set(items []item, choose func(*item) bool) mailbox.Set {
	b.uids = b.uids[:0]
	for i := range items {
		if choose(&items[i]) {
			b.uids = append(b.uids, items[i].row.UID)
		}
	}
	return mailbox.SetOf(b.uids...)
}

// identify fills in the identities of the items.
func (b *batch) identify(ctx context.Context, items []item) error {
	at := 0
	err := b.m.svc.c.Messages.Identities(ctx, b.m.account, b.m.mailbox,
		b.set(items, func(*item) bool { return true }),
		func(id metadata.Identity) error {
			for at < len(items) && items[at].row.UID < id.UID {
				at++
			}
			if at < len(items) && items[at].row.UID == id.UID {
				items[at].identity, items[at].exists = id, true
			}
			return nil
		})
	return fault.Wrap("read identities", err)
}

// read fills in contents and returns how many items, from the first on, it dealt with: fewer than all when their
// fragments are large, but at least one. Those of them whose body is not stored have stored false.
func (b *batch) read(ctx context.Context, items []item, want metadata.Want) (int, error) {
	b.arena = b.arena[:0]
	for i := range items {
		items[i].stored, items[i].Fragments = false, message.Fragments{}
	}
	at, n := 0, len(items)
	err := b.m.svc.c.Messages.Contents(ctx, b.m.account, b.m.mailbox,
		b.set(items, func(*item) bool { return true }), want,
		func(c *metadata.Content) error {
			for at < len(items) && items[at].row.UID < c.UID {
				at++
			}
			if at == len(items) || items[at].row.UID != c.UID {
				return nil
			}
			it := &items[at]
			it.stored, it.blob = true, c.Blob
			it.Fragments = message.Fragments{
				Envelope: b.keep(c.Envelope), Body: b.keep(c.Body), BodyStructure: b.keep(c.BodyStructure),
				Headers: b.keep(c.Headers), Preview: b.keep(c.Preview), Parts: b.keep(c.Parts),
			}
			if at++; len(b.arena) >= batchBytes && at < len(items) {
				n = at
				return errEnough
			}
			return nil
		})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, fault.Wrap("read contents", err)
	}
	return n, nil
}

// keep returns a copy of p in the arena; nil for nil. When the arena moves, older copies keep the old one.
func (b *batch) keep(p []byte) []byte {
	if p == nil {
		return nil
	}
	from := len(b.arena)
	b.arena = append(b.arena, p...)
	return b.arena[from:len(b.arena):len(b.arena)]
}

// lacks says whether the item waits for its body.
func (it *item) lacks() bool { return !it.stored && !it.stream && !it.done }

// lacking returns the UIDs of those of the items that wait for their body and are not gone from the store.
func (b *batch) lacking(ctx context.Context, items []item) ([]mailbox.UID, error) {
	want := b.set(items, (*item).lacks)
	if len(want) == 0 {
		return nil, nil
	}
	var uids []mailbox.UID
	err := b.m.svc.c.Messages.Identities(ctx, b.m.account, b.m.mailbox, want, func(id metadata.Identity) error {
		uids = append(uids, id.UID)
		return nil
	})
	return uids, fault.Wrap("look for messages", err)
}

// supply fetches bodies that the items lack from the upstream: at most batchMissing. It returns how many of the items,
// from the first on, are dealt with so, and for how many bodies the upstream was asked: unless that is 0 the items are
// to be read again, even after an error, for some of them may be there.
func (b *batch) supply(ctx context.Context, items []item) (n, asked int, err error) {
	missing := 0
	for n = 0; n < len(items); n++ {
		if items[n].lacks() {
			if missing == batchMissing {
				break
			}
			missing++
		}
	}
	uids, err := b.lacking(ctx, items[:n])
	if err != nil || len(uids) == 0 {
		return n, 0, err
	}
	if b.m.svc.c.Bodies == nil || b.m.local {
		return n, 0, errNoBody
	}
	for range uids {
		b.m.svc.looked("body", "fetched")
	}
	err = b.m.svc.c.Bodies.Fetch(ctx, b.m.account, b.m.mailbox, uids)
	return n, len(uids), fault.Wrap("get messages from the upstream", err)
}

// errNoBody is the answer for a body that is not stored and cannot be had.
var errNoBody = fault.New(fault.Unavailable, "get message", "its content is not here and there is no way to get it now")

// openBlob opens a stored body. A blob that is missing or fails its check is forgotten and fetched anew.
func (m *selected) openBlob(ctx context.Context, uid mailbox.UID, key blob.Key) (Bytes, error) {
	b, err := m.login.blobs.Open(ctx, key)
	if err == nil {
		m.svc.looked("body", "stored")
		return b, nil
	}
	if !fault.Is(err, fault.Corrupt) && !fault.Is(err, fault.NotFound) {
		return nil, fault.Wrap("open message", err)
	}
	m.svc.c.Log.ErrorContext(ctx, "a stored message is damaged", "account", int64(m.account),
		"mailbox", int64(m.mailbox), "uid", uint32(uid), "blob", key.String(), "err", err)
	if m.local || m.svc.c.Bodies == nil || m.svc.c.Drop == nil {
		return nil, fault.As(fault.Unavailable, "open damaged message", err)
	}
	if err := m.svc.c.Drop(ctx, m.account, m.mailbox, uid); err != nil {
		return nil, fault.As(fault.Unavailable, "forget damaged message", err)
	}
	if err := m.svc.c.Bodies.Fetch(ctx, m.account, m.mailbox, []mailbox.UID{uid}); err != nil {
		return nil, fault.Wrap("get damaged message again", err)
	}
	key, ok, err := m.blobOf(ctx, uid)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoBody
	}
	if b, err = m.login.blobs.Open(ctx, key); err != nil {
		return nil, fault.As(fault.Unavailable, "open message again", err)
	}
	return b, nil
}

// blobOf returns the key of a message's body; false when it is not stored.
func (m *selected) blobOf(ctx context.Context, uid mailbox.UID) (key blob.Key, ok bool, err error) {
	err = m.svc.c.Messages.Contents(ctx, m.account, m.mailbox, mailbox.SetOf(uid), 0, func(c *metadata.Content) error {
		key, ok = c.Blob, true
		return nil
	})
	return key, ok, fault.Wrap("look for message", err)
}

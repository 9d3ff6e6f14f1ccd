package move_test

import (
	"bytes"
	"testing"

	"imapped/adapters/s3"
	"imapped/adapters/s3/s3test"
	"imapped/adapters/sqlite"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// TestDamagedThere: a large message that the target has, but not as it is, is copied anew, whichever part of it differs.
func TestDamagedThere(t *testing.T) {
	in := newInstallation(t, 5)
	large := bytes.Repeat([]byte("A line of a large message.\r\n"), 100_000)
	keys, err := in.blobs.Put(t.Context(), large)
	must(t, err)
	in.change(t, func(s *sqlite.Store) {
		accounts, err := s.Accounts(t.Context(), 0)
		must(t, err)
		boxes, err := s.Mailboxes(t.Context(), accounts[0].ID)
		must(t, err)
		body := metadata.Content{Blob: keys[0], Size: int64(len(large))}
		m := metadata.NewMessage{Size: body.Size, Content: &body}
		m.Identity.Email, m.Identity.MessageID = mailbox.ObjectID{1}, mailbox.ObjectID{1}
		_, err = s.AddMessages(t.Context(), accounts[0].ID, metadata.AddEdit{
			Mailbox: boxes[0].ID, Messages: []metadata.NewMessage{m}, Now: now,
		})
		must(t, err)
	})
	b := s3test.Fake(t).Bucket(t)
	store := func() *s3.Store {
		s, err := s3.New(b.Config)
		must(t, err)
		return s
	}
	_, err = store().Put(t.Context(), large)
	must(t, err)
	object := b.Config.Prefix + "blobs/" + keys[0].String()
	spoilt := bytes.Clone(large)
	spoilt[len(spoilt)-1] ^= 1
	b.Put(t, object, spoilt)
	_, err = in.run(t, empty(t), store(), nil)
	must(t, err)
	if !bytes.Equal(b.Get(t, object), large) {
		t.Error("the damaged message was taken for right")
	}
}

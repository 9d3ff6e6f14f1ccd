package move_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// BenchmarkMove moves the metadata of 20,000 messages with bodies: copies it, reads both sides again and compares them.
func BenchmarkMove(b *testing.B) {
	const messages, group = 20_000, 500
	path := filepath.Join(b.TempDir(), "imapped.db")
	s := openSQLite(b, path)
	u, err := s.CreateUser(b.Context(), account.User{Name: "ann", Created: now})
	must(b, err)
	a, err := s.CreateAccount(b.Context(), account.Account{User: u.ID, Email: "ann@example.org"})
	must(b, err)
	f, err := s.Acquire(b.Context(), a.ID, "node", now, time.Minute)
	must(b, err)
	box, err := s.SaveMailbox(b.Context(), f, metadata.Mirrored{Info: mailbox.Info{Name: "INBOX"}, Upstream: metadata.Upstream{Name: "INBOX"}})
	must(b, err)
	text := bytes.Repeat([]byte("text "), 60)
	for n := 0; n < messages; n += group {
		u := metadata.Update{Mailbox: box.ID, Now: now}
		for k := range group {
			i := n + k + 1
			m := metadata.NewMessage{Upstream: uint32(i), Size: 1000, Date: int64(i)}
			m.Identity.Email, m.Identity.MessageID = mailbox.ObjectID{1, byte(i), byte(i >> 8)}, mailbox.ObjectID{2, byte(i), byte(i >> 8)}
			m.Content = &metadata.Content{Blob: blob.Key{byte(i), byte(i >> 8)}, Size: 1000, Fragments: message.Fragments{
				Envelope: text, Body: text, BodyStructure: text, Headers: text, Preview: text[:100], Parts: text[:50],
			}}
			u.New = append(u.New, m)
		}
		_, err = s.Apply(b.Context(), f, u)
		must(b, err)
	}
	must(b, s.Close())
	for b.Loop() {
		b.StopTimer()
		url := empty(b)
		b.StartTimer()
		_, err := run(b.Context(), b, path, url, unbatched)
		must(b, err)
	}
	b.ReportMetric(messages*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

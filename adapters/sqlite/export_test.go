package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/metadata"
)

// HotStatements uses a store in every way once and returns the statements about messages that its connections prepared.
func HotStatements() []string {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	s, err := Open(ctx, Options{Path: filepath.Join(dir, "meta.db"), Migrate: true})
	check(err)
	u, err := s.CreateUser(ctx, account.User{Name: "ann"})
	check(err)
	a, err := s.CreateAccount(ctx, account.Account{User: u.ID})
	check(err)
	f, err := s.Acquire(ctx, a.ID, "x", time.Unix(1, 0), time.Hour)
	check(err)
	m, err := s.SaveMailbox(ctx, f, metadata.Mirrored{Info: mailbox.Info{Name: "INBOX"}})
	check(err)
	id := mailbox.ObjectID{1}
	_, err = s.Apply(ctx, f, metadata.Update{Mailbox: m.ID, New: []metadata.NewMessage{
		{Upstream: 1, Identity: message.Identity{Email: id, MessageID: id}}, {Upstream: 2}, {Upstream: 3},
	}})
	check(err)
	_, err = s.Apply(ctx, f, metadata.Update{
		Mailbox: m.ID, Reset: true, Rebind: []metadata.Rebind{{UID: 1, Upstream: 1}}, Expunge: mailbox.SetOf[uint32](2),
		Flags: []metadata.FlagChange{{UID: 1, Flags: flag.Make(flag.Seen)}}, New: []metadata.NewMessage{{Upstream: 1}},
	})
	check(err)
	check(s.StoreContents(ctx, f, []metadata.Content{{Mailbox: m.ID, UID: 1, Size: 5}}))
	check(s.Unfetchable(ctx, f, m.ID, 3, "", time.Time{}))
	check(s.DropContent(ctx, f, m.ID, 1))
	_, err = s.Pending(ctx, a.ID, m.ID, time.Now())
	check(err)
	every := mailbox.Set{{First: 1, Last: 1<<32 - 1}}
	for range readers { // each connection in turn
		for since := range mailbox.ModSeq(2) {
			_, err = s.Changes(ctx, a.ID, m.ID, since)
			check(err)
		}
		check(s.Identities(ctx, a.ID, m.ID, every, func(metadata.Identity) error { return nil }))
		check(s.Contents(ctx, a.ID, m.ID, every, metadata.WantAll, func(*metadata.Content) error { return nil }))
		check(s.UpstreamRows(ctx, a.ID, m.ID, func(metadata.UpstreamRow) error { return nil }))
	}
	var all []string
	for _, pool := range []chan *conn{s.writer, s.idle, s.idle, s.idle} {
		c := <-pool
		for text := range c.stmts {
			if strings.Contains(text, "uid") || strings.Contains(text, "contents") || strings.Contains(text, "threads") {
				all = append(all, text)
			}
		}
		pool <- c
	}
	check(s.Close())
	slices.Sort(all)
	return all
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

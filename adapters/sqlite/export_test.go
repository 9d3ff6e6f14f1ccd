package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
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
	useEdits(ctx, s, f, m.ID)
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
	collect := func(c *conn) error {
		for text := range c.stmts {
			if strings.Contains(text, "uid") || strings.Contains(text, "contents") || strings.Contains(text, "threads") {
				all = append(all, text)
			}
		}
		return nil
	}
	check(s.update(ctx, "", collect))
	for range readers { // they are handed out in turn
		check(s.view(ctx, "", collect))
	}
	check(s.Close())
	slices.Sort(all)
	return all
}

// useEdits changes a mailbox as clients do, and carries that out.
func useEdits(ctx context.Context, s *Store, f metadata.Fence, id mailbox.ID) {
	acc, now := f.Account, time.Unix(2, 0)
	_, err := s.Apply(ctx, f, metadata.Update{Mailbox: id, New: []metadata.NewMessage{{Upstream: 11}, {Upstream: 12}, {Upstream: 13}}})
	check(err)
	to, err := s.CreateMailbox(ctx, acc, "To", 0, now)
	check(err)
	c := metadata.Content{Size: 5}
	_, err = s.AddMessages(ctx, acc, metadata.AddEdit{Mailbox: id, Now: now, Messages: []metadata.NewMessage{
		{Content: &c}, {Content: &c},
	}})
	check(err)
	for mode := range metadata.FlagMode(2) {
		_, err = s.EditFlags(ctx, acc, metadata.FlagEdit{Mailbox: id, UIDs: every, Mode: mode, Flags: flag.Make(flag.Draft)})
		check(err)
	}
	for _, move := range []bool{false, true} {
		_, err = s.CopyMessages(ctx, acc, metadata.CopyEdit{From: id, To: to.ID, UIDs: every, Move: move, Now: now})
		check(err)
	}
	_, err = s.RemoveMessages(ctx, acc, metadata.RemoveEdit{Mailbox: to.ID, UIDs: mailbox.Set{{First: 1, Last: 3}}, Now: now})
	check(err)
	qs, err := s.Mutations(ctx, acc, 0, 1000)
	check(err)
	for _, q := range qs {
		_, err = s.Intend(ctx, f, []metadata.Intended{{ID: q.ID}})
		check(err)
		_, err = s.Settle(ctx, f, now, []metadata.Outcome{
			{ID: q.ID, Version: q.Version, Upstream: uint32(q.ID) + 100, Verdict: metadata.Verdict(q.ID % 3)},
		})
		check(err)
	}
	for _, u := range []metadata.Update{{Reset: true}, {Expunge: every}} {
		for _, u.Mailbox = range []mailbox.ID{id, to.ID} {
			u.Flags = []metadata.FlagChange{{UID: 1}}
			_, err = s.Apply(ctx, f, u)
			check(err)
		}
	}
	qs, err = s.Mutations(ctx, acc, 0, 1000)
	check(err)
	for i, q := range qs {
		if err := s.Resolve(ctx, acc, q.ID, i%2 == 0, now); err != nil && !fault.Is(err, fault.Conflict) {
			check(err)
		}
	}
	check(s.RemoveMailbox(ctx, f, to.ID))
	_, err = s.Mirrored(ctx, acc)
	check(err)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

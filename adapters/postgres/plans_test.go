package postgres_test

import (
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// TestReadsLittle: what concerns one message of a mailbox reads a few rows, however many the mailbox has, and although the
// planner knows nothing about the tables.
func TestReadsLittle(t *testing.T) {
	const n, few = 4000, 100
	url := database(t)
	s := fixture(t, url)
	ctx, acc, now := t.Context(), s.fence.Account, time.Unix(5, 0)
	c := connect(t, url)
	for _, table := range []string{"messages", "identities", "contents", "threads", "mutations", "departed"} {
		_, err := c.Exec(ctx, `ALTER TABLE `+table+` SET (autovacuum_enabled = off)`)
		must(t, err)
	}
	s.fill(t, n)
	for first := 1; first < n; first += 500 {
		must(t, s.StoreContents(ctx, s.fence, contents(s.box, first, 500)))
	}
	to, err := s.CreateMailbox(ctx, acc, "To", 0, now)
	must(t, err)
	u, err := s.CreateUser(ctx, account.User{Name: "another"})
	must(t, err)
	other, err := s.CreateAccount(ctx, account.Account{User: u.ID, Email: "another@example.org"})
	must(t, err)
	label := toggle(s.box, mailbox.Set{{First: 1, Last: n}}, true)
	label.Flags = flag.Make(0, "$All")
	_, err = s.EditFlags(ctx, acc, label)
	must(t, err)

	uid := mailbox.UID(1000)
	for name, call := range map[string]func() error{
		"one flag": func() error {
			_, err := s.EditFlags(ctx, acc, toggle(s.box, mailbox.SetOf(uid), true))
			return err
		},
		"one keyword": func() error {
			e := toggle(s.box, mailbox.SetOf(uid, uid+50), true)
			e.Flags = flag.Make(0, "$Label")
			_, err := s.EditFlags(ctx, acc, e)
			return err
		},
		"append": func() error {
			m := newMessages(n+int(uid), 1)
			m[0].Upstream, m[0].Content = 0, &contents(s.box, int(uid), 1)[0]
			_, err := s.AddMessages(ctx, acc, metadata.AddEdit{Mailbox: s.box, Messages: m, Now: now})
			return err
		},
		"apply": func() error {
			_, err := s.Apply(ctx, s.fence, metadata.Update{
				Mailbox: s.box, New: newMessages(2*n+int(uid), 1), Flags: []metadata.FlagChange{{UID: uid, Flags: flag.Make(flag.Draft)}},
				Expunge: mailbox.SetOf(uid + 20), Rebind: []metadata.Rebind{{UID: uid + 22, Upstream: 9*n + uint32(uid)}},
			})
			return err
		},
		"copy and move": func() error {
			for _, move := range []bool{false, true} {
				if _, err := s.CopyMessages(ctx, acc, metadata.CopyEdit{From: s.box, To: to.ID, UIDs: mailbox.SetOf(uid+1, uid+30), Move: move}); err != nil {
					return err
				}
			}
			return nil
		},
		"remove": func() error {
			_, err := s.RemoveMessages(ctx, acc, metadata.RemoveEdit{Mailbox: s.box, UIDs: mailbox.SetOf(uid+3, uid+40)})
			return err
		},
		"changes": func() error {
			done, err := s.EditFlags(ctx, acc, toggle(s.box, mailbox.SetOf(uid+7), true))
			must(t, err)
			_, err = s.Changes(ctx, acc, s.box, done.ModSeq-1)
			return err
		},
		"mirrored": func() error {
			ms, err := s.Mirrored(ctx, acc)
			if err == nil {
				_, err = s.SaveMailbox(ctx, s.fence, ms[0])
			}
			return err
		},
		"contents": func() error {
			return s.Contents(ctx, acc, s.box, mailbox.SetOf(uid+5, uid+45), metadata.WantAll, func(*metadata.Content) error { return nil })
		},
		"identities": func() error {
			return s.Identities(ctx, acc, s.box, mailbox.SetOf(uid+5, uid+45), func(metadata.Identity) error { return nil })
		},
		"references of another user": func() error {
			var err error
			for range 5 { // it is not run again by itself on the connections that read has ended
				err = s.References(ctx, other.User, func(blob.Key) error { return nil })
				if !fault.Is(err, fault.Unavailable) {
					break
				}
			}
			return err
		},
		"bodies": func() error {
			if err := s.DropContent(ctx, s.fence, s.box, uid+6); err != nil {
				return err
			}
			if _, err := s.Pending(ctx, acc, s.box, now); err != nil {
				return err
			}
			return s.StoreContents(ctx, s.fence, contents(s.box, int(uid)+6, 1))
		},
		"settle": func() error {
			qs, err := s.Mutations(ctx, acc, 0, 3)
			must(t, err)
			if _, err := s.Intend(ctx, s.fence, []metadata.Intended{{ID: qs[2].ID}}); err != nil {
				return err
			}
			_, err = s.Settle(ctx, s.fence, now, []metadata.Outcome{{ID: qs[0].ID, Version: qs[0].Version}, {ID: qs[1].ID, Verdict: metadata.Again}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 7 { // also when a statement's plan is not made for its arguments any more
				before := s.read(t)
				must(t, call())
				if rows := s.read(t) - before; rows > few {
					t.Fatalf("round %d read %d rows", round, rows)
				}
				uid += 97
			}
		})
	}
}

// read returns how many rows of the tables of messages the store's sessions have read. The store must be idle.
func (s *bench) read(t *testing.T) (rows int64) {
	t.Helper()
	c := connect(t, s.url)
	// Sessions report what they did when they have been idle for a while, or end.
	_, err := c.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'imapped'`)
	must(t, err)
	must(t, c.QueryRow(t.Context(), `SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
		FROM pg_stat_user_tables WHERE relname IN ('messages', 'identities', 'contents', 'threads', 'mutations', 'departed')`).Scan(&rows))
	return rows
}

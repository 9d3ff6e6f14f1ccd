package move_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/metadata"
	"imapped/ports/metadata/metadatatest"
)

// randomly returns a source of chance that IMAPPED_SEED repeats.
func randomly(t *testing.T) *rand.Rand {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("IMAPPED_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 1))
}

var now = time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC)

// filler fills a store as sessions and a syncer do, by chance.
type filler struct {
	t     *testing.T
	rng   *rand.Rand
	s     metadatatest.Store
	blobs *blobfs.Store
	fence metadata.Fence
	n     int
}

// fill makes users and accounts with mail in all states.
func fill(t *testing.T, rng *rand.Rand, s metadatatest.Store, blobs *blobfs.Store, steps int) {
	t.Helper()
	for n := range 3 {
		u, err := s.CreateUser(t.Context(), account.User{
			Name: fmt.Sprint("User", n), PasswordHash: fmt.Sprint("$argon2id$", n), Disabled: n == 1, Created: now,
		})
		must(t, err)
		for k := range n {
			a, err := s.CreateAccount(t.Context(), account.Account{
				User: u.ID, Display: fmt.Sprint("at ", k), Email: fmt.Sprintf("u%d-%d@example.org", n, k), Local: n == 2 && k == 1,
				Upstream: account.Endpoint{Host: "imap.example.org", Port: 993, TLS: account.TLSImplicit, Insecure: k == 1},
				Username: "me", Secret: account.Secret{KeyID: "k", Sealed: []byte{1, byte(k)}}, Paused: n == 1, Created: now,
			})
			must(t, err)
			f := &filler{t: t, rng: rng, s: s, blobs: blobs, n: 1000 * int(a.ID)}
			for i := range 3 {
				f.fence, err = s.Acquire(t.Context(), a.ID, fmt.Sprint("node-", i), now.Add(time.Hour), -time.Minute)
				must(t, err)
			}
			must(t, s.SetStatus(t.Context(), f.fence, account.Status{
				State: account.StateBackoff, Text: "bad news", Since: now, LastSync: now.Add(-time.Hour), NextRetry: now.Add(time.Hour),
			}))
			f.account(steps)
		}
	}
}

func (f *filler) account(steps int) {
	ctx, acc := f.t.Context(), f.fence.Account
	for _, name := range []string{"INBOX", "Drafts", "Arch\u00efv/2026", "Gone"} {
		_, err := f.s.SaveMailbox(ctx, f.fence, metadata.Mirrored{
			Info:     mailbox.Info{Name: name, Subscribed: f.rng.IntN(2) == 0},
			Upstream: metadata.Upstream{Name: "raw\xff" + name, Delimiter: '/'},
		})
		must(f.t, err)
	}
	for range steps {
		f.step()
	}
	boxes, err := f.s.Mailboxes(ctx, acc)
	must(f.t, err)
	for i, b := range boxes {
		switch b.Name {
		case "Gone":
			must(f.t, f.s.DeleteMailbox(ctx, acc, b.ID, now))
		case "Drafts":
			must(f.t, f.s.RenameMailboxes(ctx, acc, []metadata.Rename{{ID: b.ID, Name: "Sent"}}, now))
		default:
			must(f.t, f.s.Subscribe(ctx, acc, b.ID, i%2 == 0, now))
		}
	}
	_, err = f.s.CreateMailbox(ctx, acc, "New", mailbox.Archive, now)
	must(f.t, err)
	queue, err := f.s.Mutations(ctx, acc, 0, 1000)
	must(f.t, err)
	var outcomes []metadata.Outcome
	for i, q := range queue {
		switch f.rng.IntN(4) {
		case 0:
			_, err = f.s.Intend(ctx, f.fence, []metadata.Intended{{ID: q.ID, Intent: mutation.Intent{UIDValidity: 7, UIDNext: uint32(i)}}})
			must(f.t, err)
		case 1:
			outcomes = append(outcomes, metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Park, Reason: "no"})
		case 2:
			outcomes = append(outcomes, metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Again, Next: now.Add(time.Minute)})
		}
	}
	_, err = f.s.Settle(ctx, f.fence, now, outcomes)
	must(f.t, err)
}

// content stores a message and returns what is known of it.
func (f *filler) content() *metadata.Content {
	f.n++
	body := fmt.Appendf(nil, "Subject: %d\r\n\r\n%d\r\n", f.n, f.rng.Uint64())
	if f.rng.IntN(20) == 0 {
		body = append(body, make([]byte, 2<<20)...)
	}
	keys, err := f.blobs.Put(f.t.Context(), body)
	must(f.t, err)
	part := func(name string) []byte { return fmt.Appendf(nil, "%s\x00%d", name, f.n) }
	return &metadata.Content{Blob: keys[0], Size: int64(len(body)), Fragments: message.Fragments{
		Envelope: part("e"), Body: part("b"), BodyStructure: part("s"), Headers: part("h"), Preview: []byte{}, Parts: part("p"),
	}}
}

func (f *filler) message(upstream bool) metadata.NewMessage {
	f.n++
	m := metadata.NewMessage{Size: int64(f.n), Date: int64(f.n), Zone: -90, Flags: flag.Make(flag.System(f.rng.IntN(32)), "$Work")}
	m.Identity.Email, m.Identity.MessageID = mailbox.ObjectID{1, byte(f.n), byte(f.n >> 8)}, mailbox.ObjectID{2, byte(f.n % 7)}
	m.Identity.Refs = []mailbox.ObjectID{{2, byte(f.rng.IntN(9))}}
	if upstream {
		m.Upstream = uint32(f.n)
	}
	if !upstream || f.rng.IntN(2) == 0 {
		m.Content = f.content()
	}
	return m
}

func (f *filler) step() {
	ctx, acc := f.t.Context(), f.fence.Account
	boxes, err := f.s.Mailboxes(ctx, acc)
	must(f.t, err)
	b, other := boxes[f.rng.IntN(len(boxes))], boxes[f.rng.IntN(len(boxes))]
	first := f.rng.Uint32N(uint32(b.UIDNext)) + 1
	some := mailbox.Set{{First: first, Last: first + f.rng.Uint32N(3)}}
	switch f.rng.IntN(9) {
	case 0, 1:
		_, err = f.s.Apply(ctx, f.fence, metadata.Update{Mailbox: b.ID, Now: now, New: []metadata.NewMessage{f.message(true), f.message(true)},
			Checkpoint: &metadata.Checkpoint{UIDValidity: 9, UIDNext: uint32(f.n), ModSeq: f.rng.Uint64() >> 1, Messages: 3, Synced: now}})
	case 2:
		_, err = f.s.AddMessages(ctx, acc, metadata.AddEdit{Mailbox: b.ID, Messages: []metadata.NewMessage{f.message(false)}, Now: now})
	case 3, 4:
		_, err = f.s.EditFlags(ctx, acc, metadata.FlagEdit{Mailbox: b.ID, UIDs: some, Mode: metadata.FlagMode(f.rng.IntN(3)),
			Flags: flag.Make(flag.System(f.rng.IntN(32)), "later"), Now: now})
	case 5:
		_, err = f.s.CopyMessages(ctx, acc, metadata.CopyEdit{From: b.ID, To: other.ID, UIDs: some, Move: b.ID != other.ID && f.rng.IntN(2) == 0, Now: now})
	case 6:
		_, err = f.s.RemoveMessages(ctx, acc, metadata.RemoveEdit{Mailbox: b.ID, UIDs: some, Now: now})
	case 7:
		_, err = f.s.Apply(ctx, f.fence, metadata.Update{Mailbox: b.ID, Now: now, Expunge: some})
	case 8:
		err = f.s.Unfetchable(ctx, f.fence, b.ID, mailbox.UID(first), "it is \xff\x00 odd", now.Add(time.Hour))
		if err == nil {
			_, err = f.s.ClaimRecent(ctx, acc, b.ID, mailbox.UID(first))
		}
	}
	must(f.t, err)
}

// seenBy is what the ports tell of a store.
type seenBy map[string]any

// look asks a store for everything: also for what happened after each mod-sequence that a client may know.
func look(t *testing.T, s metadatatest.Store) seenBy {
	t.Helper()
	ctx, all := t.Context(), seenBy{}
	note := func(name string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = v
	}
	id, err := s.Installation(ctx)
	note("installation", id, err)
	users, err := s.Users(ctx)
	note("users", users, err)
	accounts, err := s.Accounts(ctx, 0)
	note("accounts", accounts, err)
	var keys = map[blob.Key]int{}
	note("references", keys, s.References(ctx, 0, func(k blob.Key) error { keys[k]++; return nil }))
	for _, a := range accounts {
		of := func(name string, args ...any) string {
			return fmt.Sprint(append([]any{name, " of ", a.ID, " "}, args...)...)
		}
		status, err := s.Status(ctx, a.ID)
		note(of("status"), status, err)
		usage, err := s.Usage(ctx, a.ID)
		note(of("usage"), usage, err)
		boxes, err := s.Mailboxes(ctx, a.ID)
		note(of("mailboxes"), boxes, err)
		mirrored, err := s.Mirrored(ctx, a.ID)
		note(of("mirrored"), mirrored, err)
		queue, err := s.Mutations(ctx, a.ID, 0, 10_000)
		note(of("queue"), queue, err)
		var removed []string
		note(of("removed"), &removed, s.Retained(ctx, a.ID, "", time.Time{}, func(r metadata.Retained) error {
			removed = append(removed, fmt.Sprint(r.ID, r.Mailbox, r.Removed, r.Row, r.Content))
			return nil
		}))
		for _, b := range mirrored {
			var rows []metadata.UpstreamRow
			note(of("upstream rows", b.ID), &rows, s.UpstreamRows(ctx, a.ID, b.ID, func(r metadata.UpstreamRow) error {
				rows = append(rows, r)
				return nil
			}))
			pending, err := s.Pending(ctx, a.ID, b.ID, now.Add(time.Minute))
			note(of("pending", b.ID), pending, err)
		}
		for _, b := range boxes {
			for since := range b.HighestModSeq + 1 {
				d, err := s.Changes(ctx, a.ID, b.ID, since)
				note(of("changes", b.ID, " ", since), d, err)
			}
			var ids []metadata.Identity
			note(of("identities", b.ID), &ids, s.Identities(ctx, a.ID, b.ID, mailbox.SetFrom(1), func(v metadata.Identity) error {
				ids = append(ids, v)
				return nil
			}))
			var texts []string
			note(of("contents", b.ID), &texts, s.Contents(ctx, a.ID, b.ID, mailbox.SetFrom(1), metadata.WantAll, func(c *metadata.Content) error {
				texts = append(texts, fmt.Sprintf("%q", []any{c.UID, c.Blob, c.Size, c.Envelope, c.Body, c.BodyStructure, c.Headers, c.Preview, c.Parts}))
				return nil
			}))
		}
	}
	return all
}

// same compares what is seen of two stores.
func same(t *testing.T, got, want seenBy) {
	t.Helper()
	for name, w := range want {
		if g := got[name]; !reflect.DeepEqual(g, w) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, g, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d things are seen, want %d", len(got), len(want))
	}
}

// readable returns how many blobs of those that a store of metadata names can be read.
func readable(t *testing.T, s metadatatest.Store, from blob.Store) (n int) {
	t.Helper()
	must(t, s.References(t.Context(), 0, func(k blob.Key) error {
		b, err := from.Open(context.WithoutCancel(t.Context()), k)
		if err != nil {
			return nil
		}
		n++
		return b.Close()
	}))
	return n
}

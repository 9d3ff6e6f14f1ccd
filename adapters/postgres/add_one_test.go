package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// TestOneAddedAsAny: adding one message, which is one statement, does what adding several does, one after the other.
func TestOneAddedAsAny(t *testing.T) {
	seed := seedOf(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := fixture(t, database(t))
	ctx := t.Context()
	u, err := s.CreateUser(ctx, account.User{Name: "twins"})
	must(t, err)
	var twins [2]account.ID
	var boxes [2]mailbox.ID
	for i := range twins {
		a, err := s.CreateAccount(ctx, account.Account{
			User: u.ID, Email: fmt.Sprint(i), Display: fmt.Sprint(i), Created: time.Unix(7, 0), Local: seed%3 == 0,
		})
		must(t, err)
		m, err := s.CreateMailbox(ctx, a.ID, "Box", 0, time.Unix(8, 0))
		must(t, err)
		twins[i], boxes[i] = a.ID, m.ID
	}
	sets := []flag.Set{{}, flag.Make(flag.Seen), flag.Make(flag.Deleted | flag.Flagged), flag.Make(flag.Seen|flag.Deleted, "B", "a")}
	name := func() (id mailbox.ObjectID) {
		if n := rnd.IntN(30); n > 0 {
			id = objectID(n)
		}
		return id
	}
	const steps = 30
	for step := range steps {
		now := time.Unix(int64(step), 0)
		m := newMessages(1000+2*step, 2)
		for i := range m {
			content := contents(0, 10*step+i, 1)[0]
			content.Size = int64(rnd.IntN(5000))
			m[i].Upstream, m[i].Content, m[i].Zone = 0, &content, int16(rnd.IntN(100)-50)
			m[i].Flags = sets[rnd.IntN(len(sets))]
			m[i].Identity.MessageID, m[i].Identity.Refs = name(), nil
			for range rnd.IntN(4) {
				m[i].Identity.Refs = append(m[i].Identity.Refs, name())
			}
		}
		both, err := s.AddMessages(ctx, twins[0], metadata.AddEdit{Mailbox: boxes[0], Messages: m, Now: now})
		must(t, err)
		for i := range m {
			one, err := s.AddMessages(ctx, twins[1], metadata.AddEdit{Mailbox: boxes[1], Messages: m[i : i+1], Now: now})
			must(t, err)
			if one.UIDs[0] != both.UIDs[i] || one.ModSeq != mailbox.ModSeq(2*step+i+2) {
				t.Fatalf("step %d: added %+v, then %+v, instead of %+v", step, i, one, both)
			}
		}
	}
	var all [2]string
	for i, acc := range twins {
		note := func(v any) { all[i] += fmt.Sprintf("%+v\n", v) }
		info, err := s.Mailbox(ctx, acc, boxes[i])
		must(t, err)
		note([]any{info.UIDNext, info.Messages, info.Unseen, info.Deleted, info.Size, info.DeletedSize})
		d, err := s.Changes(ctx, acc, boxes[i], 0)
		must(t, err)
		for _, r := range d.Rows {
			r.ModSeq = 0
			note(r)
		}
		every := mailbox.SetFrom(1)
		must(t, s.Identities(ctx, acc, boxes[i], every, func(v metadata.Identity) error {
			note(v)
			return nil
		}))
		must(t, s.Contents(ctx, acc, boxes[i], every, metadata.WantAll, func(c *metadata.Content) error {
			v := *c
			v.Mailbox = 0
			note(v)
			return nil
		}))
		queue, err := s.Mutations(ctx, acc, 0, 1000)
		must(t, err)
		for _, q := range queue {
			if q.Ref.Mailbox -= boxes[i]; q.Content != nil {
				note([]any{q.Content.Blob, q.Content.Size})
				q.Content = nil
			}
			q.Row.ModSeq = 0
			note(q)
		}
	}
	if all[0] != all[1] {
		t.Errorf("two at a time:\n%.20000s\none at a time:\n%.20000s", all[0], all[1])
	}

	// What stops several stops one.
	m := newMessages(1, 1)
	m[0].Upstream, m[0].Content = 0, &contents(0, 1, 1)[0]
	for _, c := range []struct {
		acc   account.ID
		box   mailbox.ID
		quota int64
		kind  fault.Kind
	}{{999, boxes[1], 0, fault.NotFound}, {twins[1], 999, 1, fault.NotFound}, {twins[1], boxes[0], 1, fault.NotFound}, {twins[1], boxes[1], 1, fault.OverQuota}} {
		_, err := s.AddMessages(ctx, c.acc, metadata.AddEdit{Mailbox: c.box, Messages: m, Quota: c.quota})
		fails(t, err, c.kind)
	}
}

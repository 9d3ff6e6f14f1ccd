package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/app/deliver"
	"imapped/app/session"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/search"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

// blobs is a blob store in memory.
type blobs struct {
	mu sync.Mutex
	m  map[blob.Key][]byte
}

func (s *blobs) Put(_ context.Context, raws ...[]byte) (keys []blob.Key, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, raw := range raws {
		key := blob.Key(sha256.Sum256(raw))
		s.m[key] = bytes.Clone(raw)
		keys = append(keys, key)
	}
	return keys, nil
}

func (s *blobs) Open(_ context.Context, key blob.Key) (blob.Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, ok := s.m[key]
	if !ok {
		return nil, fault.New(fault.NotFound, "open", "no such blob")
	}
	return opened{bytes.NewReader(raw)}, nil
}

type opened struct{ *bytes.Reader }

func (opened) Close() error { return nil }

// anybody lets everybody in as user 1.
type anybody struct{}

func (anybody) Check(_ context.Context, name, _, _ string) (account.User, *account.Account, error) {
	return account.User{ID: 1, Name: name}, nil, nil
}

func rawMessage(n int) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: message %d\r\n"+
		"Message-ID: <%d@example.org>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\n\r\nThis is number %d.\r\n", n, n, n)
}

// TestOverRealStore drives sessions over SQLite: after each random change every session that looks sees exactly what
// the store has, by the rules of sequence numbers, and FETCH and SEARCH agree with it.
func TestOverRealStore(t *testing.T) {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("IMAPPED_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 5))
	ctx := t.Context()

	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "imapped.db"), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	bus, bodies := &memory.Bus{}, &blobs{m: map[blob.Key][]byte{}}
	user, err := db.CreateUser(ctx, account.User{Name: "ann", Created: time.Unix(1, 0)})
	if err != nil || user.ID != 1 {
		t.Fatal(user, err)
	}
	acc, err := db.CreateAccount(ctx, account.Account{User: user.ID, Display: "Home", Email: "ann@example.org", Local: true, Created: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	box, err := deliver.New(ctx, deliver.Config{Mirror: db, Leases: db, Blobs: bodies, Bus: bus, Clock: clock.System{}}, acc.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	id, err := box.Mailbox(ctx, "INBOX", 0)
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	deliverSome := func(n int) {
		var ms []deliver.Message
		for range n {
			number++
			ms = append(ms, deliver.Message{Raw: rawMessage(number), Date: time.Unix(1_772_000_000, 0)})
		}
		if _, err := box.Messages(ctx, id, ms...); err != nil {
			t.Fatal(err)
		}
	}
	deliverSome(300)
	if err := box.Close(ctx); err != nil {
		t.Fatal(err)
	}
	fence, err := db.Acquire(ctx, acc.ID, "test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(u metadata.Update) {
		u.Mailbox, u.Now = id, time.Now()
		if _, err := db.Apply(ctx, fence, u); err != nil {
			t.Fatal(err)
		}
	}

	svc := session.New(session.Config{
		Auth: anybody{}, Accounts: db, Mailboxes: db, Messages: db, Blobs: blob.Shared{Store: bodies}, Bus: bus, Clock: clock.System{},
	})
	login, err := svc.Login(ctx, session.Credentials{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	type client struct {
		session.Mailbox
		uids []mailbox.UID
	}
	var clients []*client
	for range 3 {
		m, err := login.Open(ctx, "inbox", session.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c := &client{Mailbox: m}
		for _, row := range m.View().Rows(m.View().All()) {
			c.uids = append(c.uids, row.UID)
		}
		clients = append(clients, c)
	}
	if len(clients[0].uids) != 300 || clients[0].View().Recent() != 300 || clients[1].View().Recent() != 0 {
		t.Fatalf("%d messages, %d and %d recent", len(clients[0].uids), clients[0].View().Recent(), clients[1].View().Recent())
	}
	for range 60 {
		now, err := db.Changes(ctx, acc.ID, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		pick := func() mailbox.UID { return now.Rows[rnd.IntN(len(now.Rows))].UID }
		switch rnd.IntN(3) {
		case 0:
			apply(metadata.Update{New: []metadata.NewMessage{{Flags: flag.Make(flag.Flagged), Size: 5, Date: 1}}})
		case 1:
			apply(metadata.Update{Flags: []metadata.FlagChange{{UID: pick(), Flags: flag.Make(flag.System(rnd.IntN(32)), "k"+fmt.Sprint(rnd.IntN(3)))}}})
		case 2:
			apply(metadata.Update{Expunge: mailbox.SetOf(pick(), pick())})
		}
		if now, err = db.Changes(ctx, acc.ID, id, 0); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			if rnd.IntN(2) == 0 {
				continue
			}
			ch, err := c.Advance(ctx, true)
			if err != nil {
				t.Fatal(err)
			}
			for _, seq := range ch.Expunged {
				c.uids = slices.Delete(c.uids, int(seq)-1, int(seq))
			}
			for seq := len(c.uids) + 1; seq <= int(ch.Exists); seq++ {
				c.uids = append(c.uids, c.View().UID(uint32(seq)))
			}
			if len(c.uids) != len(now.Rows) || ch.ModSeq != now.ModSeq {
				t.Fatalf("%d messages at %d, the store has %d at %d", len(c.uids), ch.ModSeq, len(now.Rows), now.ModSeq)
			}
			for i, row := range now.Rows {
				if c.uids[i] != row.UID || c.View().At(uint32(i)+1) != row {
					t.Fatalf("message %d: the client means %d, the view %+v, the store %+v", i+1, c.uids[i], c.View().At(uint32(i)+1), row)
				}
			}
		}
	}

	c := clients[0]
	if _, err := c.Advance(ctx, true); err != nil {
		t.Fatal(err)
	}
	v := c.View()
	old := v.SeqsOfUIDs([]mailbox.Range{{First: 1, Last: 300}}) // those with a body
	n := 0
	err = c.Fetch(ctx, old, session.NeedEnvelope|session.NeedHeaders|session.NeedIdentity|session.NeedBytes, func(m *session.Message) error {
		n++
		b, err := m.Open(ctx)
		if err != nil {
			return err
		}
		defer b.Close()
		raw, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if want := rawMessage(int(m.UID)); err != nil || !bytes.Equal(raw, want) || m.Size != int64(len(want)) {
			t.Fatalf("message %d: %v, %q", m.Seq, err, raw)
		}
		if subject := fmt.Sprintf("message %d", m.UID); !bytes.Contains(m.Envelope, []byte(subject)) || !bytes.Contains(m.Headers, []byte(subject)) {
			t.Fatalf("message %d: envelope %s, headers %s", m.Seq, m.Envelope, m.Headers)
		}
		if m.EmailID == "" || m.ThreadID == "" || m.Saved.IsZero() {
			t.Fatalf("message %d: %q %q %v", m.Seq, m.EmailID, m.ThreadID, m.Saved)
		}
		return nil
	})
	if err != nil || uint64(n) != old.Len() {
		t.Fatalf("fetched %d of %d: %v", n, old.Len(), err)
	}
	q := &search.Query{Op: search.And, Kids: []search.Query{
		{Op: search.UIDs, Set: mailbox.Set{{First: 1, Last: 300}}},
		{Op: search.Body, Text: "NUMBER 12"}, {Op: search.Subject, Text: "message 12"},
	}}
	var want []uint32
	for seq, row := range v.Rows(old) {
		if row.UID == 12 || row.UID >= 120 && row.UID < 130 {
			want = append(want, seq)
		}
	}
	got, _, err := c.Search(ctx, q)
	if err != nil || got.String() != mailbox.SetOf(want...).String() {
		t.Errorf("search: %v %v, want %v", got, err, want)
	}
}

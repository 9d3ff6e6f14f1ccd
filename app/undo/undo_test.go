package undo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/app/session"
	"imapped/app/undo"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
)

// blobs is a blob store in memory.
type blobs struct {
	blob.Store // what is not used
	mu         sync.Mutex
	m          map[blob.Key][]byte
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

type anybody struct{}

func (anybody) Check(context.Context, string, string, string) (account.User, *account.Account, error) {
	return account.User{ID: 1, Name: "ann"}, nil, nil
}

// ticking is a clock that moves by a second whenever it is read.
type ticking struct {
	mu  sync.Mutex
	now time.Time
}

func (c *ticking) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

// rig is a user with one account and what restores into it.
type rig struct {
	testing.TB
	acc     account.ID
	db      *sqlite.Store
	blobs   *blobs
	clock   *ticking
	s       session.Session
	changed int
}

func newRig(t testing.TB, local bool) *rig {
	r := &rig{TB: t, blobs: &blobs{m: map[blob.Key][]byte{}}, clock: &ticking{now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}}
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "imapped.db"), Migrate: true})
	r.check(err)
	t.Cleanup(func() { db.Close() })
	r.db = db
	user, err := db.CreateUser(t.Context(), account.User{Name: "ann", Created: time.Unix(1, 0)})
	r.check(err)
	acc, err := db.CreateAccount(t.Context(), account.Account{User: user.ID, Display: "Home", Email: "ann@example.org", Local: local, Created: time.Unix(1, 0)})
	r.check(err)
	r.acc = acc.ID
	_, err = db.CreateMailbox(t.Context(), acc.ID, "INBOX", 0, r.clock.Now())
	r.check(err)
	svc := session.New(session.Config{
		Auth: anybody{}, Accounts: db, Mailboxes: db, Messages: db, Edits: db, Folders: db, Blobs: blob.Shared{Store: r.blobs}, Bus: &memory.Bus{}, Clock: r.clock,
	})
	r.s, err = svc.Login(t.Context(), session.Credentials{})
	r.check(err)
	return r
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) restore(name string, since time.Time) undo.Restored {
	r.Helper()
	done, err := undo.Restore(r.Context(), undo.Config{
		Undo: r.db, Edits: r.db, Folders: r.db, Mailboxes: r.db, Blobs: r.blobs, Bus: &memory.Bus{}, Clock: r.clock,
		Changed: func(account.ID) { r.changed++ },
	}, r.acc, name, since)
	r.check(err)
	return done
}

func raw(text string) []byte {
	return fmt.Appendf(nil, "Subject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\n%s\r\n", text, text, text)
}

func (r *rig) append(name string, texts ...string) {
	r.Helper()
	a, err := r.s.Append(r.Context(), name)
	r.check(err)
	defer a.Close()
	for _, text := range texts {
		m := raw(text)
		r.check(a.Add(r.Context(), bytes.NewReader(m), int64(len(m)), flag.Parse(`\Flagged`, "k"), time.Unix(1_700_000_000, 0)))
	}
	_, err = a.Commit(r.Context(), nil, 0)
	r.check(err)
}

// expunge removes messages by UID.
func (r *rig) expunge(name string, uids ...mailbox.UID) {
	r.Helper()
	m, err := r.s.Open(r.Context(), name, session.OpenOptions{})
	r.check(err)
	defer m.Close()
	set := mailbox.SetOf(uids...)
	_, err = m.Store(r.Context(), session.StoreRequest{UIDs: set, Flags: flag.Make(flag.Deleted)})
	r.check(err)
	gone, err := m.Expunge(r.Context(), set)
	r.check(err)
	if len(gone) == 0 {
		r.Fatal("nothing was expunged")
	}
}

// shown is a mailbox's messages.
func (r *rig) shown(name string) string {
	r.Helper()
	m, err := r.s.Open(r.Context(), name, session.OpenOptions{})
	if fault.Is(err, fault.NotFound) {
		return "none"
	}
	r.check(err)
	defer m.Close()
	var all []string
	r.check(m.Fetch(r.Context(), m.View().All(), session.NeedBytes|session.NeedEnvelope, func(msg *session.Message) error {
		b, err := msg.Open(r.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		_, body, _ := strings.Cut(string(text), "\r\n\r\n")
		all = append(all, fmt.Sprintf("%d %s (%s)", msg.UID, strings.TrimSpace(body), msg.Flags))
		if msg.Date != 1_700_000_000 || !bytes.Contains(msg.Envelope, []byte(strings.TrimSpace(body))) {
			r.Errorf("date %d, envelope %s", msg.Date, msg.Envelope)
		}
		return err
	}))
	return strings.Join(all, ", ")
}

func TestRestore(t *testing.T) {
	for _, local := range []bool{true, false} {
		t.Run(fmt.Sprint(local), func(t *testing.T) {
			r := newRig(t, local)
			_, err := r.s.Create(t.Context(), "Work", 0)
			r.check(err)
			r.append("INBOX", "a", "b", "c")
			r.append("Work", "w", "x")
			r.expunge("INBOX", 1)
			since := r.clock.Now()
			r.expunge("INBOX", 3)
			r.expunge("Work", 1)
			r.check(r.s.Delete(t.Context(), "Work"))

			if done := r.restore("INBOX", since); done.Messages != 1 || done.Into["INBOX"] != 1 || done.Skipped != 0 {
				t.Errorf("%+v", done)
			}
			if got := r.shown("INBOX"); got != `2 b (\Flagged k), 4 c (\Flagged k)` {
				t.Error(got)
			}
			if got := r.shown("Work"); got != "none" {
				t.Error(got)
			}
			if r.changed == 0 {
				t.Error("nobody was told")
			}
			if done := r.restore("", time.Time{}); done.Messages != 3 || done.Into["INBOX"] != 1 || done.Into["Work"] != 2 {
				t.Errorf("%+v", done)
			}
			if got := r.shown("INBOX"); got != `2 b (\Flagged k), 4 c (\Flagged k), 5 a (\Flagged k)` {
				t.Error(got)
			}
			if got := r.shown("Work"); got != `1 w (\Flagged k), 2 x (\Flagged k)` {
				t.Error(got)
			}
			// Each once.
			if done := r.restore("", time.Time{}); done.Messages != 0 {
				t.Errorf("%+v", done)
			}
			// What is removed again comes back again.
			r.expunge("Work", 1)
			if done := r.restore("Work", since); done.Messages != 1 {
				t.Errorf("%+v", done)
			}
		})
	}
}

// TestRestoreMany restores more than one batch, of two mailboxes in turn, one body of which is lost.
func TestRestoreMany(t *testing.T) {
	r := newRig(t, true)
	_, err := r.s.Create(t.Context(), "Work", 0)
	r.check(err)
	var texts []string
	for i := range 1200 {
		texts = append(texts, fmt.Sprint("message", i))
	}
	r.append("INBOX", texts...)
	r.append("Work", "w1", "w2", "w3")
	var some []mailbox.UID
	for uid := mailbox.UID(1); uid <= 1100; uid++ {
		some = append(some, uid)
	}
	r.expunge("INBOX", 1150)
	r.expunge("Work", 2)
	r.expunge("INBOX", some...)
	r.expunge("Work", 1)
	r.blobs.mu.Lock()
	delete(r.blobs.m, sha256.Sum256(raw("message700")))
	r.blobs.mu.Unlock()
	done := r.restore("", time.Time{})
	if done.Messages != 1102 || done.Skipped != 1 || done.Into["INBOX"] != 1100 || done.Into["Work"] != 2 {
		t.Errorf("%+v", done)
	}
	back := strings.Split(r.shown("INBOX"), ", ")
	if len(back) != 1199 {
		t.Errorf("%d messages", len(back))
	}
	for i := range back {
		_, back[i], _ = strings.Cut(back[i], " ")
	}
	if slices.Sort(back); len(slices.Compact(back)) != 1199 {
		t.Error("a message came back twice")
	}
	_, err = undo.Restore(t.Context(), undo.Config{
		Undo: r.db, Edits: r.db, Folders: r.db, Mailboxes: r.db, Blobs: r.blobs, Bus: &memory.Bus{}, Clock: r.clock,
	}, 77, "", time.Time{})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("another account: %v", err)
	}
}

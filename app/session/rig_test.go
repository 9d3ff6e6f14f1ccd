package session_test

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
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

// rig is sessions over a real store in a folder of the test.
type rig struct {
	testing.TB
	dir      string
	db       *sqlite.Store
	bus      *memory.Bus
	blobs    *blobs
	accounts []account.Account
	fences   []metadata.Fence
	svc      *session.Service
	quota    int64 // of each account, from the next opening on

	mu      sync.Mutex
	changed map[account.ID]int                        // calls of Config.Changed
	bodies  map[mailbox.UID][]byte                    // what the upstream gives; nil: nothing, and no error
	fetched []mailbox.UID                             // what was asked of it
	uids    map[account.ID]map[mailbox.ID]mailbox.UID // the next upstream UIDs
	clients []interface{ Close() }                    // to be closed before a reopening
}

// newRig makes a user with the accounts: "local" or "mirrored" each, with an INBOX. The first is at the root, the others
// stand below "Acc2" and so on.
func newRig(t testing.TB, kinds ...string) *rig {
	r := &rig{
		TB: t, dir: t.TempDir(), bus: &memory.Bus{}, blobs: &blobs{m: map[blob.Key][]byte{}}, changed: map[account.ID]int{},
		bodies: map[mailbox.UID][]byte{}, uids: map[account.ID]map[mailbox.ID]mailbox.UID{},
	}
	r.open()
	t.Cleanup(r.close)
	user, err := r.db.CreateUser(t.Context(), account.User{Name: "ann", Created: time.Unix(1, 0)})
	r.check(err)
	for i, kind := range kinds {
		acc, err := r.db.CreateAccount(t.Context(), account.Account{
			User: user.ID, Display: fmt.Sprintf("Acc%d", i+1), Email: fmt.Sprintf("ann%d@example.org", i+1),
			Local: kind == "local", Created: time.Unix(1, 0),
		})
		r.check(err)
		f, err := r.db.Acquire(t.Context(), acc.ID, "test", time.Now(), time.Hour)
		r.check(err)
		r.accounts, r.fences = append(r.accounts, acc), append(r.fences, f)
		r.uids[acc.ID] = map[mailbox.ID]mailbox.UID{}
		r.mirror(i, "INBOX", '/')
	}
	return r
}

func (r *rig) open() {
	db, err := sqlite.Open(context.Background(), sqlite.Options{Path: filepath.Join(r.dir, "imapped.db"), Migrate: true})
	r.check(err)
	r.db = db
	r.svc = session.New(session.Config{
		Auth: anybody{}, Accounts: db, Mailboxes: db, Messages: db, Edits: db, Folders: db, Upstreams: db, Blobs: blob.Shared{Store: r.blobs},
		Bus: r.bus, Bodies: r, Clock: clock.System{}, Quota: r.quota,
		Changed: func(acc account.ID) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.changed[acc]++
		},
	})
}

func (r *rig) close() {
	for _, c := range r.clients {
		c.Close()
	}
	r.clients = nil
	r.db.Close()
}

// reopen is a restart of the process.
func (r *rig) reopen() {
	r.close()
	r.open()
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// mirror makes a mailbox as it would come from the upstream.
func (r *rig) mirror(acc int, name string, delimiter byte) mailbox.ID {
	r.Helper()
	m := metadata.Mirrored{Info: mailbox.Info{Account: r.accounts[acc].ID, Name: name, Subscribed: true}}
	if !r.accounts[acc].Local {
		m.Upstream = metadata.Upstream{Name: strings.ReplaceAll(name, "/", string(delimiter)), Delimiter: delimiter}
	}
	m, err := r.db.SaveMailbox(r.Context(), r.fences[acc], m)
	r.check(err)
	return m.ID
}

// deliver puts messages into a mailbox as the upstream or a local delivery would, and returns their UIDs.
func (r *rig) deliver(acc int, id mailbox.ID, stored bool, raws ...[]byte) []mailbox.UID {
	r.Helper()
	a := r.accounts[acc]
	u := metadata.Update{Mailbox: id, Now: time.Now()}
	for _, raw := range raws {
		n := metadata.NewMessage{Size: int64(len(raw)), Date: 1_772_000_000, Zone: 60}
		n.Identity = message.Identify(raw, n.Size, time.Unix(n.Date, 0))
		if !a.Local {
			r.uids[a.ID][id]++
			n.Upstream = uint32(r.uids[a.ID][id])
		}
		if stored {
			c := r.content(raw)
			n.Content = &c
		}
		u.New = append(u.New, n)
	}
	done, err := r.db.Apply(r.Context(), r.fences[acc], u)
	r.check(err)
	for i, uid := range done.UIDs {
		if !stored {
			r.bodies[uid] = raws[i]
		}
	}
	return done.UIDs
}

func (r *rig) content(raw []byte) metadata.Content {
	keys, err := r.blobs.Put(r.Context(), raw)
	r.check(err)
	frags, err := message.Parse(bytes.NewReader(raw), int64(len(raw)))
	r.check(err)
	return metadata.Content{Blob: keys[0], Size: int64(len(raw)), Fragments: frags}
}

// Fetch implements session.BodySource.
func (r *rig) Fetch(ctx context.Context, acc account.ID, id mailbox.ID, uids []mailbox.UID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched = append(r.fetched, uids...)
	var contents []metadata.Content
	for _, uid := range uids {
		raw, ok := r.bodies[uid]
		if !ok {
			return fault.New(fault.Unavailable, "fetch", "the upstream is down")
		}
		if raw == nil {
			continue // it is not stored, for whatever reason
		}
		c := r.content(raw)
		c.Mailbox, c.UID = id, uid
		contents = append(contents, c)
	}
	i := slices.IndexFunc(r.accounts, func(a account.Account) bool { return a.ID == acc })
	return r.db.StoreContents(ctx, r.fences[i], contents)
}

// Stream implements session.BodySource.
func (r *rig) Stream(context.Context, account.ID, mailbox.ID, mailbox.UID) (session.Bytes, error) {
	return nil, fault.New(fault.Unavailable, "stream", "not used")
}

func (r *rig) login() session.Session {
	r.Helper()
	s, err := r.svc.Login(r.Context(), session.Credentials{User: "ann"})
	r.check(err)
	return s
}

// selectBox opens a mailbox until the end of the test or the next reopening.
func (r *rig) selectBox(s session.Session, name string) session.Mailbox {
	r.Helper()
	m, err := s.Open(r.Context(), name, session.OpenOptions{})
	r.check(err)
	r.clients = append(r.clients, m)
	return m
}

// wakes returns how often Changed was called for the account since the last asking.
func (r *rig) wakes(acc int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.changed[r.accounts[acc].ID]
	delete(r.changed, r.accounts[acc].ID)
	return n
}

// queued returns how many changes wait to go upstream.
func (r *rig) queued(acc int) int {
	r.Helper()
	q, err := r.db.QueueSummary(r.Context(), r.accounts[acc].ID)
	r.check(err)
	return q.Waiting + q.Sent + q.Parked
}

// names returns the names of the mailboxes that exist.
func (r *rig) names(s session.Session) string {
	r.Helper()
	all, err := s.List(r.Context(), session.ListRequest{Patterns: []string{"*"}})
	r.check(err)
	var names []string
	for _, l := range all {
		if !l.NonExistent && l.Attrs&mailbox.NoSelect == 0 {
			names = append(names, l.Name)
		}
	}
	return strings.Join(names, " ")
}

// shown is what a fresh session sees of a mailbox: a line for each message.
func (r *rig) shown(name string) []string {
	r.Helper()
	m, err := r.login().Open(r.Context(), name, session.OpenOptions{ReadOnly: true})
	r.check(err)
	defer m.Close()
	var lines []string
	need := session.NeedEnvelope | session.NeedIdentity | session.NeedBytes | session.NeedHeaders | session.NeedParts |
		session.NeedBodyStructure | session.NeedBody | session.NeedPreview
	r.check(m.Fetch(r.Context(), m.View().All(), need, func(msg *session.Message) error {
		b, err := msg.Open(r.Context())
		if err != nil {
			return err
		}
		defer b.Close()
		raw, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil {
			return err
		}
		want, err := message.Parse(bytes.NewReader(raw), 0)
		if err != nil {
			return err
		}
		got := msg.Fragments
		if msg.Size != int64(len(raw)) || !bytes.Equal(got.Envelope, want.Envelope) || !bytes.Equal(got.Headers, want.Headers) ||
			!bytes.Equal(got.Body, want.Body) || !bytes.Equal(got.BodyStructure, want.BodyStructure) ||
			!bytes.Equal(got.Parts, want.Parts) || !bytes.Equal(got.Preview, want.Preview) {
			r.Errorf("%s %d: size %d, fragments %+v, want those of %.80q", name, msg.UID, msg.Size, got, raw)
		}
		if msg.EmailID == "" || msg.ThreadID == "" || msg.Saved.IsZero() {
			r.Errorf("%s %d has no identity: %q %q %v", name, msg.UID, msg.EmailID, msg.ThreadID, msg.Saved)
		}
		lines = append(lines, fmt.Sprintf("%d (%s) %s %x", msg.UID, msg.Flags, msg.InternalDate().Format(time.RFC3339),
			sha256.Sum256(raw)))
		return nil
	}))
	return lines
}

// advance brings a mailbox up to the store and returns what the client hears: "x" sequence numbers that went, "f" new
// flags, "+" how many messages there are now.
func (r *rig) advance(m session.Mailbox) string {
	r.Helper()
	c, err := m.Advance(r.Context(), true)
	r.check(err)
	var out []string
	for _, seq := range c.Expunged {
		out = append(out, fmt.Sprint("x", seq))
	}
	if c.Grew {
		out = append(out, fmt.Sprint("+", c.Exists))
	}
	for seq, row := range m.View().Rows(c.Flags) {
		out = append(out, fmt.Sprintf("f%d(%s)", seq, row.Flags))
	}
	return strings.Join(out, " ")
}

// hinted says whether the mailbox's session was told to look.
func hinted(m session.Mailbox) bool {
	select {
	case <-m.Hint():
		return true
	default:
		return false
	}
}

// quiet takes what hints there are.
func quiet(ms ...session.Mailbox) {
	for _, m := range ms {
		hinted(m)
	}
}

// isFault fails the test unless err is of the kind; 0 is no error.
func isFault(t testing.TB, what string, err error, kind fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != kind || (err == nil) != (kind == 0) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

func set(nums ...uint32) mailbox.Set { return mailbox.SetOf(nums...) }

func flags(names ...string) flag.Set { return flag.Parse(names...) }

// Create implements blob.Store.
func (s *blobs) Create(context.Context) (blob.Writer, error) { return &writing{s: s}, nil }

// writing is a blob that is being written.
type writing struct {
	s    *blobs
	data []byte
}

func (w *writing) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *writing) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(w.data).ReadAt(p, off)
}

func (w *writing) Commit(ctx context.Context) (blob.Key, error) {
	keys, err := w.s.Put(ctx, w.data)
	if err != nil {
		return blob.Key{}, err
	}
	return keys[0], nil
}

func (w *writing) Close() error { return nil }

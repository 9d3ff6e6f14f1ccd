package syncer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

// rig is a Manager over a model upstream and a real metadata store.
type rig struct {
	t     testing.TB
	w     *world
	db    *sqlite.Store
	blobs *memBlobs
	acc   account.Account
	ports syncer.Ports
	cfg   syncer.Config
	m     *syncer.Manager
	stop  func()
}

// plainSealer is a sealer for tests: it does not seal.
type plainSealer struct{}

func (plainSealer) Seal(plain, _ []byte) (account.Secret, error) {
	return account.Secret{KeyID: "plain", Sealed: plain}, nil
}

func (plainSealer) Open(s account.Secret, _ []byte) ([]byte, error) {
	return bytes.Clone(s.Sealed), nil
}

func newRig(t testing.TB, w *world) *rig {
	t.Helper()
	ctx := context.Background()
	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(t.TempDir(), "meta.db"), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := db.CreateUser(ctx, account.User{Name: "ann", Created: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	acc, err := db.CreateAccount(ctx, account.Account{
		User: u.ID, Display: "Ann", Email: "ann@example.org", Username: "ann",
		Upstream: account.Endpoint{Host: "imap.example.org", Port: 993, TLS: account.TLSImplicit},
		Secret:   account.Secret{KeyID: "plain", Sealed: []byte("secret")}, Created: time.Unix(1, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("IMAPPED_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	r := &rig{t: t, w: w, db: db, blobs: newMemBlobs(), acc: acc}
	r.ports = syncer.Ports{
		Accounts: db, Leases: db, Statuses: db, Mirror: db, Messages: db, Bodies: db, Queue: db, Edits: db, Blobs: blob.Shared{Store: r.blobs}, Dialer: w,
		Secrets: plainSealer{}, Bus: new(memory.Bus), Clock: clock.System{}, Log: log,
	}
	r.cfg = syncer.Config{
		Poll: time.Hour, RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond, Silence: time.Minute,
	}
	return r
}

// start runs the Manager until the test ends or halt.
func (r *rig) start() {
	r.m = syncer.New(r.ports, r.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.m.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.stop = func() { cancel(); wg.Wait() }
	r.t.Cleanup(func() { r.halt() })
	<-r.m.Ready()
}

func (r *rig) halt() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// sync forces a round that must succeed.
func (r *rig) sync() {
	r.t.Helper()
	if err := r.try(); err != nil {
		r.t.Fatalf("force: %v", err)
	}
}

func (r *rig) try() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return r.m.Force(ctx, r.acc.ID, nil)
}

// until waits until the condition holds.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	look := time.NewTicker(time.Millisecond) // there is no event to wait for: the state is another goroutine's
	defer look.Stop()
	for range 10000 {
		if ok() {
			return
		}
		<-look.C
	}
	r.t.Fatalf("never: %s", what)
}

// stored is the account's status in the store.
func (r *rig) stored() account.Status {
	r.t.Helper()
	s, err := r.db.Status(context.Background(), r.acc.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// mirrored returns the mailboxes here by name.
func (r *rig) mirrored() map[string]metadata.Mirrored {
	r.t.Helper()
	ms, err := r.db.Mirrored(context.Background(), r.acc.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]metadata.Mirrored{}
	for _, m := range ms {
		out[m.Name] = m
	}
	return out
}

// local is a message as it is here.
type local struct {
	uid   mailbox.UID
	up    uint32
	flags string
	raw   string
	size  int64
}

func (r *rig) local(id mailbox.ID) []local {
	r.t.Helper()
	ctx := context.Background()
	var out []local
	if err := r.db.UpstreamRows(ctx, r.acc.ID, id, func(row metadata.UpstreamRow) error {
		if !row.Departed {
			out = append(out, local{uid: row.UID, up: row.Upstream, flags: row.Flags.String()})
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	byUID := map[mailbox.UID]*local{}
	var uids []mailbox.UID
	for i := range out {
		byUID[out[i].uid] = &out[i]
		uids = append(uids, out[i].uid)
	}
	if err := r.db.Contents(ctx, r.acc.ID, id, mailbox.SetOf(uids...), metadata.WantAll, func(c *metadata.Content) error {
		l := byUID[c.UID]
		l.raw, l.size = r.blobs.get(c.Blob), c.Size
		if len(c.Envelope) == 0 {
			return fmt.Errorf("UID %d has no envelope", c.UID)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// compare checks that what is here is what the upstream has: mailboxes, messages, flags, bytes.
func (r *rig) compare() {
	r.t.Helper()
	here := r.mirrored()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if len(here) != len(r.w.boxes) {
		r.t.Errorf("%d mailboxes here, %d upstream", len(here), len(r.w.boxes))
	}
	byRaw := map[string]metadata.Mirrored{}
	for _, m := range here {
		byRaw[m.Upstream.Name] = m
	}
	for name, b := range r.w.boxes {
		m, ok := byRaw[name]
		if !ok {
			r.t.Errorf("mailbox %q is not here", name)
			continue
		}
		if want := (mirror.Codec{Delimiter: b.delim, UTF8: r.w.server.UTF8}).Client(name); m.Name != want {
			r.t.Logf("mailbox %q is here as %q", name, m.Name)
		}
		r.compareBox(b, m)
	}
}

func (r *rig) compareBox(b *mbox, m metadata.Mirrored) {
	r.t.Helper()
	rows := r.local(m.ID)
	byUp := map[uint32]local{}
	for _, l := range rows {
		if _, twice := byUp[l.up]; twice {
			r.t.Errorf("%s: upstream UID %d twice", b.name, l.up)
		}
		byUp[l.up] = l
	}
	if len(rows) != len(b.msgs) {
		r.t.Errorf("%s: %d messages here, %d upstream", b.name, len(rows), len(b.msgs))
	}
	for _, msg := range b.msgs {
		l, ok := byUp[msg.uid]
		switch {
		case !ok:
			r.t.Errorf("%s: upstream UID %d is not here", b.name, msg.uid)
		case l.raw != msg.raw:
			r.t.Errorf("%s: UID %d has other bytes (%d, want %d)", b.name, l.uid, len(l.raw), len(msg.raw))
		case l.flags != msg.flags.String():
			r.t.Errorf("%s: UID %d has flags %q, want %q", b.name, l.uid, l.flags, msg.flags)
		}
	}
	if m.Messages != uint32(len(rows)) || m.Bodies != uint32(len(rows)) {
		r.t.Errorf("%s: counters say %d messages, %d bodies; there are %d", b.name, m.Messages, m.Bodies, len(rows))
	}
}

// mail makes a message whose content depends on n; size is added to its body.
func mail(n int, size int) string {
	body := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef012345\r\n"), size/56+1)
	return fmt.Sprintf("From: a%d@example.org\r\nTo: b@example.org\r\nSubject: message %d\r\n"+
		"Message-ID: <%d@example.org>\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\nHello %d\r\n%s", n, n, n, n, body[:size])
}

// seed returns the test's random source; IMAPPED_SEED replays one.
func seed(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	s := rand.Uint64() >> 1
	if v := os.Getenv("IMAPPED_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s = n
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 1)), s
}

func stringReader(s string) *bytes.Reader { return bytes.NewReader([]byte(s)) }

// memBlobs is a blob store in memory.
type memBlobs struct {
	mu    sync.Mutex
	blobs map[blob.Key][]byte
	fail  error
}

func newMemBlobs() *memBlobs { return &memBlobs{blobs: map[blob.Key][]byte{}} }

func (s *memBlobs) get(k blob.Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.blobs[k])
}

func (s *memBlobs) Put(_ context.Context, blobs ...[]byte) ([]blob.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	keys := make([]blob.Key, len(blobs))
	for i, b := range blobs {
		keys[i] = sha256.Sum256(b)
		s.blobs[keys[i]] = bytes.Clone(b)
	}
	return keys, nil
}

func (s *memBlobs) Open(_ context.Context, k blob.Key) (blob.Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[k]
	if !ok {
		return nil, fault.New(fault.NotFound, "open blob", "no such blob")
	}
	return memBlob{bytes.NewReader(b)}, nil
}

type memBlob struct{ *bytes.Reader }

func (memBlob) Close() error { return nil }

func (s *memBlobs) Create(context.Context) (blob.Writer, error) { return &memWriter{s: s}, nil }

type memWriter struct {
	s  *memBlobs
	mu sync.Mutex
	b  []byte
}

func (w *memWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *memWriter) ReadAt(p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if off >= int64(len(w.b)) {
		return 0, io.EOF
	}
	n := copy(p, w.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (w *memWriter) Commit(ctx context.Context) (blob.Key, error) {
	w.mu.Lock()
	b := w.b
	w.mu.Unlock()
	keys, err := w.s.Put(ctx, b)
	if err != nil {
		return blob.Key{}, err
	}
	return keys[0], nil
}

func (w *memWriter) Close() error { return nil }

package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// world is an in-memory store, bus, blob store and upstream, with counters of what was asked of them.
type world struct {
	mu       sync.Mutex
	now      time.Time
	accounts []account.Account
	boxes    map[mailbox.ID]*box
	blobs    map[blob.Key][]byte
	corrupt  map[blob.Key]bool
	subs     map[*subscription]bool
	upstream map[mailbox.UID][]byte // bodies that can be had
	down     bool                   // the upstream does not answer

	points, changes, contents, claims, fetches, streams, drops int
	asked                                                      []mailbox.UID // of BodySource.Fetch
	onChanges                                                  func()        // called at the beginning of Changes, without mu
}

type box struct {
	info    mailbox.Info
	rows    map[mailbox.UID]mailbox.Row
	gone    map[mailbox.UID]mailbox.ModSeq
	content map[mailbox.UID]metadata.Content
}

func newWorld(t testing.TB) *world {
	w := &world{
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), boxes: map[mailbox.ID]*box{}, blobs: map[blob.Key][]byte{},
		corrupt: map[blob.Key]bool{}, subs: map[*subscription]bool{}, upstream: map[mailbox.UID][]byte{},
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.subs) > 0 {
			t.Errorf("%d subscriptions are left open", len(w.subs))
		}
	})
	return w
}

func (w *world) Now() time.Time { return w.now }

func (w *world) service(change ...func(*Config)) *Service {
	c := Config{
		Auth: w, Accounts: w, Mailboxes: w, Messages: w, Blobs: blob.Shared{Store: w}, Bus: w, Bodies: w, Drop: w.drop, Clock: w,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

// login logs in as "ann", or shows one account alone when the name is its address.
func (w *world) login(t testing.TB, s *Service, name string) Session {
	t.Helper()
	ss, err := s.Login(t.Context(), Credentials{User: name, Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	return ss
}

func (w *world) Check(_ context.Context, name, password, _ string) (account.User, *account.Account, error) {
	if password != "right" {
		return account.User{}, nil, fault.New(fault.Denied, "check", "wrong")
	}
	u := account.User{ID: 1, Name: name}
	for i := range w.accounts {
		if w.accounts[i].Email == name {
			return u, &w.accounts[i], nil
		}
	}
	return u, nil, nil
}

func (w *world) account(display, email string) account.ID {
	id := account.ID(len(w.accounts) + 1)
	w.accounts = append(w.accounts, account.Account{ID: id, User: 1, Position: int(id), Display: display, Email: email})
	return id
}

func (w *world) box(acc account.ID, name string, attrs mailbox.Attr, subscribed bool) *box {
	id := mailbox.ID(len(w.boxes) + 1)
	b := &box{
		info: mailbox.Info{ID: id, Account: acc, Name: name, Attrs: attrs, Subscribed: subscribed, UIDValidity: 7,
			UIDNext: 1, HighestModSeq: 1, RecentFrom: 1},
		rows: map[mailbox.UID]mailbox.Row{}, gone: map[mailbox.UID]mailbox.ModSeq{}, content: map[mailbox.UID]metadata.Content{},
	}
	w.boxes[id] = b
	return b
}

// add delivers messages, with their bodies when stored, and returns the first UID.
func (w *world) add(b *box, n int, stored bool) mailbox.UID {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := b.info.UIDNext
	b.info.HighestModSeq++
	for range n {
		uid := b.info.UIDNext
		b.info.UIDNext++
		raw := w.raw(uid)
		b.rows[uid] = mailbox.Row{UID: uid, ModSeq: b.info.HighestModSeq, Size: int64(len(raw)), Date: int64(uid) * 1000}
		w.upstream[uid] = raw
		if stored {
			w.store(b, uid)
		}
	}
	w.count(b)
	return first
}

func (w *world) raw(uid mailbox.UID) []byte {
	return fmt.Appendf(nil, "Subject: message %d\r\n\r\nbody of %d\r\n", uid, uid)
}

// store is what the syncer does with a body. w.mu is held.
func (w *world) store(b *box, uid mailbox.UID) {
	raw := w.upstream[uid]
	key := blob.Key(sha256.Sum256(raw))
	w.blobs[key] = raw
	delete(w.corrupt, key)
	b.content[uid] = metadata.Content{
		Mailbox: b.info.ID, UID: uid, Blob: key, Size: int64(len(raw)),
		Fragments: message.Fragments{
			Envelope: fmt.Appendf(nil, "(envelope %d)", uid), Preview: fmt.Appendf(nil, "preview %d", uid),
			Headers: bytes.Clone(raw[:bytes.Index(raw, []byte("\r\n"))+2]),
		},
	}
}

func (w *world) flags(b *box, uid mailbox.UID, f flag.Set) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.info.HighestModSeq++
	r := b.rows[uid]
	r.Flags, r.ModSeq = f, b.info.HighestModSeq
	b.rows[uid] = r
	w.count(b)
}

func (w *world) expunge(b *box, uids ...mailbox.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.info.HighestModSeq++
	for _, uid := range uids {
		delete(b.rows, uid)
		delete(b.content, uid)
		b.gone[uid] = b.info.HighestModSeq
	}
	w.count(b)
}

func (w *world) count(b *box) {
	b.info.Messages, b.info.Unseen, b.info.Size = uint32(len(b.rows)), 0, 0
	for _, r := range b.rows {
		b.info.Size += r.Size
		if !r.Flags.Has(flag.Seen) {
			b.info.Unseen++
		}
	}
}

func (w *world) uids(b *box) []mailbox.UID {
	var uids []mailbox.UID
	for uid := range b.rows {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}

// The ports.

func (w *world) CreateAccount(context.Context, account.Account) (account.Account, error) {
	panic("not used")
}
func (w *world) UpdateAccount(context.Context, account.Account) error { panic("not used") }
func (w *world) DeleteAccount(context.Context, account.ID) error      { panic("not used") }

func (w *world) Accounts(context.Context, account.UserID) ([]account.Account, error) {
	return w.accounts, nil
}

func (w *world) Mailboxes(_ context.Context, acc account.ID) ([]mailbox.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var infos []mailbox.Info
	for _, b := range w.boxes {
		if b.info.Account == acc {
			infos = append(infos, b.info)
		}
	}
	return infos, nil
}

// get returns the box. w.mu is held.
func (w *world) get(acc account.ID, id mailbox.ID) (*box, error) {
	if b := w.boxes[id]; b != nil && b.info.Account == acc {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "mailbox", "gone")
}

func (w *world) Mailbox(ctx context.Context, acc account.ID, id mailbox.ID) (mailbox.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.points++
	if err := ctx.Err(); err != nil {
		return mailbox.Info{}, err
	}
	b, err := w.get(acc, id)
	if err != nil {
		return mailbox.Info{}, err
	}
	return b.info, nil
}

func (w *world) Usage(ctx context.Context, acc account.ID) (used int64, _ error) {
	infos, err := w.Mailboxes(ctx, acc)
	for _, info := range infos {
		used += info.Size
	}
	return used, err
}

func (w *world) ClaimRecent(_ context.Context, acc account.ID, id mailbox.ID, upTo mailbox.UID) (mailbox.UID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims++
	b, err := w.get(acc, id)
	if err != nil {
		return 0, err
	}
	from := b.info.RecentFrom
	b.info.RecentFrom = max(from, upTo)
	return from, nil
}

func (w *world) Changes(ctx context.Context, acc account.ID, id mailbox.ID, since mailbox.ModSeq) (mailbox.Delta, error) {
	if w.onChanges != nil {
		w.onChanges()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes++
	if err := ctx.Err(); err != nil {
		return mailbox.Delta{}, err
	}
	b, err := w.get(acc, id)
	if err != nil {
		return mailbox.Delta{}, err
	}
	d := mailbox.Delta{ModSeq: b.info.HighestModSeq, UIDNext: b.info.UIDNext}
	for _, uid := range w.uids(b) {
		if r := b.rows[uid]; r.ModSeq > since {
			d.Rows = append(d.Rows, r)
		}
	}
	var gone []mailbox.UID
	for uid, mod := range b.gone {
		if since > 0 && mod > since {
			gone = append(gone, uid)
		}
	}
	d.Expunged = mailbox.SetOf(gone...)
	return d, nil
}

func (w *world) Identities(_ context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, fn func(metadata.Identity) error) error {
	w.mu.Lock()
	b, err := w.get(acc, id)
	var out []metadata.Identity
	if err == nil {
		for _, uid := range w.uids(b) {
			if uids.Contains(uint32(uid)) {
				out = append(out, metadata.Identity{UID: uid, EmailID: mailbox.ObjectID{1, byte(uid >> 8), byte(uid)},
					ThreadID: mailbox.ObjectID{2, byte(uid)}, Saved: time.Unix(int64(uid), 0)})
			}
		}
	}
	w.mu.Unlock()
	for _, i := range out {
		if err := fn(i); err != nil {
			return err
		}
	}
	return err
}

func (w *world) Contents(_ context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, want metadata.Want, fn func(*metadata.Content) error) error {
	w.mu.Lock()
	w.contents++
	b, err := w.get(acc, id)
	var out []metadata.Content
	if err == nil {
		for _, uid := range w.uids(b) {
			if c, ok := b.content[uid]; ok && uids.Contains(uint32(uid)) {
				all := c.Fragments
				c.Fragments = message.Fragments{}
				if want&metadata.WantEnvelope != 0 {
					c.Envelope = bytes.Clone(all.Envelope)
				}
				if want&metadata.WantHeaders != 0 {
					c.Headers = bytes.Clone(all.Headers)
				}
				if want&metadata.WantPreview != 0 {
					c.Preview = bytes.Clone(all.Preview)
				}
				out = append(out, c)
			}
		}
	}
	w.mu.Unlock()
	for _, c := range out {
		if err := fn(&c); err != nil {
			return fmt.Errorf("reading contents: %w", err)
		}
		// The slices are valid during the call only.
		for _, p := range [][]byte{c.Envelope, c.Headers, c.Preview} {
			clear(p)
		}
	}
	return err
}

func (w *world) drop(_ context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drops++
	b, err := w.get(acc, id)
	if err == nil {
		delete(b.content, uid)
	}
	return err
}

// Blobs.

func (w *world) Put(context.Context, ...[]byte) ([]blob.Key, error) { panic("not used") }
func (w *world) Create(context.Context) (blob.Writer, error)        { panic("not used") }
func (w *world) Open(_ context.Context, key blob.Key) (blob.Blob, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, ok := w.blobs[key]
	switch {
	case w.corrupt[key]:
		return nil, fault.New(fault.Corrupt, "open", "the bytes are not those of the key")
	case !ok:
		return nil, fault.New(fault.NotFound, "open", "no such blob")
	}
	return memBlob{bytes.NewReader(raw)}, nil
}

type memBlob struct{ *bytes.Reader }

func (memBlob) Close() error { return nil }

// BodySource.

func (w *world) Fetch(_ context.Context, acc account.ID, id mailbox.ID, uids []mailbox.UID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetches++
	w.asked = append(w.asked, uids...)
	b, err := w.get(acc, id)
	if err != nil {
		return err
	}
	if w.down {
		return fault.New(fault.Unavailable, "fetch", "the upstream is down")
	}
	var failed error
	for _, uid := range uids {
		if w.upstream[uid] == nil {
			failed = fault.Newf(fault.Unavailable, "fetch", "the upstream has no body for %d", uid)
			continue
		}
		w.store(b, uid)
	}
	return failed
}

func (w *world) Stream(_ context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) (Bytes, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams++
	if _, err := w.get(acc, id); err != nil {
		return nil, err
	}
	if w.down || w.upstream[uid] == nil {
		return nil, fault.New(fault.Unavailable, "stream", "the upstream is down")
	}
	return memBlob{bytes.NewReader(w.upstream[uid])}, nil
}

// Bus.

type subscription struct {
	w *world
	c chan struct{}
}

func (s *subscription) C() <-chan struct{} { return s.c }
func (s *subscription) Close() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.subs, s)
}

func (w *world) Publish(events.Hint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		select {
		case s.c <- struct{}{}:
		default:
		}
	}
}

func (w *world) Subscribe(account.ID, mailbox.ID) events.Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &subscription{w, make(chan struct{}, 1)}
	w.subs[s] = true
	return s
}

// open selects the mailbox for the length of the test.
func open(t testing.TB, s Session, name string, o OpenOptions) Mailbox {
	t.Helper()
	m, err := s.Open(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func readAll(t testing.TB, m *Message) string {
	t.Helper()
	b, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	raw, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

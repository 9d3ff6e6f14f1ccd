package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/search"
)

// fake is app/session in memory: users with mailboxes, all of it changed by tests at will.
type fake struct {
	mu    sync.Mutex
	boxes map[string]*fakeBox
	// openBody, when not nil, is called before a body is opened; tests let it wait or fail.
	openBody func(ctx context.Context, uid mailbox.UID) error
	// onStore, when not nil, is called before flags are stored.
	onStore func(session.StoreRequest)
	// refuse, when not nil, says what a change fails with; mu is held.
	refuse  func(op string) error
	discard bool // appended messages are not kept
	// failAt, when above 0, makes storing a message fail after so many octets.
	failAt  int64
	appends int // Appends that are open
	// sessions is the ids with which clients logged in.
	sessions []string
	quota    int64 // octets of mail in all boxes; 0: any number
	root     string
}

type fakeMessage struct {
	mailbox.Row
	raw   []byte
	frags message.Fragments
}

type fakeBox struct {
	store       *fake
	name        string
	id          int
	attrs       mailbox.Attr
	subscribed  bool
	uidValidity uint32
	next        mailbox.UID
	modSeq      mailbox.ModSeq
	msgs        []*fakeMessage
	gone        map[mailbox.UID]mailbox.ModSeq
	open        map[*fakeMailbox]struct{}
	deleted     bool
}

var testDate = time.Date(1994, 2, 7, 21, 52, 25, 0, time.FixedZone("", -8*3600))

func newFake() *fake { return &fake{boxes: map[string]*fakeBox{}, root: "u@example.org"} }

func (f *fake) box(name string) *fakeBox {
	b := f.boxes[name]
	if b == nil {
		b = &fakeBox{
			store: f, name: name, id: len(f.boxes) + 1, uidValidity: 100 + uint32(len(f.boxes)), next: 1,
			gone: map[mailbox.UID]mailbox.ModSeq{}, open: map[*fakeMailbox]struct{}{}, subscribed: true,
		}
		f.boxes[name] = b
	}
	return b
}

// deliver adds a message, given with LF line ends.
func (f *fake) deliver(name, text string, flags ...string) mailbox.UID {
	return f.deliverRaw(name, []byte(strings.ReplaceAll(text, "\n", "\r\n")), flags...)
}

func (f *fake) deliverRaw(name string, raw []byte, flags ...string) mailbox.UID {
	frags, err := message.Parse(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.box(name)
	b.modSeq++
	m := &fakeMessage{raw: raw, frags: frags, Row: mailbox.Row{
		UID: b.next, ModSeq: b.modSeq, Flags: flag.Parse(flags...), Size: int64(len(raw)), Date: testDate.Unix(), Zone: -480,
	}}
	b.next++
	b.msgs = append(b.msgs, m)
	b.hint()
	return m.UID
}

func (f *fake) setFlags(name string, uid mailbox.UID, flags ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.boxes[name]
	b.modSeq++
	for i, m := range b.msgs {
		if m.UID == uid {
			changed := *m
			changed.Flags, changed.ModSeq = flag.Parse(flags...), b.modSeq
			b.msgs[i] = &changed
		}
	}
	b.hint()
}

func (f *fake) expunge(name string, uids ...mailbox.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.boxes[name]
	b.modSeq++
	b.msgs = slices.DeleteFunc(b.msgs, func(m *fakeMessage) bool {
		if slices.Contains(uids, m.UID) {
			b.gone[m.UID] = b.modSeq
			return true
		}
		return false
	})
	b.hint()
}

func (f *fake) drop(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.boxes[name]
	b.deleted = true
	delete(f.boxes, name)
	b.hint()
}

func (b *fakeBox) hint() {
	for m := range b.open {
		select {
		case m.hints <- struct{}{}:
		default:
		}
	}
}

func (b *fakeBox) snapshot() *mailbox.Snapshot {
	d := mailbox.Delta{ModSeq: b.modSeq, UIDNext: b.next}
	for _, m := range b.msgs {
		d.Rows = append(d.Rows, m.Row)
	}
	return mailbox.NewSnapshot(d)
}

// Login implements session.Server: any user whose password is "secret".
func (f *fake) Login(_ context.Context, c session.Credentials) (session.Session, error) {
	switch {
	case c.User == "locked":
		return nil, fault.New(fault.Limit, "log in", "too many failures, try again later")
	case c.User == "disabled":
		return nil, fault.New(fault.Forbidden, "log in", "disabled")
	case c.User == "broken":
		return nil, fmt.Errorf("SELECT * FROM users: disk I/O error")
	case c.User == "panic":
		panic("on purpose")
	case c.Password != "secret":
		return nil, fault.New(fault.Denied, "log in", "wrong name or password")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions = append(f.sessions, c.Session)
	return &fakeSession{f, c.User}, nil
}

type fakeSession struct {
	f    *fake
	user string
}

func (s *fakeSession) User() string { return s.user }
func (s *fakeSession) Close()       {}

// fakeMatch matches by the set of places in name that a pattern's beginning can reach.
func fakeMatch(pattern, name string) bool {
	at := map[int]bool{0: true}
	for i := range len(pattern) {
		next := map[int]bool{}
		for k := range at {
			switch {
			case pattern[i] == '*' || pattern[i] == '%':
				for next[k] = true; k < len(name) && (pattern[i] == '*' || name[k] != '/'); k++ {
					next[k+1] = true
				}
			case k < len(name) && name[k] == pattern[i]:
				next[k+1] = true
			}
		}
		at = next
	}
	return at[len(name)]
}

func (s *fakeSession) List(_ context.Context, r session.ListRequest) ([]session.Listed, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if slices.Equal(r.Patterns, []string{""}) {
		return []session.Listed{{Attrs: mailbox.NoSelect}}, nil
	}
	var out []session.Listed
	for _, name := range slices.Sorted(maps.Keys(s.f.boxes)) {
		b := s.f.boxes[name]
		if !slices.ContainsFunc(r.Patterns, func(p string) bool { return fakeMatch(r.Reference+p, name) }) ||
			(r.Subscribed || r.LSUB) && !b.subscribed || r.SpecialUse && b.attrs&mailbox.SpecialUse == 0 {
			continue
		}
		l := session.Listed{Name: name, Attrs: b.attrs, Subscribed: b.subscribed}
		for other := range s.f.boxes {
			if strings.HasPrefix(other, name+"/") {
				l.HasChildren = true
				l.ChildInfo = l.ChildInfo || r.Recursive
			}
		}
		if r.Status && b.attrs&mailbox.NoSelect == 0 {
			st := b.status()
			l.Status = &st
		}
		out = append(out, l)
	}
	return out, nil
}

func (b *fakeBox) status() session.Status {
	st := session.Status{
		Messages: uint32(len(b.msgs)), UIDNext: b.next, UIDValidity: b.uidValidity, HighestModSeq: b.modSeq,
		MailboxID: fmt.Sprintf("M%d", b.id),
	}
	for _, m := range b.msgs {
		st.Size += m.Size
		if !m.Flags.Has(flag.Seen) {
			st.Unseen++
		}
		if m.Flags.Has(flag.Deleted) {
			st.Deleted++
			st.DeletedSize += m.Size
		}
	}
	return st
}

func (s *fakeSession) find(name string) (*fakeBox, error) {
	b := s.f.boxes[name]
	switch {
	case b == nil:
		return nil, fault.New(fault.NotFound, "find mailbox", "no such mailbox")
	case b.attrs&mailbox.NoSelect != 0:
		return nil, fault.New(fault.Invalid, "find mailbox", "this name only holds other mailboxes")
	}
	return b, nil
}

func (s *fakeSession) Status(_ context.Context, name string) (session.Status, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	b, err := s.find(name)
	if err != nil {
		return session.Status{}, err
	}
	return b.status(), nil
}

func (s *fakeSession) Open(_ context.Context, name string, o session.OpenOptions) (session.Mailbox, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	b, err := s.find(name)
	if err != nil {
		return nil, err
	}
	m := &fakeMailbox{
		box: b, readOnly: o.ReadOnly, hints: make(chan struct{}, 1), view: mailbox.NewView(b.snapshot(), b.next, b.next),
	}
	b.open[m] = struct{}{}
	return m, nil
}

type fakeMailbox struct {
	box      *fakeBox
	readOnly bool
	hints    chan struct{}
	mu       sync.Mutex
	view     *mailbox.View
}

func (m *fakeMailbox) Name() string        { return m.box.name }
func (m *fakeMailbox) ID() string          { return fmt.Sprintf("M%d", m.box.id) }
func (m *fakeMailbox) UIDValidity() uint32 { return m.box.uidValidity }
func (m *fakeMailbox) ReadOnly() bool      { return m.readOnly }
func (m *fakeMailbox) View() *mailbox.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}
func (m *fakeMailbox) Hint() <-chan struct{} { return m.hints }

func (m *fakeMailbox) Advance(_ context.Context, expunge bool) (mailbox.Changes, error) {
	m.box.store.mu.Lock()
	deleted, snap := m.box.deleted, m.box.snapshot()
	m.box.store.mu.Unlock()
	if deleted {
		return mailbox.Changes{}, fault.New(fault.NotFound, "look for changes", "the mailbox is gone")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next, ch := m.view.Advance(snap, expunge)
	m.view = next
	return ch, nil
}

func (m *fakeMailbox) message(uid mailbox.UID) *fakeMessage {
	m.box.store.mu.Lock()
	defer m.box.store.mu.Unlock()
	i := slices.IndexFunc(m.box.msgs, func(x *fakeMessage) bool { return x.UID == uid })
	if i < 0 {
		return nil
	}
	return m.box.msgs[i]
}

func (m *fakeMailbox) Fetch(ctx context.Context, seqs mailbox.Set, need session.Need, fn func(*session.Message) error) error {
	m.box.store.mu.Lock()
	deleted := m.box.deleted
	m.box.store.mu.Unlock()
	if deleted {
		return fault.New(fault.NotFound, "fetch", "the mailbox is gone")
	}
	v := m.View()
	for seq, row := range v.Rows(seqs) {
		msg := m.message(row.UID)
		if msg == nil {
			continue
		}
		out := session.Message{
			Seq: seq, Recent: v.IsRecent(row.UID), Row: msg.Row, Fragments: msg.frags,
			EmailID: fakeID(row.UID).Wire(mailbox.EmailKind), ThreadID: fakeID(row.UID).Wire(mailbox.ThreadKind),
			Saved: testDate.Add(time.Hour),
		}
		if need&session.NeedPreview == 0 && need&session.NeedPreviewLazy != 0 {
			out.Preview = nil
		}
		out.Open = func(ctx context.Context) (session.Bytes, error) {
			if f := m.box.store.openBody; f != nil {
				if err := f(ctx, row.UID); err != nil {
					return nil, err
				}
			}
			return fakeBytes{bytes.NewReader(msg.raw)}, nil
		}
		if err := fn(&out); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func fakeID(uid mailbox.UID) (o mailbox.ObjectID) {
	o[15] = byte(uid)
	return o
}

type fakeBytes struct{ *bytes.Reader }

func (fakeBytes) Close() error { return nil }

// Search implements session.Mailbox by asking search for every message.
func (m *fakeMailbox) Search(_ context.Context, q *search.Query) (mailbox.Set, mailbox.ModSeq, error) {
	p := search.Compile(q, testDate.Add(24*time.Hour))
	var found []uint32
	var top mailbox.ModSeq
	v := m.View()
	for seq, row := range v.Rows(v.All()) {
		msg := m.message(row.UID)
		if msg == nil {
			msg = &fakeMessage{Row: row} // gone, but the client does not know
		}
		yes, err := p.Match(&search.Candidate{Row: row, Seq: seq, Recent: v.IsRecent(row.UID), Content: fakeContent{msg}})
		if err != nil {
			return nil, 0, err
		}
		if yes {
			found = append(found, seq)
			top = max(top, row.ModSeq)
		}
	}
	return mailbox.SetOf(found...), top, nil
}

type fakeContent struct{ m *fakeMessage }

func (c fakeContent) Identity() (search.Identity, error) {
	return search.Identity{Email: fakeID(c.m.UID), Thread: fakeID(c.m.UID), Saved: testDate.Add(time.Hour)}, nil
}
func (c fakeContent) Headers() ([]byte, error) { return c.m.frags.Headers, nil }

func (m *fakeMailbox) Vanished(_ context.Context, since mailbox.ModSeq, known mailbox.Set) (mailbox.Set, error) {
	m.box.store.mu.Lock()
	defer m.box.store.mu.Unlock()
	var out []uint32
	for uid, at := range m.box.gone {
		if at > since && (len(known) == 0 || known.Contains(uint32(uid))) && m.view.Seq(uid) == 0 {
			out = append(out, uint32(uid))
		}
	}
	return mailbox.SetOf(out...), nil
}

func (m *fakeMailbox) Close() {
	m.box.store.mu.Lock()
	defer m.box.store.mu.Unlock()
	delete(m.box.open, m)
}

func (c fakeContent) Open() (io.ReaderAt, int64, error) {
	return bytes.NewReader(c.m.raw), int64(len(c.m.raw)), nil
}

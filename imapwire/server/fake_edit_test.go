package server

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
)

// fakeFull is how many messages a mailbox of the fake holds.
const fakeFull = 3000

// fails returns what the test wants a change to fail with.
func (f *fake) fails(op string) error {
	if f.refuse == nil {
		return nil
	}
	return f.refuse(op)
}

func (s *fakeSession) Create(_ context.Context, name string, use mailbox.Attr) (string, error) {
	const op = "create mailbox"
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	name = strings.TrimSuffix(name, "/")
	switch {
	case s.f.fails(op) != nil:
		return "", s.f.fails(op)
	case name == "" || strings.Contains(name, "//"):
		return "", fault.New(fault.Invalid, op, "a part of the name is empty")
	case s.f.boxes[name] != nil:
		return "", fault.New(fault.Exists, op, "there is a mailbox with the name")
	case len(s.f.boxes) > 100:
		return "", fault.New(fault.Limit, op, "too many mailboxes")
	}
	b := s.f.box(name)
	b.attrs, b.subscribed = use, false
	return (&fakeMailbox{box: b}).ID(), nil
}

func (s *fakeSession) Delete(_ context.Context, name string) error {
	const op = "delete mailbox"
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	switch {
	case name == "INBOX":
		return fault.New(fault.Forbidden, op, "INBOX cannot be deleted")
	case s.f.boxes[name] == nil:
		return fault.New(fault.NotFound, op, "no such mailbox")
	}
	b := s.f.boxes[name]
	b.deleted = true
	delete(s.f.boxes, name)
	b.hint()
	return nil
}

func (s *fakeSession) Rename(_ context.Context, from, to string) error {
	const op = "rename mailbox"
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	b := s.f.boxes[from]
	switch {
	case b == nil:
		return fault.New(fault.NotFound, op, "no such mailbox")
	case s.f.boxes[to] != nil:
		return fault.New(fault.Exists, op, "there is a mailbox with the name")
	case len(to) > 1000:
		return fault.New(fault.Invalid, op, "the name is too long")
	}
	if from == "INBOX" {
		n := s.f.box(to)
		n.add(slices.Collect(slices.Values(b.msgs))...)
		b.remove(func(*fakeMessage) bool { return true })
		return nil
	}
	var names []string
	for name := range s.f.boxes {
		if name == from || strings.HasPrefix(name, from+"/") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		moved := s.f.boxes[name]
		delete(s.f.boxes, name)
		moved.name = to + strings.TrimPrefix(name, from)
		s.f.boxes[moved.name] = moved
	}
	return nil
}

func (s *fakeSession) Subscribe(_ context.Context, name string, on bool) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	b := s.f.boxes[name]
	if b == nil {
		return fault.New(fault.NotFound, "subscribe", "no such mailbox")
	}
	b.subscribed = on
	return nil
}

// add gives the messages new UIDs and puts copies of them into the mailbox. f.mu is held.
func (b *fakeBox) add(msgs ...*fakeMessage) []mailbox.UID {
	var uids []mailbox.UID
	b.modSeq++
	for _, m := range msgs {
		copied := *m
		copied.UID, copied.ModSeq = b.next, b.modSeq
		b.next++
		b.msgs = append(b.msgs, &copied)
		uids = append(uids, copied.UID)
	}
	b.hint()
	return uids
}

// remove removes the messages that f chooses. f.mu is held.
func (b *fakeBox) remove(f func(*fakeMessage) bool) mailbox.Set {
	var gone []mailbox.UID
	b.msgs = slices.DeleteFunc(b.msgs, func(m *fakeMessage) bool {
		if f(m) {
			gone = append(gone, m.UID)
			b.gone[m.UID] = b.modSeq + 1
			return true
		}
		return false
	})
	if len(gone) > 0 {
		b.modSeq++
		b.hint()
	}
	return mailbox.SetOf(gone...)
}

// fakeAppend counts in its store how many are open, so that tests see what is left.
type fakeAppend struct {
	f      *fake
	box    *fakeBox
	msgs   []*fakeMessage
	closed bool
}

func (s *fakeSession) Append(_ context.Context, name string) (session.Append, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if err := s.f.fails("begin append"); err != nil {
		return nil, err
	}
	b, err := s.find(name)
	if err != nil {
		return nil, err
	}
	s.f.appends++
	return &fakeAppend{f: s.f, box: b}, nil
}

func (a *fakeAppend) Fits(_ context.Context, size int64, from session.Mailbox, replaced mailbox.UID) error {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if replaced != 0 {
		v := from.View()
		size -= v.At(v.Seq(replaced)).Size
	}
	return a.f.room(size + a.size())
}

func (a *fakeAppend) Add(_ context.Context, r io.Reader, size int64, flags flag.Set, date time.Time) error {
	a.f.mu.Lock()
	err := a.f.fails("store message")
	a.f.mu.Unlock()
	if err != nil {
		return err
	}
	var raw []byte
	if a.f.failAt > 0 {
		if _, err := io.CopyN(io.Discard, r, min(a.f.failAt, size)); err != nil {
			return err
		}
		return fault.New(fault.Unavailable, "store message", "no space left on device")
	}
	if a.f.discard {
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			return err
		}
	} else {
		var buf bytes.Buffer
		if _, err := io.CopyN(&buf, r, size); err != nil {
			return err
		}
		raw = buf.Bytes()
	}
	frags, err := message.Parse(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return err
	}
	if date.IsZero() {
		date = testDate
	}
	_, zone := date.Zone()
	a.msgs = append(a.msgs, &fakeMessage{raw: raw, frags: frags, Row: mailbox.Row{
		Flags: flags, Size: int64(len(raw)), Date: date.Unix(), Zone: int16(zone / 60),
	}})
	return nil
}

func (a *fakeAppend) Commit(_ context.Context, from session.Mailbox, replaced mailbox.UID) (session.Appended, error) {
	const op = "append"
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	switch {
	case a.f.fails(op) != nil:
		return session.Appended{}, a.f.fails(op)
	case a.box.deleted:
		return session.Appended{}, fault.New(fault.NotFound, op, "the mailbox is gone")
	case len(a.box.msgs)+len(a.msgs) > fakeFull:
		return session.Appended{}, fault.New(fault.Limit, op, "the mailbox is full")
	}
	grown := a.size()
	if replaced != 0 {
		box := from.(*fakeMailbox).box
		for _, m := range box.msgs {
			if m.UID == replaced {
				grown -= m.Size
			}
		}
	}
	if err := a.f.room(grown); err != nil {
		return session.Appended{}, err
	}
	if replaced != 0 {
		box := from.(*fakeMailbox).box
		if box.deleted || len(box.remove(func(m *fakeMessage) bool { return m.UID == replaced })) == 0 {
			return session.Appended{}, fault.New(fault.NotFound, op, "the message is gone")
		}
	}
	return session.Appended{UIDValidity: a.box.uidValidity, UIDs: a.box.add(a.msgs...)}, nil
}

func (a *fakeAppend) Close() {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if !a.closed {
		a.closed = true
		a.f.appends--
	}
}

// copyOfBoxes returns what the fake holds, with nobody having any of it open.
func (f *fake) copyOfBoxes() map[string]*fakeBox {
	f.mu.Lock()
	defer f.mu.Unlock()
	boxes := map[string]*fakeBox{}
	for name, b := range f.boxes {
		copied := *b
		copied.msgs, copied.gone = slices.Clone(b.msgs), maps.Clone(b.gone)
		copied.open = map[*fakeMailbox]struct{}{}
		boxes[name] = &copied
	}
	return boxes
}

// restore makes the fake hold what it held once.
func (f *fake) restore(boxes map[string]*fakeBox) {
	old := fake{boxes: boxes}
	fresh := old.copyOfBoxes()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boxes = fresh
}

// openAppends returns how many Appends were not closed.
func (f *fake) openAppends() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.appends
}

// writable says whether the mailbox can be changed. f.mu is held.
func (m *fakeMailbox) writable(op string) error {
	switch {
	case m.box.deleted:
		return fault.New(fault.NotFound, op, "the mailbox is gone")
	case m.readOnly:
		return fault.New(fault.Forbidden, op, "the mailbox is open for reading only")
	}
	return m.box.store.fails(op)
}

func (m *fakeMailbox) Store(_ context.Context, r session.StoreRequest) (session.Stored, error) {
	f := m.box.store
	if f.onStore != nil {
		f.onStore(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := m.writable("store flags"); err != nil {
		return session.Stored{}, err
	}
	v, next := m.View(), m.box.modSeq+1
	var st session.Stored
	var changed, modified []mailbox.UID
	for i, old := range m.box.msgs {
		if !r.UIDs.Contains(uint32(old.UID)) || v.Seq(old.UID) == 0 {
			continue
		}
		if r.Unchanged != nil && old.ModSeq > *r.Unchanged {
			modified = append(modified, old.UID)
			continue
		}
		n := *old
		switch r.Mode {
		case session.StoreAdd:
			n.Flags = old.Flags.Union(r.Flags)
		case session.StoreRemove:
			n.Flags = old.Flags.Minus(r.Flags)
		default:
			n.Flags = r.Flags
		}
		if !n.Flags.Equal(old.Flags) {
			n.ModSeq = next
			m.box.msgs[i] = &n
			changed = append(changed, n.UID)
		}
		st.Rows = append(st.Rows, m.box.msgs[i].Row)
	}
	if len(changed) > 0 {
		m.box.modSeq = next
		m.box.hint()
	}
	st.ModSeq, st.Changed, st.Modified = m.box.modSeq, mailbox.SetOf(changed...), mailbox.SetOf(modified...)
	return st, nil
}

func (m *fakeMailbox) Copy(_ context.Context, uids mailbox.Set, to string, move bool) (session.Copied, error) {
	const op = "copy messages"
	f := m.box.store
	f.mu.Lock()
	defer f.mu.Unlock()
	target, err := (&fakeSession{f: f}).find(to)
	if err != nil {
		return session.Copied{}, err
	}
	if m.box.deleted {
		return session.Copied{}, fault.New(fault.NotFound, op, "the mailbox is gone")
	}
	if err := f.fails(op); err != nil {
		return session.Copied{}, err
	}
	if move {
		if err := m.writable(op); err != nil {
			return session.Copied{}, err
		}
	}
	v := m.View()
	chosen := func(x *fakeMessage) bool { return uids.Contains(uint32(x.UID)) && v.Seq(x.UID) != 0 }
	var msgs []*fakeMessage
	c := session.Copied{UIDValidity: target.uidValidity}
	for _, x := range m.box.msgs {
		if chosen(x) {
			msgs = append(msgs, x)
			c.Source = append(c.Source, x.UID)
		}
	}
	if len(target.msgs)+len(msgs) > fakeFull {
		return session.Copied{}, fault.New(fault.Limit, op, "the mailbox is full")
	}
	var size int64
	for _, x := range msgs {
		size += x.Size
	}
	if err := f.room(size); err != nil && !move {
		return session.Copied{}, err
	}
	if len(msgs) > 0 {
		c.Target = target.add(msgs...)
	}
	if move {
		m.box.remove(func(x *fakeMessage) bool { return slices.Contains(c.Source, x.UID) })
	}
	return c, nil
}

func (m *fakeMailbox) Expunge(_ context.Context, uids mailbox.Set) (mailbox.Set, error) {
	m.box.store.mu.Lock()
	defer m.box.store.mu.Unlock()
	v := m.View()
	if len(v.SeqsOfUIDs(uids)) == 0 && (uids != nil || v.Len() == 0) && !m.readOnly {
		return nil, m.box.store.fails("expunge")
	}
	if err := m.writable("expunge"); err != nil {
		return nil, err
	}
	return m.box.remove(func(x *fakeMessage) bool {
		return x.Flags.Has(flag.Deleted) && v.Seq(x.UID) != 0 && (uids == nil || uids.Contains(uint32(x.UID)))
	}), nil
}

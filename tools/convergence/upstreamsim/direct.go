package upstreamsim

import (
	"cmp"
	"slices"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// The methods in this file are the other client: one that is connected to the upstream itself. Each is one moment, and
// may be called from the hook of a fault.

// Present is a message as it is now.
type Present struct {
	*Message
	UID   uint32
	Flags flag.Set
}

// State is a mailbox as it is now.
type State struct {
	Box      *Box
	Name     string // raw
	Validity uint32
	Messages []Present // in the order of UIDs
}

// Boxes returns all mailboxes by name.
func (s *Server) Boxes() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]State, 0, len(s.boxes))
	for _, b := range s.boxes {
		st := State{Box: b, Name: b.name, Validity: b.validity}
		for _, m := range b.msgs {
			st.Messages = append(st.Messages, Present{m, m.uid, m.flags})
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b State) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Find returns the message that has, or had, a UID, or nil. No two mailboxes ever have the same UIDVALIDITY.
func (s *Server) Find(validity, uid uint32) *Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[[2]uint32{validity, uid}]
}

// act runs fn unless the mailbox is gone, and says whether it did.
func (s *Server) act(b *Box, fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.removed {
		return false
	}
	fn()
	s.touch()
	return true
}

// Deliver puts a message into a mailbox, or returns nil when that is gone.
func (s *Server) Deliver(b *Box, raw string, date time.Time, flags flag.Set) *Message {
	m := &Message{Raw: raw, Date: date}
	if !s.act(b, func() { m.flags = s.keep(flags); s.arrive(b, m) }) {
		return nil
	}
	return m
}

// arrive puts a message of the direct client into a mailbox.
func (s *Server) arrive(b *Box, m *Message) {
	m.born = s.commands
	if m.flags.Has(flag.Deleted) {
		m.marked = s.commands
	}
	s.add(b, m)
}

// SetFlags adds or removes flags of one message, if it is still there.
func (s *Server) SetFlags(b *Box, m *Message, op flag.Op) (done bool) {
	s.act(b, func() {
		if done = slices.Contains(b.msgs, m); done {
			if op.Add.Has(flag.Deleted) {
				m.marked = s.commands
			}
			b.set(m, s.keep(op.Apply(m.flags)))
		}
	})
	return done
}

// Unlucky returns, once, the messages that the direct client marked \Deleted so shortly before an EXPUNGE of all marked
// ones that who sent it cannot have known: it had asked for the marks before; and those that it put into a mailbox so
// shortly before a DELETE, or whose mailbox it gave that name then.
func (s *Server) Unlucky() []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.unlucky
	s.unlucky = nil
	return u
}

// Expunge removes one message, if it is still there.
func (s *Server) Expunge(b *Box, m *Message) (done bool) {
	s.act(b, func() {
		if done = slices.Contains(b.msgs, m); done {
			b.drop(m)
		}
	})
	return done
}

// Copy copies or moves one message, if it is still there, and returns the new one.
func (s *Server) Copy(b *Box, m *Message, to *Box, move bool) (made *Message) {
	s.act(b, func() {
		if to.removed || !slices.Contains(b.msgs, m) {
			return
		}
		made = &Message{Raw: m.Raw, Date: m.Date, From: m, flags: m.flags}
		s.arrive(to, made)
		if move {
			b.drop(m)
		}
	})
	return made
}

// Create makes a mailbox, or returns nil when there is one of that name.
func (s *Server) Create(name string, attrs mailbox.Attr) (b *Box) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[name] != nil {
		return nil
	}
	defer s.touch()
	return s.make(name, attrs)
}

// Remove deletes a mailbox and returns the messages that were in it.
func (s *Server) Remove(b *Box) (lost []*Message, done bool) {
	done = s.act(b, func() {
		lost = b.msgs
		s.remove(b)
	})
	return lost, done
}

func (s *Server) remove(b *Box) {
	delete(s.boxes, b.name)
	b.removed, b.msgs = true, nil
}

// Rename gives a mailbox, and those below it, another name. It says no when a name is taken.
func (s *Server) Rename(b *Box, to string) (done bool) {
	s.act(b, func() { done = s.rename(b.name, to) })
	return done
}

func (s *Server) rename(from, to string) bool {
	moved := map[string]*Box{}
	for name, b := range s.boxes {
		if name == from || s.below(name, from) {
			moved[to+name[len(from):]] = b
		}
	}
	for name := range moved {
		if s.boxes[name] != nil {
			return false
		}
	}
	for name, b := range moved {
		delete(s.boxes, b.name)
		b.name = name
	}
	for name, b := range moved {
		s.boxes[name] = b
	}
	return true
}

// Reset gives a mailbox a new UIDVALIDITY and its messages new UIDs, from first on.
func (s *Server) Reset(b *Box, first uint32) bool {
	return s.act(b, func() {
		s.validity++
		b.validity, b.next, b.vanished, b.modseq = s.validity, max(first, 1), nil, 1
		for _, m := range b.msgs {
			m.uid, m.modseq = b.next, 1
			b.next++
			s.names[[2]uint32{b.validity, m.uid}] = m
		}
	})
}

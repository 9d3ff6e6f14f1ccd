package realimap

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/upstream"
	"imapped/tools/convergence/upstreamsim"
)

// The methods in this file are the other client. Other than in upstreamsim they are no single moments: what our processes
// do meanwhile may come in between.

// where returns where a mailbox and a message are, as far as it is known.
func (s *Server) where(b *upstreamsim.Box, m *upstreamsim.Message) (at place, uid uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok = s.shadow.at[b]
	if !ok || at.gone {
		return at, 0, false
	}
	if m != nil {
		f := s.shadow.facts[m]
		return at, f.uid, f.validity == at.validity
	}
	return at, 0, true
}

// within selects a mailbox, and then, if it is the right one, sends commands. It says whether they were sent; s.acting
// is held. A mailbox that is deleted meanwhile may take the connection along.
func (s *Server) within(at place, cmds ...upstream.Command) bool {
	open := &upstream.Select{Name: at.name}
	if s.do(open) != nil || open.Err != nil {
		return false
	}
	if open.UIDValidity != at.validity {
		s.fail(refusedOnly(s.do(new(upstream.Unselect))))
		return false
	}
	return s.do(append(cmds, new(upstream.Unselect))...) == nil
}

// refusedOnly is an error unless it is the connection's end, after which the next command connects again.
func refusedOnly(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return nil
	}
	return err
}

// note keeps what the other client did to a message; s.mu is not held.
func (s *Server) note(fn func(h *shadow, now int)) {
	s.mu.Lock()
	fn(&s.shadow, s.commands+1)
	s.mu.Unlock()
	s.touch(0)
}

// nobodyKnows notes a message that both sides changed at the same moment.
func (s *Server) nobodyKnows(m *upstreamsim.Message) {
	s.note(func(h *shadow, _ int) { h.vague = append(h.vague, m) })
}

// Deliver puts a message into a mailbox, or returns nil when that is gone.
func (s *Server) Deliver(b *upstreamsim.Box, raw string, date time.Time, flags flag.Set) *upstreamsim.Message {
	s.acting.Lock()
	defer s.acting.Unlock()
	at, _, ok := s.where(b, nil)
	if !ok {
		return nil
	}
	put := &upstream.Append{Name: at.name, Flags: flags, Date: date, Size: int64(len(raw)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(raw)), nil
	}}
	if err := s.do(put); err != nil || put.Err != nil {
		if put.Err != nil && !fault.Is(put.Err, fault.NotFound) { // not to be relied upon: a mailbox is deleted, or renamed, meanwhile
			s.fail(fmt.Errorf("%w: %w", ErrStalled, put.Err))
		}
		return nil
	}
	if put.UIDValidity != at.validity {
		s.takeBack(at.name, put.UIDValidity, put.UID)
		return nil
	}
	return s.made(at, put.UID, raw, nil, flags)
}

// made notes a message that the other client put somewhere.
func (s *Server) made(at place, uid uint32, raw string, from *upstreamsim.Message, flags flag.Set) (m *upstreamsim.Message) {
	s.note(func(h *shadow, now int) {
		m = h.message(at.validity, uid, raw)
		m.From = from
		f := h.facts[m]
		f.name, f.born = at.name, now
		if flags.Has(flag.Deleted) {
			f.marked = now
		}
	})
	return m
}

// takeBack removes a message again that got into a mailbox that has just taken the name of another.
func (s *Server) takeBack(name string, validity, uid uint32) {
	s.log("upstream: UID %d of %q is taken back", uid, name)
	set := mailbox.SetOf(uid)
	if !s.within(place{name: name, validity: validity}, &upstream.Store{UIDs: set, Flags: flag.Make(flag.Deleted)}, &upstream.Expunge{UIDs: set}) {
		s.fail(fault.Newf(fault.Internal, "deliver", "UID %d is in the wrong mailbox, and cannot be taken back", uid))
	}
}

// look is a FETCH that finds out whether a message is there.
func look(uid uint32, there *bool) *upstream.Fetch {
	return &upstream.Fetch{UIDs: mailbox.SetOf(uid), Items: upstream.ItemFlags, OnMessage: func(m upstream.Message) error {
		*there = *there || m.UID == uid
		return nil
	}}
}

// SetFlags adds or removes (not both) flags of one message, if it is still there.
func (s *Server) SetFlags(b *upstreamsim.Box, m *upstreamsim.Message, op flag.Op) bool {
	s.acting.Lock()
	defer s.acting.Unlock()
	at, uid, ok := s.where(b, m)
	if !ok {
		return false
	}
	set := mailbox.SetOf(uid)
	var before, after bool
	change := &upstream.Store{UIDs: set, Flags: op.Add}
	if op.Add.Empty() {
		change.Flags, change.Remove = op.Remove, true
	}
	if op.Add.Has(flag.Deleted) {
		s.note(func(h *shadow, now int) { h.facts[m].name, h.facts[m].marked = at.name, now })
	}
	sent := s.within(at, look(uid, &before), change) && s.within(at, look(uid, &after)) // what is selected anew is true
	switch {
	case sent && before && after && change.Err == nil:
		if op.Add.Has(flag.Deleted) {
			s.note(func(h *shadow, now int) { h.facts[m].marked = now }) // the count may have gone on meanwhile
		}
		return true
	case before || !sent && change.Sent:
		s.log("upstream: flags of UID %d: before %v, after %v, %v", uid, before, after, change.Err)
		s.nobodyKnows(m)
	}
	return false
}

// Expunge removes one message, if it is still there.
func (s *Server) Expunge(b *upstreamsim.Box, m *upstreamsim.Message) bool {
	s.acting.Lock()
	defer s.acting.Unlock()
	at, uid, ok := s.where(b, m)
	if !ok {
		return false
	}
	set := mailbox.SetOf(uid)
	var before, after bool
	mark, remove := &upstream.Store{UIDs: set, Flags: flag.Make(flag.Deleted)}, &upstream.Expunge{UIDs: set}
	sent := s.within(at, look(uid, &before), mark, remove) && s.within(at, look(uid, &after)) // what is selected anew is true
	s.touch(0)
	switch {
	case sent && before && !after:
		return true
	case before || !sent && mark.Sent:
		s.nobodyKnows(m)
	}
	return false
}

// Copy copies or moves one message, if it is still there, and returns the new one.
func (s *Server) Copy(b *upstreamsim.Box, m *upstreamsim.Message, to *upstreamsim.Box, move bool) *upstreamsim.Message {
	s.acting.Lock()
	defer s.acting.Unlock()
	at, uid, ok := s.where(b, m)
	target, _, also := s.where(to, nil)
	if !ok || !also {
		return nil
	}
	cp := &upstream.Copy{UIDs: mailbox.SetOf(uid), To: target.name, Move: move}
	if !s.within(at, cp) || cp.Err != nil || len(cp.Pairs) == 0 {
		var r *upstream.Refusal
		if cp.Sent && !(errors.As(cp.Err, &r) && (r.Code == "TRYCREATE" || r.Code == "EXPUNGEISSUED")) && cp.Err != nil {
			s.nobodyKnows(m) // a mailbox was deleted meanwhile
		}
		return nil
	}
	if cp.UIDValidity != target.validity {
		s.takeBack(target.name, cp.UIDValidity, cp.Pairs[0].To)
		if move {
			s.nobodyKnows(m)
		}
		return nil
	}
	return s.made(target, cp.Pairs[0].To, m.Raw, m, flag.Set{})
}

// Create makes a mailbox, or returns nil when there is one of that name.
func (s *Server) Create(name string, use mailbox.Attr) *upstreamsim.Box {
	s.acting.Lock()
	defer s.acting.Unlock()
	create, open := &upstream.Create{Name: name, Use: use}, &upstream.Select{Name: name}
	if err := s.do(create); err != nil || create.Err != nil {
		if err == nil && !fault.Is(create.Err, fault.Exists) {
			s.fail(create.Err)
		}
		return nil
	}
	if s.do(open, new(upstream.Unselect)) != nil || open.Err != nil {
		return nil
	}
	var b *upstreamsim.Box
	s.note(func(h *shadow, _ int) {
		if b = h.boxes[open.UIDValidity]; b == nil {
			b = new(upstreamsim.Box)
			h.boxes[open.UIDValidity] = b
		}
		h.at[b] = place{name: name, validity: open.UIDValidity}
	})
	return b
}

// isStill says whether a mailbox has the name that it had; s.acting is held.
func (s *Server) isStill(at place) bool {
	st := &upstream.Status{Name: at.name}
	return s.do(st) == nil && st.Err == nil && st.UIDValidity == at.validity
}

// Remove deletes a mailbox and returns the messages that were in it, as far as they were seen.
func (s *Server) Remove(b *upstreamsim.Box) (lost []*upstreamsim.Message, done bool) {
	s.acting.Lock()
	defer s.acting.Unlock()
	at, _, ok := s.where(b, nil)
	if !ok || !s.isStill(at) {
		return nil, false
	}
	remove := &upstream.Delete{Name: at.name}
	if s.do(remove) != nil || remove.Err != nil {
		return nil, false
	}
	s.note(func(h *shadow, _ int) {
		h.at[b] = place{gone: true}
		for m := range h.there {
			if h.facts[m].validity == at.validity {
				lost = append(lost, m)
			}
		}
	})
	return lost, true
}

// Rename gives a mailbox, and those below it, another name. It says no when the server does.
func (s *Server) Rename(b *upstreamsim.Box, to string) bool {
	s.acting.Lock()
	defer s.acting.Unlock()
	at, _, ok := s.where(b, nil)
	if !ok || !s.isStill(at) {
		return false
	}
	rename := &upstream.Rename{From: at.name, To: to}
	if s.do(rename) != nil || rename.Err != nil {
		return false
	}
	s.note(func(h *shadow, _ int) {
		for x, p := range h.at {
			if p.name == at.name || strings.HasPrefix(p.name, at.name+string(s.c.Delimiter)) {
				p.name = to + p.name[len(at.name):]
				h.at[x] = p
			}
		}
	})
	return true
}

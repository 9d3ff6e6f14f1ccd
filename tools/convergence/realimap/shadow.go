package realimap

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/upstream"
	"imapped/tools/convergence/upstreamsim"
)

// shadow is what is known of what is on the server.
type shadow struct {
	boxes map[uint32]*upstreamsim.Box // by UIDVALIDITY
	at    map[*upstreamsim.Box]place
	names map[[2]uint32]*upstreamsim.Message // every message that ever was seen, by UIDVALIDITY and UID
	facts map[*upstreamsim.Message]*facts
	there map[*upstreamsim.Message]bool // when Boxes looked last
	lost  []loss
	vague []*upstreamsim.Message // see Unlucky
}

// place is what a mailbox was called when it was seen last.
type place struct {
	name     string
	validity uint32
	gone     bool
}

// facts is what is known of a message. What was not done by the other client is 0.
type facts struct {
	validity, uid uint32
	name          string // the mailbox's, when the other client put it there or marked it
	born, marked  int    // the count of commands at which it did that, and one
}

// loss is a command of ours that removes messages that the other client has just come with.
type loss struct {
	name  string
	all   bool // DELETE; else EXPUNGE of all that is marked
	since int  // the count of commands when we looked last
}

func newShadow() shadow {
	return shadow{
		boxes: map[uint32]*upstreamsim.Box{}, at: map[*upstreamsim.Box]place{}, names: map[[2]uint32]*upstreamsim.Message{},
		facts: map[*upstreamsim.Message]*facts{}, there: map[*upstreamsim.Message]bool{},
	}
}

// found is a mailbox as it is read.
type found struct {
	name     string
	validity uint32
	rows     []upstream.Message
	raws     map[uint32]string
}

// Boxes returns all mailboxes by name.
func (s *Server) Boxes() []upstreamsim.State {
	s.acting.Lock()
	defer s.acting.Unlock()
	all, err := s.read()
	if err != nil {
		s.fail(fmt.Errorf("look: %w", err))
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.shadow.there)
	for b, p := range s.shadow.at {
		p.gone = true
		s.shadow.at[b] = p
	}
	var out []upstreamsim.State
	for _, f := range all {
		b := s.shadow.boxes[f.validity]
		if b == nil {
			b = new(upstreamsim.Box)
			s.shadow.boxes[f.validity] = b
		}
		s.shadow.at[b] = place{name: f.name, validity: f.validity}
		st := upstreamsim.State{Box: b, Name: f.name, Validity: f.validity}
		for _, row := range f.rows {
			m := s.shadow.message(f.validity, row.UID, f.raws[row.UID])
			s.shadow.there[m] = true
			st.Messages = append(st.Messages, upstreamsim.Present{Message: m, UID: row.UID, Flags: row.Flags})
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b upstreamsim.State) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// message returns the message of a UID, which is made when it is a new one.
func (h *shadow) message(validity, uid uint32, raw string) *upstreamsim.Message {
	k := [2]uint32{validity, uid}
	m := h.names[k]
	if m == nil {
		m = &upstreamsim.Message{Raw: raw}
		h.names[k] = m
		h.facts[m] = &facts{validity: validity, uid: uid}
	}
	return m
}

// known says whether a message was seen before.
func (s *Server) known(validity, uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shadow.names[[2]uint32{validity, uid}] != nil
}

// Find returns the message that has, or had, a UID, or nil, also where it was not seen yet.
func (s *Server) Find(validity, uid uint32) *upstreamsim.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shadow.names[[2]uint32{validity, uid}]
}

// errAgain says that a mailbox became another while it was read.
var errAgain = errors.New("it changes all the time")

// read reads everything; s.acting is held. The connection may be lost when a mailbox is deleted that is being read, or
// never get over that.
func (s *Server) read() (all []found, err error) {
	for until := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if all, err = s.readOnce(); err == nil || time.Now().After(until) {
			return all, err
		}
		s.hangUp()
	}
}

func (s *Server) readOnce() ([]found, error) {
	var list upstream.List
	if err := s.do(&list); err != nil || list.Err != nil {
		return nil, errors.Join(err, list.Err)
	}
	var all []*found
	var opens []*upstream.Select
	var cmds []upstream.Command
	for _, l := range list.Mailboxes {
		if l.NonExist || l.Attrs&mailbox.NoSelect != 0 {
			continue
		}
		f := &found{name: l.Name, raws: map[uint32]string{}}
		open := &upstream.Select{Name: l.Name, ReadOnly: true}
		all, opens = append(all, f), append(opens, open)
		cmds = append(cmds, open, &upstream.Fetch{
			UIDs: mailbox.Set{{First: 1, Last: 1}}, Open: true, Items: upstream.ItemFlags,
			OnMessage: func(m upstream.Message) error {
				i := slices.IndexFunc(f.rows, func(r upstream.Message) bool { return r.UID == m.UID })
				if i < 0 {
					i, f.rows = len(f.rows), append(f.rows, m)
				}
				f.rows[i] = m // the latest news
				return nil
			},
		})
	}
	cmds = append(cmds, new(upstream.Unselect))
	if err := s.do(cmds...); err != nil {
		return nil, err
	}
	var out []found
	for i, f := range all {
		switch err := opens[i].Err; {
		case fault.Is(err, fault.NotFound):
			continue // a name that only holds others
		case err != nil:
			return nil, fmt.Errorf("%q: %w", f.name, err)
		}
		if err := cmds[2*i+1].Result().Err; err != nil {
			return nil, fmt.Errorf("%q: %w", f.name, err)
		}
		f.validity = opens[i].UIDValidity
		slices.SortFunc(f.rows, func(a, b upstream.Message) int { return cmp.Compare(a.UID, b.UID) })
		if err := s.contents(f); err != nil {
			return nil, err
		}
		out = append(out, *f)
	}
	return out, nil
}

// contents reads the messages that are new.
func (s *Server) contents(f *found) error {
	var uids []uint32
	for _, row := range f.rows {
		if !s.known(f.validity, row.UID) {
			uids = append(uids, row.UID)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	open := &upstream.Select{Name: f.name, ReadOnly: true}
	fetch := &upstream.Fetch{UIDs: mailbox.SetOf(uids...), Items: upstream.ItemBody, OnMessage: func(m upstream.Message) error {
		if m.Body == nil {
			return nil // news of flags
		}
		raw, err := io.ReadAll(m.Body)
		f.raws[m.UID] = string(raw)
		return err
	}}
	if err := s.do(open, fetch, new(upstream.Unselect)); err != nil {
		return err
	}
	if open.Err != nil || open.UIDValidity != f.validity || fetch.Err != nil {
		return errAgain
	}
	f.rows = slices.DeleteFunc(f.rows, func(m upstream.Message) bool { // what is gone by now
		return slices.Contains(uids, m.UID) && f.raws[m.UID] == ""
	})
	return nil
}

// Unlucky returns, once, the messages of which nobody can say what becomes of them: those that the other client marked
// \Deleted, or put into a mailbox, when we had looked for the last time before an EXPUNGE of all that is marked, or a
// DELETE; and those that both sides changed at the same moment.
func (s *Server) Unlucky() []*upstreamsim.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.shadow
	out := h.vague
	for m, f := range h.facts {
		if h.there[m] {
			continue
		}
		if slices.ContainsFunc(h.lost, func(l loss) bool {
			return l.name == f.name && (l.all && f.born > l.since || !l.all && f.marked > l.since)
		}) {
			out = append(out, m)
		}
	}
	h.vague, h.lost = nil, nil
	for _, f := range h.facts {
		f.born, f.marked = 0, 0
	}
	for _, m := range out {
		s.log("upstream: nobody knows: %.60q", m.Raw)
	}
	return out
}

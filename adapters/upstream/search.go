package upstream

import (
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// searching is UID SEARCH for everything or for what is marked, with its answer as ranges where that works (RFC 4731).
type searching struct {
	c        *Conn
	cmd      upstream.Command
	uids     *mailbox.Set // of cmd
	key      string
	extended bool

	refused   bool // RETURN was refused
	answered  bool
	malformed bool
	found     []mailbox.Range
}

func (c *Conn) searching(cmd upstream.Command, key string, uids *mailbox.Set) *searching {
	c.mu.Lock()
	defer c.mu.Unlock()
	*uids = nil
	return &searching{c: c, cmd: cmd, key: key, uids: uids, extended: c.server.ESearch && !c.noESearch}
}

func (c *Conn) enumerating(cmd *upstream.Enumerate) answer { return c.searching(cmd, "ALL", &cmd.UIDs) }

// deleted is the search for what is marked \Deleted; where SEARCH ignores what it is to look for, a FETCH of all flags.
func (c *Conn) deleted(cmd *upstream.Deleted) []answer {
	if !c.traits.noSearch {
		return []answer{c.searching(cmd, "DELETED", &cmd.UIDs)}
	}
	cmd.UIDs = nil
	var marked []mailbox.Range
	fetch := &upstream.Fetch{UIDs: mailbox.SetOf[uint32](1), Open: true, Items: upstream.ItemFlags}
	fetch.OnMessage = func(m upstream.Message) error {
		if m.Has&upstream.ItemFlags != 0 && m.Flags.Has(flag.Deleted) {
			marked = append(marked, mailbox.Range{First: m.UID, Last: m.UID})
		}
		return nil
	}
	return c.fetchParts(&fetchJob{cmd: fetch, then: func() {
		if cmd.Err = fetch.Err; cmd.Err == nil {
			cmd.UIDs = mailbox.Normalize(marked)
		}
	}})
}

func (s *searching) verb() string { return "UID SEARCH" }

func (s *searching) encode(w *syntax.CommandWriter) {
	w.Raw("UID SEARCH ")
	if s.extended {
		w.Raw("RETURN (ALL) ")
	}
	w.Raw(s.key)
}

func (s *searching) take(r *syntax.Response, _ bool) bool {
	if r.Kind != syntax.RespSearch && r.Kind != syntax.RespESearch {
		return false
	}
	s.answered = true
	s.malformed = s.malformed || r.Malformed || len(s.found)+len(r.Nums) > maxSetCount
	if !s.malformed {
		for _, n := range r.Nums {
			s.found = append(s.found, mailbox.Range{First: n.First, Last: n.Last})
		}
	}
	return true
}

func (s *searching) finish(r *syntax.Response, err error) {
	s.c.mu.Lock()
	exists := s.c.exists
	s.c.mu.Unlock()
	all := s.key == "ALL"
	switch {
	case err != nil && r != nil && r.Status == syntax.StatusBAD && s.extended:
		s.refused = true
	case err != nil:
	case s.malformed:
		err = fault.New(fault.Unavailable, "UID SEARCH", "the answer was malformed")
	case all && len(s.found) == 0 && exists > 0:
		err = fault.Newf(fault.Unavailable, "UID SEARCH", "no UIDs for %d messages", exists)
	case !all && !s.answered:
		err = fault.New(fault.Unavailable, "UID SEARCH", "the answer had no data")
	}
	if s.cmd.Result().Err = err; err == nil {
		*s.uids = mailbox.Normalize(s.found)
	}
}

package upstream

import (
	"strings"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// answers returns what is to be sent for a command.
func (c *Conn) answers(cmd upstream.Command) []answer {
	c.mu.Lock()
	noListReturn := c.noListReturn
	c.mu.Unlock()
	switch cmd := cmd.(type) {
	case *upstream.List:
		l := &listing{cmd: cmd, condStore: c.server.CondStore, xlist: c.listX}
		if !c.traits.plainList && !noListReturn {
			l.status = cmd.Status && c.server.ListStatus
			l.special = c.server.SpecialUse && (c.server.ListStatus || c.offers("LIST-EXTENDED"))
		}
		return []answer{l}
	case *upstream.Status:
		return []answer{&asking{cmd: cmd, condStore: c.server.CondStore}}
	case *upstream.Select:
		return []answer{&selecting{c: c, cmd: cmd}}
	case *upstream.Fetch:
		return c.fetchAnswers(cmd)
	case *upstream.Enumerate:
		return []answer{c.enumerating(cmd)}
	case *upstream.Noop:
		return []answer{&plain{name: "NOOP", outcome: &cmd.Outcome}}
	case *upstream.Unselect:
		return []answer{&leaving{c, plain{outcome: &cmd.Outcome}}}
	}
	return c.changeAnswers(cmd)
}

func (c *Conn) offers(name string) bool {
	for _, have := range c.server.Capabilities {
		if have == name {
			return true
		}
	}
	return false
}

// listing is LIST, with RETURN where that gives more (RFC 5258, RFC 5819, RFC 6154).
type listing struct {
	cmd                               *upstream.List
	status, special, xlist, condStore bool

	refused   bool // RETURN was refused
	found     []upstream.Listed
	index     map[string]int
	malformed bool
}

func (l *listing) verb() string { return "LIST" }

func (l *listing) encode(w *syntax.CommandWriter) {
	if l.xlist {
		w.Raw(`XLIST "" "*"`)
		return
	}
	w.Raw(`LIST "" "*"`)
	var options []string
	if l.special {
		options = append(options, "SPECIAL-USE")
	}
	if l.status {
		options = append(options, "STATUS ("+statusItems(l.condStore)+")")
	}
	if len(options) > 0 {
		w.Raw(" RETURN (").Raw(strings.Join(options, " ")).Raw(")")
	}
}

func statusItems(condStore bool) string {
	if condStore {
		return "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ"
	}
	return "MESSAGES UIDNEXT UIDVALIDITY"
}

func (l *listing) take(r *syntax.Response, _ bool) bool {
	switch r.Kind {
	case syntax.RespList:
		if r.List.LSub {
			return false
		}
		l.malformed = l.malformed || r.Malformed && len(r.List.Name) == 0 // with a name it is a mailbox, oddities or not
		l.add(&r.List)
		return true
	case syntax.RespMailbox:
		if !l.status {
			return false
		}
		if i, ok := l.index[string(r.Mailbox.Name)]; ok {
			l.found[i].Status = statusOf(&r.Mailbox)
		}
		return true
	}
	return false
}

// add records a mailbox; one that is listed twice is kept as it came first.
func (l *listing) add(d *syntax.ListData) {
	if l.index == nil {
		l.index = map[string]int{}
	}
	name := string(d.Name)
	if _, double := l.index[name]; double || name == "" || len(name) > maxName {
		return
	}
	if len(l.found) >= maxListed {
		l.malformed = true
		return
	}
	m := upstream.Listed{Name: name, Delimiter: d.Delimiter}
	for _, a := range d.Attrs {
		m.Attrs |= attribute(a)
		m.NonExist = m.NonExist || syntax.EqualFold(a, `\NONEXISTENT`)
	}
	l.index[name] = len(l.found)
	l.found = append(l.found, m)
}

func attribute(a []byte) mailbox.Attr {
	for _, known := range attributes {
		if syntax.EqualFold(a, known.name) {
			return known.attr
		}
	}
	return 0
}

// attributes is what LIST says of mailboxes (RFC 9051 section 7.3.1, RFC 6154, RFC 8457), XLIST's names among them.
var attributes = [...]struct {
	name string
	attr mailbox.Attr
}{
	{`\NOSELECT`, mailbox.NoSelect}, {`\NONEXISTENT`, mailbox.NoSelect}, {`\NOINFERIORS`, mailbox.NoInferiors},
	{`\MARKED`, mailbox.Marked}, {`\UNMARKED`, mailbox.Unmarked},
	{`\ALL`, mailbox.All}, {`\ALLMAIL`, mailbox.All}, {`\ARCHIVE`, mailbox.Archive}, {`\DRAFTS`, mailbox.Drafts},
	{`\FLAGGED`, mailbox.Flagged}, {`\STARRED`, mailbox.Flagged}, {`\JUNK`, mailbox.Junk}, {`\SPAM`, mailbox.Junk},
	{`\SENT`, mailbox.Sent}, {`\TRASH`, mailbox.Trash}, {`\IMPORTANT`, mailbox.Important},
}

func statusOf(m *syntax.MailboxData) *upstream.Status {
	return &upstream.Status{
		Name: string(m.Name), Messages: m.Messages, UIDNext: m.UIDNext, UIDValidity: m.UIDValidity,
		HighestModSeq: m.HighestModSeq,
	}
}

func (l *listing) finish(r *syntax.Response, err error) {
	if refused, ok := asRefusal(err); ok && r != nil && (l.status || l.special) && refused.Retry == 0 {
		l.refused = refused.Status == "BAD" || refused.Code == "" || refused.Code == "CANNOT"
	}
	if err == nil && l.malformed {
		err = fault.New(fault.Unavailable, "LIST", "the answer was malformed")
	}
	if err == nil && len(l.found) == 0 { // every account has an INBOX
		err = fault.New(fault.Unavailable, "LIST", "the answer was empty")
	}
	l.cmd.Err, l.cmd.Mailboxes = err, l.found
}

// asking is STATUS.
type asking struct {
	cmd       *upstream.Status
	condStore bool
	got       *upstream.Status
}

func (a *asking) verb() string { return "STATUS" }

func (a *asking) encode(w *syntax.CommandWriter) {
	w.Raw("STATUS ").Mailbox([]byte(a.cmd.Name)).Raw(" (").Raw(statusItems(a.condStore)).Raw(")")
}

// take also takes an answer for a name that is written in another way when it must be this command's.
func (a *asking) take(r *syntax.Response, head bool) bool {
	if r.Kind != syntax.RespMailbox || string(r.Mailbox.Name) != a.cmd.Name && (!head || a.got != nil) {
		return false
	}
	a.got = statusOf(&r.Mailbox)
	return true
}

func (a *asking) finish(_ *syntax.Response, err error) {
	if err == nil && a.got == nil {
		err = fault.New(fault.Unavailable, "STATUS", "the answer had no data")
	}
	a.cmd.Err = err
	if err == nil {
		a.cmd.Messages, a.cmd.UIDNext = a.got.Messages, a.got.UIDNext
		a.cmd.UIDValidity, a.cmd.HighestModSeq = a.got.UIDValidity, a.got.HighestModSeq
	}
}

// leaving is UNSELECT, or what comes next to it: CLOSE expunges nothing of what EXAMINE has opened (RFC 9051 section
// 6.4.1).
type leaving struct {
	c *Conn
	plain
}

func (l *leaving) encode(w *syntax.CommandWriter) {
	switch {
	case l.c.server.Unselect:
		l.name = "UNSELECT"
	case l.c.examined:
		l.name = "CLOSE"
	default:
		l.name = "NOOP"
	}
	l.c.examined = false
	l.plain.encode(w)
}

// selecting is SELECT or EXAMINE.
type selecting struct {
	c   *Conn
	cmd *upstream.Select

	got       selected
	callback  error
	malformed bool // of what QRESYNC reported
}

// selected is what SELECT says of a mailbox.
type selected struct {
	exists, uidNext, uidValidity uint32
	hasExists                    bool
	modSeq                       uint64
	vanished                     []mailbox.Range
	permanent                    flag.Set
	anyKeyword                   bool
}

func (s *selecting) verb() string {
	if s.cmd.ReadOnly && !s.c.server.NoExamine {
		return "EXAMINE"
	}
	return "SELECT"
}

func (s *selecting) encode(w *syntax.CommandWriter) {
	w.Raw(s.verb()).SP().Mailbox([]byte(s.cmd.Name))
	s.c.examined = s.verb() == "EXAMINE"
	server, resync := &s.c.server, s.cmd.Resync
	switch {
	case s.c.traits.noParams:
	case resync != nil && server.QResync:
		w.Raw(" (QRESYNC (").Number(uint64(resync.UIDValidity)).SP().Number(resync.ModSeq).Raw("))")
	case server.CondStore && !server.QResync && !s.c.condEnabled:
		w.Raw(" (CONDSTORE)")
	}
}

func (s *selecting) take(r *syntax.Response, head bool) bool {
	if !head {
		return false
	}
	switch r.Kind {
	case syntax.RespExists:
		s.got.exists, s.got.hasExists = r.Num, !r.Malformed
	case syntax.RespVanished:
		if !r.Earlier {
			return false
		}
		s.malformed = s.malformed || r.Malformed
		for _, n := range r.Nums {
			s.got.vanished = append(s.got.vanished, mailbox.Range{First: n.First, Last: n.Last})
		}
	case syntax.RespFlags:
	case syntax.RespStatus:
		if !r.Malformed {
			s.code(&r.Code)
		}
	default:
		return false
	}
	return true
}

func (s *selecting) code(code *syntax.RespCode) {
	switch code.ID {
	case syntax.CodeClosed: // all before it was of the mailbox that was selected before (RFC 7162 section 3.2.11)
		s.got, s.malformed = selected{}, false
	case syntax.CodeUIDNext:
		s.got.uidNext = uint32(code.Num)
	case syntax.CodeUIDValidity:
		s.got.uidValidity = uint32(code.Num)
	case syntax.CodeHighestModSeq:
		s.got.modSeq = code.Num
	case syntax.CodePermanentFlags:
		s.got.permanent, s.got.anyKeyword = permanent(code.Words)
	}
}

func permanent(words [][]byte) (set flag.Set, anyKeyword bool) {
	names := make([]string, 0, len(words))
	for _, w := range words {
		if string(w) == `\*` {
			anyKeyword = true
		}
		names = append(names, string(w))
	}
	return flag.Parse(names...), anyKeyword
}

// changed passes on a flag change that QRESYNC reports.
func (s *selecting) changed(f *fetching) {
	if f.msg.UID == 0 || f.msg.Has&upstream.ItemFlags == 0 {
		s.malformed = true
		return
	}
	if s.cmd.OnChange != nil && s.callback == nil {
		s.callback = s.cmd.OnChange(f.msg)
	}
}

func (s *selecting) finish(r *syntax.Response, err error) {
	if r != nil {
		s.c.mu.Lock()
		s.c.exists, s.c.news = s.got.exists, upstream.Event{}
		s.c.mu.Unlock()
	}
	switch {
	case err != nil:
	case s.callback != nil:
		err = s.callback
	case !s.got.hasExists:
		err = fault.New(fault.Unavailable, s.verb(), "the answer did not say how many messages there are")
	case s.malformed && s.cmd.Resync != nil:
		err = fault.New(fault.Unavailable, s.verb(), "what QRESYNC reported was malformed")
	}
	cmd, got := s.cmd, &s.got
	cmd.Err = err
	cmd.Messages, cmd.UIDNext, cmd.UIDValidity = got.exists, got.uidNext, got.uidValidity
	cmd.HighestModSeq, cmd.Vanished = got.modSeq, mailbox.Normalize(got.vanished)
	cmd.Permanent, cmd.AnyKeyword = got.permanent, got.anyKeyword
}

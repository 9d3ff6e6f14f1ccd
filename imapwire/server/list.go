package server

import (
	"imapped/app/session"
	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// List answers LIST (RFC 9051 section 6.3.9) with the options of RFC 5258, 5819 and 6154.
func (c *conn) List(j *job) answer {
	args := &j.args.List
	req := session.ListRequest{
		Subscribed: args.Select&syntax.ListSelectSubscribed != 0,
		Remote:     args.Select&syntax.ListSelectRemote != 0,
		Recursive:  args.Select&syntax.ListSelectRecursiveMatch != 0,
		SpecialUse: args.Select&syntax.ListSelectSpecialUse != 0,
		Status:     args.Return&syntax.ListReturnStatus != 0,
	}
	if refused := c.statusItems(j.cmd, args.Status); refused != nil {
		return *refused
	}
	return c.list(j, req, "LIST", args)
}

// Lsub answers LSUB (RFC 3501 section 6.3.9).
func (c *conn) Lsub(j *job) answer {
	return c.list(j, session.ListRequest{LSUB: true}, "LSUB", &j.args.List)
}

func (c *conn) list(j *job, req session.ListRequest, name string, args *syntax.ListArgs) answer {
	var refused *answer
	if req.Reference, refused = c.mailboxName(args.Reference); refused != nil {
		return *refused
	}
	for _, p := range args.Patterns {
		pattern, refused := c.mailboxName(p)
		if refused != nil {
			return *refused
		}
		req.Patterns = append(req.Patterns, pattern)
	}
	boxes, err := c.sess.List(c.ctx, req)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	subscribed := req.Subscribed || args.Return&syntax.ListReturnSubscribed != 0
	for i := range boxes {
		c.writeListed(name, &boxes[i], subscribed && !req.LSUB, args.Status)
	}
	return ok(j.cmd.String() + " completed")
}

// writeListed writes the LIST or LSUB response for a mailbox, and its STATUS where there is one.
func (c *conn) writeListed(name string, b *session.Listed, subscribed bool, items syntax.StatusItems) {
	o := &c.out
	o.begin()
	defer o.end()
	o.text("* ")
	o.text(name)
	o.text(" (")
	o.b = appendAttrs(o.b, b, subscribed)
	o.text(`) "/" `)
	if b.Name == "" {
		o.text(`""`)
	} else {
		o.b = c.appendMailbox(o.b, b.Name)
	}
	if b.ChildInfo {
		o.text(` ("CHILDINFO" ("SUBSCRIBED"))`)
	}
	o.text("\r\n")
	if b.Status != nil {
		c.writeStatus(b.Name, b.Status, items)
	}
}

var attrNames = []struct {
	attr mailbox.Attr
	name string
}{
	{mailbox.NoSelect, `\Noselect`}, {mailbox.NoInferiors, `\Noinferiors`}, {mailbox.Marked, `\Marked`},
	{mailbox.Unmarked, `\Unmarked`}, {mailbox.All, `\All`}, {mailbox.Archive, `\Archive`},
	{mailbox.Drafts, `\Drafts`}, {mailbox.Flagged, `\Flagged`}, {mailbox.Junk, `\Junk`}, {mailbox.Sent, `\Sent`},
	{mailbox.Trash, `\Trash`}, {mailbox.Important, `\Important`},
}

// appendAttrs appends a mailbox's attributes (RFC 9051 section 7.3.1). The children attributes and the special uses are
// told always: clients look for them whether they asked or not.
func appendAttrs(dst []byte, b *session.Listed, subscribed bool) []byte {
	start := len(dst)
	add := func(name string) {
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = append(dst, name...)
	}
	attrs := b.Attrs
	if b.NonExistent {
		add(`\NonExistent`)
		attrs |= mailbox.NoSelect // for clients that do not know \NonExistent (RFC 5258 section 3)
	}
	for _, a := range attrNames {
		if attrs&a.attr != 0 {
			add(a.name)
		}
	}
	if b.Name != "" {
		switch {
		case b.HasChildren:
			add(`\HasChildren`)
		case b.Attrs&mailbox.NoInferiors == 0:
			add(`\HasNoChildren`)
		}
	}
	if subscribed && b.Subscribed {
		add(`\Subscribed`)
	}
	return dst
}

// Status answers STATUS (RFC 9051 section 6.3.11).
func (c *conn) Status(j *job) answer {
	if refused := c.statusItems(j.cmd, j.args.Status); refused != nil {
		return *refused
	}
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	st, err := c.sess.Status(c.ctx, name)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	c.out.begin()
	defer c.out.end()
	c.writeStatus(name, &st, j.args.Status)
	return ok("Status completed")
}

// statusItems returns the answer to a command that asks for STATUS items which it must not use; nil when it may.
func (c *conn) statusItems(cmd fsm.Command, items syntax.StatusItems) *answer {
	for _, need := range [...]struct {
		item  syntax.StatusItems
		param string
	}{{syntax.StatusAppendLimit, "APPENDLIMIT"}, {syntax.StatusDeletedStorage, "DELETED-STORAGE"}} {
		if items&need.item != 0 {
			if refused := c.param(cmd, need.param); refused != nil {
				return refused
			}
		}
	}
	return nil
}

// writeStatus writes one STATUS response; the output is locked.
func (c *conn) writeStatus(name string, st *session.Status, items syntax.StatusItems) {
	if items&syntax.StatusHighestModSeq != 0 && c.srv.caps.Has(fsm.CapCondstore) {
		c.enabled.add(extCondStore) // RFC 7162 section 3.1.1
	}
	o := &c.out
	o.text("* STATUS ")
	o.b = c.appendMailbox(o.b, name)
	o.text(" (")
	sep := ""
	number := func(item syntax.StatusItems, label string, n uint64) {
		if items&item != 0 {
			o.text(sep)
			o.text(label)
			o.number(n)
			sep = " "
		}
	}
	number(syntax.StatusMessages, "MESSAGES ", uint64(st.Messages))
	number(syntax.StatusRecent, "RECENT ", uint64(st.Recent))
	number(syntax.StatusUIDNext, "UIDNEXT ", uint64(st.UIDNext))
	number(syntax.StatusUIDValidity, "UIDVALIDITY ", uint64(st.UIDValidity))
	number(syntax.StatusUnseen, "UNSEEN ", uint64(st.Unseen))
	number(syntax.StatusDeleted, "DELETED ", uint64(st.Deleted))
	number(syntax.StatusDeletedStorage, "DELETED-STORAGE ", uint64(max(st.DeletedSize, 0)))
	number(syntax.StatusSize, "SIZE ", uint64(max(st.Size, 0)))
	number(syntax.StatusHighestModSeq, "HIGHESTMODSEQ ", uint64(max(st.HighestModSeq, 1)))
	number(syntax.StatusAppendLimit, "APPENDLIMIT ", uint64(c.srv.opt.AppendLimit))
	if items&syntax.StatusMailboxID != 0 {
		o.text(sep)
		o.text("MAILBOXID (")
		o.text(st.MailboxID)
		o.text(")")
	}
	o.text(")\r\n")
}

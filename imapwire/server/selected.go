package server

import (
	"slices"

	"imapped/app/session"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// selected is the mailbox that the client has selected. Main makes and drops it while nothing else runs.
type selected struct {
	box      session.Mailbox
	dirty    bool        // there may be changes that could not be told yet; under jobs.mu
	keywords flag.Set    // as FLAGS named them last; under jobs.mu
	saved    mailbox.Set // "$" (RFC 5182), as UIDs: who uses or sets it runs alone
	deleted  bool        // by this connection, while nothing else ran: nothing is told of it any more
	// told is what the client knows of messages' flags beyond the view, which cannot always move when the client
	// changes something; under jobs.mu.
	told map[mailbox.UID]known
}

// Select answers SELECT (RFC 9051 section 6.3.2).
func (c *conn) Select(j *job) answer { return c.open(j, false) }

// Examine answers EXAMINE.
func (c *conn) Examine(j *job) answer { return c.open(j, true) }

// Unselect answers UNSELECT.
func (c *conn) Unselect(*job) answer {
	c.deselect()
	return ok("Unselect completed")
}

func (c *conn) deselect() {
	if c.sel != nil {
		c.sel.box.Close()
		c.sel = nil
	}
}

// open selects a mailbox. Whether it succeeds or not, the mailbox that was selected is not any more.
func (c *conn) open(j *job, readOnly bool) answer {
	args := &j.args.Select
	if args.QResync {
		if refused := c.param(j.cmd, "QRESYNC"); refused != nil {
			return *refused
		}
	}
	if c.sel != nil {
		c.deselect()
		c.out.untagged("OK [CLOSED] Previous mailbox is closed")
	}
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	box, err := c.sess.Open(c.ctx, name, session.OpenOptions{ReadOnly: readOnly})
	if err != nil {
		return c.failure(j.cmd, err)
	}
	c.sel = &selected{box: box}
	if args.CondStore && c.srv.caps.Has(fsm.CapCondstore) {
		c.enabled.add(extCondStore)
	}
	v := box.View()
	c.writeSelected(v)
	if args.QResync && args.UIDValidity == box.UIDValidity() {
		if err := c.resync(args, v); err != nil {
			c.deselect()
			return c.failure(j.cmd, err)
		}
	}
	code := "READ-WRITE"
	if box.ReadOnly() {
		code = "READ-ONLY"
	}
	return okCode(code, j.cmd.String()+" completed")
}

// writeSelected writes what SELECT tells of the mailbox.
func (c *conn) writeSelected(v *mailbox.View) {
	o := &c.out
	o.begin()
	defer o.end()
	c.sel.keywords = flag.Make(0, v.Keywords()...)
	c.writeFlags()
	if c.sel.box.ReadOnly() {
		o.text("* OK [PERMANENTFLAGS ()] No flag can be changed\r\n* ")
	} else {
		o.text("* OK [PERMANENTFLAGS (")
		c.writeFlagNames()
		o.text(" \\*)] Flags can be changed\r\n* ")
	}
	o.number(uint64(v.Len()))
	o.text(" EXISTS\r\n* ")
	o.number(uint64(v.Recent()))
	o.text(" RECENT\r\n")
	code := func(name string, n uint64, text string) {
		o.text("* OK [")
		o.text(name)
		o.number(n)
		o.text("] ")
		o.text(text)
		o.text("\r\n")
	}
	if first := v.FirstUnseen(); first != 0 {
		code("UNSEEN ", uint64(first), "First unseen")
	}
	code("UIDVALIDITY ", uint64(c.sel.box.UIDValidity()), "UIDs valid")
	code("UIDNEXT ", uint64(v.UIDNext()), "Predicted next UID")
	if c.srv.caps.Has(fsm.CapCondstore) {
		code("HIGHESTMODSEQ ", uint64(max(v.HighestModSeq(), 1)), "Highest")
	}
	if c.srv.caps.Has(fsm.CapObjectid) {
		o.text("* OK [MAILBOXID (")
		o.text(c.sel.box.ID())
		o.text(")] Mailbox's own\r\n")
	}
}

// writeFlags writes the FLAGS response: the system flags, and the keywords in use. The output is locked.
func (c *conn) writeFlags() {
	c.out.text("* FLAGS (")
	c.writeFlagNames()
	c.out.text(")\r\n")
}

func (c *conn) writeFlagNames() {
	c.out.b = flag.FromStored(flag.AllSystem, c.sel.keywords.KeywordString()).Append(c.out.b)
}

// resync tells what happened since the client's state (RFC 7162 section 3.2.5): the UIDs that are gone, then the
// messages that changed or are new.
func (c *conn) resync(args *syntax.SelectArgs, v *mailbox.View) error {
	known := mailbox.Set{{First: 1, Last: uint32(max(v.UIDNext(), 2) - 1)}}
	if len(args.KnownUIDs.Ranges) > 0 {
		known = known.Intersect(plainSet(args.KnownUIDs.Ranges))
	}
	if ask := known.Minus(matched(args, v)); len(ask) > 0 {
		gone, err := c.sel.box.Vanished(c.ctx, mailbox.ModSeq(args.ModSeq), ask)
		if err != nil {
			return err
		}
		c.writeVanished("VANISHED (EARLIER) ", gone)
	}
	seqs := v.ChangedSince(mailbox.ModSeq(args.ModSeq))
	if len(args.KnownUIDs.Ranges) > 0 {
		seqs = seqs.Intersect(v.SeqsOfUIDs(known))
	}
	c.writeChanged(v, seqs)
	return nil
}

// matched returns the UIDs of which the client's sequence match data prove that none of its messages is gone (RFC 7162
// section 3.2.5.2): up to the highest UID that still has the sequence number the client knows, as many messages precede
// it here as there, and so the same ones.
func matched(args *syntax.SelectArgs, v *mailbox.View) mailbox.Set {
	if !args.SeqMatch {
		return nil
	}
	uids := plainSet(args.MatchUIDs.Ranges)
	var top uint32
	next, stop := pull(uids)
	defer stop()
	for seq := range plainSet(args.MatchSeqs.Ranges).All {
		uid, more := next()
		if !more || seq > v.Len() || uint32(v.UID(seq)) != uid {
			break
		}
		top = uid
	}
	if top == 0 {
		return nil
	}
	return mailbox.Set{{First: 1, Last: top}}
}

// plainSet returns a set without "*" as domain's type.
func plainSet(ranges []syntax.Range) mailbox.Set {
	out := make([]mailbox.Range, len(ranges))
	for i, r := range ranges {
		out[i] = mailbox.Range{First: r.First, Last: r.Last}
	}
	return mailbox.Normalize(out)
}

// writeVanished writes the UIDs that are gone; nothing when there are none. A response stays of a length that clients
// take: many UIDs are several responses.
func (c *conn) writeVanished(label string, uids mailbox.Set) {
	for part := range slices.Chunk([]mailbox.Range(uids), 1000) {
		c.out.begin()
		c.out.text("* ")
		c.out.text(label)
		c.out.set(part)
		c.out.text("\r\n")
		c.out.end()
	}
}

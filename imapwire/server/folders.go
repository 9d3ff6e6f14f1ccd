package server

import (
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// uses is the special uses that a mailbox can be made for. \All, \Flagged and \Important are not among them: they name
// what a server shows of other mailboxes (RFC 6154 section 2, RFC 8457).
var uses = []struct {
	name string
	attr mailbox.Attr
}{
	{`\ARCHIVE`, mailbox.Archive}, {`\DRAFTS`, mailbox.Drafts}, {`\JUNK`, mailbox.Junk}, {`\SENT`, mailbox.Sent},
	{`\TRASH`, mailbox.Trash},
}

// Create answers CREATE (RFC 9051 section 6.3.4, RFC 6154 section 3).
func (c *conn) Create(j *job) answer {
	var use mailbox.Attr
	if len(j.args.Words) > 0 {
		if refused := c.param(j.cmd, "USE"); refused != nil {
			return *refused
		}
	}
	for _, w := range j.args.Words {
		attr := mailbox.Attr(0)
		for _, u := range uses {
			if syntax.EqualFold(w.Bytes, u.name) {
				attr = u.attr
			}
		}
		if attr == 0 {
			return no("USEATTR", "A mailbox cannot be made for this use")
		}
		use |= attr
	}
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	if name == "INBOX" {
		return no("ALREADYEXISTS", "There always is an INBOX")
	}
	id, err := c.sess.Create(c.ctx, name, use)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	a := ok("Create completed")
	if c.srv.caps.Has(fsm.CapObjectid) {
		a.code = "MAILBOXID (" + id + ")" // RFC 8474 section 4.1
	}
	return a
}

// Delete answers DELETE (RFC 9051 section 6.3.5). Where the client has selected the mailbox itself, the connection goes
// on, with a mailbox in which nothing is found or told any more.
func (c *conn) Delete(j *job) answer {
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	if name == "INBOX" {
		return no("CANNOT", "INBOX cannot be deleted")
	}
	own := c.isSelected(name)
	if err := c.sess.Delete(c.ctx, name); err != nil {
		return c.failure(j.cmd, err)
	}
	if own {
		c.sel.deleted = true
	}
	return ok("Delete completed")
}

// isSelected says whether the selected mailbox has the name now: it may have been renamed since it was opened.
func (c *conn) isSelected(name string) bool {
	if c.sel == nil || c.sel.deleted {
		return false
	}
	st, err := c.sess.Status(c.ctx, name)
	return err == nil && st.MailboxID == c.sel.box.ID()
}

// Rename answers RENAME (RFC 9051 section 6.3.6).
func (c *conn) Rename(j *job) answer {
	from, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	to, refused := c.mailboxName(j.args.To)
	if refused != nil {
		return *refused
	}
	if err := c.sess.Rename(c.ctx, from, to); err != nil {
		return c.failure(j.cmd, err)
	}
	return ok("Rename completed")
}

// Subscribe answers SUBSCRIBE (RFC 9051 section 6.3.7).
func (c *conn) Subscribe(j *job) answer { return c.subscribe(j, true) }

// Unsubscribe answers UNSUBSCRIBE (RFC 9051 section 6.3.8).
func (c *conn) Unsubscribe(j *job) answer { return c.subscribe(j, false) }

func (c *conn) subscribe(j *job, on bool) answer {
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	if err := c.sess.Subscribe(c.ctx, name, on); err != nil {
		return c.failure(j.cmd, err)
	}
	return ok(j.cmd.String() + " completed")
}

// failureTo is failure for a command that puts messages into a mailbox: one that does not exist might be made (RFC 9051
// section 7.1, TRYCREATE).
func (c *conn) failureTo(cmd fsm.Command, err error) answer {
	a := c.failure(cmd, err)
	if fault.Is(err, fault.NotFound) {
		a.code = "TRYCREATE"
	}
	return a
}

package server

import (
	"imapped/app/session"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// GetQuota answers GETQUOTA (RFC 9208 section 4.1.1).
func (c *conn) GetQuota(j *job) answer {
	q, err := c.sess.Quota(c.ctx, j.args.Root.Text())
	if err != nil {
		return c.failure(j.cmd, err)
	}
	c.out.begin()
	defer c.out.end()
	c.writeQuota(&q)
	return ok("Getquota completed")
}

// GetQuotaRoot answers GETQUOTAROOT (RFC 9208 section 4.1.2). The mailbox need not exist.
func (c *conn) GetQuotaRoot(j *job) answer {
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	roots, err := c.sess.QuotaRoots(c.ctx, name)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	o := &c.out
	o.begin()
	defer o.end()
	o.text("* QUOTAROOT ")
	o.b = c.appendMailbox(o.b, name)
	for i := range roots {
		o.text(" ")
		o.b = syntax.AppendAString(o.b, roots[i].Root, c.enabled.has(extUTF8))
	}
	o.text("\r\n")
	for i := range roots {
		c.writeQuota(&roots[i])
	}
	return ok("Getquotaroot completed")
}

// writeQuota writes one QUOTA response (RFC 9208 section 4.2.1); the output is locked.
func (c *conn) writeQuota(q *session.Quota) {
	o := &c.out
	o.text("* QUOTA ")
	o.b = syntax.AppendAString(o.b, q.Root, c.enabled.has(extUTF8))
	o.text(" (STORAGE ")
	o.number(storage(q.Used))
	o.text(" ")
	o.number(storage(q.Limit))
	o.text(")\r\n")
}

// storage returns octets in units of 1024 (RFC 9208 section 5.1). Both usage and limit are rounded up, so that an account
// that holds what it may is not shown to hold more.
func storage(octets int64) uint64 { return (uint64(max(octets, 0)) + 1023) / 1024 }

// hasRoom returns the answer to a command whose next message the account has no room for, before it comes; nil when it
// has. The last word is the store's, when the message is committed.
func (c *conn) hasRoom(cmd fsm.Command, size uint64) *answer {
	var from session.Mailbox
	if c.up.replaced != 0 {
		from = c.sel.box
	}
	if err := c.up.Fits(c.ctx, int64(size), from, c.up.replaced); err != nil {
		a := c.failure(cmd, err)
		return &a
	}
	return nil
}

package server

import (
	"slices"
	"strconv"

	"imapped/app/session"
	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
)

// Copy answers COPY (RFC 9051 section 6.4.7).
func (c *conn) Copy(j *job) answer { return c.copy(j, false, false) }

// UIDCopy answers UID COPY.
func (c *conn) UIDCopy(j *job) answer { return c.copy(j, true, false) }

// Move answers MOVE (RFC 6851).
func (c *conn) Move(j *job) answer { return c.copy(j, false, true) }

// UIDMove answers UID MOVE.
func (c *conn) UIDMove(j *job) answer { return c.copy(j, true, true) }

func (c *conn) copy(j *job, uid, move bool) answer {
	if move {
		if refused := c.isReadOnly(); refused != nil {
			return *refused
		}
	}
	name, refused := c.mailboxName(j.args.Mailbox)
	if refused != nil {
		return *refused
	}
	v := c.sel.box.View()
	seqs, valid := c.resolve(v, j.args.Set, uid)
	if !valid {
		return bad("No such message")
	}
	if len(seqs) == 0 {
		return ok(j.cmd.String() + " completed, no message")
	}
	done, err := c.sel.box.Copy(c.ctx, v.UIDs(seqs), name, move)
	switch {
	case err != nil:
		return c.failureTo(j.cmd, err)
	case len(done.Source) == 0 && !uid:
		return no("EXPUNGEISSUED", "The messages no longer exist")
	case len(done.Source) == 0:
		return ok(j.cmd.String() + " completed, no message")
	}
	a := ok(j.cmd.String() + " completed")
	a.highest = move
	if c.srv.caps.Has(fsm.CapUidplus) {
		code := copyUID(&done)
		if !move {
			a.code = code
		} else {
			// Before the EXPUNGEs, so that the client knows what they mean (RFC 6851 section 4.3).
			c.out.untagged("OK [" + code + "] Moved")
		}
	}
	return a
}

// copyUID returns the response code for what was copied (RFC 4315 section 3).
func copyUID(done *session.Copied) string {
	code := strconv.AppendUint([]byte("COPYUID "), uint64(done.UIDValidity), 10)
	code = appendUIDs(append(code, ' '), done.Source)
	return string(appendUIDs(append(code, ' '), done.Target))
}

// Expunge answers EXPUNGE (RFC 9051 section 6.4.3). The EXPUNGE responses come before the answer (conn.finish).
func (c *conn) Expunge(j *job) answer { return c.expunge(j, nil) }

// UIDExpunge answers UID EXPUNGE (RFC 4315 section 2.1).
func (c *conn) UIDExpunge(j *job) answer {
	uids := uidSet(c.sel.box.View(), j.args.Set.Ranges)
	if j.args.Set.Saved {
		uids = append(mailbox.Set{}, c.sel.saved...) // not nil, which would be all
	}
	return c.expunge(j, uids)
}

func (c *conn) expunge(j *job, uids mailbox.Set) answer {
	if refused := c.isReadOnly(); refused != nil {
		return *refused
	}
	gone, err := c.sel.box.Expunge(c.ctx, uids)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	a := ok("Expunge completed")
	a.highest = len(gone) > 0
	return a
}

// Close answers CLOSE (RFC 9051 section 6.4.1): what is marked \Deleted is expunged, and not told. When that fails, the
// mailbox stays selected.
func (c *conn) Close(j *job) answer {
	a := ok("Close completed")
	if box := c.sel.box; !box.ReadOnly() && !c.sel.deleted {
		gone, err := box.Expunge(c.ctx, nil)
		if err != nil {
			return c.failure(j.cmd, err)
		}
		if len(gone) > 0 && c.enabled.has(extQResync) {
			a.code = c.closingModSeq(gone)
		}
	}
	c.deselect()
	return a
}

// closingModSeq returns CLOSE's response code (RFC 7162 section 3.2.8) when its own EXPUNGE of gone is all that the
// client has not been told: else the client would take other changes for seen.
func (c *conn) closingModSeq(gone mailbox.Set) string {
	ch, err := c.sel.box.Advance(c.ctx, true)
	if err != nil || ch.Grew || len(ch.Flags) > 0 || !slices.Equal(ch.Vanished, gone) {
		return ""
	}
	return highestModSeq(c.sel.box.View())
}

func highestModSeq(v *mailbox.View) string {
	return "HIGHESTMODSEQ " + strconv.FormatUint(uint64(max(v.HighestModSeq(), 1)), 10)
}

package server

import (
	"iter"
	"slices"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// update moves the view to the mailbox's present state and tells the client what changed, as far as it may be told:
// without expunge, nothing while a message is gone (RFC 9051 section 7.5.1). With look it asks the store even when
// nobody has hinted at a change. jobs.mu is held (or IDLE's watcher calls), and no other command runs.
func (c *conn) update(expunge, look bool) {
	sel := c.sel
	if sel == nil || sel.deleted {
		return
	}
	select {
	case <-sel.box.Hint():
		sel.dirty = true
	default:
	}
	if !sel.dirty && !look {
		return
	}
	ch, err := sel.box.Advance(c.ctx, expunge)
	switch {
	case fault.Is(err, fault.NotFound):
		c.end("[NONEXISTENT] The selected mailbox is gone")
		return
	case err != nil:
		sel.dirty = true // the client hears of it with a later command
		if c.ctx.Err() == nil {
			c.log.Warn("looking for changes failed", "err", err)
		}
		return
	}
	sel.dirty = !expunge
	c.tell(&ch)
	sel.forget(sel.box.View())
}

// tell sends what changed: what is gone, how many there are, what has other flags.
func (c *conn) tell(ch *mailbox.Changes) {
	if ch.Empty() {
		return
	}
	o := &c.out
	if c.enabled.has(extQResync) {
		c.writeVanished("VANISHED ", ch.Vanished)
	} else {
		for part := range slices.Chunk(ch.Expunged, 1000) {
			o.begin()
			for _, seq := range part {
				o.text("* ")
				o.number(uint64(seq))
				o.text(" EXPUNGE\r\n")
			}
			o.end()
		}
	}
	if ch.Grew {
		o.begin()
		o.text("* ")
		o.number(uint64(ch.Exists))
		o.text(" EXISTS\r\n* ")
		o.number(uint64(ch.Recent))
		o.text(" RECENT\r\n")
		o.end()
	}
	if len(ch.Flags) > 0 {
		v := c.sel.box.View()
		c.announce(flag.Make(0, v.Keywords()...))
		c.writeChanged(v, c.sel.news(v, ch.Flags))
	}
}

// writeChanged writes a FETCH response with the flags of each message.
func (c *conn) writeChanged(v *mailbox.View, seqs mailbox.Set) {
	items := flagItems{uid: c.enabled.has(extQResync), flags: true, modSeq: c.enabled.has(extCondStore)}
	for seq, row := range v.Rows(seqs) {
		c.writeFetch(seq, row, v.IsRecent(row.UID), items)
	}
}

// flags appends a FLAGS item.
func (o *output) flags(row mailbox.Row, recent bool) {
	o.text("FLAGS (")
	start := len(o.b)
	o.b = row.Flags.Append(o.b)
	if recent {
		if len(o.b) > start {
			o.text(" ")
		}
		o.text(`\Recent`)
	}
	o.text(")")
}

// pull returns the numbers of a set one by one.
func pull(s mailbox.Set) (next func() (uint32, bool), stop func()) {
	return iter.Pull(iter.Seq[uint32](s.All))
}

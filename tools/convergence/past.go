package main

import (
	"fmt"
	"maps"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// past is what clients were told and may rely on for ever.
type past struct {
	tokens map[key]*token
	called map[called]*token
	gone   map[key]bool
	boxes  map[mailbox.ID]*boxPast
	points []point
}

// called is how a client names a message: a mailbox's name, UIDVALIDITY and UID.
type called struct {
	name     string
	validity uint32
	uid      mailbox.UID
}

// boxPast is a mailbox as it was last seen.
type boxPast struct {
	validity uint32
	next     mailbox.UID
	modseq   mailbox.ModSeq
	rows     map[mailbox.UID]mailbox.Row
}

// point is what a client had, to come back to with QRESYNC.
type point struct {
	box      mailbox.ID
	validity uint32
	modseq   mailbox.ModSeq
	flags    map[mailbox.UID]flag.Set
}

func newPast() *past {
	return &past{
		tokens: map[key]*token{}, called: map[called]*token{}, gone: map[key]bool{}, boxes: map[mailbox.ID]*boxPast{},
	}
}

// named notes what a UID stands for.
func (p *past) named(r *rig, k key, t *token) error {
	if was := p.tokens[k]; was != nil && was != t {
		return fmt.Errorf("mailbox %d: UID %d was message %d and is message %d", k.box, k.uid, was.n, t.n)
	}
	if p.gone[k] {
		return fmt.Errorf("mailbox %d: UID %d was expunged and is there again (message %d)", k.box, k.uid, t.n)
	}
	if b := p.boxes[k.box]; b != nil && p.tokens[k] == nil && k.uid < b.next {
		return fmt.Errorf("mailbox %d: UID %d is new, below the UIDNEXT %d that it had", k.box, k.uid, b.next)
	}
	p.tokens[k] = t
	return nil
}

// observe looks at a mailbox and compares it with what it was.
func (p *past) observe(r *rig, id mailbox.ID) error {
	rows, err := r.rows(id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := r.w.db.Mailbox(r.ctx, r.acc, id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := r.w.db.Changes(r.ctx, r.acc, id, 0)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	again, err := r.rows(id) // what came between the two readings is in this one
	if err != nil {
		return err
	}
	maps.Copy(rows, again)
	b := p.boxes[id]
	if b == nil {
		b = &boxPast{validity: info.UIDValidity, rows: map[mailbox.UID]mailbox.Row{}}
		p.boxes[id] = b
	}
	switch {
	case info.UIDValidity != b.validity:
		return fmt.Errorf("mailbox %s: its UIDVALIDITY was %d and is %d", info.Name, b.validity, info.UIDValidity)
	case d.UIDNext < b.next:
		return fmt.Errorf("mailbox %s: its UIDNEXT was %d and is %d", info.Name, b.next, d.UIDNext)
	case d.ModSeq < b.modseq:
		return fmt.Errorf("mailbox %s: its HIGHESTMODSEQ was %d and is %d", info.Name, b.modseq, d.ModSeq)
	}
	now := map[mailbox.UID]mailbox.Row{}
	for _, row := range d.Rows {
		now[row.UID] = row
		was, known := b.rows[row.UID]
		switch {
		case row.UID >= d.UIDNext:
			return fmt.Errorf("mailbox %s: UID %d is not below UIDNEXT %d", info.Name, row.UID, d.UIDNext)
		case row.ModSeq > d.ModSeq:
			return fmt.Errorf("mailbox %s: UID %d has the mod-sequence %d above %d", info.Name, row.UID, row.ModSeq, d.ModSeq)
		case known && row.ModSeq < was.ModSeq:
			return fmt.Errorf("mailbox %s: UID %d had the mod-sequence %d and has %d", info.Name, row.UID, was.ModSeq, row.ModSeq)
		case known && !row.Flags.Equal(was.Flags) && row.ModSeq <= b.modseq:
			return fmt.Errorf("mailbox %s: UID %d got other flags at the mod-sequence %d, which was past", info.Name, row.UID, row.ModSeq)
		case !known && b.modseq > 0 && row.ModSeq <= b.modseq:
			return fmt.Errorf("mailbox %s: UID %d came at the mod-sequence %d, which was past", info.Name, row.UID, row.ModSeq)
		}
		t := rows[row.UID].tok
		if t == nil {
			continue // it came or went in between
		}
		if err := p.named(r, key{id, row.UID}, t); err != nil {
			return err
		}
		c := called{info.Name, info.UIDValidity, row.UID}
		if was := p.called[c]; was != nil && was != t {
			return fmt.Errorf("mailbox %s, UIDVALIDITY %d: UID %d was message %d and is message %d", c.name, c.validity, c.uid, was.n, t.n)
		}
		p.called[c] = t
	}
	for uid := range b.rows {
		if _, there := now[uid]; !there {
			p.gone[key{id, uid}] = true
		}
	}
	b.next, b.modseq, b.rows = d.UIDNext, d.ModSeq, now
	return nil
}

// look makes a client look at its mailbox, and remember what it sees.
func (r *rig) look(c *client) error {
	if _, err := c.open.Advance(r.ctx, true); err != nil {
		c.leave()
		return r.refused(err)
	}
	v := c.open.View()
	pt := point{box: c.open.id, validity: c.open.UIDValidity(), modseq: v.HighestModSeq(), flags: map[mailbox.UID]flag.Set{}}
	for _, row := range v.Rows(v.All()) {
		pt.flags[row.UID] = row.Flags
	}
	r.past.points = append(r.past.points, pt)
	return r.past.observe(r, c.open.id)
}

// resync checks that a client that comes back with what it once had learns what is there now.
func (r *rig) resync() error {
	c := r.p.clients[0]
	c.leave()
	boxes, err := r.boxes()
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if err := r.past.observe(r, b.ID); err != nil {
			return err
		}
		m, err := c.Open(r.ctx, b.Name, session.OpenOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		for _, pt := range r.past.points {
			if pt.box == b.ID && pt.validity == m.UIDValidity() {
				if err := r.resyncFrom(m, pt); err != nil {
					m.Close()
					return fmt.Errorf("QRESYNC of %s from %d: %w", b.Name, pt.modseq, err)
				}
			}
		}
		m.Close()
	}
	if n := len(r.past.points); n > 20 {
		r.past.points = r.past.points[n-20:]
	}
	return nil
}

func (r *rig) resyncFrom(m session.Mailbox, pt point) error {
	var known []mailbox.UID
	for uid := range pt.flags {
		known = append(known, uid)
	}
	vanished, err := m.Vanished(r.ctx, pt.modseq, mailbox.SetOf(known...))
	if err != nil {
		return err
	}
	have := maps.Clone(pt.flags)
	for uid := range vanished.All {
		delete(have, mailbox.UID(uid))
	}
	v := m.View()
	for _, row := range v.Rows(v.ChangedSince(pt.modseq)) {
		have[row.UID] = row.Flags
	}
	for _, row := range v.Rows(v.All()) {
		flags, ok := have[row.UID]
		switch {
		case !ok:
			return fmt.Errorf("it does not tell of UID %d", row.UID)
		case !flags.Equal(row.Flags):
			return fmt.Errorf("UID %d has the flags %q, the client has %q", row.UID, row.Flags, flags)
		}
		delete(have, row.UID)
	}
	for uid := range have {
		return fmt.Errorf("it does not tell that UID %d is gone", uid)
	}
	return nil
}

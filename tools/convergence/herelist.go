package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"imapped/app/session"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// append appends messages, or, with replaced not 0, replaces that message of the open mailbox by one.
func (r *rig) append(c *client, op Op, to mailbox.Info, replaced mailbox.UID) error {
	target, err := r.before(to.ID)
	if err != nil {
		return err
	}
	var source state
	var from session.Mailbox
	if replaced != 0 {
		from = c.open
		if source, err = r.before(c.open.id); err != nil {
			return err
		}
	}
	flags := flag.Parse(op.Flags...)
	var tokens []*token
	var done session.Appended
	a, err := c.Session.Append(r.ctx, to.Name)
	if err == nil {
		defer a.Close()
		for n := range max(op.N, 1) {
			t := r.m.message((op.To + n*400) % 3000)
			tokens = append(tokens, t)
			if err = a.Add(r.ctx, strings.NewReader(t.raw), int64(len(t.raw)), flags, t.date); err != nil {
				break
			}
		}
		if err == nil {
			done, err = a.Commit(r.ctx, from, replaced)
		}
	}
	if err != nil {
		if err := r.refused(err); err != nil {
			return err
		}
		came, err := r.arrived(target)
		if err != nil {
			return err
		}
		for _, row := range came {
			if slices.Contains(tokens, row.tok) {
				done.UIDs = append(done.UIDs, row.UID)
			}
		}
		if n := len(done.UIDs); n > 0 && n < len(tokens) {
			return fmt.Errorf("%d of %d messages of one APPEND are there", n, len(tokens))
		}
	} else if len(done.UIDs) != len(tokens) {
		return fmt.Errorf("APPENDUID has %d of %d messages", len(done.UIDs), len(tokens))
	}
	box, err := r.told(to, done.UIDValidity)
	if err != nil {
		return err
	}
	for n, uid := range done.UIDs {
		r.trace("message %d (replacing %d) in mailbox %d %q: UID %d, %d octets", tokens[n].n, replaced, to.ID, to.Name, uid, len(tokens[n].raw))
		k := key{box, uid}
		if err := r.past.named(r, k, tokens[n]); err != nil {
			return err
		}
		r.m.addHere(tokens[n], k, flags)
	}
	if replaced != 0 && len(done.UIDs) > 0 {
		r.gone(source, replaced)
	}
	return nil
}

// list changes the list of mailboxes.
func (r *rig) list(c *client, op Op, b mailbox.Info) error {
	s, err := r.before(b.ID)
	if err != nil {
		return err
	}
	was, err := r.mirrored()
	if err != nil {
		return err
	}
	switch op.Kind {
	case Create:
		_, err = c.Create(r.ctx, op.Name, 0)
	case Subscribe:
		err = c.Subscribe(r.ctx, b.Name, op.Fresh)
	case Delete:
		err = c.Delete(r.ctx, b.Name)
	case Rename:
		err = c.Rename(r.ctx, b.Name, op.Name)
	}
	if err := r.refused(err); err != nil {
		return err
	}
	if op.Kind == Subscribe {
		return nil
	}
	r.trace("%s of mailbox %d %q (%q): %v", op.Kind, b.ID, b.Name, op.Name, err)
	r.m.hereBoxes++
	now, err := r.mirrored()
	if err != nil {
		return err
	}
	for id, m := range now {
		if was[id].Name != m.Name && !m.Deleting {
			r.m.names[id] = m.Name
		}
	}
	switch {
	case op.Kind == Delete && (now[b.ID].Deleting || now[b.ID].ID == 0):
		delete(r.m.names, b.ID)
		r.deleted(s)
	case op.Kind == Rename && b.Name == "INBOX":
		return r.inboxMoved(s, op.Name, was, now)
	}
	return nil
}

// deleted notes that our side deleted a mailbox, with what was in it before and after.
func (r *rig) deleted(s state) {
	d := deletion{box: s.id}
	for uid, i := range s.insts {
		switch {
		case i != nil:
			d.insts = append(d.insts, i)
			r.m.goesWith(i)
		case s.rows[uid].tok != nil:
			r.m.unknown(s.rows[uid].tok)
		}
	}
	if l := r.w.last; l.id == s.id { // what came in between may have been seen, or not
		for _, u := range l.rows {
			i := r.m.byKey[key{l.id, u.UID}]
			if p := r.sim.Find(l.validity, u.Upstream); i == nil && p != nil {
				i = r.m.byPtr[p]
			}
			if i != nil && s.insts[u.UID] == nil {
				r.m.goesWith(i)
			}
		}
	}
	r.m.deleted = append(r.m.deleted, d)
}

// inboxMoved notes that INBOX was renamed: its messages are in a new mailbox.
func (r *rig) inboxMoved(s state, name string, was, now map[mailbox.ID]metadata.Mirrored) error {
	var to mailbox.ID
	for id, m := range now {
		if _, known := was[id]; !known && m.Name == name {
			to = id
		}
	}
	left, err := r.rows(s.id)
	if err != nil || to == 0 {
		return err
	}
	came, err := r.rows(to)
	if err != nil {
		return err
	}
	var moved []mailbox.UID
	for _, uid := range slices.SortedFunc(maps.Keys(s.rows), func(a, b mailbox.UID) int { return cmp.Compare(a, b) }) {
		if _, still := left[uid]; !still {
			moved = append(moved, uid)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(came)) {
		row := came[uid]
		i := slices.IndexFunc(moved, func(u mailbox.UID) bool { // what the other side had not removed comes first
			return s.rows[u].tok == row.tok && (s.insts[u] == nil || s.insts[u].hi > 0)
		})
		if i < 0 {
			i = slices.IndexFunc(moved, func(u mailbox.UID) bool { return s.rows[u].tok == row.tok })
		}
		if row.tok == nil {
			continue
		}
		k := key{to, uid}
		if err := r.past.named(r, k, row.tok); err != nil {
			return err
		}
		r.m.addHere(row.tok, k, row.Flags)
		row.tok.vague = true
		if i < 0 { // it came to INBOX just before
			r.m.unknown(row.tok)
			continue
		}
		if slices.ContainsFunc(moved[i+1:], func(u mailbox.UID) bool { return s.rows[u].tok == row.tok }) {
			r.m.unknown(row.tok) // the other side may have removed one of them: who knows which
		} else if was := s.insts[moved[i]]; was != nil && was.hi == 0 && r.m.arrived(row.tok, r.m.startBox[s.id]) {
			r.m.unknown(row.tok) // the other side removed that one, and what was moved may have come just before
		}
		r.gone(s, moved[i])
		moved = slices.Delete(moved, i, i+1)
	}
	return nil
}

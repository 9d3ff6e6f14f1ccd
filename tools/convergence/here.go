package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// boxes returns the mailboxes that clients on our side may select, by name.
func (r *rig) boxes() ([]mailbox.Info, error) {
	all, err := r.w.db.Mailboxes(r.ctx, r.acc)
	return slices.DeleteFunc(all, func(b mailbox.Info) bool { return b.Attrs&mailbox.NoSelect != 0 }), err
}

// pickBox returns one of the mailboxes. INBOX is there always.
func (r *rig) pickBox(n int) (mailbox.Info, error) {
	boxes, err := r.boxes()
	if err != nil {
		return mailbox.Info{}, err
	}
	if len(boxes) == 0 {
		all, err := r.mirrored()
		return mailbox.Info{}, fmt.Errorf("there is no INBOX: %v, %w", all, err)
	}
	return boxes[n%len(boxes)], nil
}

// selectBox makes the client select a mailbox, unless it has it open.
func (r *rig) selectBox(c *client, b mailbox.Info, fresh bool) error {
	if c.open != nil && c.open.id == b.ID {
		if !fresh {
			return nil
		}
		_, err := c.open.Advance(r.ctx, true)
		if err == nil {
			return nil
		}
		c.leave()
		return err
	}
	c.leave()
	m, err := c.Open(r.ctx, b.Name, session.OpenOptions{})
	if err != nil {
		return err
	}
	id := b.ID
	if m.ID() != fmt.Sprintf("M%x", int64(b.ID)) { // another got the name meanwhile
		if _, err := fmt.Sscanf(m.ID(), "M%x", &id); err != nil {
			return err
		}
	}
	c.open = &view{m, id, b.Name}
	return nil
}

// pickUIDs returns some messages of the client's view.
func (c *client) pickUIDs(pick []int) mailbox.Set {
	v := c.open.View()
	var uids []mailbox.UID
	for _, n := range pick {
		if v.Len() > 0 {
			uids = append(uids, v.UID(uint32(n)%v.Len()+1))
		}
	}
	return mailbox.SetOf(uids...)
}

// resolve returns the instances of messages of a mailbox. It is called before they are changed.
func (r *rig) resolve(id mailbox.ID, rows map[mailbox.UID]row) (map[mailbox.UID]*inst, error) {
	boxes, err := r.mirrored()
	if err != nil {
		return nil, err
	}
	out := map[mailbox.UID]*inst{}
	for uid, row := range rows {
		k := key{id, uid}
		i := r.m.byKey[k]
		if i == nil && row.tok != nil && row.Upstream != 0 {
			if p := r.sim.Find(boxes[id].Upstream.UIDValidity, row.Upstream); p != nil && p.Raw == row.tok.raw {
				if i = r.m.byPtr[p]; i != nil && i.key == (key{}) {
					i.key = k
					r.m.byKey[k] = i
				}
			}
		}
		out[uid] = i
	}
	return out, nil
}

// state is a mailbox before an operation.
type state struct {
	id    mailbox.ID
	next  mailbox.UID
	rows  map[mailbox.UID]row
	insts map[mailbox.UID]*inst
}

// show names messages by UID, for the trace.
func (s state) show(uids mailbox.Set) string {
	var out []string
	for uid := range uids.All {
		if t := s.rows[mailbox.UID(uid)].tok; t != nil {
			out = append(out, fmt.Sprintf("%d (message %d) %q", uid, t.n, s.rows[mailbox.UID(uid)].Flags))
		}
	}
	return strings.Join(out, ", ")
}

func (r *rig) before(id mailbox.ID) (s state, err error) {
	s.id = id
	info, err := r.w.db.Mailbox(r.ctx, r.acc, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return s, err
	}
	s.next = info.UIDNext
	if s.rows, err = r.rows(id); err != nil && !fault.Is(err, fault.NotFound) {
		return s, err
	}
	s.insts, err = r.resolve(id, s.rows)
	return s, err
}

// gone notes that our side removed a message.
func (r *rig) gone(s state, uid mailbox.UID) {
	i, row := s.insts[uid], s.rows[uid]
	switch {
	case i != nil:
		r.m.removedHere(i)
	case row.tok != nil:
		r.m.unknown(row.tok)
	default:
		r.m.maimed = true
	}
}

// arrived returns what a mailbox has that was not in it: new messages, by UID.
func (r *rig) arrived(s state) ([]row, error) {
	now, err := r.rows(s.id)
	if err != nil {
		return nil, err
	}
	var out []row
	for _, uid := range slices.Sorted(maps.Keys(now)) {
		if _, known := s.rows[uid]; !known && uid >= s.next {
			out = append(out, now[uid])
		}
	}
	return out, nil
}

// here carries out an operation of a client on our side. Its error is a violation, or the simulator's own failure; what
// the service refuses is none.
func (r *rig) here(op Op) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.p.clients[op.Who%clients]
	b, err := r.pickBox(op.Box)
	if err != nil {
		return err
	}
	switch op.Kind {
	case Append:
		return r.append(c, op, b, 0)
	case Create, Rename, Delete, Subscribe:
		return r.list(c, op, b)
	}
	if err := r.selectBox(c, b, op.Fresh); err != nil {
		return r.refused(err)
	}
	s, err := r.before(c.open.id)
	if err != nil {
		return err
	}
	uids := c.pickUIDs(op.Pick)
	r.trace("%s of %s in mailbox %d %q", op.Kind, s.show(uids), c.open.id, c.open.name)
	switch op.Kind {
	case Store:
		return r.store(c, s, uids, session.StoreMode(op.Mode%3), flag.Parse(op.Flags...), op.N)
	case Copy, Move:
		to, err := r.pickBox(op.To)
		if err != nil {
			return err
		}
		return r.copy(c, s, uids, to, op.Kind == Move)
	case Expunge:
		if err := r.store(c, s, uids, session.StoreAdd, flag.Make(flag.Deleted), 0); err != nil {
			return err
		}
		return r.expunge(c, s, uids)
	case ExpungeAll:
		return r.expunge(c, s, nil)
	case Replace:
		for uid := range uids.All {
			to, err := r.pickBox(op.To)
			if err != nil {
				return err
			}
			op.N = 1
			return r.append(c, op, to, mailbox.UID(uid))
		}
	case Look:
		return r.look(c)
	}
	return nil
}

// refused looks at an error of the service: whether it is one that clients have to expect.
func (r *rig) refused(err error) error {
	if err == nil || r.p.isDead() {
		return nil
	}
	r.trace("refused: %v", err)
	for _, k := range []fault.Kind{fault.NotFound, fault.Exists, fault.Invalid, fault.Forbidden} {
		if fault.Is(err, k) {
			return nil
		}
	}
	return fmt.Errorf("the service fails: %w", err)
}

// store notes what a STORE says. One whose process died is known by what is there now.
func (r *rig) store(c *client, s state, uids mailbox.Set, mode session.StoreMode, flags flag.Set, n int) error {
	q := session.StoreRequest{UIDs: uids, Mode: mode, Flags: flags}
	if n > 0 {
		seq := c.open.View().HighestModSeq()
		q.Unchanged = &seq
	}
	done, err := c.open.Store(r.ctx, q)
	var touched []mailbox.UID
	if err == nil {
		for _, row := range done.Rows {
			touched = append(touched, row.UID)
			if !row.Flags.Equal(want(s.rows[row.UID].Flags, mode, flags)) && s.rows[row.UID].tok != nil && !r.racing(s, row.UID) {
				return fmt.Errorf("STORE %v of %q on %q gave %q", mode, flags, s.rows[row.UID].Flags, row.Flags)
			}
		}
	} else {
		if err := r.refused(err); err != nil {
			return err
		}
		now, err := r.rows(s.id)
		if err != nil {
			return err
		}
		for uid := range uids.All {
			row, ok := now[mailbox.UID(uid)]
			switch {
			case !ok:
			case row.Flags.Equal(want(row.Flags, mode, flags)):
				touched = append(touched, mailbox.UID(uid)) // what it is now is what was wanted, whoever did it
			case row.tok != nil && !row.Flags.Equal(s.rows[mailbox.UID(uid)].Flags):
				row.tok.vague = true // the other side's flags came in between: over which of these, nobody knows
			}
		}
	}
	for _, uid := range touched {
		i := s.insts[uid]
		if i == nil {
			if t := s.rows[uid].tok; t != nil {
				t.vague = true
			}
			continue
		}
		switch mode {
		case session.StoreAdd:
			say(i.here, flags, true)
		case session.StoreRemove:
			say(i.here, flags, false)
		default:
			say(i.here, allFlags, false)
			say(i.here, flags, true)
		}
	}
	return nil
}

// racing says whether the other side's flags may have come in between.
func (r *rig) racing(s state, uid mailbox.UID) bool {
	i := s.insts[uid]
	return i == nil || len(i.there) > 0 || len(r.m.resets) > 0 || i.tok.vague || len(i.tok.insts) > 1
}

func want(was flag.Set, mode session.StoreMode, flags flag.Set) flag.Set {
	switch mode {
	case session.StoreAdd:
		return was.Union(flags)
	case session.StoreRemove:
		return was.Minus(flags)
	}
	return flags
}

func (r *rig) copy(c *client, s state, uids mailbox.Set, to mailbox.Info, move bool) error {
	target := s
	if to.ID != s.id {
		var err error
		if target, err = r.before(to.ID); err != nil {
			return err
		}
	}
	done, err := c.open.Copy(r.ctx, uids, to.Name, move)
	if err != nil {
		if err := r.refused(err); err != nil {
			return err
		}
		if done, err = r.copied(s, target, uids, move); err != nil {
			return err
		}
	}
	if len(done.Source) != len(done.Target) {
		return fmt.Errorf("COPYUID has %d and %d messages", len(done.Source), len(done.Target))
	}
	if target.id, err = r.told(to, done.UIDValidity); err != nil {
		return err
	}
	now, err := r.rows(target.id)
	if err != nil {
		return err
	}
	r.trace("to mailbox %d %q: %v", to.ID, to.Name, done)
	for n, from := range done.Source {
		k := key{target.id, done.Target[n]}
		row, t := s.rows[from], s.rows[from].tok
		if t == nil {
			t = now[done.Target[n]].tok
		}
		if t == nil {
			r.m.maimed = true
			continue
		}
		if got := now[done.Target[n]].tok; got != nil && got != t {
			return fmt.Errorf("message %d was copied, message %d is what came of it", t.n, got.n)
		}
		if err := r.past.named(r, k, t); err != nil {
			return err
		}
		made := r.m.addHere(t, k, row.Flags)
		if from := s.insts[from]; from != nil {
			maps.Copy(made.there, from.there)
		}
		if move {
			r.gone(s, from)
		}
	}
	return nil
}

// told returns the mailbox that a client was told of by its UIDVALIDITY (0: it was not): another may have got the name since it
// was looked at.
func (r *rig) told(to mailbox.Info, validity uint32) (mailbox.ID, error) {
	if validity == 0 || validity == to.UIDValidity {
		return to.ID, nil
	}
	boxes, err := r.mirrored()
	for id, m := range boxes {
		if m.UIDValidity == validity {
			return id, err
		}
	}
	r.m.maimed = true // it is gone again
	return to.ID, err
}

// copied finds out what a COPY or MOVE did whose process died.
func (r *rig) copied(s, target state, uids mailbox.Set, move bool) (done session.Copied, err error) {
	now, err := r.rows(s.id)
	if err != nil {
		return done, err
	}
	came, err := r.arrived(target)
	if err != nil {
		return done, err
	}
	for n := range uids.All {
		uid := mailbox.UID(n)
		row, was := s.rows[uid]
		if _, is := now[uid]; !was || move && is {
			continue
		}
		for _, a := range came {
			// What came from the upstream has an upstream UID from the start. What was placed may have got one by now.
			if a.tok == row.tok && !slices.Contains(done.Target, a.UID) && (a.Placing || r.m.byKey[key{target.id, a.UID}] == nil) {
				done.Source, done.Target = append(done.Source, uid), append(done.Target, a.UID)
				break
			}
		}
	}
	return done, nil
}

func (r *rig) expunge(c *client, s state, uids mailbox.Set) error {
	view := c.open.View()
	seen := view.UIDs(view.All())
	done, err := c.open.Expunge(r.ctx, uids)
	if err != nil {
		if e := r.refused(err); e != nil || fault.Is(err, fault.NotFound) { // its mailbox went, and its messages with it, or elsewhere
			return e
		}
		now, err := r.rows(s.id)
		if err != nil {
			return err
		}
		var gone []mailbox.UID
		for uid := range s.rows {
			if _, there := now[uid]; !there && seen.Contains(uint32(uid)) && (uids == nil || uids.Contains(uint32(uid))) {
				gone = append(gone, uid)
			}
		}
		done = mailbox.SetOf(gone...)
	}
	if left := done.Minus(seen); len(left) > 0 {
		return fmt.Errorf("EXPUNGE removed %s, which the client had not seen", left)
	}
	for uid := range done.All {
		r.gone(s, mailbox.UID(uid))
	}
	return nil
}

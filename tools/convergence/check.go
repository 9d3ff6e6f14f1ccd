package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/tools/convergence/upstreamsim"
)

// found is what there is in the end.
type found struct {
	boxes  map[mailbox.ID]metadata.Mirrored
	rows   map[key]row
	boxOf  map[mailbox.ID]*upstreamsim.Box
	ptrs   map[*upstreamsim.Message]upstreamsim.Present
	homes  map[*upstreamsim.Message]*upstreamsim.Box
	byUp   map[*upstreamsim.Message]row
	keys   map[*upstreamsim.Message]key
	there  map[*upstreamsim.Box]string
	counts map[*token]int
}

// check compares both sides with one another and with the model.
func (r *rig) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.agree()
	if err != nil {
		return err
	}
	if r.m.maimed {
		return r.resync()
	}
	for _, p := range r.sim.Unlucky() {
		r.m.unknown(r.m.byRaw[p.Raw])
	}
	for _, t := range r.m.tokens { // what a check allows for is found anew in each
		t.less, t.more = 0, 0
	}
	for _, d := range r.m.deleted {
		box := r.m.startBox[d.box] // of one that was made in this phase it is not known which it is upstream
		crossed := r.m.refusals > 0 || box == nil && r.m.thereLike > 0 || r.m.touched[box]
		for _, i := range d.insts {
			switch {
			case crossed:
				i.tok.vague = true
			case i.lo == 0:
				i.hi = 0
			}
			r.takenAlong(d.box, i)
		}
	}
	for _, t := range slices.SortedFunc(maps.Values(r.m.tokens), func(a, b *token) int { return a.n - b.n }) {
		r.twins(t)
		r.cameBack(t)
		if lo, hi := t.bounds(); f.counts[t] < lo || f.counts[t] > hi {
			return fmt.Errorf("there %d times, should be %d to %d: %v", f.counts[t], lo, hi, t)
		}
		if err := r.checkToken(f, t); err != nil {
			return err
		}
	}
	if err := r.checkBoxes(f); err != nil {
		return err
	}
	return r.resync()
}

// takenAlong allows for an equal message that the other side put into a mailbox that our side deleted: it may have been
// taken for the one that was there, which our side put there, or knows only by what it is. Of a mailbox that was made in this
// phase the model does not know which it is upstream.
func (r *rig) takenAlong(box mailbox.ID, i *inst) {
	home := r.m.startBox[box]
	old := slices.Collect(maps.Values(r.m.startBox))
	for _, j := range i.tok.insts {
		same := j.home == home
		if home == nil {
			same = !slices.Contains(old, j.home)
		}
		if same && j.origin == fromThere && (i.origin == fromHere || r.m.resets[j.home]) {
			i.tok.forgive()
			return
		}
	}
}

// cameBack allows for the source of a move that was refused for good, and whose message was copied, or moved on, meanwhile: what
// was made from it is uploaded, and it stays where it was.
func (r *rig) cameBack(t *token) {
	passed, made := 0, 0
	for _, i := range t.insts {
		switch {
		case i.origin == fromHere && i.hi == 0:
			passed++
		case i.origin == fromHere:
			made++
		}
	}
	if r.m.refusals > 0 && made > 0 {
		t.more += passed
	}
}

// strays says whether a mailbox that was made in this phase was reset and renamed.
func (r *rig) strays() bool {
	old := slices.Collect(maps.Values(r.m.startBox))
	for box := range r.m.resets {
		if r.m.renamed[box] && !slices.Contains(old, box) {
			return true
		}
	}
	return false
}

// twins allows for equal messages in a mailbox whose UIDVALIDITY was reset: when each side removed one, which is which is
// anybody's guess, and there may be more left than the model thinks; so when one was removed and one put there: what is found
// may be taken for the one that is known, and the other is put there again. When it was renamed, too, nothing of it is known again.
func (r *rig) twins(t *token) {
	removed := map[*upstreamsim.Box]int{}
	for _, i := range t.insts {
		home := r.m.homeOf(i)
		if home != nil && r.m.resets[home] && i.hi == 0 {
			removed[home]++
		}
		if home != nil && r.m.resets[home] && r.m.renamed[home] && i.origin == fromHere && i.hi > 0 || home == nil && r.strays() {
			t.more++ // it may have been put there before nothing told any more that it is that mailbox
		}
		if i.hi > 0 || home == nil || !r.m.resets[home] {
			continue
		}
		for _, j := range t.insts { // what the other side put there of the same may have been taken for it
			if j.origin == fromThere && j.home == home && j.lo > 0 {
				t.forgive()
				break
			}
		}
	}
	for box, n := range removed {
		placed := slices.ContainsFunc(t.insts, func(i *inst) bool {
			return i.origin == fromHere && i.hi > 0 && r.m.homeOf(i) == box
		})
		if !r.m.renamed[box] && !placed {
			n--
		}
		t.more += n
	}
}

// agree compares both sides, but for what is parked for ever.
func (r *rig) agree() (*found, error) {
	boxes, err := r.mirrored()
	if err != nil {
		return nil, err
	}
	queue, err := r.queue()
	if err != nil {
		return nil, err
	}
	ops := map[key][]flag.Op{}
	for _, q := range queue {
		if q.Kind == mutation.Flags {
			k := key{q.Ref.Mailbox, q.Ref.UID}
			ops[k] = append(ops[k], q.Op)
		}
	}
	f := &found{
		boxes: boxes, rows: map[key]row{}, boxOf: map[mailbox.ID]*upstreamsim.Box{},
		ptrs: map[*upstreamsim.Message]upstreamsim.Present{}, homes: map[*upstreamsim.Message]*upstreamsim.Box{},
		byUp: map[*upstreamsim.Message]row{}, keys: map[*upstreamsim.Message]key{}, there: map[*upstreamsim.Box]string{}, counts: map[*token]int{},
	}
	byRaw := map[string]metadata.Mirrored{}
	for _, m := range boxes {
		switch {
		case m.Attrs&mailbox.NoSelect != 0:
			continue
		case m.Upstream.Name == "":
			return nil, fmt.Errorf("mailbox %q is not upstream", m.Name)
		case m.Deleting || m.Uncertain:
			return nil, fmt.Errorf("mailbox %q: deleting %v, uncertain %v", m.Name, m.Deleting, m.Uncertain)
		case r.name(m.Upstream.Name) != m.Name:
			names := ""
			for _, b := range boxes {
				names += fmt.Sprintf(" %d %q %q", b.ID, b.Name, b.Upstream.Name)
			}
			return nil, fmt.Errorf("mailbox %d %q is %q upstream; there are%s", m.ID, m.Name, m.Upstream.Name, names)
		}
		byRaw[m.Upstream.Name] = m
	}
	for _, st := range r.sim.Boxes() {
		m, ok := byRaw[st.Name]
		if !ok {
			return nil, fmt.Errorf("mailbox %q is not here", st.Name)
		}
		delete(byRaw, st.Name)
		f.boxOf[m.ID], f.there[st.Box] = st.Box, st.Name
		if err := r.agreeOn(f, st, m, ops); err != nil {
			return nil, fmt.Errorf("mailbox %q: %w", m.Name, err)
		}
	}
	for name := range byRaw {
		return nil, fmt.Errorf("mailbox %q is not upstream any more", name)
	}
	return f, nil
}

func (r *rig) agreeOn(f *found, st upstreamsim.State, m metadata.Mirrored, ops map[key][]flag.Op) error {
	rows, err := r.rows(m.ID)
	if err != nil {
		return err
	}
	byUp := map[uint32]row{}
	var uids []mailbox.UID
	unseen, deleted := 0, 0
	for uid, row := range rows {
		if was, twice := byUp[row.Upstream]; twice {
			return fmt.Errorf("UIDs %d and %d are both %d upstream", was.UID, uid, row.Upstream)
		}
		byUp[row.Upstream] = row
		uids = append(uids, uid)
		f.rows[key{m.ID, uid}] = row
		if !row.Flags.Has(flag.Seen) {
			unseen++
		}
		if row.Flags.Has(flag.Deleted) {
			deleted++
		}
	}
	bodies := map[mailbox.UID]*token{}
	if err := r.w.db.Contents(r.ctx, r.acc, m.ID, mailbox.SetOf(uids...), 0, func(c *metadata.Content) error {
		raw, err := readBlob(r.ctx, r.w.disk, c.Blob)
		bodies[c.UID] = r.m.byRaw[string(raw)]
		return err
	}); err != nil {
		return err
	}
	for _, p := range st.Messages {
		t := r.m.byRaw[p.Raw]
		row, ok := byUp[p.UID]
		switch {
		case t == nil:
			return fmt.Errorf("upstream UID %d is nobody's: %.80q", p.UID, p.Raw)
		case !ok:
			return fmt.Errorf("upstream UID %d (%v) is not here", p.UID, t)
		case row.tok != t:
			return fmt.Errorf("UID %d, upstream %d, is %v here and %v there", row.UID, p.UID, row.tok, t)
		case bodies[row.UID] != t:
			return fmt.Errorf("UID %d (%v) has the body of %v", row.UID, t, bodies[row.UID])
		}
		if want := applied(ops[key{m.ID, row.UID}], p.Flags); !row.Flags.Equal(want) {
			return fmt.Errorf("UID %d (%v) has the flags %q, should have %q", row.UID, t, row.Flags, want)
		}
		delete(byUp, p.UID)
		f.ptrs[p.Message], f.homes[p.Message], f.byUp[p.Message] = p, st.Box, row
		f.keys[p.Message] = key{m.ID, row.UID}
		f.counts[t]++
	}
	for _, row := range byUp {
		return fmt.Errorf("UID %d (%v), upstream %d, is not there", row.UID, row.tok, row.Upstream)
	}
	if int(m.Messages) != len(rows) || int(m.Unseen) != unseen || int(m.Deleted) != deleted || int(m.Bodies) != len(rows) {
		return fmt.Errorf("it counts %d messages, %d unseen, %d deleted, %d bodies; there are %d, %d, %d",
			m.Messages, m.Unseen, m.Deleted, m.Bodies, len(rows), unseen, deleted)
	}
	return nil
}

// checkToken checks where a content is, and its flags, as far as the model can tell.
func (r *rig) checkToken(f *found, t *token) error {
	if t.vague || t.slack() {
		return nil
	}
	alike := map[*upstreamsim.Box]int{}
	for _, i := range t.insts {
		if home := r.m.homeOf(i); i.lo != i.hi || home != nil && r.m.resets[home] && r.m.renamed[home] { // nothing tells that it is the same mailbox
			return nil
		}
		alike[r.m.homeOf(i)]++
	}
	old := slices.Collect(maps.Values(r.m.startBox))
	for box, n := range alike {
		if box != nil && alike[nil] > 0 && !slices.Contains(old, box) { // perhaps the one that our side made
			return nil
		}
		if n > 1 || len(r.m.resets) > 0 && (box == nil || r.m.resets[box]) && len(t.insts) > 1 {
			return nil // which is which cannot be told
		}
	}
	for _, i := range t.insts {
		if i.lo == 0 {
			continue
		}
		if err := r.checkInst(f, t, i); err != nil {
			return fmt.Errorf("%v: %w", t, err)
		}
	}
	return nil
}

func (r *rig) checkInst(f *found, t *token, i *inst) error {
	if i.origin == fromHere {
		row, ok := f.rows[i.key]
		if !ok {
			if f.boxes[i.key.box].ID == 0 || r.m.thereLike > 0 || r.m.removals > 0 {
				return nil // its mailbox is another now
			}
			return fmt.Errorf("it is not at %v", i.key)
		}
		if row.tok != t {
			return fmt.Errorf("%v is message %d", i.key, row.tok.n)
		}
		return r.checkFlags(t, i, row.Flags)
	}
	if _, ok := f.ptrs[i.ptr]; !ok {
		return fmt.Errorf("it is not where it was upstream, though nobody removed it there")
	}
	if f.homes[i.ptr] != i.home {
		return fmt.Errorf("it is in %q upstream", f.there[f.homes[i.ptr]])
	}
	row := f.byUp[i.ptr]
	if i.origin == fromStart && i.key != f.keys[i.ptr] && len(r.m.resets) == 0 && r.m.thereLike+r.m.hereBoxes == 0 {
		return fmt.Errorf("it was %v and is UID %d", i.key, row.UID)
	}
	return r.checkFlags(t, i, row.Flags)
}

// checkFlags checks an instance's flags: what only one side changed is as that side left it.
func (r *rig) checkFlags(t *token, i *inst, flags flag.Set) error {
	for name := range strings.FieldsSeq(strings.ToLower(allFlags.String())) {
		want := has(i.flags, name)
		here, ours := i.here[name]
		there, theirs := i.there[name]
		for _, j := range t.insts { // what became of others of the content may have been taken along
			if j == i {
				continue
			}
			_, a := j.there[name]
			_, b := j.here[name]
			if i.origin == fromHere && (a || b && r.m.parked || j.origin == fromThere) || i.origin == fromThere && b || j.origin == fromThere && b {
				ours, theirs = true, true
			}
		}
		switch {
		case ours && theirs:
			continue
		case ours:
			want = here
		case theirs:
			want = there
		}
		if r.h.Variant.NoKeywords && i.origin != fromStart && localOnly.HasKeyword(name) {
			continue
		}
		if has(flags, name) != want {
			return fmt.Errorf("%s is %v, should be %v (at first %q, here %v, there %v)", name, !want, want, i.flags, i.here, i.there)
		}
	}
	return nil
}

// checkBoxes checks that the mailboxes are called as the only side that changed the list wanted.
func (r *rig) checkBoxes(f *found) error {
	if r.m.thereLike == 0 && r.m.removals == 0 && r.m.refusals == 0 {
		for id, name := range r.m.names {
			if f.boxes[id].Name != name {
				return fmt.Errorf("mailbox %d was called %q here and is called %q", id, name, f.boxes[id].Name)
			}
		}
	}
	if r.m.hereBoxes == 0 {
		for box, name := range r.m.theirs {
			if now, there := f.there[box]; !there || now != name {
				return fmt.Errorf("mailbox %q upstream is called %q now", name, now)
			}
		}
	}
	return nil
}

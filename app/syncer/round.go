package syncer

import (
	"context"
	"slices"
	"strings"
	"time"

	"imapped/app/replay"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// round brings the whole account up to date: its list of mailboxes, every mailbox's messages and flags, and every
// body. It calls listed as soon as the mailboxes are known. It fails only for what ends the connection or the
// ownership; what is wrong with one mailbox is noted there and does not stop the others.
func (o *owner) round(ctx context.Context, l *link, asked bool, listed func()) error {
	release, err := o.roundToken(ctx, l)
	if err != nil {
		return err
	}
	defer release()
	states, err := o.list(ctx, l)
	if err != nil {
		return err
	}
	listed()
	did, err := o.passes(ctx, l, o.ordered(), states, asked)
	if err != nil {
		return err
	}
	if did || o.lacksBodies() {
		if err := o.bodies(ctx, l, o.ordered(), 0, asked); err != nil {
			return err
		}
	}
	if cmds := l.leave(); len(cmds) > 0 {
		return l.do(ctx, cmds...)
	}
	return nil
}

// list asks for the mailboxes and their counts, and brings the local list up to date. It returns what the upstream
// says of each mailbox, by raw name.
func (o *owner) list(ctx context.Context, l *link) (map[string]*mirror.State, error) {
	// While it is held replay creates, renames and deletes nothing: what is read here, and what the upstream says, belong
	// together.
	release, err := (&box{turn: o.turn(replay.Lists)}).take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	o.note(func() { o.relist = false })
	infos, err := o.loadBoxes(ctx)
	if err != nil {
		return nil, err
	}
	known := make([]string, 0, len(infos))
	for _, b := range o.ordered() {
		known = append(known, b.raw())
	}
	listing, err := o.listing(ctx, l, known)
	if err != nil {
		return nil, err
	}
	changed, err := o.applyListing(ctx, l, infos, listing)
	if err != nil {
		return nil, err
	}
	if changed {
		o.hint(0, 0)
		if _, err := o.loadBoxes(ctx); err != nil {
			return nil, err
		}
	}
	certain := true
	for _, n := range o.open {
		certain = certain && n > mostPuzzles
	}
	o.puzzles, o.open = o.open, nil
	states := map[string]*mirror.State{}
	for _, b := range listing.Boxes() {
		states[b.Raw] = b.State
	}
	o.note(func() {
		for _, b := range o.boxes {
			b.listed, b.doubted = 0, !certain
			if st := states[b.info.Upstream.Name]; st != nil {
				b.listed = st.UIDValidity
			}
		}
	})
	return states, nil
}

// leave returns what is to be sent before STATUS is asked for: servers answer it for a selected mailbox from what the
// selection has seen.
func (l *link) leave() []upstream.Command {
	if !l.opened {
		return nil
	}
	l.forget()
	l.opened = false
	return []upstream.Command{&upstream.Unselect{}}
}

// listing asks for a complete listing. Without LIST-STATUS the counts are asked for with one STATUS each: of the known
// mailboxes in the same flush, of new ones in a second.
func (o *owner) listing(ctx context.Context, l *link, known []string) (mirror.Listing, error) {
	const op = "list mailboxes"
	list := &upstream.List{Status: l.server.ListStatus}
	cmds := append(l.leave(), list)
	status := map[string]*upstream.Status{}
	ask := func(name string) {
		s := &upstream.Status{Name: name}
		status[name] = s
		cmds = append(cmds, s)
	}
	if !l.server.ListStatus {
		for _, name := range known {
			ask(name)
		}
	}
	if err := l.do(ctx, cmds...); err != nil {
		return mirror.Listing{}, err
	}
	if list.Err != nil {
		return mirror.Listing{}, fault.Wrap(op, list.Err)
	}
	cmds = cmds[:0]
	for _, m := range list.Mailboxes {
		if m.Status == nil && status[m.Name] == nil && !m.NonExist && m.Attrs&mailbox.NoSelect == 0 {
			ask(m.Name)
		}
	}
	if len(cmds) > 0 {
		if err := l.do(ctx, cmds...); err != nil {
			return mirror.Listing{}, err
		}
	}
	boxes := make([]mirror.Listed, 0, len(list.Mailboxes))
	for _, m := range list.Mailboxes {
		b := mirror.Listed{Raw: m.Name, Delimiter: m.Delimiter, Attrs: m.Attrs, NonExist: m.NonExist}
		st := m.Status
		if st == nil {
			st = status[m.Name]
		}
		switch {
		case st == nil:
		case st.Absent() && fault.Is(st.Err, fault.NotFound) && !strings.EqualFold(b.Raw, "INBOX"):
			// Deleted, but still listed for those below it, without saying that it cannot be selected: Dovecot does so.
			b.Attrs |= mailbox.NoSelect
		case st.Err != nil:
			b.Unsure = fault.Is(st.Err, fault.Unavailable) && o.puzzled("status "+b.Raw)
		default:
			b.State = &mirror.State{
				Messages: st.Messages, UIDNext: st.UIDNext, UIDValidity: st.UIDValidity, HighestModSeq: st.HighestModSeq,
			}
		}
		boxes = append(boxes, b)
	}
	listing, ok := mirror.NewListing(true, l.server.UTF8, boxes)
	if !ok {
		return listing, fault.New(fault.Unavailable, op, "the upstream's list of mailboxes has no INBOX: it cannot be complete")
	}
	return listing, nil
}

// applyListing carries out what the listing means for the local list of mailboxes and says whether anything changed.
func (o *owner) applyListing(ctx context.Context, l *link, infos []metadata.Mirrored, listing mirror.Listing) (bool, error) {
	byID := map[mailbox.ID]metadata.Mirrored{}
	var local []mirror.Box
	for _, m := range infos {
		byID[m.ID] = m
		local = append(local, plannerBox(m))
	}
	plan := mirror.PlanBoxes(local, listing)
	var renames []mirror.Rename
	for _, r := range plan.Rename {
		found, err := o.verify(ctx, l, r)
		switch {
		case err != nil:
			return false, err
		case found.unsure && o.puzzled("rename "+r.Box.Raw): // another round finds out
			plan.Defer(r)
			o.note(func() { o.doubtful = true })
		case found.moved:
			renames = append(renames, r)
		default:
			plan.Refuse(r, found.exists)
		}
	}
	changed := false
	save := func(m metadata.Mirrored) error {
		changed = true
		if m.ID != 0 {
			ok, err := o.rebase(ctx, infos, &m)
			if err != nil || !ok {
				return err
			}
		}
		saved, err := o.m.Mirror.SaveMailbox(ctx, o.fence, m)
		if fault.Is(err, fault.Exists) { // a client took the name just now, or keeps it for what is yet to be done: another time
			o.log.Info("a mailbox's name is taken here", "mailbox", int64(m.ID))
			return nil
		}
		if err == nil {
			byID[saved.ID] = saved
			infos = append(infos[:len(infos):len(infos)], saved)
		}
		return fault.Wrap("save mailbox", err)
	}
	// A mailbox that is deleted upstream while another took its name must leave before the other comes.
	if removed, err := o.remove(ctx, l, plan.Missing, local); err != nil {
		return changed, err
	} else if len(removed) > 0 {
		changed = true
		for _, id := range removed {
			delete(byID, id)
		}
	}
	for _, b := range plan.Evicted {
		if err := o.removeBox(ctx, b.ID); err != nil {
			return changed, err
		}
		changed = true
		delete(byID, b.ID)
	}
	for _, m := range orderRenames(renames, byID) {
		if err := save(m); err != nil {
			return changed, err
		}
	}
	for _, m := range orderRenames(changes(plan.Change), byID) {
		if err := save(m); err != nil {
			return changed, err
		}
	}
	taken := map[string]bool{}
	for _, m := range byID {
		if !m.Deleting {
			taken[m.Name] = true
		}
	}
	for _, t := range plan.Create {
		if taken[t.Name] {
			continue // its name becomes free when a missing mailbox is removed: a later round makes it
		}
		taken[t.Name] = true
		m := metadata.Mirrored{Info: mailbox.Info{Account: o.account.ID, Name: t.Name, Attrs: t.Attrs, Subscribed: true}}
		m.Upstream.Name, m.Upstream.Delimiter = t.Raw, t.Delimiter
		if err := save(m); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// rebase puts what is to be changed of a mailbox, compared with what was read of it before, over what it is now: clients
// may have renamed it meanwhile, passes have moved its checkpoint. It says no when it is gone.
func (o *owner) rebase(ctx context.Context, before []metadata.Mirrored, m *metadata.Mirrored) (bool, error) {
	infos, err := o.m.Mirror.Mirrored(ctx, o.account.ID)
	if err != nil {
		return false, fault.Wrap("read mailboxes", err)
	}
	is := func(x metadata.Mirrored) bool { return x.ID == m.ID }
	i, j := slices.IndexFunc(infos, is), slices.IndexFunc(before, is)
	if i < 0 || j < 0 {
		return false, nil
	}
	now := infos[i]
	if m.Name != before[j].Name {
		now.Name = m.Name
	}
	now.Attrs, now.Upstream.Name, now.Upstream.Delimiter = m.Attrs, m.Upstream.Name, m.Upstream.Delimiter
	*m = now
	return true, nil
}

// changes is mailboxes that change as if each was renamed.
func changes(boxes []mirror.Box) []mirror.Rename {
	all := make([]mirror.Rename, len(boxes))
	for i, b := range boxes {
		all[i] = mirror.Rename{Box: b, Target: mirror.Target{
			Listed: mirror.Listed{Raw: b.Raw, Delimiter: b.Delimiter, Attrs: b.Attrs}, Name: b.Name,
		}}
	}
	return all
}

// orderRenames returns the mailboxes as they are to be saved one after the other, so that no name is taken twice at
// any moment: who is in the way is moved aside first.
func orderRenames(renames []mirror.Rename, byID map[mailbox.ID]metadata.Mirrored) []metadata.Mirrored {
	holder := map[string]mailbox.ID{}
	for id, m := range byID {
		if !m.Deleting {
			holder[m.Name] = id
		}
	}
	var saves []metadata.Mirrored
	moving := map[mailbox.ID]bool{}
	for _, r := range renames {
		moving[r.Box.ID] = true
	}
	for _, r := range renames {
		m, ok := byID[r.Box.ID]
		if !ok {
			continue
		}
		if other, taken := holder[r.Target.Name]; !m.Deleting && taken && other != m.ID && moving[other] {
			aside := byID[other]
			aside.Name += "=~0"
			byID[other] = aside
			delete(holder, r.Target.Name)
			saves = append(saves, aside)
		}
		if holder[m.Name] == m.ID {
			delete(holder, m.Name)
		}
		m.Name, m.Attrs = r.Target.Name, r.Target.Attrs
		m.Upstream.Name, m.Upstream.Delimiter = r.Target.Raw, r.Target.Delimiter
		byID[m.ID] = m
		if !m.Deleting {
			holder[m.Name] = m.ID
		}
		saves = append(saves, m)
	}
	return saves
}

// sampleSize is how many messages are compared before a mailbox is taken for a renamed one.
const sampleSize = 50

// mostPuzzles is for how many rounds in a row a question about the list of mailboxes may stay without an answer.
const mostPuzzles = 5

// puzzled says that a question was not answered, and whether to wait for an answer: not for ever.
func (o *owner) puzzled(question string) bool {
	n := o.puzzles[question] + 1
	if o.open == nil {
		o.open = map[string]int{}
	}
	o.open[question] = n
	return n <= mostPuzzles
}

// verdict is what came of a supposed rename.
type verdict struct {
	moved  bool
	exists bool // there is something under the new name
	unsure bool // a question was not answered
}

// verify says whether a mailbox has moved to the name that seems to be its new one: the old name must answer for it no
// more, and the new one must hold the messages known here. A listing alone is not enough: a name that was damaged on the
// way looks like this too.
func (o *owner) verify(ctx context.Context, l *link, r mirror.Rename) (verdict, error) {
	rows, err := o.rows(ctx, r.Box.ID)
	if err != nil {
		return verdict{}, err
	}
	known := mirror.Sample(rows, sampleSize)
	var uids []uint32
	for uid := range known {
		uids = append(uids, uid)
	}
	var v mirror.Verdict
	l.forget()
	l.opened = true
	old := &upstream.Status{Name: r.Box.Raw}
	sel := &upstream.Select{Name: r.Target.Raw, ReadOnly: true}
	fetch := &upstream.Fetch{UIDs: mailbox.SetOf(uids...), Items: upstream.ItemMeta, OnMessage: func(m upstream.Message) error {
		l.touch()
		if sel.Err == nil && m.Has&upstream.ItemIdent != 0 && m.Has&upstream.ItemSize != 0 {
			v.Look(known, mirror.Ident{Upstream: m.UID, Email: m.Identity().Email})
		}
		return nil
	}}
	cmds := []upstream.Command{old, sel}
	if r.Verify {
		cmds = append(cmds, fetch)
	}
	if err := l.do(ctx, cmds...); err != nil {
		return verdict{}, err
	}
	left := old.Absent() || old.Err == nil && old.UIDValidity != r.Box.UIDValidity // another has that name, perhaps since the listing
	unsure := old.Err != nil && fault.Is(old.Err, fault.Unavailable) || sel.Err != nil && !fault.Is(sel.Err, fault.NotFound) ||
		r.Verify && sel.Err == nil && fetch.Err != nil
	// What was sent, and not answered, may have taken all that is known out of it.
	same := !r.Verify || v.Same() || r.Box.Uncertain && !v.Refuted()
	return verdict{
		moved:  left && sel.Err == nil && sel.UIDValidity == r.Box.UIDValidity && same,
		exists: sel.Err == nil, unsure: unsure,
	}, nil
}

// suspicion is implausibly many mailboxes that a listing did not have.
type suspicion struct {
	missing mirror.Missing
	on      *link
	at      time.Time
}

// remove removes the mailboxes that a second listing does not have either, and that cannot be opened any more.
func (o *owner) remove(ctx context.Context, l *link, missing mirror.Missing, local []mirror.Box) ([]mailbox.ID, error) {
	if missing.Empty() {
		o.note(func() { o.suspected = suspicion{} })
		return nil, nil
	}
	if missing.Implausible(len(local)) {
		// The confirmation must be independent: from another connection, or a poll later.
		now := o.m.Clock.Now()
		var before mirror.Missing
		o.note(func() {
			if s := o.suspected; s.on != l || now.Sub(s.at) >= o.m.cfg.Poll {
				before = s.missing
				o.suspected = suspicion{missing, l, now}
			}
		})
		if missing = before; missing.Empty() {
			o.log.Warn("the upstream lists few of its mailboxes; the others are kept until it does so again")
		}
	}
	if missing.Empty() {
		return nil, nil
	}
	second, err := o.listing(ctx, l, nil)
	if err != nil {
		return nil, err
	}
	var gone []mailbox.ID
	var asked []*upstream.Status
	var cmds []upstream.Command
	candidates := mirror.Confirm(missing, mirror.PlanBoxes(local, second))
	for _, id := range candidates {
		i := slices.IndexFunc(local, func(b mirror.Box) bool { return b.ID == id })
		asked = append(asked, &upstream.Status{Name: local[i].Raw})
		cmds = append(cmds, asked[len(asked)-1])
	}
	if len(cmds) == 0 {
		return nil, nil
	}
	if err := l.do(ctx, cmds...); err != nil {
		return nil, err
	}
	for i, id := range candidates {
		// The name may answer for another mailbox here, which has it now.
		if asked[i].Absent() || slices.ContainsFunc(local, func(b mirror.Box) bool {
			return b.Raw == asked[i].Name && !slices.Contains(candidates, b.ID)
		}) {
			gone = append(gone, id)
		} else {
			o.log.Warn("the upstream does not list a mailbox that it still has", "mailbox", int64(id), "status", errorText(asked[i].Err))
		}
	}
	for _, id := range gone {
		if err := o.removeBox(ctx, id); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// removeBox removes a mailbox that the upstream has lost.
func (o *owner) removeBox(ctx context.Context, id mailbox.ID) error {
	o.log.Info("mailbox is gone upstream", "mailbox", int64(id))
	release, err := (&box{turn: o.turn(id)}).take(ctx)
	if err != nil {
		return err
	}
	err = o.m.Mirror.RemoveMailbox(ctx, o.fence, id)
	release()
	if err != nil && !fault.Is(err, fault.NotFound) {
		return fault.Wrap("remove mailbox", err)
	}
	o.hint(id, 0)
	o.replay.Wake() // what waits for it is to be made anew
	return nil
}

// rows reads a mailbox's messages for comparison.
func (o *owner) rows(ctx context.Context, id mailbox.ID) ([]mirror.Row, error) {
	var rows []mirror.Row
	err := o.m.Mirror.UpstreamRows(ctx, o.account.ID, id, func(r metadata.UpstreamRow) error {
		rows = append(rows, mirror.Row{
			UID: r.UID, Upstream: r.Upstream, Flags: r.Flags, Email: r.Email, Departed: r.Departed, Placing: r.Placing,
		})
		return nil
	})
	return rows, fault.Wrap("read messages", err)
}

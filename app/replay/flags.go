package replay

import (
	"context"
	"slices"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// flags carries out a mailbox's changes of flags, with a STORE for all messages that get, or lose, the same flags. Of what
// the mailbox does not keep nothing is sent; it stays here alone, parked.
func (w *work) flags(ctx context.Context, j job) error {
	id := j.batch.Mailbox
	sel, err := w.open(ctx, id)
	if err != nil {
		return w.closed(id, j.items, err)
	}
	items, err := w.verify(ctx, id, sel, j.items, func(q *metadata.Queued) uint32 { return q.Upstream })
	if err != nil {
		return err
	}
	type change struct {
		flags  flag.Set
		remove bool
	}
	uids := map[change][]uint32{}
	var order []change
	put := func(c change, uid uint32) {
		if c.flags.Empty() {
			return
		}
		if uids[c] == nil {
			order = append(order, c)
		}
		uids[c] = append(uids[c], uid)
	}
	for _, i := range items {
		q := &w.queue[i]
		put(change{kept(sel, q.Op.Add), false}, q.Upstream)
		put(change{kept(sel, q.Op.Remove), true}, q.Upstream)
	}
	var cmds []upstream.Command
	stores := map[change]*upstream.Store{}
	for _, c := range order {
		stores[c] = &upstream.Store{UIDs: mailbox.SetOf(uids[c]...), Flags: c.flags, Remove: c.remove}
		cmds = append(cmds, stores[c])
	}
	var lost error
	if len(cmds) > 0 {
		lost = w.line.Do(ctx, cmds...)
	}
	return w.answered(items, lost, func(q *metadata.Queued) []error {
		return errorsOf(stores[change{kept(sel, q.Op.Add), false}], stores[change{kept(sel, q.Op.Remove), true}])
	}, sel)
}

// errorsOf returns how the STOREs ended that there were.
func errorsOf(stores ...*upstream.Store) []error {
	var out []error
	for _, s := range stores {
		if s != nil {
			out = append(out, s.Err)
		}
	}
	return out
}

// answered records how changes of flags ended; lost is the connection's end, which it returns.
func (w *work) answered(items []int, lost error, of func(*metadata.Queued) []error, sel *upstream.Select) error {
	refused := map[string][]int{}
	why := map[string]error{}
	for _, i := range items {
		q := &w.queue[i]
		var failed error
		open := false
		for _, err := range of(q) {
			switch {
			case err == nil:
			case isRefusal(err):
				failed = err
			default:
				open = true
			}
		}
		switch {
		case failed != nil:
			refused[failed.Error()] = append(refused[failed.Error()], i)
			why[failed.Error()] = failed
		case open: // it is sent again: that does no harm
		default:
			w.stored(i, sel)
		}
	}
	for text, list := range refused {
		w.refused(list, why[text])
	}
	return lost
}

// stored records a change of flags that the upstream took, as far as it keeps such flags.
func (w *work) stored(i int, sel *upstream.Select) {
	q := &w.queue[i]
	local := q.Op.Add.Minus(kept(sel, q.Op.Add))
	if local.Empty() {
		w.done(i, 0)
		return
	}
	w.outcomes = append(w.outcomes, metadata.Outcome{
		ID: q.ID, Version: q.Version, Verdict: metadata.Park, Rest: flag.Op{Add: local},
		Reason: "the upstream does not keep " + local.String() + " in this mailbox; it stays here alone",
	})
}

// kept returns those of the flags that the mailbox keeps (PERMANENTFLAGS, RFC 9051 section 7.1).
func kept(sel *upstream.Select, flags flag.Set) flag.Set {
	if sel.Permanent.Empty() && !sel.AnyKeyword {
		return flags // nothing was said: all are
	}
	local := flags.Minus(sel.Permanent)
	if sel.AnyKeyword {
		local = flag.Make(local.Sys)
	}
	return flags.Minus(local)
}

// verify returns those of the items whose message the upstream has under its UID. It asks only where UIDs are not known
// to stay what they are: an upstream without UIDVALIDITY.
func (w *work) verify(ctx context.Context, id mailbox.ID, sel *upstream.Select, items []int, uid func(*metadata.Queued) uint32) ([]int, error) {
	if sel.UIDValidity != 0 {
		return items, nil
	}
	var uids []uint32
	for _, i := range items {
		uids = append(uids, uid(&w.queue[i]))
	}
	there := map[uint32]mailbox.ObjectID{}
	fetch := &upstream.Fetch{UIDs: mailbox.SetOf(uids...), Items: upstream.ItemMeta, OnMessage: func(m upstream.Message) error {
		w.line.Touch()
		if m.Has&upstream.ItemMeta == upstream.ItemMeta {
			there[m.UID] = m.Identity().Email
		}
		return nil
	}}
	if err := w.line.Do(ctx, fetch); err != nil {
		return nil, err
	}
	var same []int
	for _, i := range items {
		q := &w.queue[i]
		if there[uid(q)] == q.Email {
			same = append(same, i)
			continue
		}
		w.again(i, "the upstream has another message under this UID now", w.backoff(q.Attempts, w.cfg.RetryMax))
		w.host.Look(id)
	}
	return same, nil
}

// expunges carries out a batch of expunges.
func (w *work) expunges(ctx context.Context, j job) error {
	id := j.batch.Mailbox
	sel, err := w.open(ctx, id)
	if err != nil {
		return w.closed(id, j.items, err)
	}
	items, err := w.verify(ctx, id, sel, j.items, func(q *metadata.Queued) uint32 { return q.Upstream })
	if err != nil || len(items) == 0 {
		return err
	}
	uids := make([]uint32, len(items))
	for k, i := range items {
		uids[k] = w.queue[i].Upstream
	}
	out, err := w.expunge(ctx, id, sel, mailbox.SetOf(uids...))
	switch {
	case err != nil || out.wait:
		return err
	case out.refused != nil:
		w.refused(items, out.refused)
		return nil //nolint:nilerr // it is the changes' outcome
	}
	for _, i := range items {
		switch q := &w.queue[i]; {
		case !out.left.Contains(q.Upstream):
			w.done(i, 0)
		case q.Attempts < vagueTries:
			w.again(i, keeps, w.backoff(q.Attempts, w.cfg.RetryMax))
		default:
			w.park(i, keeps)
		}
	}
	return nil
}

// keeps is why a message is not expunged that the upstream did not refuse to expunge.
const keeps = `the message is still there after it was expunged: the upstream keeps it, or another client takes its \Deleted away`

// expunged is what became of messages that were to be expunged.
type expunged struct {
	refused error
	wait    bool        // it must wait
	left    mailbox.Set // was not expunged: the mark was taken away in between
	back    bool        // what was set aside has its marks back
}

// expunge removes messages from the selected mailbox upstream, and no others.
func (w *work) expunge(ctx context.Context, id mailbox.ID, sel *upstream.Select, set mailbox.Set) (out expunged, err error) {
	mark := &upstream.Store{UIDs: set, Flags: flag.Make(flag.Deleted)}
	if !w.line.server.UIDPlus {
		return w.expungeAll(ctx, id, sel, set, mark)
	}
	return w.sweep(ctx, set, mark, &upstream.Expunge{UIDs: set}, nil)
}

// sweep marks and expunges messages of the selected mailbox, gives those that were set aside their marks back, and sees
// what is left.
func (w *work) sweep(ctx context.Context, set mailbox.Set, mark *upstream.Store, expunge *upstream.Expunge, aside mailbox.Set) (out expunged, err error) {
	var left []uint32
	look := &upstream.Fetch{UIDs: set, Items: upstream.ItemFlags, OnMessage: func(m upstream.Message) error {
		w.line.Touch()
		if set.Contains(m.UID) {
			left = append(left, m.UID)
		}
		return nil
	}}
	cmds := []upstream.Command{mark, expunge}
	back := &upstream.Store{UIDs: aside, Flags: mark.Flags}
	if len(aside) > 0 {
		cmds = append(cmds, back)
	}
	if err := w.line.Do(ctx, append(cmds, look)...); err != nil {
		return expunged{}, err
	}
	if mark.Err != nil {
		return expunged{refused: mark.Err}, nil //nolint:nilerr // it is the outcome
	}
	out = expunged{refused: expunge.Err, back: len(aside) > 0 && back.Err == nil}
	if look.Err == nil {
		out.left = mailbox.SetOf(left...)
	}
	return out, nil
}

// looks bounds how often the marks are looked at before an EXPUNGE without UIDs.
const looks = 3

// expungeAll is expunge for an upstream without UIDPLUS, where EXPUNGE removes everything that is marked. Other marks are
// set aside before, and put back in the flush of the EXPUNGE; that they are to be put back is queued before they are set
// aside, for who dies in between. Marks that are not known here are waited for.
func (w *work) expungeAll(ctx context.Context, id mailbox.ID, sel *upstream.Select, set mailbox.Set, mark *upstream.Store) (out expunged, err error) {
	var aside mailbox.Set
	for range looks {
		deleted := &upstream.Deleted{}
		if err := w.line.Do(ctx, deleted); err != nil {
			return expunged{}, err
		}
		if deleted.Err != nil {
			return expunged{refused: deleted.Err}, w.putBack(ctx, aside)
		}
		others := deleted.UIDs.Minus(set)
		if len(others) == 0 {
			out, err := w.sweep(ctx, set, mark, &upstream.Expunge{All: true}, aside)
			if err == nil && out.back {
				err = w.areBack(ctx)
			}
			return out, err
		}
		known, unknown := mailbox.Set(nil), others
		if sel.UIDValidity == w.boxes[id].Upstream.UIDValidity {
			if known, unknown, err = w.setAside(ctx, id, others); err != nil {
				return expunged{}, err
			}
		}
		if len(unknown) > 0 {
			if w.boxes[id].Deleting { // nothing new is taken into it until it is back
				w.spare(id)
			}
			w.hold(id)
			w.host.Compare(id) // counts tell nothing of marks
			return expunged{wait: true}, w.putBack(ctx, aside)
		}
		aside = aside.Union(known)
		unmark := &upstream.Store{UIDs: others, Flags: mark.Flags, Remove: true}
		if err := w.line.Do(ctx, unmark); err != nil {
			return expunged{}, err
		}
		if unmark.Err != nil {
			return expunged{refused: unmark.Err}, w.putBack(ctx, aside)
		}
	}
	w.hold(id)
	return expunged{wait: true}, w.putBack(ctx, aside) // somebody marks messages all the time: another time
}

// putBack gives messages of the selected mailbox their marks back.
func (w *work) putBack(ctx context.Context, aside mailbox.Set) error {
	if len(aside) == 0 {
		return nil
	}
	return w.line.Do(ctx, &upstream.Store{UIDs: aside, Flags: flag.Make(flag.Deleted)})
}

// areBack takes out of the queue that marks are to be put back: they are. What was queued for them since the queue was read
// is nothing else; where a client changed more, or it was merged into something older, it stays.
func (w *work) areBack(ctx context.Context) error {
	queue, err := w.since(ctx)
	if err != nil {
		return err
	}
	mark := flag.Op{Add: flag.Make(flag.Deleted)}
	for _, q := range queue {
		if q.Kind == mutation.Flags && q.State == mutation.Waiting && q.Op == mark && w.put[q.Ref] {
			w.outcomes = append(w.outcomes, metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Done})
		}
	}
	return nil
}

// since returns what is behind that part of the queue which is carried out.
func (w *work) since(ctx context.Context) ([]metadata.Queued, error) {
	var all []metadata.Queued
	for after := w.queue[len(w.queue)-1].ID; ; after = all[len(all)-1].ID {
		page, err := w.Queue.Mutations(ctx, w.fence.Account, after, window)
		if err != nil {
			return nil, fault.Wrap("read the queue", err)
		}
		if all = append(all, page...); len(page) < window {
			return all, nil
		}
	}
}

// setAside queues that \Deleted is put back on those of the messages that have it here, too, and what is to be made from
// them. It returns those whose mark is to be put back, and those that are not known here to have one (of a mailbox that is
// being deleted: that are not known at all). The others are the ones whose mark a client took away.
func (w *work) setAside(ctx context.Context, id mailbox.ID, others mailbox.Set) (known, unknown mailbox.Set, err error) {
	unmarked := map[mutation.Ref]bool{} // a client took the mark away, and the upstream has not heard of it
	for _, q := range w.queue {
		if q.Kind == mutation.Flags && q.Op.Remove.Has(flag.Deleted) {
			unmarked[q.Ref] = true
		}
	}
	var here []mailbox.UID
	sources := map[mailbox.UID]bool{} // whether their marks are put back
	deleting := w.boxes[id].Deleting  // its flags are looked at no more; that the message had been seen is what counts
	var back, idle []uint32
	err = w.Mirror.UpstreamRows(ctx, w.fence.Account, id, func(row metadata.UpstreamRow) error {
		ref := mutation.Ref{Mailbox: id, UID: row.UID}
		switch {
		case row.Upstream == 0 || !others.Contains(row.Upstream):
		case row.Departed || row.Flags.Has(flag.Deleted) || deleting && !unmarked[ref]:
			back = append(back, row.Upstream)
			sources[row.UID] = true
			if !row.Departed {
				here = append(here, row.UID)
				// Where it is yet to be taken away, and put back, that stays queued.
				w.put[ref] = !unmarked[ref]
			}
		case unmarked[ref]:
			idle = append(idle, row.Upstream)
			sources[row.UID] = false // what was copied before wants it
		}
		return nil
	})
	if err != nil {
		return nil, nil, fault.Wrap("read messages", err)
	}
	mark := func(in mailbox.ID, uids []mailbox.UID) error {
		_, err := w.Edits.EditFlags(ctx, w.fence.Account, metadata.FlagEdit{
			Mailbox: in, UIDs: mailbox.SetOf(uids...), Mode: metadata.AddFlags, Flags: flag.Make(flag.Deleted), Again: true,
			Now: w.Clock.Now(),
		})
		if fault.Is(err, fault.NotFound) { // a client may have deleted the mailbox meanwhile
			return nil
		}
		return fault.Wrap("set marks aside", err)
	}
	if len(here) > 0 {
		if err := mark(id, here); err != nil {
			return nil, nil, err
		}
	}
	// What is made while the mark is away lacks it; of those that are here the store knows that. Others may have been moved
	// since the queue was read.
	since, err := w.since(ctx)
	if err != nil {
		return nil, nil, err
	}
	made := map[mailbox.ID][]mailbox.UID{}
	for _, q := range slices.Concat(w.queue, since) {
		comesBack, is := sources[q.Source.UID]
		if is && (q.Kind == mutation.Copy || q.Kind == mutation.Move) && q.Source.Mailbox == id {
			made[q.Ref.Mailbox] = append(made[q.Ref.Mailbox], q.Ref.UID)
			w.put[q.Ref] = comesBack && !unmarked[q.Ref]
		}
	}
	for in, uids := range made {
		if err := mark(in, uids); err != nil {
			return nil, nil, err
		}
	}
	known = mailbox.SetOf(back...)
	return known, others.Minus(known).Minus(mailbox.SetOf(idle...)), nil
}

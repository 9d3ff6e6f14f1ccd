package replay

import (
	"context"

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
	refused, wait, err := w.expunge(ctx, id, sel, mailbox.SetOf(uids...), false)
	switch {
	case err != nil || wait:
		return err
	case refused != nil:
		w.refused(items, refused)
		return nil
	}
	for _, i := range items {
		w.done(i, 0)
	}
	return nil
}

// expunge removes messages from the selected mailbox upstream, and no others. wait says that this must wait; with now it
// never has to wait for the mirror.
func (w *work) expunge(ctx context.Context, id mailbox.ID, sel *upstream.Select, set mailbox.Set, now bool) (refused error, wait bool, err error) {
	mark := &upstream.Store{UIDs: set, Flags: flag.Make(flag.Deleted)}
	if !w.line.server.UIDPlus {
		return w.expungeAll(ctx, id, sel, set, mark, now)
	}
	expunge := &upstream.Expunge{UIDs: set}
	if err := w.line.Do(ctx, mark, expunge); err != nil {
		return nil, true, err
	}
	if mark.Err != nil {
		return mark.Err, false, nil
	}
	return expunge.Err, false, nil
}

// looks bounds how often the marks are looked at before an EXPUNGE without UIDs.
const looks = 3

// expungeAll is expunge for an upstream without UIDPLUS, where EXPUNGE removes everything that is marked. Other marks are
// set aside before; that they are to be put back is queued first, so that nothing in between can lose them. Marked messages
// that are not known here are waited for; with now they get their marks back in the same flush, which is all that can be
// done for them then.
func (w *work) expungeAll(ctx context.Context, id mailbox.ID, sel *upstream.Select, set mailbox.Set, mark *upstream.Store, now bool) (refused error, wait bool, err error) {
	for range looks {
		deleted := &upstream.Deleted{}
		if err := w.line.Do(ctx, mark, deleted); err != nil {
			return nil, true, err
		}
		if mark.Err != nil {
			return mark.Err, false, nil
		}
		if deleted.Err != nil {
			return deleted.Err, false, nil
		}
		others := deleted.UIDs.Minus(set)
		if len(others) == 0 {
			expunge := &upstream.Expunge{All: true}
			err := w.line.Do(ctx, expunge)
			return expunge.Err, err != nil, err
		}
		unknown := others
		if sel.UIDValidity == w.boxes[id].Upstream.UIDValidity {
			if unknown, err = w.setAside(ctx, id, others); err != nil {
				return nil, true, err
			}
		}
		if len(unknown) > 0 && !now {
			w.hold(id)
			w.host.Look(id)
			return nil, true, nil
		}
		unmark := &upstream.Store{UIDs: others, Flags: mark.Flags, Remove: true}
		if err := w.line.Do(ctx, unmark); err != nil {
			return nil, true, err
		}
		if unmark.Err != nil {
			return unmark.Err, false, nil
		}
		if len(unknown) > 0 {
			expunge := &upstream.Expunge{All: true}
			err := w.line.Do(ctx, expunge, &upstream.Store{UIDs: unknown, Flags: mark.Flags})
			return expunge.Err, err != nil, err
		}
	}
	w.hold(id)
	return nil, true, nil // somebody marks messages all the time: another time
}

// setAside queues that \Deleted is put back on those of the messages that are known here, and returns the others.
func (w *work) setAside(ctx context.Context, id mailbox.ID, others mailbox.Set) (unknown mailbox.Set, err error) {
	unmarked := map[mailbox.UID]bool{} // a client took the mark away, and the upstream has not heard of it
	for _, q := range w.queue {
		if q.Kind == mutation.Flags && q.Ref.Mailbox == id && q.Op.Remove.Has(flag.Deleted) {
			unmarked[q.Ref.UID] = true
		}
	}
	var known []uint32
	var marked []mailbox.UID
	err = w.Mirror.UpstreamRows(ctx, w.fence.Account, id, func(row metadata.UpstreamRow) error {
		if row.Upstream != 0 && others.Contains(row.Upstream) {
			known = append(known, row.Upstream)
			if !row.Departed && !unmarked[row.UID] {
				marked = append(marked, row.UID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.Wrap("read messages", err)
	}
	if len(marked) > 0 {
		_, err = w.Edits.EditFlags(ctx, w.fence.Account, metadata.FlagEdit{
			Mailbox: id, UIDs: mailbox.SetOf(marked...), Mode: metadata.AddFlags, Flags: flag.Make(flag.Deleted), Always: true,
			Now: w.Clock.Now(),
		})
		if fault.Is(err, fault.NotFound) {
			err = nil // a client deleted the mailbox meanwhile
		}
	}
	return others.Minus(mailbox.SetOf(known...)), fault.Wrap("set marks aside", err)
}

package replay

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// window is how much of the queue is planned at a time, unless nothing of it can be carried out.
const window = 4000

// drain carries out what can be now of what is in the queue when it begins, each change once. It returns when it is to be
// called again at the latest; zero: when something changes.
func (r *Replayer) drain(ctx context.Context) (next time.Time, err error) {
	if r.Clock.Now().Before(r.throttle) {
		return r.throttle, nil
	}
	d := &pass{tried: map[mutation.ID]bool{}}
	for {
		w, err := r.load(ctx, d)
		if err != nil || w == nil {
			return time.Time{}, err
		}
		if d.last == 0 {
			d.last = w.queue[len(w.queue)-1].ID
		}
		if r.host.Wanted() {
			r.leave()
		}
		did, err := w.step(ctx)
		switch {
		case err != nil:
			return time.Time{}, err
		case r.Clock.Now().Before(r.throttle):
			return r.throttle, nil
		case !did:
			return w.next(), nil
		}
	}
}

// pass is one drain of the queue.
type pass struct {
	last  mutation.ID // what is behind it came later, and is left to the next
	tried map[mutation.ID]bool
}

// work is the queue, and what is known of its mailboxes, at one moment.
type work struct {
	*Replayer
	pass     *pass
	queue    []metadata.Queued
	schedule mutation.Schedule
	boxes    map[mailbox.ID]metadata.Mirrored
	outcomes []metadata.Outcome
	later    time.Time // when something that was not tried may be
	// stale says that something was refused that may be the session's fault: some servers never get over a mailbox that was
	// deleted under a session, whatever becomes of its name. Another try has another connection.
	stale bool
	put   map[mutation.Ref]bool // messages of which it was queued that their marks are put back (see setAside)
}

// load reads and plans the queue. It returns nil when the queue is empty.
func (r *Replayer) load(ctx context.Context, d *pass) (*work, error) {
	w := &work{Replayer: r, pass: d, put: map[mutation.Ref]bool{}}
	for {
		var after mutation.ID
		if n := len(w.queue); n > 0 {
			after = w.queue[n-1].ID
		}
		page, err := r.Queue.Mutations(ctx, r.fence.Account, after, window)
		if err != nil {
			return nil, fault.Wrap("read the queue", err)
		}
		w.queue = append(w.queue, page...)
		r.setBacklog(w.queue)
		if len(w.queue) == 0 {
			return nil, nil
		}
		if err := w.readBoxes(ctx); err != nil {
			return nil, err
		}
		items := make([]mutation.Item, len(w.queue))
		for i, q := range w.queue {
			items[i] = mutation.Item{
				Mutation: q.Mutation, Upstream: q.Upstream, SourceUpstream: q.SourceUpstream, SourceHere: q.SourceHere, Departed: q.Departed,
				Body: q.Content != nil,
			}
			// A mailbox that came back because its deletion is parked may have got another name since, and holds that one.
			if m, ok := w.boxes[q.Ref.Mailbox]; ok && q.Kind == mutation.Delete && q.State == mutation.Parked && !m.Deleting {
				items[i].Name = m.Name
			}
		}
		w.schedule = mutation.Plan(items, r.Clock.Now())
		if len(page) < window || w.ready() {
			return w, nil
		}
	}
}

// ready says whether something can be done that is not left alone.
func (w *work) ready() bool {
	return slices.ContainsFunc(w.jobs(), func(j job) bool {
		return !slices.ContainsFunc(w.needs(j), func(id mailbox.ID) bool {
			_, held := w.isHeld(id)
			return held
		})
	})
}

// readBoxes reads the mailboxes.
func (w *work) readBoxes(ctx context.Context) error {
	infos, err := w.Mirror.Mirrored(ctx, w.fence.Account)
	if err != nil {
		return fault.Wrap("read mailboxes", err)
	}
	w.boxes = make(map[mailbox.ID]metadata.Mirrored, len(infos))
	for _, m := range infos {
		w.boxes[m.ID] = m
	}
	return nil
}

// job is something that is done in one go: finding out what became of the changes of a mailbox that were sent, or one
// batch.
type job struct {
	sent  mailbox.ID // the mailbox, or
	batch mutation.Batch
	items []int
}

// jobs returns what can be done now, in order. What was sent comes first.
func (w *work) jobs() []job {
	var out []job
	sent := map[mailbox.ID]int{}
	for i, q := range w.queue {
		if q.State != mutation.Sent {
			continue
		}
		at, ok := sent[q.Ref.Mailbox]
		if !ok {
			at = len(out)
			sent[q.Ref.Mailbox] = at
			out = append(out, job{sent: q.Ref.Mailbox})
		}
		out[at].items = append(out[at].items, i)
	}
	if len(w.schedule.Stages) > 0 {
		flags := map[mailbox.ID]int{}
		for _, b := range w.schedule.Stages[0] {
			items := slices.DeleteFunc(slices.Clone(b.Items), func(i int) bool {
				return w.pass.tried[w.queue[i].ID] || w.pass.last != 0 && w.queue[i].ID > w.pass.last
			})
			if len(items) == 0 {
				w.wait(w.Clock.Now())
				continue
			}
			if b.Kind != mutation.Flags {
				out = append(out, job{batch: b, items: w.part(items)})
				continue
			}
			// All changes of flags in a mailbox go in one flush: one that adds and removes is in two batches.
			at, ok := flags[b.Mailbox]
			if !ok {
				at = len(out)
				flags[b.Mailbox] = at
				out = append(out, job{batch: b})
			}
			out[at].items = append(out[at].items, items...)
		}
		for _, at := range flags {
			slices.Sort(out[at].items)
			out[at].items = w.part(slices.Compact(out[at].items))
		}
	}
	return out
}

// part returns the items that go together: fewer, when one of them was refused in a larger batch.
func (w *work) part(items []int) []int {
	n := len(items)
	for k, i := range items {
		if most := w.smaller[w.queue[i].ID]; most > 0 && most < n {
			if n = max(most, 1); k >= n {
				n = k
				break
			}
		}
		if k >= n {
			break
		}
	}
	return items[:max(n, 1)]
}

// wait notes that there will be something to do.
func (w *work) wait(at time.Time) {
	if w.later.IsZero() || at.Before(w.later) {
		w.later = at
	}
}

// next is when there may be something to do again.
func (w *work) next() time.Time {
	if !w.schedule.Next.IsZero() {
		w.wait(w.schedule.Next)
	}
	return w.later
}

// needs returns the turns that a job needs, in ascending order.
func (w *work) needs(j job) []mailbox.ID {
	ids := map[mailbox.ID]bool{}
	whole := func(id mailbox.ID) {
		ids[Lists], ids[id] = true, true
		raw := w.boxes[id].Upstream
		for other, m := range w.boxes {
			if below(m.Upstream.Name, raw) {
				ids[other] = true
			}
		}
	}
	for _, i := range j.items {
		q := &w.queue[i]
		if q.Kind >= mutation.Create {
			whole(q.Ref.Mailbox)
			continue
		}
		ids[q.Ref.Mailbox] = true
		if q.Kind.Places() && w.boxes[q.Ref.Mailbox].Upstream.Name == "" {
			ids[Lists] = true
		}
		if q.Kind == mutation.Copy || q.Kind == mutation.Move {
			ids[q.Source.Mailbox] = true
		}
	}
	out := make([]mailbox.ID, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// below says whether a mailbox's upstream name is below another's.
func below(name string, parent metadata.Upstream) bool {
	n := len(parent.Name)
	return n > 0 && parent.Delimiter != 0 && len(name) > n && name[:n] == parent.Name && name[n] == parent.Delimiter
}

// heldUntil says whether one of the mailboxes is left alone.
func (w *work) heldUntil(ids []mailbox.ID) bool {
	for _, id := range ids {
		if until, ok := w.isHeld(id); ok {
			w.wait(until)
			return true
		}
	}
	return false
}

// maxTurns bounds how many mailboxes keep their turns for one step.
const maxTurns = 16

// step does what can be done with the turns that can be had now, and waits for some when none can. It says whether it
// did anything, so that another step makes sense.
func (w *work) step(ctx context.Context) (bool, error) {
	if did, err := w.forget(ctx); did || err != nil {
		return did, err
	}
	var jobs []job
	for _, j := range w.jobs() {
		if !w.heldUntil(w.needs(j)) {
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return false, nil
	}
	if err := w.host.Enter(ctx); err != nil {
		return false, err
	}
	held := map[mailbox.ID]func(){}
	defer func() {
		for _, release := range held {
			release()
		}
	}()
	for _, j := range jobs {
		if len(held) < maxTurns {
			w.tryTurns(w.needs(j), held)
		}
	}
	if len(held) == 0 {
		if err := w.waitTurns(ctx, w.needs(jobs[0]), held); err != nil {
			return false, err
		}
		if len(held) == 0 {
			return true, nil // woken: there may be something else to do
		}
	}
	// What was read before may have changed while nobody had the turns.
	now, err := w.load(ctx, w.pass)
	if err != nil || now == nil {
		return false, err
	}
	did := false
	for _, j := range now.jobs() {
		ids := now.needs(j)
		if now.heldUntil(ids) || slices.ContainsFunc(ids, func(id mailbox.ID) bool { return held[id] == nil }) {
			continue
		}
		if err := now.do(ctx, j); err != nil {
			return true, err
		}
		did = true
		if j.sent != 0 || j.batch.Kind >= mutation.Create {
			break // what was planned behind it is no longer right
		}
		if now.Clock.Now().Before(now.throttle) || now.host.Wanted() {
			break
		}
	}
	if !did { // the turns that are held are not those that are needed now
		w.later = time.Time{}
		w.wait(w.Clock.Now())
	}
	return did, nil
}

// tryTurns adds the turns of a job, when they all can be had now.
func (w *work) tryTurns(ids []mailbox.ID, held map[mailbox.ID]func()) {
	var got []mailbox.ID
	for _, id := range ids {
		if held[id] != nil {
			continue
		}
		release, ok := w.host.TryTurn(id)
		if !ok {
			for _, id := range got {
				held[id]()
				delete(held, id)
			}
			return
		}
		held[id] = release
		got = append(got, id)
	}
}

// waitTurns waits for the turns of a job; it gives up, without an error, when the queue changes.
func (w *work) waitTurns(ctx context.Context, ids []mailbox.ID, held map[mailbox.ID]func()) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-w.wake:
			w.Wake() // rest is to hear of it, too
			cancel()
		case <-over:
		}
	}()
	defer func() { close(over); <-done }()
	for _, id := range ids {
		release, err := w.host.Turn(waiting, id)
		if err != nil {
			for id, release := range held {
				release()
				delete(held, id)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return nil
		}
		held[id] = release
	}
	return nil
}

// do carries out a job and records its outcomes.
func (w *work) do(ctx context.Context, j job) error {
	err := w.carryOut(ctx, j)
	if w.lost(err) {
		grace := w.cfg.Grace
		if errors.Is(err, upstream.ErrSilent) {
			grace *= silentGrace
		}
		if until := w.Clock.Now().Add(grace); until.After(w.certain) {
			w.certain = until
		}
		w.hangUp()
	}
	if w.stale {
		w.hangUp()
		w.stale = false
	}
	if serr := w.settle(ctx); serr != nil {
		return serr
	}
	return err
}

func (w *work) carryOut(ctx context.Context, j job) error {
	if j.sent != 0 {
		return w.resolve(ctx, j)
	}
	for _, i := range j.items {
		w.pass.tried[w.queue[i].ID] = true
	}
	switch j.batch.Kind {
	case mutation.Flags:
		return w.flags(ctx, j)
	case mutation.Append:
		return w.upload(ctx, j)
	case mutation.Copy, mutation.Move:
		return w.copies(ctx, j)
	case mutation.Expunge:
		return w.expunges(ctx, j)
	}
	return w.mailbox(ctx, j.items[0])
}

// lost says whether an error is the end of the connection, or of trust in it.
func (w *work) lost(err error) bool {
	return err != nil && w.line != nil && !fault.Is(err, fault.Conflict)
}

// forget settles what there is nothing to do about.
func (w *work) forget(ctx context.Context) (bool, error) {
	for _, i := range w.schedule.Moot {
		w.done(i, 0)
	}
	for i := range w.queue {
		q := &w.queue[i]
		if q.Kind == mutation.Create && q.State == mutation.Parked && w.boxes[q.Ref.Mailbox].Upstream.Name != "" {
			w.named(i, w.rawOf(q.Ref.Mailbox)) // somebody made it upstream after all
		}
	}
	for _, i := range w.schedule.Lost {
		q := &w.queue[i]
		if w.Clock.Now().Before(q.Next) {
			w.wait(q.Next)
			continue
		}
		if q.Attempts < lostTries { // a message that the mirror has not found again yet is not lost
			w.again(i, "the message is not upstream any more, and its body is not here", w.backoff(q.Attempts, w.cfg.RetryMax))
			continue
		}
		w.park(i, "the message is gone upstream, and its body was never fetched")
	}
	w.compare()
	if len(w.outcomes) == 0 {
		return false, nil
	}
	return true, w.settle(ctx)
}

// compare asks for comparisons of the mailboxes that have what is yet to be found upstream, again and again: what is bound
// by one depends on what else is still being found out.
func (w *work) compare() {
	unbound := map[mailbox.ID]bool{}
	for _, i := range w.schedule.Unbound {
		q := &w.queue[i]
		if q.Kind.Places() {
			unbound[q.Source.Mailbox] = true
		} else {
			unbound[q.Ref.Mailbox] = true
		}
	}
	maps.DeleteFunc(w.compared, func(id mailbox.ID, _ *holding) bool { return !unbound[id] })
	for id := range unbound {
		if h := w.compared[id]; h == nil || !w.Clock.Now().Before(h.until) {
			w.putOff(w.compared, id)
			w.host.Compare(id)
		}
		w.wait(w.compared[id].until)
	}
}

// lostTries is how often a placement that has neither source nor body is looked at again.
const lostTries = 3

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/tools/convergence/upstreamsim"
)

// refusal is what the upstream says when the fault schedule makes it refuse something for good.
const refusal = "the schedule refuses it"

// play carries out one operation.
func (r *rig) play(op Op) error {
	switch {
	case op.Kind <= Look:
		return r.here(op)
	case op.Kind <= Reset:
		r.there(op)
		return nil
	}
	switch op.Kind {
	case Break:
		r.sim.Arm(upstreamsim.Fault{On: op.Class, Skip: op.Skip, Do: op.Fault, N: op.N, Text: refusal, Told: func(cmd string) {
			r.trace("--- %s: %s", op.Fault, cmd)
			if op.Fault == upstreamsim.Refuse {
				r.mu.Lock()
				r.m.refusals++
				r.mu.Unlock()
			}
		}})
	case Cut:
		r.sim.Cut()
	case Kill:
		p := plan{skip: op.Skip, after: op.After}
		if op.Call != "" {
			p.calls = []string{op.Call}
		}
		r.p.arm(p)
	case KillAt:
		p := r.p
		r.sim.Arm(upstreamsim.Fault{On: op.Class, Skip: op.Skip, Do: op.Fault, N: op.N, Told: func(cmd string) {
			r.trace("--- kill, %s: %s", op.Fault, cmd)
			p.kill()
		}})
	case Restart:
		if r.old != nil && !r.old.isPaused() { // else it may take the lease that is given back, and keep it
			if err := r.retire(); err != nil {
				return err
			}
		}
		return r.again()
	case Pause:
		calls := []string{"Settle", "Intend", "Apply", "StoreContents", "SaveMailbox", "RemoveMailbox"}
		if op.Call != "" {
			calls = []string{op.Call}
		}
		r.p.arm(plan{calls: calls, skip: op.Skip, pause: true, after: op.After})
	case Resume:
		r.wake()
	case Sync:
		r.sim.Release()
		ctx, cancel := context.WithTimeout(r.ctx, r.w.span(100))
		defer cancel()
		_ = r.p.manager.Force(ctx, r.acc, nil) // it may fail: there are faults
	case Wait:
		r.wait(op.N)
	case Settle:
		return r.settle()
	}
	return nil
}

// wait waits for some commands, but not when there is nothing to do, or nothing happens.
func (r *rig) wait(n int) {
	enough := time.NewTimer(r.w.span(5))
	defer enough.Stop()
	first, _ := r.sim.Commands()
	for {
		now, changed := r.sim.Commands()
		if now-first >= n || r.idle() {
			return
		}
		select {
		case <-changed:
		case <-enough.C:
			return
		}
	}
}

// idle says whether nothing is in the queue but what is parked.
func (r *rig) idle() bool {
	sum, err := r.w.db.QueueSummary(r.ctx, r.acc)
	return err == nil && sum.Waiting+sum.Sent == 0
}

// settle ends a phase: everything becomes calm, comes to rest, and is compared.
func (r *rig) settle() error {
	r.sim.Calm()
	r.p.disarm()
	r.wake()
	for { // what is dead or paused is seen, and what takes its place is calm
		if err := r.alive(); err != nil {
			return err
		}
		r.wake()
		r.sim.Calm()
		r.p.disarm()
		if !r.p.isDead() && !r.p.isPaused() {
			break
		}
	}
	if r.old != nil { // it had the whole phase for doing harm; later the clock jumps, and it might get the lease again
		ctx, cancel := context.WithTimeout(r.ctx, r.w.span(100))
		late := r.p.manager.Force(ctx, r.acc, nil)
		cancel()
		if err := r.retire(); err != nil {
			return err
		}
		if late != nil { // the old one may have had the lease, after which the other looks again only in a long time
			if err := r.again(); err != nil {
				return err
			}
		}
	}
	err := r.quiesce()
	if r.p.isDead() { // by a fault that had just begun
		if err := r.alive(); err != nil {
			return err
		}
		err = r.quiesce()
	}
	if err != nil {
		return err
	}
	if err := r.unpark(); err != nil {
		return err
	}
	err = r.check()
	for range 3 { // what is implausible is looked at several times
		if err == nil {
			break
		}
		r.trace("--- once more: %v", err)
		if e := r.quiesce(); e != nil {
			return e
		}
		err = r.check()
	}
	if err != nil {
		return err
	}
	return r.restart()
}

// again ends the process in good order and starts it again.
func (r *rig) again() error {
	if err := r.p.stop(); err != nil {
		return err
	}
	r.p.kill()
	return r.alive()
}

// retire ends the process that was paused.
func (r *rig) retire() error {
	old := r.old
	r.old = nil
	old.resume()
	err := old.stop()
	old.kill()
	r.sim.Drain()
	return err
}

// quiesce waits until two forced rounds have passed and the queue is empty, but for what waits for something that is parked.
func (r *rig) quiesce() error {
	var err error
	before := ""
	for n := range 30 {
		if n > 0 {
			r.w.clock.jump(26 * time.Hour) // whatever waits for a time has waited
		}
		ctx, cancel := context.WithTimeout(r.ctx, patience)
		err = r.p.manager.Force(ctx, r.acc, nil)
		cancel()
		if r.p.isDead() {
			return errors.New("the process died")
		}
		now, e := r.rest()
		if e == nil {
			e = r.sim.Err()
		}
		switch {
		case e != nil:
			return e
		case err != nil || now == "":
			before = ""
		case now == before:
			return nil
		default:
			before = now
		}
	}
	return errors.Join(fmt.Errorf("it does not come to rest, queue:\n%s", r.showQueue()), err)
}

// rest waits for a while for the queue to become empty, and returns what is left; nothing when that is to go on.
func (r *rig) rest() (string, error) {
	enough := time.NewTimer(r.w.span(120))
	defer enough.Stop()
	look := time.NewTicker(4 * time.Millisecond)
	defer look.Stop()
	for n := 0; ; n++ {
		active := r.p.activity()
		if r.idle() {
			return "empty", nil
		}
		select {
		case <-active:
			continue
		case <-look.C:
		case <-enough.C:
			return "", nil
		}
		parked, err := r.parked()
		if err != nil {
			return "", err
		}
		if len(parked) > 0 && n > 2 {
			return r.showQueue(), nil
		}
	}
}

func (r *rig) queue() ([]metadata.Queued, error) { return r.w.db.Mutations(r.ctx, r.acc, 0, 1<<20) }

func (r *rig) showQueue() string {
	var b strings.Builder
	queue, err := r.queue()
	if err != nil {
		return err.Error()
	}
	for _, q := range queue {
		fmt.Fprintf(&b, "  %d %s %s %v source %v up %d/%d departed %v attempts %d op %v name %q to %q intent %v next %v: %s\n", q.ID,
			q.Kind, q.State, q.Ref, q.Source, q.Upstream, q.SourceUpstream, q.Departed, q.Attempts, q.Op, q.Name, q.To, q.Intent,
			q.Next, q.Reason)
	}
	return b.String()
}

// stays says whether a parked change is one that is to stay so: a keyword that the upstream does not keep.
func (r *rig) stays(q metadata.Queued) bool {
	return r.h.Variant.NoKeywords && q.Kind == mutation.Flags && q.Op.Add.Minus(localOnly).Empty() && q.Op.Remove.Minus(localOnly).Empty()
}

// parked returns what is parked and is not to stay so.
func (r *rig) parked() ([]metadata.Queued, error) {
	queue, err := r.queue()
	var out []metadata.Queued
	for _, q := range queue {
		if q.State == mutation.Parked && !r.stays(q) {
			out = append(out, q)
		}
	}
	return out, err
}

// unpark has parked changes tried again, now that nothing is refused, and discards those that cannot be. A change that is
// parked for no reason that the history gave is a violation.
func (r *rig) unpark() error {
	tried := map[mutation.ID]bool{}
	for range 12 {
		parked, err := r.parked()
		if err != nil || len(parked) == 0 {
			return err
		}
		r.m.parked = true
		for _, q := range parked {
			r.trace("parked: %d %s %v %q to %q: %s", q.ID, q.Kind, q.Ref, q.Name, q.To, q.Reason)
			if !r.mayPark(q) {
				return fmt.Errorf("%d %s of %v (%q to %q) is parked: %s", q.ID, q.Kind, q.Ref, q.Name, q.To, q.Reason)
			}
			retry := !tried[q.ID] && q.Kind != mutation.Delete
			tried[q.ID] = true
			if !retry {
				r.discarded(q)
			}
			if err := r.w.db.Resolve(r.ctx, r.acc, q.ID, retry, r.w.clock.Now()); err != nil {
				r.trace("resolve %d: %v", q.ID, err) // another's going took it along
			}
		}
		r.p.manager.Changed(r.acc)
		if err := r.quiesce(); err != nil {
			return err
		}
	}
	return fmt.Errorf("changes are parked again and again:\n%s", r.showQueue())
}

// mayPark says whether the history has a reason why a change cannot be carried out.
func (r *rig) mayPark(q metadata.Queued) bool {
	switch {
	case strings.Contains(q.Reason, refusal):
		return r.m.refusals > 0
	case q.Kind == mutation.Delete:
		return len(r.m.touched) > 0 || r.m.thereLike > 0
	case q.Kind == mutation.Rename || q.Kind == mutation.Create:
		return r.m.thereLike > 0 || r.m.refusals > 0
	case q.Kind.Places():
		return strings.Contains(q.Reason, "never fetched") && r.m.removals > 0
	}
	return false
}

// discarded notes what giving a change up does.
func (r *rig) discarded(q metadata.Queued) {
	if i := r.m.byKey[key{q.Ref.Mailbox, q.Ref.UID}]; i != nil {
		i.tok.vague = true
		switch q.Kind {
		case mutation.Append, mutation.Copy, mutation.Move:
			i.tok.lo--
		case mutation.Expunge:
			i.tok.hi++
		}
		return
	}
	if q.Kind == mutation.Flags {
		r.m.maimed = true
	}
	r.m.hereBoxes++
	r.m.thereLike++
	clear(r.m.names)
	clear(r.m.theirs)
	for _, d := range r.m.deleted {
		for _, i := range d.insts {
			i.tok.vague = true
		}
	}
}

// restart begins the next phase from what there is on both sides.
func (r *rig) restart() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.begin()
	boxes, err := r.mirrored()
	if err != nil {
		return err
	}
	there := map[string]upstreamsim.State{}
	for _, st := range r.sim.Boxes() {
		there[st.Name] = st
	}
	for id, m := range boxes {
		st, ok := there[m.Upstream.Name]
		if !ok {
			continue
		}
		r.m.startBox[id] = st.Box
		rows, err := r.rows(id)
		if err != nil {
			return err
		}
		for uid, row := range rows {
			p := r.sim.Find(st.Validity, row.Upstream)
			if p == nil || row.tok == nil {
				return fmt.Errorf("%s: UID %d is nothing upstream", m.Name, uid)
			}
			i := r.m.add(row.tok, fromStart, row.Flags)
			i.key, i.ptr, i.home = key{id, uid}, p, st.Box
			r.m.byKey[i.key], r.m.byPtr[p] = i, i
		}
	}
	return nil
}

// applied returns flags as our side has them over what the upstream has.
func applied(ops []flag.Op, flags flag.Set) flag.Set {
	for _, op := range ops {
		flags = op.Apply(flags)
	}
	return flags
}

package syncer

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/clock"
	"imapped/ports/nodes"
)

// call calls out to the other nodes, if there are any.
func (m *Manager) call(c nodes.Call) {
	if m.Calls != nil {
		m.Calls.Send(c)
	}
}

// heard is told what other nodes call. It does not block.
func (m *Manager) heard(c nodes.Call) {
	switch c.What {
	case nodes.Free:
		m.lookSoon()
		return
	case nodes.Accounts:
		m.readSoon()
		return
	}
	r, err := m.runner(c.Account)
	if err != nil {
		return // it is another's
	}
	switch c.What {
	case nodes.Queue:
		r.owner.replay.Wake()
	case nodes.Round:
		r.note(func() {
			if len(r.waiting) < mostAfar {
				r.waiting = append(r.waiting, make(chan error, 1)) // its outcome is in the status
			}
		})
		r.wake()
	case nodes.Watching:
		r.watchedAfar(c.Mailbox)
	case nodes.Bodies:
		r.wantedAfar(c.Mailbox, c.UIDs)
	}
}

// mostAfar bounds how many bodies other nodes may make wait at a time, and how many mailboxes they may have open.
const mostAfar = 1000

// wantedAfar fetches bodies that somebody waits for on another node.
func (r *runner) wantedAfar(id mailbox.ID, uids mailbox.Set) {
	if uids.Len() > takeMost {
		return
	}
	uids.All(func(uid uint32) bool {
		if r.demand.size() >= mostAfar {
			return false
		}
		_, err := r.demand.join(id, mailbox.UID(uid), false)
		return err == nil
	})
}

// watchedAfar notes that somebody has the mailbox open on another node.
func (r *runner) watchedAfar(id mailbox.ID) {
	r.mu.Lock()
	_, known := r.afar[id]
	if !known && len(r.afar) >= mostAfar {
		r.mu.Unlock()
		return
	}
	if r.afar == nil {
		r.afar = map[mailbox.ID]time.Time{}
	}
	r.afar[id] = r.m.Clock.Now()
	r.isAfar.Store(true)
	r.mu.Unlock()
	if !known {
		r.count(id, 1)
	}
}

// forgetAfar forgets the mailboxes of which other nodes say no more that somebody has them open.
func (m *Manager) forgetAfar(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.runners {
		if !r.isAfar.Load() {
			continue
		}
		var left []mailbox.ID
		r.note(func() {
			for id, at := range r.afar {
				if clock.Elapsed(at, now) > 3*watchEvery {
					delete(r.afar, id)
					left = append(left, id)
				}
			}
			r.isAfar.Store(len(r.afar) > 0)
		})
		for _, id := range left {
			r.count(id, -1)
		}
	}
}

// tellWatched tells the other nodes what clients of this one have open of accounts that are not mirrored here.
func (m *Manager) tellWatched() {
	var calls []nodes.Call
	m.mu.Lock()
	for acc, boxes := range m.watches {
		if m.runners[acc] != nil {
			continue
		}
		for id := range boxes {
			calls = append(calls, nodes.Call{What: nodes.Watching, Account: acc, Mailbox: id})
		}
	}
	m.mu.Unlock()
	for _, c := range calls {
		m.call(c)
	}
}

// Asking another node: how often to look whether it has done what it was asked, and when to ask again.
const (
	askFirst = 20 * time.Millisecond
	askMost  = 250 * time.Millisecond
	askAgain = time.Second
)

// ask makes a call, again and again, and looks whether it had an effect, until done says so, or fails, or this node owns the
// account, or the time is over. It says whether done did.
func (m *Manager) ask(ctx context.Context, c nodes.Call, patience time.Duration, done func() (bool, error)) (bool, error) {
	if m.Calls == nil {
		return false, nil
	}
	start := m.Clock.Now()
	var asked time.Time
	for wait := askFirst; ; wait = min(wait*3/2, askMost) {
		now := m.Clock.Now()
		if clock.Elapsed(start, now) >= patience {
			return false, nil
		}
		if asked.IsZero() || clock.Elapsed(asked, now) >= askAgain {
			asked = now
			m.call(c)
		}
		if err := sleep(ctx, wait); err != nil {
			return false, err
		}
		if ok, err := done(); ok || err != nil {
			return ok, err
		}
		if _, err := m.runner(c.Account); err == nil {
			return false, nil
		}
	}
}

// roundPatience is how long another node may take for a round.
const roundPatience = 10 * time.Minute

// forceAway is Force of an account that is not mirrored here; none says so.
func (m *Manager) forceAway(ctx context.Context, id account.ID, none error) error {
	const op = "synchronize"
	before, err := m.Statuses.Status(ctx, id)
	if err != nil {
		return fault.Wrap(op, err)
	}
	if a, err := m.Accounts.Account(ctx, id); err != nil || a.Local || a.Paused || m.Calls == nil {
		return none
	}
	done, err := m.ask(ctx, nodes.Call{What: nodes.Round, Account: id}, roundPatience, func() (bool, error) {
		now, err := m.Statuses.Status(ctx, id)
		switch {
		case err != nil:
			return false, fault.Wrap(op, err)
		case now.State == account.StateIdle && !now.LastSync.Equal(before.LastSync):
			if now.Text != "" {
				return false, fault.New(fault.Unavailable, op, now.Text)
			}
			return true, nil
		case now.State == account.StateBackoff || now.State == account.StateAuthFail || now.State == account.StateThrottle:
			return false, fault.New(fault.Unavailable, op, now.Text)
		}
		return false, nil
	})
	if err != nil || done {
		return err
	}
	if r, err := m.runner(id); err == nil {
		return r.force(ctx, nil)
	}
	return none
}

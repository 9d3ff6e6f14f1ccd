package syncer

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/ports/nodes"
)

const (
	// mostGuests is how many accounts of other nodes this one fetches bodies for at the same time.
	mostGuests = 32
	// ownerAnswers is how long the owner of an account may take to bring a body that is wanted here.
	ownerAnswers = 2 * time.Second
	// guestLinger is how long a guest that nobody needs is kept.
	guestLinger = 10 * time.Second
	// ownerWait is how long a request waits for a process that has just started to take its accounts.
	ownerWait = 10 * time.Second
)

// away gets bodies of an account that is not mirrored here. Its owner is asked, who fetches each once for all that wait
// anywhere; only when it does not bring them soon, because it is slow, or dead, or did not hear, this node fetches them
// itself: what a message's body is does not depend on who fetches it (metadata.Bodies.AddContents). The result is the zero
// value when the bodies are stored.
func away[T any](
	ctx context.Context, m *Manager, acc account.ID, id mailbox.ID, uids []mailbox.UID, get func(*demand) (T, error),
) (T, error) {
	const op = "fetch body from the upstream"
	var zero T
	if err := m.started(ctx); err != nil {
		return zero, err
	}
	a, err := m.Accounts.Account(ctx, acc)
	if err != nil {
		return zero, fault.Wrap(op, err)
	}
	if a.Local || a.Paused {
		return zero, fault.New(fault.Unavailable, op, "the account is not being synchronized (paused, or local)")
	}
	if len(uids) <= takeMost {
		wanted := mailbox.SetOf(uids...)
		call := nodes.Call{What: nodes.Bodies, Account: acc, Mailbox: id, UIDs: wanted}
		if len(wanted) <= nodes.MaxRanges {
			done, err := m.ask(ctx, call, ownerAnswers, func() (bool, error) { return m.areStored(ctx, acc, id, wanted) })
			if done || err != nil {
				return zero, err
			}
		}
	}
	if r, err := m.runner(acc); err == nil {
		return get(r.demand)
	}
	if s, err := m.Statuses.Status(ctx, acc); err == nil && s.State == account.StateAuthFail {
		return zero, fault.New(fault.Unavailable, op, s.Text)
	}
	g, err := m.visit(ctx, a)
	if err != nil {
		return zero, err
	}
	defer m.goHome(g)
	return get(g.owner.demand)
}

// started waits for a process that has just started to take its accounts.
func (m *Manager) started(ctx context.Context) error {
	t := time.NewTimer(ownerWait)
	defer t.Stop()
	select {
	case <-m.ready:
		return nil
	case <-t.C:
		return fault.New(fault.Unavailable, "fetch body from the upstream", "the process has not started yet")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// areStored says whether the bodies of all the messages that still exist are stored.
func (m *Manager) areStored(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set) (bool, error) {
	var have uint64
	err := m.Messages.Contents(ctx, acc, id, uids, 0, func(*metadata.Content) error {
		have++
		return nil
	})
	if err != nil || have == uids.Len() {
		return err == nil, fault.Wrap("look for bodies", err)
	}
	var exist uint64
	err = m.Messages.Identities(ctx, acc, id, uids, func(metadata.Identity) error {
		exist++
		return nil
	})
	return err == nil && have >= exist, fault.Wrap("look for bodies", err)
}

// guest fetches bodies of an account that another node owns.
type guest struct {
	owner *owner
	users int // guarded by Manager.mu
}

// visit returns the account's guest, for who calls goHome later.
func (m *Manager) visit(ctx context.Context, a account.Account) (*guest, error) {
	if g := m.joinGuest(a); g != nil {
		return g, nil
	}
	select {
	case m.guests <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.visiting[a.ID]; g != nil || m.ctx == nil {
		<-m.guests
		if g == nil {
			return nil, fault.New(fault.Unavailable, "fetch body from the upstream", "stopping")
		}
		g.users++
		return g, nil
	}
	r := newRunner(m, a, metadata.Fence{Account: a.ID}, m.Clock.Now())
	r.owner.guest = true
	g := &guest{owner: r.owner, users: 1}
	m.visiting[a.ID] = g
	ctx, stop := context.WithCancel(m.ctx)
	m.wg.Go(func() {
		defer stop()
		defer func() { <-m.guests }()
		m.stay(ctx, g)
		stop()
		r.demand.end()
		r.owner.store.end()
	})
	r.owner.store.begin(ctx)
	r.demand.begin(ctx)
	return g, nil
}

// joinGuest returns the account's guest if there is one that was made for the same connection.
func (m *Manager) joinGuest(a account.Account) *guest {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.visiting[a.ID]
	if g == nil {
		return nil
	}
	if !sameUpstream(g.owner.account, a) {
		delete(m.visiting, a.ID) // it ends when nobody needs it
		return nil
	}
	g.users++
	return g
}

func (m *Manager) goHome(g *guest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g.users--
}

// stay waits until nobody needs the guest any more.
func (m *Manager) stay(ctx context.Context, g *guest) {
	look := time.NewTicker(guestLinger)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-look.C:
		}
		m.mu.Lock()
		over := ctx.Err() != nil || g.users == 0 && g.owner.demand.size() == 0
		if over && m.visiting[g.owner.account.ID] == g {
			delete(m.visiting, g.owner.account.ID)
		}
		m.mu.Unlock()
		if over {
			return
		}
	}
}

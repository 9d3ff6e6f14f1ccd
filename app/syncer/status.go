package syncer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"imapped/app/replay"
	"imapped/domain/account"
	"imapped/domain/mailbox"
)

// Progress is how an account is doing, as of the moment of the call.
type Progress struct {
	account.Status
	Mailboxes []MailboxProgress // in the order in which they are mirrored
}

// MailboxProgress is how far one mailbox is.
type MailboxProgress struct {
	ID       mailbox.ID
	Name     string
	Upstream uint32 // messages that the upstream has, as last told
	Messages uint32 // messages here
	Bodies   uint32 // of these, how many have their body here
	Bytes    int64  // of bodies that came in the present round
	Pending  int64  // bytes of bodies that are still to come in the present round
	Error    string // why the mailbox's last pass failed; empty when it did not
}

// Health is how an account is doing that this process owns.
type Health struct {
	ID       account.ID
	State    account.State
	LastSync time.Time      // the end of the last complete round; zero: there was none
	Backlog  replay.Backlog // what is in its queue
}

// Health returns how the accounts are doing that this process owns, from memory.
func (m *Manager) Health() []Health {
	m.mu.Lock()
	runners := slices.Collect(maps.Values(m.runners))
	m.mu.Unlock()
	var all []Health
	for _, r := range runners {
		r.mu.Lock()
		o, h := r.owner, Health{ID: r.account.ID, State: r.status.State, LastSync: r.status.LastSync}
		r.mu.Unlock()
		if o != nil {
			h.Backlog = o.replay.Backlog()
			all = append(all, h)
		}
	}
	return all
}

// progress implements Manager.Status.
func (r *runner) progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{Status: r.status}
	for _, b := range r.order {
		p.Mailboxes = append(p.Mailboxes, MailboxProgress{
			ID: b.id, Name: b.name, Upstream: b.upstream, Messages: b.rows, Bodies: b.bodies,
			Bytes: b.came, Pending: max(0, b.pending-b.came), Error: b.trouble,
		})
	}
	return p
}

// setStatus enters a state and writes it, so that other processes can show it. retry is when the next attempt comes.
func (o *owner) setStatus(ctx context.Context, state account.State, text string, retry time.Duration) {
	now := o.m.Clock.Now()
	o.mu.Lock()
	s := o.status
	if s.State != state {
		s.Since = now
	}
	s.State, s.Text, s.NextRetry = state, text, time.Time{}
	if retry > 0 {
		s.NextRetry = now.Add(retry)
	}
	changed := s != o.status
	o.status = s
	o.mu.Unlock()
	if changed {
		o.writeStatus(ctx, s)
	}
}

// lastSyncEvery is how often the store is told that all is as it was, and when it was seen to be.
const lastSyncEvery = 15 * time.Minute

// synced enters the idle state after a complete round. asked says that somebody waits to see it.
func (o *owner) synced(ctx context.Context, text string, asked bool) {
	now := o.m.Clock.Now()
	o.mu.Lock()
	if o.status.State != account.StateIdle {
		o.status.Since = now
	}
	o.status.State, o.status.Text, o.status.NextRetry, o.status.LastSync = account.StateIdle, text, time.Time{}, now
	s, same := o.status, o.written
	o.mu.Unlock()
	old := now.Sub(same.LastSync) >= lastSyncEvery
	if same.LastSync = s.LastSync; asked || old || same != s {
		o.writeStatus(ctx, s)
	}
}

func (o *owner) writeStatus(ctx context.Context, s account.Status) {
	err := o.m.Statuses.SetStatus(ctx, o.fence, s)
	if err == nil {
		o.note(func() { o.written = s })
	} else if ctx.Err() == nil {
		o.log.Warn("write status", "error", err)
	}
}

// writeStopped writes the state of an account that nobody runs any more. It needs the lease for a moment; when another
// process has it, that one knows better.
func (m *Manager) writeStopped(ctx context.Context, id account.ID, state account.State) {
	f, err := m.Leases.Acquire(ctx, id, m.cfg.Owner, m.Clock.Now(), m.cfg.LeaseTTL)
	if err != nil {
		return
	}
	if s, err := m.Statuses.Status(ctx, id); err == nil {
		s.State, s.Text, s.NextRetry, s.Since = state, "", time.Time{}, m.Clock.Now()
		if err := m.Statuses.SetStatus(ctx, f, s); err != nil {
			m.Log.Warn("write status", "account", int64(id), "error", err)
		}
	}
	if err := m.Leases.Release(ctx, f); err != nil {
		m.Log.Warn("release lease", "account", int64(id), "error", err)
	}
}

// boxTrouble sums up what keeps mailboxes from being complete; empty when nothing does.
func (r *runner) boxTrouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, text := 0, ""
	for _, b := range r.order {
		if b.trouble != "" {
			if n++; n == 1 {
				text = fmt.Sprintf("mailbox %q: %s", b.name, b.trouble)
			}
		}
	}
	if n > 1 {
		text += fmt.Sprintf(" (and %d more mailboxes)", n-1)
	}
	return text
}

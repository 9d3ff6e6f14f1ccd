package session

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/events"
)

// selected is a mailbox that a session has open.
type selected struct {
	svc         *Service
	login       *login // whose it is: where names lead
	account     account.ID
	mailbox     mailbox.ID
	name        string
	uidValidity uint32
	readOnly    bool
	local       bool // the account has no upstream to get a body from
	entry       *entry
	sub         events.Subscription
	view        atomic.Pointer[mailbox.View]
	unwatch     func() // nil when nobody watches
	close       sync.Once
}

var _ Mailbox = (*selected)(nil)

func mailboxID(id mailbox.ID) string { return "M" + strconv.FormatInt(int64(id), 16) }

// Open implements Session.
func (l *login) Open(ctx context.Context, name string, o OpenOptions) (Mailbox, error) {
	const op = "open mailbox"
	p, err := l.find(ctx, name)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	if p.placeholder() {
		return nil, fault.New(fault.Invalid, op, onlyHolds)
	}
	m := &selected{
		svc: l.svc, login: l, account: p.info.Account, mailbox: p.info.ID, name: p.name, uidValidity: p.info.UIDValidity,
		readOnly: o.ReadOnly, local: p.local, entry: l.svc.snapshots.acquire(p.info.Account, p.info.ID),
		// From here on, so that no change is missed between the reading below and the first wait.
		sub: l.svc.c.Bus.Subscribe(p.info.Account, p.info.ID),
	}
	if err := m.begin(ctx, p.info); err != nil {
		m.Close()
		return nil, fault.Wrap(op, err)
	}
	if watch := l.svc.c.Watch; watch != nil && !m.local {
		m.unwatch = watch(m.account, m.mailbox)
	}
	return m, nil
}

// begin makes the first view. info was read just now: a snapshot of that state is as good as a fresh one.
func (m *selected) begin(ctx context.Context, info mailbox.Info) error {
	snap := m.entry.snap.Load()
	if snap == nil || snap.ModSeq() < info.HighestModSeq {
		var err error
		if snap, err = m.entry.refresh(ctx); err != nil {
			return err
		}
	} else {
		m.svc.looked("snapshot", "current")
	}
	from, end := info.RecentFrom, ^mailbox.UID(0)
	if !m.readOnly {
		var err error
		end = snap.UIDNext()
		if from, err = m.entry.claim(ctx, end); err != nil {
			return err
		}
	}
	m.view.Store(mailbox.NewView(snap, from, end))
	return nil
}

// Name implements Mailbox.
func (m *selected) Name() string { return m.name }

// ID implements Mailbox.
func (m *selected) ID() string { return mailboxID(m.mailbox) }

// UIDValidity implements Mailbox.
func (m *selected) UIDValidity() uint32 { return m.uidValidity }

// ReadOnly implements Mailbox.
func (m *selected) ReadOnly() bool { return m.readOnly }

// View implements Mailbox.
func (m *selected) View() *mailbox.View { return m.view.Load() }

// Hint implements Mailbox.
func (m *selected) Hint() <-chan struct{} { return m.sub.C() }

// Advance implements Mailbox.
func (m *selected) Advance(ctx context.Context, expunge bool) (mailbox.Changes, error) {
	const op = "look for changes"
	snap, err := m.entry.refresh(ctx)
	if err != nil {
		return mailbox.Changes{}, fault.Wrap(op, err)
	}
	next, changes := m.view.Load().Advance(snap, expunge)
	if changes.Grew && !m.readOnly {
		from, err := m.entry.claim(ctx, snap.UIDNext())
		if err != nil {
			return mailbox.Changes{}, fault.Wrap(op, err)
		}
		next = next.WithRecent(from, snap.UIDNext())
		changes.Recent = next.Recent()
	}
	m.view.Store(next)
	return changes, nil
}

// Vanished implements Mailbox. Messages that are still in the view are not part of the answer: the client hears of
// their end when the view moves. For a since of 0, before everything, it is the UIDs asked about that do not exist.
func (m *selected) Vanished(ctx context.Context, since mailbox.ModSeq, known mailbox.Set) (mailbox.Set, error) {
	view := m.view.Load()
	var gone mailbox.Set
	if since == 0 {
		if end := view.UIDNext(); end > 1 {
			gone = mailbox.Set{{First: 1, Last: uint32(end) - 1}}
		}
	} else if since < max(view.HighestModSeq(), m.entry.modSeq()) {
		d, err := m.svc.c.Messages.Changes(ctx, m.account, m.mailbox, since)
		if err != nil {
			return nil, fault.Wrap("list removed messages", err)
		}
		gone = d.Expunged
	}
	if len(known) > 0 {
		gone = gone.Intersect(known)
	}
	return gone.Minus(view.UIDs(view.SeqsOfUIDs(gone))), nil
}

// Close implements Mailbox. It may be called more than once.
func (m *selected) Close() {
	m.close.Do(func() {
		m.sub.Close()
		m.entry.release()
		if m.unwatch != nil {
			m.unwatch()
		}
	})
}

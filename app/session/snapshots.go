package session

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// snapshots holds the process's snapshots of mailboxes. Those of mailboxes that sessions have open stay; the others
// are kept, the least recently used go first, while all together fit the budget.
type snapshots struct {
	mailboxes metadata.Mailboxes
	messages  metadata.Messages
	budget    int64
	looked    func(cache, result string) // see Config.OnLookup

	mu      sync.Mutex
	entries map[entryKey]*entry
	unused  *list.List // entries that nobody holds, the most recently used first
	bytes   int64      // of all entries' snapshots
}

type entryKey struct {
	account account.ID
	mailbox mailbox.ID
}

// entry is one mailbox's place in snapshots. Whoever acquired it may use it until release.
type entry struct {
	owner *snapshots
	key   entryKey
	snap  atomic.Pointer[mailbox.Snapshot] // written by the holder of lead only
	lead  chan struct{}                    // holds one token while somebody reads the store for the entry

	mu      sync.Mutex
	next    *flight     // the reading that callers from now on may share; nil until the first asks
	claimed mailbox.UID // below it \Recent is claimed, as far as this process knows

	// These belong to owner.mu.
	refs  int
	place *list.Element // in owner.unused, when refs is 0
	bytes int64
	gone  bool // the mailbox is no more: not worth keeping
}

// flight is one reading of the store that any number of callers wait for.
type flight struct {
	done chan struct{} // closed when snap and err are there
	snap *mailbox.Snapshot
	err  error
}

func newSnapshots(mb metadata.Mailboxes, msg metadata.Messages, budget int64) *snapshots {
	return &snapshots{
		mailboxes: mb, messages: msg, budget: budget, looked: func(string, string) {},
		entries: map[entryKey]*entry{}, unused: list.New(),
	}
}

// acquire returns the mailbox's entry. The caller releases it.
func (s *snapshots) acquire(acc account.ID, id mailbox.ID) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := entryKey{acc, id}
	e := s.entries[key]
	if e == nil {
		e = &entry{owner: s, key: key, lead: make(chan struct{}, 1)}
		s.entries[key] = e
	}
	if e.place != nil {
		s.unused.Remove(e.place)
		e.place = nil
	}
	e.refs++
	return e
}

// release gives the entry back, once for each acquire.
func (e *entry) release() {
	s := e.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.refs--; e.refs > 0 {
		return
	}
	e.place = s.unused.PushFront(e)
	if e.gone {
		s.drop(e)
	}
	s.shrink()
}

// drop forgets an unused entry. s.mu is held.
func (s *snapshots) drop(e *entry) {
	s.unused.Remove(e.place)
	delete(s.entries, e.key)
	s.bytes -= e.bytes
}

// shrink drops unused entries until the rest fits. s.mu is held.
func (s *snapshots) shrink() {
	for s.bytes > s.budget && s.unused.Len() > 0 {
		s.drop(s.unused.Back().Value.(*entry))
	}
}

func (s *snapshots) resized(e *entry, bytes int64, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += bytes - e.bytes
	e.bytes, e.gone = bytes, gone
	s.shrink()
}

// refresh returns a snapshot of the mailbox that is no older than the call; fault.NotFound when there is no such
// mailbox. Callers that come while the store is being read share the next reading: the present one may have looked
// before what they want to see was written.
func (e *entry) refresh(ctx context.Context) (*mailbox.Snapshot, error) {
	for {
		e.mu.Lock()
		if e.next == nil {
			e.next = &flight{done: make(chan struct{})}
		}
		f := e.next
		e.mu.Unlock()
		select {
		case <-f.done:
		case e.lead <- struct{}{}:
			e.fly(ctx, f)
		case <-ctx.Done():
			return nil, fault.As(fault.Canceled, "read mailbox", ctx.Err())
		}
		if fault.Is(f.err, fault.Canceled) && ctx.Err() == nil {
			continue // whoever led went away
		}
		return f.snap, f.err
	}
}

// fly reads the store for f, unless somebody has done it, and gives lead back, which the caller holds.
func (e *entry) fly(ctx context.Context, f *flight) {
	defer func() { <-e.lead }()
	e.mu.Lock()
	mine := e.next == f
	if mine {
		e.next = nil
	}
	e.mu.Unlock()
	if mine {
		f.err = fault.New(fault.Internal, "read mailbox", "the reading broke off") // should read panic
		defer close(f.done)
		f.snap, f.err = e.read(ctx)
	}
}

// read brings the entry's snapshot up to the store. The caller holds lead.
func (e *entry) read(ctx context.Context) (*mailbox.Snapshot, error) {
	s, snap := e.owner, e.snap.Load()
	var since mailbox.ModSeq
	if snap != nil {
		info, err := s.mailboxes.Mailbox(ctx, e.key.account, e.key.mailbox)
		switch {
		case fault.Is(err, fault.NotFound):
			s.resized(e, int64(snap.Bytes()), true)
			return nil, err
		case err != nil:
			return nil, fault.Wrap("read mailbox", err)
		case info.HighestModSeq <= snap.ModSeq():
			s.looked("snapshot", "current")
			return snap, nil
		}
		since = snap.ModSeq()
	}
	d, err := s.messages.Changes(ctx, e.key.account, e.key.mailbox, since)
	if err != nil {
		return nil, fault.Wrap("read changes of mailbox", err)
	}
	if snap == nil {
		snap = mailbox.NewSnapshot(d)
		s.looked("snapshot", "loaded")
	} else {
		snap = snap.Apply(d)
		s.looked("snapshot", "advanced")
	}
	e.snap.Store(snap)
	s.resized(e, int64(snap.Bytes()), false)
	return snap, nil
}

// modSeq returns the highest mod-sequence that the process knows of the mailbox.
func (e *entry) modSeq() mailbox.ModSeq {
	if snap := e.snap.Load(); snap != nil {
		return snap.ModSeq()
	}
	return 0
}

// claim makes the messages below upTo no longer recent for others, and returns from which UID on, below upTo, they are
// the caller's: upTo when none is. Only the first session of the process asks the store.
func (e *entry) claim(ctx context.Context, upTo mailbox.UID) (mailbox.UID, error) {
	e.mu.Lock()
	known := e.claimed >= upTo
	e.mu.Unlock()
	if known {
		return upTo, nil
	}
	from, err := e.owner.mailboxes.ClaimRecent(ctx, e.key.account, e.key.mailbox, upTo)
	if err != nil {
		return 0, fault.Wrap("claim recent messages", err)
	}
	e.mu.Lock()
	e.claimed = max(e.claimed, upTo)
	e.mu.Unlock()
	return min(from, upTo), nil
}

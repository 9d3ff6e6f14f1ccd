// Package session is what a logged-in client can do: list mailboxes, ask for their counters, select one, and read its
// messages. It answers from the store and from snapshots of mailboxes that all sessions of the process share.
//
// Invariants:
//  1. The store is the truth. A hint from the bus, or a client's NOOP, leads to a point read of the mailbox's
//     HIGHESTMODSEQ; only when it moved are the changes read, once for all sessions that wait.
//  2. A session's view moves in Advance and nowhere else. Fetch and Search keep the view they began with.
//  3. A client gets a message's right bytes or an error: never other bytes, never none in their place.
//  4. No call to an upstream and none of the client's callbacks runs inside a store's transaction or under a lock.
//  5. Memory is bounded by what is open: snapshots of mailboxes that nobody has selected are kept within a budget, and
//     a FETCH or SEARCH holds one batch of fragments at a time.
//
// Lock order: entry.mu and snapshots.mu are never held together; both are held for a few instructions only.
package session

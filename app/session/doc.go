// Package session is what a logged-in client can do: list mailboxes, ask for their counters, select one, read its
// messages, and change all of that. It answers from the store and from snapshots of mailboxes that all sessions of the process share.
//
// Invariants:
//  1. The store is the truth. A hint from the bus, or a client's NOOP, leads to a point read of the mailbox's
//     HIGHESTMODSEQ; only when it moved are the changes read, once for all sessions that wait.
//  2. A session's view moves in Advance and nowhere else. Fetch and Search keep the view they began with.
//  3. A client gets a message's right bytes or an error: never other bytes, never none in their place.
//  4. No call to an upstream and none of the client's callbacks runs inside a store's transaction or under a lock.
//  5. Memory is bounded by what is open: snapshots of mailboxes that nobody has selected are kept within a budget, and
//     a FETCH or SEARCH holds one batch of fragments at a time, an APPEND 2 MiB of small
//     messages, a buffer for large ones, and their fragments within a limit.
//  6. A change is one transaction of the store, which queues it for the upstream too: when a method has returned, it is
//     durable; when it has failed, nothing of it is visible. What takes two transactions (RENAME of INBOX, a move between
//     accounts) is ordered so that a crash between them loses nothing.
//  7. Nothing is done to a message that the session's view does not have.
//
// Lock order: entry.mu and snapshots.mu are never held together; both are held for a few instructions only.
package session

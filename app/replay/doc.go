// Package replay carries out an account's mutation queue upstream: exactly once, in order, whatever breaks.
//
// Invariants:
//  1. What cannot be repeated without a second effect is marked Sent, in the store, before it is sent. After a lost
//     connection or process the upstream is looked at, and it is sent again only when its result is not there and the
//     lost connection's commands cannot be carried out any more (Config.Grace).
//  2. UIDs mean something only in the incarnation of a mailbox that the mirror knows: nothing is sent behind a SELECT
//     whose UIDVALIDITY is another, or before its answer. Before a mailbox is renamed or deleted, its UIDVALIDITY is looked at.
//  3. The turns of all mailboxes that a step concerns are held from reading the queue to recording the outcome, so that
//     the mirror never takes the result of a change for news. They are not held while replay waits for anything else.
//  4. Only what was named by UID is expunged. Where the upstream cannot do that, other marks are set aside, which is
//     queued before, and put back in the flush that expunges. A mailbox is deleted only when everything in it was here.
//  5. Each drain tries each change once: what is refused waits or is parked, and never keeps others from their turn.
//  6. Nothing is sent when it is not certain that the fence is still good (Conn.Held): a command that was allowed by
//     Queue.Intend before a pause is not sent after it.
//  7. Everything that a connection was not asked to forget is known from the store: a Replayer may be stopped at any
//     moment.
package replay

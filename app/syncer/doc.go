// Package syncer keeps accounts in step with their upstreams: it plans (domain/mirror), fetches, stores, checkpoints,
// hears news by IDLE and gets single bodies at once for sessions that wait for them.
//
// Invariants:
//  1. One owner per account: everything that is written carries the fence of the lease that this process holds; when
//     the lease is lost, everything that runs for the account stops.
//  2. Nothing is removed here unless a complete answer, checked against the upstream's own count, says that it is gone
//     (the types of domain/mirror enforce it).
//  3. Bytes are durable in the blob store before the metadata that names them is written.
//  4. A checkpoint is written only with or after what it claims: an interruption costs a repetition, never a message.
//  5. Memory does not grow with a mailbox's bodies: bodies in flight are bounded by Config.Memory over all accounts,
//     and a body above maxWhole is never held whole.
//  6. Nobody waits for the network while holding a mutex. Lock order: turns by ascending id, Manager.mu, runner.mu,
//     flight.mu.
//  7. Changes of clients go upstream by app/replay, which runs with the owner and takes the turns of mailboxes (box.turn):
//     what it does upstream is never news here. A mailbox with a placement of unknown outcome is left alone until replay
//     has found out. A pass holds a turn while it fetches metadata, or a few new messages; bodies come without it.
//  8. A mailbox whose UIDVALIDITY changed is healed only when a listing has told that it is the same one: what has its name
//     may be another, and what is known here may have another name.
//  9. Every goroutine is owned by a Run that waits for it; every network operation is watched for silence.
package syncer

// Package syncer keeps accounts in step with their upstreams: it plans (domain/mirror), fetches, stores, checkpoints,
// hears news by IDLE and gets single bodies at once for sessions that wait for them.
//
// Invariants:
//  1. One owner per account: everything that is written carries the fence of the lease that this process holds; when
//     the lease is lost, everything that runs for the account stops. Bodies alone are also recorded by others (see below).
//  2. Nothing is removed here unless a complete answer, checked against the upstream's own count, says that it is gone
//     (the types of domain/mirror enforce it).
//  3. Bytes are durable in the blob store before the metadata that names them is written.
//  4. A checkpoint is written only with or after what it claims: an interruption costs a repetition, never a message.
//  5. Memory does not grow with a mailbox's bodies: bodies in flight are bounded by Config.Memory over all accounts,
//     and a body above maxWhole is never held whole.
//  6. Nobody waits for the network while holding a mutex. Lock order: Manager.turn, turns by ascending id, Manager.mu,
//     runner.mu, demand.mu, flight.mu.
//  7. Changes of clients go upstream by app/replay, which runs with the owner and takes the turns of mailboxes (box.turn):
//     what it does upstream is never news here. A mailbox with a placement of unknown outcome is left alone until replay
//     has found out. A pass holds a turn while it fetches metadata, or a few new messages; bodies come without it.
//  8. A mailbox whose UIDVALIDITY changed is healed only when a listing has told that it is the same one: what has its name
//     may be another, and what is known here may have another name.
//  9. Every goroutine is owned by a Run that waits for it; every network operation is watched for silence.
//  10. Nothing that changes the upstream is sent in the last quarter of a lease's time, or after it: see below.
//  11. An account that rests costs no timer, no write and no question but those of its rounds: leases are renewed, and free
//     ones looked for, with one statement for all.
//  12. An account has at most Config.Connections connections here (places). Nobody waits for a place, or gives one up, with the
//     turn of a mailbox: who has a turn and needs a connection has its place already.
//
// # Many nodes
//
// There is no leader. Each node announces itself in the metadata store every quarter of Config.LeaseTTL, which keeps all its
// leases, and then looks for leases that can be had. The lease alone decides who owns an account. Who is to own it is a
// preference, the highest hash of account and node over the nodes that are alive: a node takes what it is to have at once,
// and the rest only when nobody took it for half of LeaseTTL. When the list of nodes has been the same for twice LeaseTTL, a
// node gives up what others are to have: when nothing is under way for the account, and Config.Moves a second. Who is alive
// is told by Ports.Nodes, or by who has announced itself; whoever let a lease run out is not.
//
// A node that crashed is missed after LeaseTTL, and its accounts are taken at the next look: 1.25 times LeaseTTL together,
// 7.5 s with 6 s. A node that stops gives all leases back in one statement and calls out, so that others look at once.
// Connecting is paced (Config.Starts), owning is not. When the store was out of reach for longer than LeaseTTL everything
// goes on; a node that comes back first gives the others half of LeaseTTL to announce themselves before it takes them for dead.
//
// # Waking up too late
//
// The fence keeps a process that was paused from writing to the store. It does not keep it from writing to the upstream. So
// before replay sends anything, and at each piece of a message that it uploads, it is looked how long ago the renewal was
// sent that last succeeded (tenure): by the monotonic clock, which goes on while a process is stopped, and by the wall clock,
// which goes on while a machine sleeps; the larger counts. From three quarters of LeaseTTL on nothing is sent, and the
// connection is dropped: what is on its way there may be long over. The store is asked, and the change tried again on a new
// connection if the lease is still held.
//
// What remains: a process that is stopped between that look and the system call that hands the octets to the kernel, a few
// microseconds, or the time that writing one piece takes where the upstream does not read, sends these octets when it wakes.
// So may a kernel, or a network, that held them back. A new owner does not hold anything for not carried out before
// replay.Config.Grace is over, so that what was late by up to a quarter of LeaseTTL and Grace is found. What comes later still
// has its effect twice if it cannot be repeated. A virtual machine whose both clocks are stopped is not noticed either, until
// one is set. Only an upstream that knew fences could close this.
//
// # Clocks
//
// Until when an owner lives is told by the metadata store: by its own clock where it has one (Postgres), else by those of the
// processes, which are then on one machine. So nodes need no common time. Whether this process was paused is told by its own
// clocks alone, from before the call that renewed. A clock that is wrong costs needless changes of owner; it damages nothing,
// since fences do not depend on time.
//
// # Bodies elsewhere
//
// A session may wait for a body on a node that does not own the account. It asks the owner (nodes.Bodies) and looks for the
// body in the store: so N sessions on all nodes make one fetch, and the owner's order of things is kept. If nothing came
// within 2 s, because the owner is slow, just died, or does not hear, the node becomes a guest: it fetches by itself, once for
// all that wait there, with a connection of its own, which ends soon after. It may record what it fetched without a fence: a
// body belongs to a (mailbox, UID) for ever, the UIDVALIDITY under which its upstream UID was read from the store is compared
// with that of the SELECT under which it was fetched, and metadata.Bodies.AddContents changes nothing that is there already.
// However late it comes, it is what the owner would have written. Everything else is the owner's alone: that a body cannot
// be had, is damaged, or what the mailbox has. Both fetch only if the guest was impatient.
package syncer

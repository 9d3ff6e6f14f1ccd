// Package postgres keeps the metadata of any number of nodes in one Postgres database, version 15 or later: the ports of
// ports/metadata on one type, Store, and hints and calls between nodes (ports/events, ports/nodes) on another, Bus. The rules
// are those of adapters/sqlite; its statements are not, as here a statement is a round trip.
//
// Invariants:
//  1. Lock order. A transaction that changes an account's mail first takes the lock of the account's row in
//     account_counters (tx.lock), then, for an owner's, the lease's row (tx.fence), and only then changes other rows, all of
//     which belong to the account. So changes of one account follow one another, two transactions never wait for each
//     other, and no order among mailboxes is needed. What does without the account's lock: ClaimRecent takes the mailbox's
//     row, of which it alone writes recent_from; PurgeRetained those rows of the undo list that are free. Who takes, keeps or
//     gives up leases locks leases first, then owners, by name. AcquireAll waits for no lease, so that ReleaseAll alone
//     waits for one while it holds others. Accounts and users have their own rows.
//  2. Visibility. Transactions are READ COMMITTED: the statement after the one that got the lock sees everything that was
//     committed by those who had it before, as a lock is given on only after its holder's commit is visible. So UIDs and
//     mod-sequences are read, raised and committed in order: who sees a mod-sequence sees all lower ones of the mailbox. A
//     lock is therefore never taken by the statement that reads what it protects. What must be read at one moment is one
//     statement (Changes, Mutations), or REPEATABLE READ (UpstreamRows, References).
//  3. The fence. Every write of an owner reads the lease in its transaction, after the account's lock was got, and locks it
//     FOR SHARE until its end. Taking the account changes that row, which every account has: it waits for such a
//     transaction, or leaves the account for now (AcquireAll), and one that comes later sees the new owner. A process that
//     stands still in a transaction is thrown out by the server (idleTimeout), so that it holds the account up for no longer: of its transactions, only one can have the
//     account's lock, or wait for it (gates).
//  4. Owners live by the database's clock, unless Options.CallerClock: nodes need no common time. A clock that is wrong
//     could, else, give an account away early; never would two owners write, as that hangs on the fence alone. An owner's row
//     is locked by who says that it lives, and by who finds it dead before a lease of it is taken: of the two one is first.
//  5. Commits. A transaction that has committed survives a power loss (synchronous_commit=on). One whose COMMIT was sent
//     and not answered is never run again: the caller gets fault.Uncertain. Before
//     that, what the server undid (a lost connection, a deadlock) is run again; so functions of update and view set their
//     results anew each time, and have no other effect.
//  6. Waits are bounded: for a connection by patience, for a lock, by a statement and in an idle transaction by the
//     server's timeouts, for an answer by silence, and all of them by the caller's context, which the server is told of.
//     A node's leases have a connection of their own, which no call of a session waits for.
//     What grows with an account or a mailbox is bounded by longSilence in place of the statement's timeout (tx.unhurried).
//  7. No connection is held while a caller's function runs that may wait for a network; where a method calls back with
//     a connection in hand, its doc comment says so.
//  8. An error's text never holds SQL, a name of the database's, or its address; the driver's own error is in its chain
//     for those who debug.
//  9. mailboxes.{messages,unseen,deleted,size,deleted_size,bodies} equal what the rows of messages add up to, after every
//     commit, and bound what those of messages and departed do. A message has body exactly when contents has its row.
package postgres

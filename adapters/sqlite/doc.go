// Package sqlite keeps the metadata of the embedded default in one SQLite database: the ports of ports/metadata on
// one type, Store, in pure Go.
//
// Invariants:
//  1. All writes go through one connection, which one goroutine owns. Calls that come while it is busy share a BEGIN
//     IMMEDIATE transaction, each as a savepoint of it, and are answered when that has committed; reads go through a few
//     other connections and never wait for writes (WAL). Another process may have the database open too: waits for its
//     writes are bounded by busyTimeout, and waits for a turn to write by patience and by the caller's context.
//  2. A transaction that has committed survives a power loss (synchronous=FULL): local UIDs and mod-sequences are
//     known nowhere else, and a client that saw one must never see it again with another meaning.
//  3. No connection is held while a caller's function runs that may wait for a network; where a method calls back with
//     a connection in hand, its doc comment says so.
//  4. An error's text never holds SQL; the driver's own error is in its chain for those who debug.
//  5. mailboxes.{messages,unseen,deleted,size,bodies} equal what the rows of messages add up to, after every commit, and
//     bound what those of messages and departed do.
//  6. A message has body = 1 exactly when contents has its row.
package sqlite

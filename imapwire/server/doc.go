// Package server is everything between a socket and app/session: listeners, TLS, connections, and a handler for each
// command of fsm's table.
//
// Invariants:
//  1. What a command needs and does is asked of package fsm; handlers are called only when it says Run, after the
//     command was parsed whole, and at the moment when every command before it has had its effect.
//  2. A connection has one main goroutine. It alone reads, moves the state, opens and closes mailboxes. FETCH and SEARCH
//     run beside it, at most maxJobs of them, and STORE, at most maxStores, where fsm.Conflict allows; two STOREs of one
//     message never do. IDLE has one watcher while main waits for DONE. Main waits for each of them before it ends.
//  3. The view of the selected mailbox moves (Mailbox.Advance) only under conn.jobs.mu with no other command running, or
//     in IDLE's watcher; only there are EXISTS, EXPUNGE and unasked FETCH sent.
//  4. Lock order: conn.jobs.mu, then output.mu. An untagged response is written whole under output.mu, and a command's
//     tagged answer after all its untagged ones.
//  5. An idle connection holds no buffer: input, output, parsed commands and compressors come from pools and go back
//     before the connection waits.
//  6. Nothing is allocated by a number that a client sent; every read and every write has a deadline. A message of APPEND
//     or REPLACE goes to the application while it arrives (upload), and what of it is not wanted is dropped to its last
//     octet; main closes the upload at the end of the command, whatever became of it.
//  7. A failure is turned into an answer in one place (failure); the text of an internal one is logged, never sent.
//  8. A panic is recovered in one place (conn.guard), logged, and ends the connection.
//  9. What a client knows of a message's flags is the view's row or, where that is newer, selected.told: a STORE and a
//     FETCH that sets \Seen answer from what the store did and note it there, whether or not the view may move; so a
//     change is told once.
package server

// Package server is everything between a socket and app/session: listeners, TLS, connections, and a handler for each
// command of fsm's table.
//
// Invariants:
//  1. What a command needs and does is asked of package fsm; handlers are called only when it says Run, after the
//     command was parsed whole, and at the moment when every command before it has had its effect.
//  2. A connection has one main goroutine. It alone reads, moves the state, opens and closes mailboxes. FETCH and SEARCH
//     run beside it, at most maxJobs of them, where fsm.Conflict allows; IDLE has one watcher while main waits for DONE.
//     Main waits for each of them before it ends.
//  3. The view of the selected mailbox moves (Mailbox.Advance) only under conn.jobs.mu with no other command running, or
//     in IDLE's watcher; only there are EXISTS, EXPUNGE and unasked FETCH sent.
//  4. Lock order: conn.jobs.mu, then output.mu. An untagged response is written whole under output.mu, and a command's
//     tagged answer after all its untagged ones.
//  5. An idle connection holds no buffer: input, output, parsed commands and compressors come from pools and go back
//     before the connection waits.
//  6. Nothing is allocated by a number that a client sent; every read and every write has a deadline.
//  7. A failure is turned into an answer in one place (failure); the text of an internal one is logged, never sent.
//  8. A panic is recovered in one place (conn.guard), logged, and ends the connection.
package server

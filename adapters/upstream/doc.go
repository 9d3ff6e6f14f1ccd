// Package upstream is the client of the IMAP server that is mirrored: it implements ports/upstream on imapwire/syntax.
//
// Invariants:
//  1. A connection has one goroutine that reads, which Close waits for. It alone touches the reader and runs callbacks,
//     which therefore call neither Do nor Close; who calls Do writes, in turn (Conn.turn), and waits.
//  2. Lock order: batch.mu, then Conn.mu. Conn.mu is held for bookkeeping only, never over I/O or a callback.
//  3. Every command has a tag of its own and is in Conn.pending before its first octet is written; untagged data belongs
//     to the first pending command that takes it. After an error nothing is pending and nothing is ever sent again.
//     Outcome.Sent is set before a command's first octet is written, and not when the connection is known to be lost.
//     Only whole commands are answered OK.
//  4. A command whose answer was not whole, or not understood where that matters, has Err set. An enumeration never
//     looks complete because something was missing.
//  5. Every read has a deadline as long as an answer is owed (Dialer.Silence) and in the middle of a response
//     (Dialer.Stall), every write always has. What is larger than the limits ends the connection when that is seen.
//  6. Nothing that was received before TLS is used after STARTTLS. Secrets are written to the connection and nowhere
//     else.
package upstream

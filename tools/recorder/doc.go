// Package recorder is a TCP proxy that reads along: it records the IMAP commands that a client sends and counts the
// bodies that the server answers with, without changing a byte. Tests use it to count what the mirror costs upstream.
//
// It understands plain connections. After STARTTLS or COMPRESS was accepted it passes bytes on and records nothing more
// on that connection.
//
// Invariants:
//  1. What the server says is read before it is passed on, so that the client's reaction to it is understood.
//  2. Secrets are never kept: the arguments of LOGIN, and those of AUTHENTICATE after the mechanism, are replaced.
//  3. Memory is bounded: a line is kept up to maxLine bytes; of a literal only the size is kept.
//  4. Close returns when every goroutine of the recorder has ended.
package recorder

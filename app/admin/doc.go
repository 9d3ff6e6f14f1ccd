// Package admin holds what an operator does: users, accounts, their mirroring, diagnosis. The command line calls it.
//
// Invariants:
//  1. A password or an upstream secret passes through as bytes and is hashed or sealed before it is stored; it is never
//     part of an error, a log record or a result.
//  2. Whatever changes an account is stored first; a running server is told afterwards and may as well find out by
//     itself.
package admin

// Package upstreamsim is an IMAP server inside the process, spoken to through ports/upstream, which can be told to fail.
//
// Invariants:
//  1. What commands do is what the RFCs say: COPY keeps flags and INTERNALDATE, MOVE is atomic for each message, EXPUNGE
//     removes only what is marked, UIDs and mod-sequences only rise while the UIDVALIDITY is the same.
//  2. A Message that is made is never changed into another: its pointer names it for as long as it exists, whatever
//     becomes of its UID.
//  3. A fault that cuts a connection says beforehand whether the command on which it is cut, and those sent behind it, take
//     effect. What has not taken effect when Do returns never will.
//  4. Server.mu guards all state. Neither callbacks nor readers of the caller run under it.
package upstreamsim

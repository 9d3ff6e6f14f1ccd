// Package ledger knows what the clients of a mail server were promised, and says where what is there breaks a promise. It
// does no I/O: whoever talks to servers tells it what is about to be tried, what came of it, and what was seen.
//
// Invariants:
//  1. What was answered with OK is certain: it must be there, once, from then on. NO and BAD are refusals: it must not have
//     happened. What was not answered is uncertain for ever: it may have happened once, or may still.
//  2. Only one client at a time tries something with a message, and none tries anything again with one of which it is not
//     certain; whatever else happens to it is no business of the ledger's.
//  3. A pair of (UIDVALIDITY, UID) means one message for ever: what any client was ever told of it is kept and compared.
//  4. Mod-sequences are compared with what had been seen before the question was sent, so that answers which cross each
//     other are no violation.
//  5. All methods may be called from several goroutines.
package ledger

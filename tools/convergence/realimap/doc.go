// Package realimap is the upstream of a history on a real IMAP server, such as Dovecot.
//
// Our processes reach it with the client that they always have (adapters/upstream), through a proxy of this package: it
// reads the commands that pass, and makes go wrong what the Schedule says, for a class of commands as upstreamsim does.
// The other client has a connection of its own, straight to the server.
//
// Invariants:
//  1. A fault befalls a command when all that was sent before it on its connection is answered: whether a command takes
//     effect is known, as far as a server can be trusted to finish what it has begun.
//  2. What our processes are not to know of the server (Config.Hide) they do not get to see.
//  3. The pointers of upstreamsim are identities here too: a Box is a UIDVALIDITY, and what becomes of it by Reset, a
//     Message is a UID of it. The server numbers mailboxes so that no two of a user ever have the same UIDVALIDITY.
//  4. What the other client cannot know the outcome of, since somebody else was there at the same moment, is told by
//     Unlucky; a server that does something else than that is told by Err.
//  5. Lock order: Server.acting, then Server.mu. Neither is held while a hook of a fault runs.
package realimap

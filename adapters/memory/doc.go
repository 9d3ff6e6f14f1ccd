// Package memory holds what one process needs no other machine for: the event bus, the counts of failures, and the list of
// nodes and the calls between them where all of them are in one process.
//
// Invariants:
//  1. Publish does not wait: each subscription has room for one hint, and more are the same hint.
//  2. Memory is bounded: by the number of subscriptions, of nodes, and of keys that Failures keeps.
package memory

// Package memory holds what one process needs no other machine for: the event bus, wake-ups, the list of nodes, calls between nodes
// that are in one process, and the counts of failures.
//
// Invariants:
//  1. Publish does not wait: each subscription has room for one hint, and more are the same hint. A subscription of
//     wake-ups has room for so many accounts, and more are all accounts.
//  2. Memory is bounded: by the number of subscriptions, by the number of keys that Failures keeps, and by
//     presence.MaxNodes.
package memory

// Package memory holds what one process needs no other machine for: the event bus, the counts of failures, and calls between
// nodes that are in one process.
//
// Invariants:
//  1. Publish does not wait: each subscription has room for one hint, and more are the same hint.
//  2. Memory is bounded: by the number of subscriptions, and by the number of keys that Failures keeps.
package memory

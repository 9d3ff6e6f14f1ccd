// Package nodes is the port through which the nodes of one installation know of one another and call out to one another.
//
// Invariants:
//  1. Neither is truth. Who owns an account is told by its lease, what there is to do by the metadata store: a wrong list of
//     nodes, and a call that is lost, doubled or late, change nothing but when something is done.
//  2. No call blocks on the network: what cannot be sent at once may be dropped.
//  3. Every adapter sends the same text for a call, and drops what it cannot read: an attacker, or a later version, may
//     have written it.
package nodes

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/mailbox"
)

// Presence tells which nodes there are.
type Presence interface {
	// Nodes returns the names of the nodes that are alive, each once, in any order. With an error the caller knows nothing.
	Nodes(ctx context.Context) ([]string, error)
	// Changed delivers a value when the list may have changed since the last receive. It is never closed; nil: nobody tells.
	Changed() <-chan struct{}
}

// Calls carries short words from a node to all the others.
type Calls interface {
	// Send calls out to the other nodes, and perhaps to this one.
	Send(Call)
	// Receive lets fn hear what other nodes call, one call at a time, until the returned function has returned. fn does not
	// block, and does not end it. When calls may have been lost fn hears those of Missed.
	Receive(fn func(Call)) (stop func())
}

// What says what a call is about.
type What uint8

// The calls. Their numbers are the same in all versions.
const (
	// Free says that leases were given up: look at those that can be had.
	Free What = iota + 1
	// Accounts says that accounts came, went or changed: read them again.
	Accounts
	// Queue says that Account's mutation queue has grown.
	Queue
	// Round asks for a round of Account now.
	Round
	// Watching says that somebody has Mailbox of Account open; it is said again every half minute.
	Watching
	// Bodies asks for the bodies of the messages UIDs of Mailbox of Account, for which somebody waits.
	Bodies
)

// Call is a word to the other nodes. Who does not own Account has nothing to do with it.
type Call struct {
	What    What
	Account account.ID
	Mailbox mailbox.ID
	UIDs    mailbox.Set // at most MaxRanges ranges
}

// MaxRanges bounds a call.
const MaxRanges = 256

// Missed returns the calls that make a node look at what it may have missed. Other calls are said again, or what they are
// about is found without them.
func Missed() []Call { return []Call{{What: Accounts}, {What: Free}} }

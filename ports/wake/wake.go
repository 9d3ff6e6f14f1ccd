// Package wake is the port that tells all nodes that something of an account is worth looking at now rather than at the
// next turn: that its lease was given back, or that its queue has something to do. One Bus carries one kind of news.
//
// Invariants:
//  1. A wake-up is a reason to look, never a fact: losing, doubling or reordering one changes nothing but delay.
//  2. Publish never blocks. What a subscription holds is bounded: when there is more, it is "all accounts".
//  3. Every subscription hears, those of the node that publishes too.
package wake

import "imapped/domain/account"

// Bus carries wake-ups.
type Bus interface {
	// Publish wakes every subscription for the account.
	Publish(account.ID)
	// Subscribe starts a subscription to all accounts. The caller closes it.
	Subscribe() Subscription
}

// Subscription is one listener's place on the bus.
type Subscription interface {
	// C delivers one value for any number of wake-ups since the last Take. It is never closed.
	C() <-chan struct{}
	// Take returns the accounts since the last Take, each once, in ascending order. all says that some may have been
	// missed, so that every account is to be looked at; accounts is empty then.
	Take() (accounts []account.ID, all bool)
	// Close ends the subscription; it may be called more than once.
	Close()
}

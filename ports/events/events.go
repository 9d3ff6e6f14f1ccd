// Package events is the port that carries hints between sessions, syncers and processes.
//
// Invariants:
//  1. A hint is a reason to look, never a fact: losing, doubling or reordering one changes nothing but delay.
//  2. Publish never blocks on a subscriber: a subscription holds at most one undelivered hint.
package events

import (
	"imapped/domain/account"
	"imapped/domain/mailbox"
)

// Hint says that a mailbox may have reached the mod-sequence. Mailbox 0 is the account's list of mailboxes.
type Hint struct {
	Account account.ID
	Mailbox mailbox.ID
	ModSeq  mailbox.ModSeq
}

// Bus carries hints.
type Bus interface {
	Publish(Hint)
	// Subscribe starts a subscription to one mailbox (0: to the account's list of mailboxes). The caller closes it.
	Subscribe(account.ID, mailbox.ID) Subscription
}

// Subscription is one listener's place on the bus.
type Subscription interface {
	// C delivers one value for any number of hints since the last receive. It is never closed.
	C() <-chan struct{}
	// Close ends the subscription; it may be called more than once.
	Close()
}

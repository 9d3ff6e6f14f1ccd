// Package mutation holds the rules of the queue of local changes that are to be made upstream: what a change is, how
// changes compose, which may be carried out together, and what an uncertain outcome means for each kind.
//
// Invariants:
//  1. local state = upstream state with the queue applied, in the order of the IDs (DESIGN section 5).
//  2. A change names messages and mailboxes by their local identity, which never changes: what they are called upstream
//     is looked up when it is carried out.
//  3. Only what can be repeated without a second effect is sent again after an uncertain outcome. The rest is marked
//     Sent, with its Intent, before it is sent; after an uncertain outcome the upstream is examined first.
//  4. Plan keeps the order of changes of one message (as Ref or as Source), of changes of mailboxes with the same name, or
//     one above the other, and of a change of a mailbox and changes of messages in it; but a Create or Rename does not wait
//     for subscriptions, which name the mailbox by its identity and may need it. Others commute. What is Sent or not due
//     holds up what is ordered behind it.
//  5. What is Parked may never be carried out, so that it holds up only what cannot be without it: what is about a message
//     that it is to place, or a mailbox that it is to create; the loss of the only thing that it can copy from, or, for a
//     Move, of the mailbox that it goes to; mailboxes that want the name that it was to free, or are above or below it; a
//     further Rename, or the Delete, of a mailbox whose Rename it is.
//  6. An upload takes the message's flags as they are here when it begins. Its Flags mutations are carried out after it
//     nevertheless. A copy that is to be made of it gets as Flags what it must have instead.
//  7. Merging, canceling and narrowing (merge.go) change neither what clients see here nor what the upstream has in the
//     end.
//  8. Nothing here reads a clock or does I/O; the same input gives the same plan.
package mutation

import (
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// ID is a change's place in its account's queue; it rises and is never used again.
type ID int64

// Kind says what a change does.
type Kind uint8

// The kinds. Flags to Expunge concern one message each.
const (
	Flags       Kind = iota + 1 // add and remove flags of Ref
	Append                      // Ref was delivered here: upload it
	Copy                        // Ref was made here as a copy of Source
	Move                        // as Copy; Source is gone here
	Expunge                     // Ref is gone here
	Create                      // the mailbox was made here under Name
	Delete                      // the mailbox is gone here
	Rename                      // the mailbox, and what is below it, was renamed from Name to To
	Subscribe                   // Name is to be subscribed upstream
	Unsubscribe                 // and not any more; without a mailbox in Ref: no mailbox here has the Name any more
)

var kindNames = [...]string{
	"", "flags", "append", "copy", "move", "expunge", "create", "delete", "rename", "subscribe", "unsubscribe",
}

// String returns the kind's name in lower case: what stores and people see.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// ParseKind returns the kind with the name, or 0.
func ParseKind(name string) Kind {
	for k, n := range kindNames {
		if n == name {
			return Kind(k)
		}
	}
	return 0
}

// Places says whether the change puts a message into a mailbox upstream.
func (k Kind) Places() bool { return k == Append || k == Copy || k == Move }

// Idempotent says whether carrying the change out twice does no more than once.
func (k Kind) Idempotent() bool {
	return k == Flags || k == Expunge || k == Subscribe || k == Unsubscribe
}

// State is how far a change is.
type State uint8

// The states.
const (
	Waiting State = iota // not sent, or repeatable: to be carried out when its turn comes
	Sent                 // not repeatable and perhaps carried out: the upstream must be examined
	Parked               // refused for good, with Reason: waits for a person
)

var stateNames = [...]string{"waiting", "sent", "parked"}

// String returns the state's name in lower case.
func (s State) String() string { return stateNames[s] }

// Ref names a message here, for ever. UID 0 names the mailbox as a whole.
type Ref struct {
	Mailbox mailbox.ID
	UID     mailbox.UID
}

// Intent is what was known of the target mailbox when a placement was sent: whatever the placement makes has an upstream
// UID at or above UIDNext, while UIDValidity is the same.
type Intent struct {
	UIDValidity uint32
	UIDNext     uint32
}

// Mutation is one change in the queue.
type Mutation struct {
	ID      ID
	Kind    Kind
	State   State
	Version int // rises with each change that is merged into this one
	Ref     Ref // the message, or the mailbox
	Source  Ref // Copy, Move
	Op      flag.Op
	Name    string       // Create, Rename, Subscribe, Unsubscribe: the client's name; Delete: what it was called
	To      string       // Rename
	Attrs   mailbox.Attr // Create: the special use asked for
	// Known is, for Delete, the upstream's UIDNEXT up to which the user had seen the mailbox: with more in it, it must not
	// be deleted.
	Known    uint32
	Intent   Intent
	Attempts int
	Reason   string // why the last attempt failed
	Created  time.Time
	Next     time.Time // not before; zero: at once
}

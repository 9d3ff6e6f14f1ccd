package message

import (
	"slices"

	"imapped/domain/mailbox"
)

// Names yields the message ids that a message brings: its own, then its references from the nearest to the root.
func (id *Identity) Names(yield func(mailbox.ObjectID) bool) {
	if id.MessageID != (mailbox.ObjectID{}) && !yield(id.MessageID) {
		return
	}
	for _, ref := range slices.Backward(id.Refs) {
		if ref != (mailbox.ObjectID{}) && !yield(ref) {
			return
		}
	}
}

// Thread returns a message's thread, given those of the message ids that are known: that of the nearest of its names that
// is (a reply may have come before what it answers, so its own name counts first), else NewThread.
func (id *Identity) Thread(known map[mailbox.ObjectID]mailbox.ObjectID) mailbox.ObjectID {
	for name := range id.Names {
		if thread, ok := known[name]; ok {
			return thread
		}
	}
	return id.NewThread()
}

// NewThread returns the thread of a message none of whose names is known: the root of its references, else itself.
func (id *Identity) NewThread() mailbox.ObjectID {
	for _, ref := range id.Refs {
		if ref != (mailbox.ObjectID{}) {
			return ref
		}
	}
	if id.MessageID != (mailbox.ObjectID{}) {
		return id.MessageID
	}
	return id.Email
}

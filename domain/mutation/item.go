package mutation

import (
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// Item is a mutation with what planning needs to know of its messages.
type Item struct {
	Mutation
	Upstream       uint32 // Ref's upstream UID; 0: not there, or not known yet
	SourceUpstream uint32 // Source's; 0: not there yet, or gone there
	SourceHere     bool   // Source is known here, as a message or a departed one
	Departed       bool   // Ref is gone here
	Body           bool   // placements: the message's row and body are here, so that it can be uploaded
}

// maxBatch is the largest number of messages in one Batch: what one command, and one examination after it, is about.
const maxBatch = 1000

// Batch is what one command does, or a short fixed sequence of commands in one mailbox.
//
// Kind is how it is carried out:
//   - Flags: STORE of Flags, added or (Remove) taken away, in Mailbox. A mutation that adds and removes is in two batches
//     of the same Stage, and is done when both are.
//   - Copy, Move: of messages from Mailbox to To. Every item is of this Kind.
//   - Append: each item's message is uploaded to Mailbox, one command each, in order. Besides Append, items may be of the
//     kinds Copy and Move: their source is not upstream any more.
//   - Expunge: of messages in Mailbox.
//   - Create to Unsubscribe: the one item's change, of Mailbox as a whole.
type Batch struct {
	Kind    Kind
	Mailbox mailbox.ID
	To      mailbox.ID // Copy, Move
	Flags   flag.Set   // Flags
	Remove  bool       // Flags
	Items   []int      // indices into what Plan was given, rising
}

// Stage is batches that do not depend on each other: they may be carried out in any order, or together.
type Stage []Batch

// Schedule is what to do with a queue now. Items that are in none of its parts wait: they are Sent or Parked, not due,
// or cannot be carried out before one that is.
type Schedule struct {
	// Stages are to be carried out one after the other. A message whose Upstream (or SourceUpstream) is 0 has got its UID
	// from an earlier stage; a mailbox may have another name upstream after each stage. When something of a stage did not
	// get done, what follows is no longer right: plan again. It is always right to carry out the first stage only, and to
	// plan again.
	Stages []Stage
	// Moot are items that have nothing left to do: they are Done as they are, all together.
	Moot []int
	// Lost are placements that cannot be carried out: neither is their source upstream nor their body here.
	Lost []int
	// Unbound are items about messages, or made from messages, whose upstream UID is not known though nothing is to place them: they wait for the
	// mirror to bind these messages, or to find that they are gone.
	Unbound []int
	// Next is when the first of the items that are not due will be; zero: none is waiting for a time.
	Next time.Time
}

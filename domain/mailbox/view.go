package mailbox

// Changes is what a session tells its client after its view moved, in this order: Expunged, Exists, Flags.
type Changes struct {
	// Expunged holds the sequence numbers in the order in which EXPUNGE answers are to be sent: from the highest to
	// the lowest, so that none shifts the next. Vanished holds the same messages by UID.
	Expunged []uint32
	Vanished Set
	Exists   uint32 // the number of messages now
	Grew     bool   // new messages: EXISTS (and RECENT) is to be told
	Recent   uint32
	Flags    Set    // sequence numbers, in the moved view, of older messages whose flags changed
	ModSeq   ModSeq // the view's HIGHESTMODSEQ now
}

// Empty says whether there is nothing to tell.
func (c *Changes) Empty() bool { return len(c.Expunged) == 0 && !c.Grew && len(c.Flags) == 0 }

// View is a session's mapping of sequence numbers onto a snapshot.
type View struct{}

package mutation

import "imapped/domain/fault"

// Verdict is what to do about a change after an attempt that did not simply succeed.
type Verdict uint8

// The verdicts.
const (
	Done          Verdict = iota + 1 // the upstream has it, or there is nothing left to do
	Again                            // to be carried out again, as it is
	ExpungeSource                    // Move: the copy is there, and the source is still to be expunged
	Upload                           // Copy, Move: nothing to copy from is left upstream; to be made from the body that is here
	MakeTarget                       // the mailbox that it is for is to be created, then as Again
	Park                             // it waits for a person
)

var verdictNames = [...]string{"", "done", "again", "expunge source", "upload", "make target", "park"}

// String returns the verdict in lower case.
func (v Verdict) String() string { return verdictNames[v] }

// Examine returns what to do about a change that was perhaps carried out, from what the upstream has now.
//   - found: the result is there. That is the placed message; for Expunge and Delete, that the message or the mailbox is
//     not there any more; for Create and Rename, the mailbox under its new name.
//   - source: what it was made from is there: the Source of a Copy or Move, the mailbox of a Rename under its old name.
//   - body: the message's body is here.
func Examine(kind Kind, found, source, body bool) Verdict {
	switch kind {
	case Flags, Subscribe, Unsubscribe:
		return Again
	case Append:
		switch {
		case found:
			return Done
		case body:
			return Again
		}
	case Copy, Move:
		switch {
		case found && source && kind == Move:
			return ExpungeSource
		case found:
			return Done
		case source:
			return Again
		case body:
			return Upload
		}
	case Expunge, Create, Delete:
		if found {
			return Done
		}
		return Again
	case Rename:
		switch {
		case source: // with the new name there, too, that is not ours, and the upstream will say so
			return Again
		case found:
			return Done
		}
	}
	return Park
}

// Refused returns what to do about a change that the upstream refused, or that failed, for a reason of the kind. Named
// says that the mailbox that it is about (for Copy and Move: the target) has a name upstream: when the upstream does not
// find it then, somebody removed or renamed it there. The mirror finds out which, and the change goes the same way.
func Refused(kind Kind, why fault.Kind, named bool) Verdict {
	switch why {
	case fault.NotFound:
		switch {
		case named:
			return Again
		case kind.Places():
			return MakeTarget
		case kind == Delete || kind == Unsubscribe:
			return Done
		}
	case fault.Exists:
		if kind == Create { // made on both sides: one mailbox
			return Done
		}
	case fault.Internal, fault.Denied, fault.Unavailable, fault.Conflict, fault.Corrupt, fault.Canceled:
		return Again // it says nothing about the change
	}
	return Park
}

// MayDelete says whether a mailbox may be deleted upstream: it is the one that the user saw, and nothing came to it
// since. Known is the UIDVALIDITY and UIDNEXT up to which its messages were here when it was deleted here; now is
// what the upstream says. Zeros in now are not told, and say no.
func MayDelete(known, now Intent) bool {
	return now.UIDValidity != 0 && now.UIDValidity == known.UIDValidity &&
		now.UIDNext != 0 && now.UIDNext <= known.UIDNext
}

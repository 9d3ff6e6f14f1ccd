package mirror

import (
	"math/bits"
	"time"
)

// Step is the way to bring one mailbox up to date.
type Step uint8

// The steps, with the commands that they need behind the SELECT.
const (
	Nothing Step = iota // not even the SELECT
	First               // UID FETCH 1:* with everything but the body
	New                 // UID FETCH from UIDNext on
	Changes             // UID FETCH 1:* CHANGEDSINCE; deletions by count, then by enumeration
	Resync              // SELECT with QRESYNC, UID FETCH from UIDNext on
	Compare             // UID FETCH 1:* (FLAGS), UID FETCH from UIDNext on
	Heal                // UID FETCH 1:* with everything but the body, and re-matching
)

var stepNames = [...]string{"nothing", "first", "new", "changes", "resync", "compare", "heal"}

// String returns the step's name in lower case.
func (s Step) String() string { return stepNames[s] }

// Known is what is known of a mailbox here.
type Known struct {
	Checkpoint
	Rows      uint32 // messages of the upstream's that are known here, or known not to be given by it
	FullDue   bool   // a complete comparison is due
	FlagsDue  bool   // without CONDSTORE: flags are to be compared again
	Quick     bool   // only news is wanted: somebody waits
	Confirmed uint64 // the HIGHESTMODSEQ that a second look found nothing behind; see Features.Lags
}

// Features is what the upstream offers and does well.
type Features struct {
	CondStore bool
	QResync   bool
	Lags      bool // HIGHESTMODSEQ may be told before the change can be seen (Gmail)
}

// PlanMailbox returns the cheapest step that brings the mailbox up to date.
func PlanMailbox(k Known, u State, f Features) Step {
	switch {
	case k.UIDValidity == 0 && k.Synced.IsZero():
		if k.Rows == 0 {
			return First
		}
		return Heal
	case u.UIDValidity != k.UIDValidity && (u.UIDValidity != 0 || u.Opened):
		return Heal
	}
	same := u.UIDNext == k.UIDNext && u.UIDNext != 0 && u.Messages == k.Messages
	if k.UIDValidity == 0 { // an upstream without stable UIDs: only a full look says anything, so only when counts moved
		if same && !k.FullDue {
			return Nothing
		}
		return Heal
	}
	if k.Synced.IsZero() || k.FullDue && !k.Quick {
		return Compare
	}
	// What a pass stored that was cut off may be more, or other, than there is.
	same = same && (k.Quick || k.Rows == u.Messages || u.Messages == capped && k.Rows > capped)
	if f.CondStore && k.ModSeq != 0 && (u.HighestModSeq != 0 || !u.Opened) {
		seen := max(k.ModSeq, k.Confirmed)
		switch {
		case same && u.HighestModSeq != 0 && u.HighestModSeq == seen:
			return Nothing
		case u.HighestModSeq != 0 && u.HighestModSeq < k.ModSeq:
			return Compare // it went back: what was applied is not what counts
		case f.QResync:
			return Resync
		}
		return Changes
	}
	switch {
	case k.Quick && u.UIDNext != k.UIDNext && u.Messages >= k.Messages:
		return New
	case f.CondStore && u.HighestModSeq != 0, !same, k.FlagsDue:
		return Compare
	}
	return Nothing
}

// NextModSeq returns the mod-sequence up to which changes are applied when a pass has succeeded that began with a
// SELECT which told highest, and in which the highest mod-sequence of an answer was seen. An upstream that lags is
// believed only what was seen.
func NextModSeq(was, highest, seen uint64, f Features) uint64 {
	switch {
	case !f.CondStore || highest == 0:
		return 0
	case f.Lags:
		return max(was, min(seen, highest))
	}
	return highest
}

// Backoff returns how long to wait before attempt n (from 0): full jitter below an exponentially growing bound. random
// is in [0, 1).
func Backoff(n int, low, high time.Duration, random float64) time.Duration {
	bound := high
	if n < bits.LeadingZeros64(uint64(low))-1 {
		bound = min(low<<n, high)
	}
	return time.Duration(random * float64(bound))
}

// unstableAfter is how many times a day a mailbox's UIDVALIDITY may change before it counts as unstable.
const unstableAfter = 8

// HealDelay returns how long to wait before healing again a mailbox whose UIDVALIDITY changed heals times within a
// day: the first few are healed at once, a server that changes it at every session costs one full look an hour.
func HealDelay(heals int) time.Duration {
	if heals < unstableAfter {
		return 0
	}
	return time.Hour
}

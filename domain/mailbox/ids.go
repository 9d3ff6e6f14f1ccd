package mailbox

import (
	"time"

	"imapped/domain/account"
	"imapped/domain/flag"
)

// ID identifies a mailbox in a store; it is never reused and survives a rename.
type ID int64

// UID is a local message UID (RFC 9051 section 2.3.1.1). Zero is no UID.
type UID uint32

// ModSeq is a mod-sequence, 1 to 2^63-1 (RFC 7162 section 3.1). Zero is "before everything".
type ModSeq uint64

// ObjectID is an EMAILID or THREADID without its wire form (RFC 8474); zero is none.
type ObjectID [16]byte

// Row is what every message has, body known or not: the hot columns.
type Row struct {
	UID    UID
	ModSeq ModSeq
	Flags  flag.Set
	Size   int64 // RFC822.SIZE in octets
	Date   int64 // INTERNALDATE, seconds since 1970 UTC
	Zone   int16 // INTERNALDATE's offset from UTC in minutes, east positive
}

// InternalDate returns the row's INTERNALDATE in its own zone.
func (r Row) InternalDate() time.Time {
	return time.Unix(r.Date, 0).In(time.FixedZone("", int(r.Zone)*60))
}

// Delta is what happened to a mailbox after a mod-sequence; after 0 it is the whole mailbox. Rows are in UID order.
type Delta struct {
	ModSeq   ModSeq // the mailbox's HIGHESTMODSEQ when the delta was read
	UIDNext  UID
	Rows     []Row // added or changed since, as they are now
	Expunged Set   // removed since
}

// Attr is a bit set of mailbox attributes (RFC 9051 section 7.3.1, RFC 6154).
type Attr uint32

// The attributes. The special uses are at most one each mailbox in practice, but nothing relies on it.
const (
	NoSelect Attr = 1 << iota
	NoInferiors
	Marked
	Unmarked
	All
	Archive
	Drafts
	Flagged
	Junk
	Sent
	Trash
	Important
)

// SpecialUse is every special-use attribute.
const SpecialUse = All | Archive | Drafts | Flagged | Junk | Sent | Trash | Important

// Info is a mailbox as a client sees it from outside.
type Info struct {
	ID            ID
	Account       account.ID
	Name          string // UTF-8, components separated by '/'; "INBOX" in upper case
	Attrs         Attr
	Subscribed    bool
	UIDValidity   uint32
	UIDNext       UID
	HighestModSeq ModSeq
	RecentFrom    UID // messages with a UID at or above it have been shown to no selecting session yet
	Messages      uint32
	Unseen        uint32
	Deleted       uint32
	Size          int64 // the sum of the messages' sizes
	DeletedSize   int64 // the part of Size that has \Deleted
}

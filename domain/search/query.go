package search

import (
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// Op says what a node of a query asks.
type Op uint8

// The operations; the comment names the fields of Query that count.
const (
	And          Op = iota // Kids; without kids: everything
	Or                     // Kids
	Not                    // Kids[0]
	SysFlags               // Flags: all of them set
	Keyword                // Text
	Recent                 // \Recent in this session
	UIDs                   // Set
	Seqs                   // Set, sequence numbers of the session's view
	Before                 // Day: INTERNALDATE's own calendar day, before
	On                     // Day
	Since                  // Day: on or after
	SentBefore             // Day: the Date header's own calendar day
	SentOn                 // Day
	SentSince              // Day
	SavedBefore            // Day (RFC 8514)
	SavedOn                // Day
	SavedSince             // Day
	SavedSupport           // SAVEDATESUPPORTED
	Younger                // Num: seconds (RFC 5032)
	Older                  // Num
	Larger                 // Num: octets, more than
	Smaller                // Num: octets, fewer than
	ModSeq                 // Num: at or above (RFC 7162); the entry name is accepted and ignored
	Header                 // Field, Text; an empty Text asks whether the field is there
	From                   // Text
	To                     // Text
	Cc                     // Text
	Bcc                    // Text
	Subject                // Text
	Body                   // Text
	Text                   // Text
	EmailID                // Object
	ThreadID               // Object
)

// Query is a SEARCH program as a tree (RFC 9051 section 6.4.4). Text is UTF-8, as the client sent it after conversion
// from the CHARSET given; folding is the evaluation's business.
type Query struct {
	Op     Op
	Kids   []Query
	Flags  flag.System
	Set    mailbox.Set
	Day    int32 // days since 1970-01-01
	Num    uint64
	Field  string
	Text   string
	Object mailbox.ObjectID
}

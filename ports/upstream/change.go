package upstream

import (
	"io"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// The commands in this file change something upstream. What holds for all of them:
//
//   - Outcome.Uncertain says whether one that failed may have been carried out all the same.
//   - Pipelined behind a Select they are sent before its answer is known: a Select that fails leaves nothing selected
//     (RFC 9051 section 6.3.2), but whether its UIDVALIDITY is the one that the UIDs belong to shows too late. Who cannot
//     be sure of both waits for the Select first.
//   - What is asked behind a change, in the same Do, may be answered as if messages that it removes were still there.
//   - A set of UIDs that is too long for one command is sent as several. They are carried out independently of each
//     other: Err is then the error of the first whose outcome is uncertain, else the first refusal.
//   - UIDs that do not exist are no error. An empty set sends nothing, and is a success.

// Store is UID STORE ±FLAGS.SILENT in the selected mailbox. No flags: nothing is sent.
type Store struct {
	UIDs   mailbox.Set
	Flags  flag.Set
	Remove bool // -FLAGS, else +FLAGS

	Outcome
}

// Append is APPEND of one message. One that is larger than Server.AppendLimit is not sent: its Err is fault.Limit.
type Append struct {
	Name  string
	Flags flag.Set
	Date  time.Time // INTERNALDATE, in its own zone; zero: the server's present
	Size  int64
	// Open gives the message's bytes, exactly Size, and then io.EOF. It is called by Do, on its caller's goroutine, before
	// anything of the command is sent, and must not call Do; the reader is closed before Do returns. When it fails, or the reader does within its first 64 KiB, nothing is
	// sent, Err is that error and the connection lives. A reader that fails later, ends early or has more than Size loses
	// the connection, as does a context that ends meanwhile: there is no other way to take back a literal that has begun.
	// Then Err is the reader's error too, with its own fault kind.
	Open func() (io.ReadCloser, error)

	Outcome
	UIDValidity uint32 // APPENDUID (RFC 4315); 0: not given, or not one UID
	UID         uint32
}

// Copy is UID COPY from the selected mailbox, or UID MOVE (RFC 6851), which without Server.Move is fault.Invalid.
type Copy struct {
	UIDs mailbox.Set
	To   string
	Move bool

	Outcome
	// UIDValidity is COPYUID's, the target's; 0: not given, or not to be believed. It may be given when Err is set: for
	// what was copied nevertheless.
	UIDValidity uint32
	Pairs       []Pair // in the order of the answer
	// Done is the UIDs of the commands that were answered OK: all of UIDs when Err is nil. What exists of them is copied,
	// whether Pairs tells it or not. A MOVE that is refused may have moved some messages (RFC 6851 section 3.3): then
	// Pairs may name them.
	Done mailbox.Set
}

// Pair is one message's upstream UIDs in the source and in the target of a Copy.
type Pair struct{ From, To uint32 }

// Expunge is UID EXPUNGE of those of the messages that are marked \Deleted, which without Server.UIDPlus is
// fault.Invalid; or, with All, EXPUNGE of every message that is marked. Neither UIDs nor All is fault.Invalid: an empty
// set must not become "all".
type Expunge struct {
	UIDs mailbox.Set
	All  bool

	Outcome
}

// Deleted asks for the UIDs that are marked \Deleted in the selected mailbox. A server that does not answer with a list,
// be it an empty one, has not answered: Err is set.
type Deleted struct {
	Outcome
	UIDs mailbox.Set
}

// Create is CREATE. The special uses of Use are sent where Server.CreateSpecialUse, else they are left out. A server that
// cannot give them refuses with the code USEATTR, and has made nothing (RFC 6154 section 3).
type Create struct {
	Name string
	Use  mailbox.Attr

	Outcome
}

// Delete is DELETE. The mailbox should not be selected here.
type Delete struct {
	Name string

	Outcome
}

// Rename is RENAME.
type Rename struct {
	From, To string

	Outcome
}

// Subscribe is SUBSCRIBE or UNSUBSCRIBE.
type Subscribe struct {
	Name string
	Off  bool

	Outcome
}

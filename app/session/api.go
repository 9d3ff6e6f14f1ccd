package session

import (
	"context"
	"io"
	"time"

	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/search"
)

// Credentials is what a client logs in with.
type Credentials struct {
	User     string
	Password string
	Remote   string // the client's IP address, for limits and the log
	Session  string // what the session is called in logs
}

// Server lets clients in.
type Server interface {
	// Login checks the credentials: fault.Denied when they are wrong (whichever part), fault.Limit while the address
	// or the user is locked out, fault.Forbidden for a disabled user.
	Login(ctx context.Context, c Credentials) (Session, error)
}

// Session is one logged-in client. List, Status and Open may be called from several goroutines.
type Session interface {
	User() string
	// List returns the mailboxes that the request selects, in the order of their names.
	List(ctx context.Context, r ListRequest) ([]Listed, error)
	// Status returns a mailbox's counters; fault.NotFound when there is none, fault.Invalid for one that cannot be
	// selected.
	Status(ctx context.Context, name string) (Status, error)
	// Open selects a mailbox; errors as for Status.
	Open(ctx context.Context, name string, o OpenOptions) (Mailbox, error)
	Folders
	Quotas
	Close()
}

// ListRequest is LIST or LSUB (RFC 9051 section 6.3.9, RFC 5258). Names are UTF-8 with '/'.
type ListRequest struct {
	Reference  string
	Patterns   []string
	Subscribed bool // select subscribed names, existing or not
	Remote     bool // accepted; there are no remote mailboxes
	Recursive  bool // RECURSIVEMATCH
	SpecialUse bool // select mailboxes with a special use
	LSUB       bool // the obsolete form: a parent that only its children make match is \Noselect
	Status     bool // fill Listed.Status
}

// Listed is one answer to LIST. Name is "" for the hierarchy delimiter's answer to LIST "" "".
type Listed struct {
	Name        string
	Attrs       mailbox.Attr
	NonExistent bool // a subscribed or parent name without a mailbox
	Subscribed  bool
	HasChildren bool
	ChildInfo   bool    // CHILDINFO ("SUBSCRIBED")
	Status      *Status // nil when not asked, or not selectable
}

// Status is the counters of a mailbox (RFC 9051 section 6.3.11, with the items of RFC 7162, 8438 and 8474).
type Status struct {
	Messages, Recent, Unseen, Deleted uint32
	UIDNext                           mailbox.UID
	UIDValidity                       uint32
	HighestModSeq                     mailbox.ModSeq
	Size                              int64
	DeletedSize                       int64 // of the messages that are marked \Deleted (RFC 9208 section 4.1.4)
	MailboxID                         string
}

// OpenOptions is how a mailbox is selected.
type OpenOptions struct {
	ReadOnly bool // EXAMINE: \Recent is not claimed
}

// Mailbox is a selected mailbox: a view that moves only when Advance is called. Fetch, Search and Vanished may run at
// the same time; they work on the view as it is when they are called. Advance and Close run alone: the caller's
// pipelining rules see to that.
type Mailbox interface {
	// Name is the mailbox's name when it was opened.
	Name() string
	ID() string // MAILBOXID
	UIDValidity() uint32
	ReadOnly() bool
	// View is the session's present view: sequence numbers, flags, sizes, dates as last told to the client.
	View() *mailbox.View
	// Hint is readable when the mailbox may have changed since the last Advance. It is never closed.
	Hint() <-chan struct{}
	// Advance brings the view up to the store and returns what to tell the client. Without expunge it changes nothing
	// while a message in the view is gone from the store. fault.NotFound: the mailbox itself is gone.
	Advance(ctx context.Context, expunge bool) (mailbox.Changes, error)
	// Fetch calls fn for each message with a sequence number in seqs, in order; messages that the store no longer has
	// are skipped. The Message is valid during the call. A body that is not here yet is fetched from the upstream when
	// what is asked for needs it: fault.Unavailable when it cannot be had, after all messages that can be shown.
	Fetch(ctx context.Context, seqs mailbox.Set, need Need, fn func(*Message) error) error
	// Search returns the sequence numbers of the messages that match, and the highest mod-sequence among them.
	Search(ctx context.Context, q *search.Query) (mailbox.Set, mailbox.ModSeq, error)
	// Vanished returns the UIDs that were removed after since (QRESYNC), within known where known is not empty.
	Vanished(ctx context.Context, since mailbox.ModSeq, known mailbox.Set) (mailbox.Set, error)
	Edit
	Close()
}

// Need says what a FETCH needs beyond a message's row.
type Need uint16

// What can be needed. All but NeedIdentity make a missing body be fetched; NeedPreviewLazy does not: it leaves
// Preview nil when the body is not here.
const (
	NeedIdentity Need = 1 << iota // EmailID, ThreadID, Saved
	NeedEnvelope
	NeedBody // the non-extensible structure
	NeedBodyStructure
	NeedHeaders // Fragments.Headers
	NeedPreview
	NeedPreviewLazy
	NeedParts // Fragments.Parts
	NeedBytes // Message.Open
)

// Message is one message in a FETCH. Row is as the store has it now, so that flags are fresh.
type Message struct {
	Seq    uint32
	Recent bool
	mailbox.Row
	EmailID  string
	ThreadID string
	Saved    time.Time
	message.Fragments
	// Open returns the raw message. While it is still coming from the upstream, reads wait for their bytes.
	Open func(ctx context.Context) (Bytes, error)
}

// Bytes is a raw message. Where it is a local file it is also an interface{ File() *os.File }.
type Bytes interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

package session

import (
	"context"
	"io"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// Folders is the part of Session that changes the list of mailboxes. Names are UTF-8 with '/'. With several accounts, a
// name is in the account below whose prefix it stands.
type Folders interface {
	// Create makes a mailbox and returns its MAILBOXID; fault.Exists when there is one, as for INBOX there always is, and
	// for the name of an account; fault.Invalid for a name that cannot be (the upstream's delimiter in it, an empty part,
	// control characters, more than 1000 octets). A delimiter at the end is dropped. A name that only holds other
	// mailboxes is made a real one. Of use, special uses count (RFC 6154).
	Create(ctx context.Context, name string, use mailbox.Attr) (string, error)
	// Delete removes a mailbox; fault.NotFound, fault.Forbidden for INBOX and for the name of an account. One that has
	// others below it goes, too: they stay; a name that only holds others is fault.Invalid (RFC 9051 section 6.3.5).
	// Sessions that have the mailbox open hear fault.NotFound at their next Advance.
	Delete(ctx context.Context, name string) error
	// Rename gives a mailbox, and those below it, another name; fault.NotFound; fault.Exists for any name that is taken;
	// fault.Invalid as for Create, for a name in another account and for one below the mailbox itself; fault.Forbidden for
	// the name of an account. A name that only holds other mailboxes may be renamed: they are. INBOX's messages are moved
	// to a new mailbox instead, and INBOX and what is below it stays (RFC 9051 section 6.3.6). Sessions that have a
	// renamed mailbox open keep it.
	Rename(ctx context.Context, from, to string) error
	// Subscribe sets whether the mailbox is subscribed; fault.NotFound.
	Subscribe(ctx context.Context, name string, on bool) error
	// Append begins an APPEND to the mailbox; fault.NotFound when there is none, fault.Invalid for a name that only holds
	// other mailboxes. The mailbox is that of this moment, whatever is renamed before Commit.
	Append(ctx context.Context, name string) (Append, error)
}

// Append collects the messages of one APPEND or REPLACE. Nothing is visible before Commit. One goroutine uses it.
type Append interface {
	// Fits says whether a further message of the size would leave the account within its quota, so that a client need not
	// send it in vain: fault.OverQuota when it would not. The other arguments are those of Commit. Commit decides.
	Fits(ctx context.Context, size int64, from Mailbox, replaced mailbox.UID) error
	// Add takes one message of exactly size octets from r, and reads no further, without holding it in memory when it is
	// large. Any octets are a message. The zero date is now. After an error the Append is good for Close only, and part of
	// the message may be left in r: r's own error is returned, an end of r before its time is fault.Canceled, a full disk
	// fault.Unavailable, and fault.Limit says that these are too many messages for one transaction.
	Add(ctx context.Context, r io.Reader, size int64, flags flag.Set, date time.Time) error
	// Commit adds the messages, all or none, and, with replaced not 0, expunges that message of from, a mailbox of the same
	// session, in the same transaction (REPLACE, RFC 8508); where from is of another account, right after it.
	// fault.NotFound when the mailbox or the message is gone meanwhile, fault.Forbidden when from is read-only,
	// fault.OverQuota when the account would grow beyond its quota; within one account, what is replaced counts against what
	// is added. Without replaced from is not used.
	Commit(ctx context.Context, from Mailbox, replaced mailbox.UID) (Appended, error)
	// Close forgets what was not committed.
	Close()
}

// Appended is what APPENDUID tells (RFC 4315 section 3).
type Appended struct {
	UIDValidity uint32
	UIDs        []mailbox.UID
}

// Edit is the part of Mailbox that changes messages. Whatever would change a mailbox that was opened read-only fails with
// fault.Forbidden. Messages that are gone are skipped, and so are those that are not in the view: nothing is done to a
// message that the client has not been told of. A change is published to other sessions, and to this one's own Hint; the
// view stays as it is: the caller advances it.
type Edit interface {
	// Store changes flags of the messages with the UIDs.
	Store(ctx context.Context, r StoreRequest) (Stored, error)
	// Copy copies, or moves, messages to the mailbox; fault.NotFound when that does not exist, fault.Invalid for a name that
	// only holds other mailboxes. All are copied or none. From one account to another the bodies are needed:
	// fault.Unavailable when one cannot be had, fault.Limit for too many messages at once. fault.OverQuota when the account
	// that gets them would grow beyond its quota: a move within one account never does.
	Copy(ctx context.Context, uids mailbox.Set, to string, move bool) (Copied, error)
	// Expunge removes the messages that are marked \Deleted, of all or of those in uids when it is not nil, and returns
	// which they were.
	Expunge(ctx context.Context, uids mailbox.Set) (mailbox.Set, error)
}

// StoreMode is the form of a STORE.
type StoreMode uint8

// The forms (RFC 9051 section 6.4.6).
const (
	StoreAdd StoreMode = iota
	StoreRemove
	StoreReplace
)

// StoreRequest is STORE.
type StoreRequest struct {
	UIDs      mailbox.Set
	Mode      StoreMode
	Flags     flag.Set
	Unchanged *mailbox.ModSeq // UNCHANGEDSINCE
}

// Stored is what STORE did.
type Stored struct {
	ModSeq   mailbox.ModSeq
	Rows     []mailbox.Row // of the messages that exist and passed Unchanged, in UID order
	Changed  mailbox.Set   // those of them whose flags changed
	Modified mailbox.Set   // UIDs that failed Unchanged
}

// Copied is what COPYUID tells: Source and Target correspond, in order.
type Copied struct {
	UIDValidity    uint32
	Source, Target []mailbox.UID
}

// Package metadata is the port to the store of everything but raw messages: users, accounts, mailboxes, messages,
// checkpoints. It is the truth; snapshots and events follow it.
//
// Invariants:
//  1. Every method is one transaction: all of it is there after a crash, or nothing.
//  2. A change to a mailbox raises its HIGHESTMODSEQ by one and gives every row and tombstone it writes that
//     mod-sequence. Mod-sequences and UIDs never go back and are never reused.
//  3. Every write of an account's owner carries a Fence; with a fence that is not the current one it fails with
//     fault.Conflict and changes nothing. What carries none (clients' edits, Bodies.AddContents) is right whoever does it.
//  4. A missing user, account or mailbox is fault.NotFound; a name taken already is fault.Exists.
//  5. A mailbox's counters (Messages, Unseen, Deleted, Size, DeletedSize) are changed in the transaction that changes its rows.
package metadata

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/mutation"
	"imapped/ports/blob"
)

// Users keeps the people who may log in.
type Users interface {
	CreateUser(ctx context.Context, u account.User) (account.User, error)
	// User returns the user with the name, compared in lower case.
	User(ctx context.Context, name string) (account.User, error)
	Users(ctx context.Context) ([]account.User, error)
	// UpdateUser writes PasswordHash and Disabled of the user with u.ID.
	UpdateUser(ctx context.Context, u account.User) error
}

// Accounts keeps upstream accounts.
type Accounts interface {
	// CreateAccount stores a new account at the end of its user's order; fault.Exists when the user has one with the
	// same Email or Display already.
	CreateAccount(ctx context.Context, a account.Account) (account.Account, error)
	// Accounts returns the accounts of the user, or of all users for 0, by user and position.
	Accounts(ctx context.Context, user account.UserID) ([]account.Account, error)
	UpdateAccount(ctx context.Context, a account.Account) error
	// DeleteAccount removes the account and everything in it.
	DeleteAccount(ctx context.Context, id account.ID) error
}

// AccountReader reads one account, for a process that does not read them all.
type AccountReader interface {
	Account(ctx context.Context, id account.ID) (account.Account, error)
}

// Login is an account and the user whose it is.
type Login struct {
	User    account.User
	Account account.Account
}

// Logins finds whom somebody means who logs in with an address, for a process that does not read all accounts.
type Logins interface {
	// Logins returns the accounts with the address, compared in lower case, by user: limit of them at most.
	Logins(ctx context.Context, email string, limit int) ([]Login, error)
}

// Installation tells which store it is.
type Installation interface {
	// Installation returns the store's id, which was made with its schema and stays, whatever else changes. Another store has
	// another one, unless it was moved from this one, or is a copy of it.
	Installation(ctx context.Context) (blob.Installation, error)
}

// Secrets exchanges sealed secrets when the master key changes.
type Secrets interface {
	// Reseal gives the account the secret to in place of from, and changes nothing else; fault.Conflict when its secret is
	// not from any more.
	Reseal(ctx context.Context, id account.ID, from, to account.Secret) error
}

// Statuses keeps how each account is doing, so that other processes can show it.
type Statuses interface {
	SetStatus(ctx context.Context, f Fence, s account.Status) error
	// Status returns the zero Status with StateNew for an account that never had one.
	Status(ctx context.Context, id account.ID) (account.Status, error)
}

// Fence is the right to write to one account, for as long as Token is the account's newest.
type Fence struct {
	Account account.ID
	Owner   string
	Token   int64 // rises with every change of owner
}

// Leases gives each account one owner at a time. A lease has no end of its own: it holds for as long as its owner lives, and
// an owner lives until the time that it announced: by the store's clock where it has one, else by now, which the callers' clocks
// are to agree on.
type Leases interface {
	// Acquire takes the account's lease and lets the owner live until now+ttl at least; fault.Conflict while another owner
	// that lives holds it. The owner that holds it may ask again and keeps its token.
	Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (Fence, error)
	// Renew lets the lease's owner live until now+ttl at least, also one that was late and whose lease nobody took
	// meanwhile; fault.Conflict when it was lost, and then nothing is prolonged.
	Renew(ctx context.Context, f Fence, now time.Time, ttl time.Duration) error
	// Release gives the lease up; a lost one is no error.
	Release(ctx context.Context, f Fence) error
}

// NodeLeases is Leases for a process that owns many accounts: each call is one statement, or a few, for all of them.
type NodeLeases interface {
	// RenewAll lets the owner live until now+ttl, whatever it announced before and whether it holds a lease or not, and
	// returns how many leases it holds.
	RenewAll(ctx context.Context, owner string, now time.Time, ttl time.Duration) (held int, err error)
	// Held returns the leases that the owner holds, by account.
	Held(ctx context.Context, owner string) ([]Fence, error)
	// Acquirable returns, by id, the accounts that are neither local nor paused and whose lease nobody holds, or an owner
	// that does not live any more.
	Acquirable(ctx context.Context, now time.Time) ([]Acquirable, error)
	// AcquireAll is Acquire for several accounts. Those that another holds, and those that do not exist, are left out of
	// the result, which is by account.
	AcquireAll(ctx context.Context, ids []account.ID, owner string, now time.Time, ttl time.Duration) ([]Fence, error)
	// ReleaseAll gives up all leases of the owner, which lives no longer. Owners that died a day ago are forgotten.
	ReleaseAll(ctx context.Context, owner string, now time.Time) error
}

// Acquirable is an account that could have a new owner.
type Acquirable struct {
	account.Account
	Holder string // who holds the lease and does not live; empty: nobody does
}

// Owners tells what a process must know of all the others, when nobody else tells.
type Owners interface {
	// Owners returns the names of the owners that live, in order.
	Owners(ctx context.Context, now time.Time) ([]string, error)
	// Queues returns, by account, those accounts that the owner holds and whose mutation queue is not empty.
	Queues(ctx context.Context, owner string) ([]QueueState, error)
}

// QueueState says that an account's mutation queue is not empty.
type QueueState struct {
	Account account.ID
	Newest  mutation.ID // the highest id that a mutation of the account was given: it rises with each new one
}

// Mailboxes is what sessions read of mailboxes.
type Mailboxes interface {
	// Mailboxes returns an account's mailboxes by name.
	Mailboxes(ctx context.Context, acc account.ID) ([]mailbox.Info, error)
	Mailbox(ctx context.Context, acc account.ID, id mailbox.ID) (mailbox.Info, error)
	// Usage returns the sum of the Size of an account's mailboxes, in octets, from their counters: it does not become
	// slower with the number of messages.
	Usage(ctx context.Context, acc account.ID) (int64, error)
	// ClaimRecent makes the messages below upTo no longer recent for others and returns the UID from which on they
	// were recent until now: at or above it and below upTo they are the caller's. It raises no mod-sequence. An upTo
	// above UIDNEXT counts as UIDNEXT.
	ClaimRecent(ctx context.Context, acc account.ID, id mailbox.ID, upTo mailbox.UID) (mailbox.UID, error)
}

// Messages is what sessions read of messages.
type Messages interface {
	// Changes returns what happened to a mailbox after since, read at one moment; after 0 the whole mailbox, without
	// tombstones.
	Changes(ctx context.Context, acc account.ID, id mailbox.ID, since mailbox.ModSeq) (mailbox.Delta, error)
	// Identities calls fn for each of the UIDs that exists, in UID order.
	Identities(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, fn func(Identity) error) error
	// Contents calls fn for each of the UIDs whose body is stored, in UID order, with the fragments asked for. The
	// Content and its slices are valid during the call only.
	Contents(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, want Want, fn func(*Content) error) error
}

// Want says which fragments a caller needs; blob key and size always come.
type Want uint8

// The fragments.
const (
	WantEnvelope Want = 1 << iota
	WantBody
	WantBodyStructure
	WantHeaders
	WantPreview
	WantParts
	WantAll = WantEnvelope | WantBody | WantBodyStructure | WantHeaders | WantPreview | WantParts
)

// Identity is a message's immutable names.
type Identity struct {
	UID      mailbox.UID
	EmailID  mailbox.ObjectID
	ThreadID mailbox.ObjectID
	Saved    time.Time // SAVEDATE (RFC 8514): when it came into this mailbox here
}

// Content is a message whose body is stored.
type Content struct {
	Mailbox mailbox.ID
	UID     mailbox.UID
	Blob    blob.Key
	Size    int64 // of the raw bytes; where it differs from the row's, StoreContents corrects the row
	message.Fragments
}

// Mirror is what an account's owner reads and writes of its mailboxes.
type Mirror interface {
	// Mirrored returns an account's mailboxes with their upstream side, by id; those without one have an empty
	// Upstream.Name.
	Mirrored(ctx context.Context, acc account.ID) ([]Mirrored, error)
	// SaveMailbox creates (ID 0) or changes a mailbox: Name, Attrs, Subscribed and Upstream are written, the rest is
	// the store's own. A change of Name is a rename and keeps everything. It returns the mailbox as it is now. What a client
	// changed and the queue still holds stays as it is: the Name while a Rename of the mailbox or of one above it is
	// outstanding, and of a mailbox that is Deleting; Subscribed while a Subscribe or Unsubscribe is.
	SaveMailbox(ctx context.Context, f Fence, m Mirrored) (Mirrored, error)
	// RemoveMailbox removes a mailbox, its messages and their mutations, because the upstream has lost it. Its name may be
	// used again, with a higher UIDVALIDITY. Where messages wait to be placed into it, it stays with those alone and an
	// empty Upstream (no Upstream.Name), so that it is made again, for which a Create is queued, unless one is: nothing is lost that was never there.
	RemoveMailbox(ctx context.Context, f Fence, id mailbox.ID) error
	// UpstreamRows calls fn for each message in the order of local UIDs, read at one moment. fn must not wait for a
	// network and must not call the store, which may hold a connection meanwhile.
	UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(UpstreamRow) error) error
	// Apply changes one mailbox. An Update that changes no row raises no mod-sequence.
	Apply(ctx context.Context, f Fence, u Update) (Applied, error)
}

// Bodies is what an account's owner reads and writes of bodies.
type Bodies interface {
	// Pending returns the messages of a mailbox that have no body yet and may be tried at the time now, the highest
	// UID first. Messages without an upstream UID cannot be tried.
	Pending(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) ([]PendingBody, error)
	// StoreContents records bodies that are durable in the blob store. UIDs that are gone meanwhile are skipped, also
	// because their mailbox is. What was stored for a UID before is replaced, and its failures are forgotten. A
	// size that differs from the row's corrects the row, which is a change of the mailbox; else nothing that a
	// client sees changes and no mod-sequence is raised.
	StoreContents(ctx context.Context, f Fence, contents []Content) error
	// AddContents is StoreContents for who does not own the account: of messages that have a body already nothing is
	// changed. It needs no fence, because what a message's body is never changes: whoever fetched it, and however late it
	// comes, it is the same.
	AddContents(ctx context.Context, acc account.ID, contents []Content) error
	// Unfetchable records that the upstream did not give a body, why, and when to try again; the count of attempts
	// rises. A message that is gone or has its body is no error.
	Unfetchable(ctx context.Context, f Fence, id mailbox.ID, uid mailbox.UID, why string, next time.Time) error
	// DropContent forgets that the body is stored, for a blob that turned out corrupt, so that it is fetched again. A
	// message that is gone or has no body is no error.
	DropContent(ctx context.Context, f Fence, id mailbox.ID, uid mailbox.UID) error
}

// Upstream is the upstream side of a mailbox.
type Upstream struct {
	Name      string // raw, as the upstream writes it; empty: no such mailbox upstream (yet)
	Delimiter byte   // 0 is NIL
	Checkpoint
}

// Checkpoint says up to where a mailbox is mirrored.
type Checkpoint struct {
	UIDValidity uint32    // 0: never mirrored
	UIDNext     uint32    // every upstream UID below it is known here
	ModSeq      uint64    // upstream changes up to it are applied; 0 without CONDSTORE
	Messages    uint32    // how many messages the upstream had then
	Synced      time.Time // when the last complete pass ended; zero: none did
}

// Mirrored is a mailbox with its upstream side and how far its bodies are.
type Mirrored struct {
	mailbox.Info
	Upstream Upstream
	Bodies   uint32 // messages whose body is stored
	// Bound is how many of the upstream's messages are known here: those with an upstream UID, departed ones included.
	Bound uint32
	// Deleting says that a client deleted the mailbox and the upstream has not lost it yet. Its Name is what it was.
	Deleting bool
	// Uncertain says that a placement into the mailbox is Sent: what is new upstream may be its result, and must not be
	// taken in before that is found out.
	Uncertain bool
	// Creating is the name of its outstanding Create; a client may have renamed or deleted it since.
	Creating string
	// Renaming says that a Rename of the mailbox, or of one above it, is outstanding: SaveMailbox leaves its Name alone.
	Renaming bool
}

// UpstreamRow is a message as the planner compares it: one that is here, or one that departed, which the upstream has,
// or may have, and a client removed here.
type UpstreamRow struct {
	UID      mailbox.UID
	Upstream uint32 // the upstream's UID; 0: not there (yet)
	Flags    flag.Set
	Email    mailbox.ObjectID
	HasBody  bool
	Departed bool // not here any more
	Placing  bool // its placement is outstanding (in any state), and it may be there already: Upstream is 0
}

// Update is a change of one mailbox, in this order: Reset, Rebind, Expunge, Flags, New. It is what the upstream says;
// the account's mutation queue is applied over it (Edits).
type Update struct {
	Mailbox mailbox.ID
	Now     time.Time
	Reset   bool     // forget all upstream UIDs of the mailbox, those of departed rows too
	Rebind  []Rebind // give existing messages, and departed ones, their upstream UIDs; not a change that clients see
	// Expunge is local UIDs that the upstream has lost. It leaves tombstones; those that are gone already are skipped, but
	// for departed ones, which are forgotten together with their Expunge. Their Flags mutations go; a Copy or Move from
	// them stays, and will be uploaded. Messages that are Placing are skipped: what has not come cannot be lost.
	Expunge mailbox.Set
	// Flags are the upstream's: a message gets them with its Flags mutations applied in order. Those that change nothing,
	// and those of departed messages, are skipped.
	Flags []FlagChange
	// New get UIDs in this order; an upstream UID that is known already, departed or not, is skipped, and so is everything
	// in a mailbox that is being deleted.
	New        []NewMessage
	Checkpoint *Checkpoint // written when not nil
}

// Rebind gives the message with the local UID an upstream UID, if the message exists. All messages of an Update's
// Rebind lose their old upstream UIDs first, so that two may swap; one that would then belong to two messages is
// fault.Invalid.
type Rebind struct {
	UID      mailbox.UID
	Upstream uint32
}

// FlagChange sets a message's flags. Of several changes of one message in an Update the last counts.
type FlagChange struct {
	UID   mailbox.UID
	Flags flag.Set
}

// NewMessage is a message that came from the upstream, or was delivered here (Upstream 0).
//
// Its thread is found among the account's message ids: the thread of its own Message-ID where that is known (an answer
// came before it, or this is a copy), else of the nearest known of Refs, from the last to the root; else a new one named
// by the root of Refs, its Message-ID, or its Email, whichever it has first. Its Message-ID and its Refs that were not
// known then belong to that thread for good, whatever becomes of the message.
type NewMessage struct {
	Upstream uint32
	Flags    flag.Set
	Size     int64
	Date     int64 // seconds since 1970 UTC
	Zone     int16 // minutes east
	Identity message.Identity
	Content  *Content // nil: the body comes later; else durable in the blob store; Mailbox and UID are filled in
}

// Applied is what Apply did.
type Applied struct {
	Mailbox mailbox.ID     // which it was
	ModSeq  mailbox.ModSeq // the mailbox's HIGHESTMODSEQ now
	Changed bool           // whether clients see a change
	UIDs    []mailbox.UID  // one for each of New, in order; 0 where it was skipped
}

// PendingBody is a message without a body.
type PendingBody struct {
	UID      mailbox.UID
	Upstream uint32
	Size     int64
	Attempts int
}

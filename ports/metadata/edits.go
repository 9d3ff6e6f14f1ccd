package metadata

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/blob"
)

// Edits is what clients change in messages. Each call is one transaction; for an account that has an upstream it also
// appends to the account's mutation queue. A mailbox that does not exist, or is being deleted, is fault.NotFound.
//
// The queue is kept like this, whatever the kind of store:
//   - A message that is removed here while the upstream has it, or may get it, leaves a departed row (its local UID,
//     upstream UID, identity), which counts as known to the mirror: see UpstreamRow. It stays while its Expunge, a Copy or
//     Move from it, or its own placement is outstanding. One that none of these concerns any more, because the Expunge or
//     the Move was discarded, is forgotten, and the mailbox's Checkpoint.Synced cleared: the message comes back as new.
//   - A Flags mutation has only the flags that the edit changed here, unless FlagEdit.Again is set. Changes of flags of
//     one message merge into its last Flags mutation (flag.Op.Then, Version rises) unless a later Copy or Move has the
//     message as its source, or that mutation is Parked. A merged Op that is Empty stays: it has been sent, perhaps. Parked
//     ones lose the flags that a later change is about, and are dropped when none are left (mutation.Narrow).
//   - An Expunge drops the message's Flags mutations, unless a Copy or Move from the message is outstanding.
//   - A message whose placement is not Sent is unknown upstream. Removing one with an Append removes that and its Flags, and
//     copies that were made from it will be uploaded. Removing one with a Copy or Move removes that too, and a Move becomes
//     an Expunge of its source; but where a Copy or Move from the message is outstanding, everything is carried out as it
//     happened.
//   - A copy of a message whose Append is outstanding is an Append (mutation.Duplicate). Moving a message whose Append or
//     Move is not Sent, Parked or not, makes the target's mutation that Append or Move (mutation.Relocate). What a copy
//     made upstream lacks, because it is Parked, is queued as Flags of the target.
//   - What is removed is kept in the store's undo list (Retained) when its body is here; the source of a move is not: its
//     target is the message.
//   - An account without an upstream (account.Account.Local) has no queue and no departed rows.
type Edits interface {
	// EditFlags changes flags. Messages of the set that do not exist are skipped.
	EditFlags(ctx context.Context, acc account.ID, e FlagEdit) (FlagsEdited, error)
	// AddMessages puts messages, which have their Content and no Upstream (else fault.Invalid), at the end of a mailbox: all
	// or none.
	AddMessages(ctx context.Context, acc account.ID, e AddEdit) (Added, error)
	// CopyMessages copies or moves messages to another mailbox of the account, or to the same one (where a move gives
	// new UIDs, RFC 6851 section 3.3). Messages that do not exist are skipped. Copies share EMAILID, THREADID, dates,
	// flags and, where it is here, the body; SAVEDATE is e.Now.
	CopyMessages(ctx context.Context, acc account.ID, e CopyEdit) (Copied, error)
	// RemoveMessages expunges messages.
	RemoveMessages(ctx context.Context, acc account.ID, e RemoveEdit) (Removed, error)
}

// FlagMode says what FlagEdit.Flags are for.
type FlagMode uint8

// The modes of STORE (RFC 9051 section 6.4.6). ReplaceFlags means, for the queue, the additions and removals that take
// each message from what it has here to Flags.
const (
	AddFlags FlagMode = iota
	RemoveFlags
	ReplaceFlags
)

// FlagEdit is a STORE.
type FlagEdit struct {
	Mailbox   mailbox.ID
	UIDs      mailbox.Set
	Mode      FlagMode
	Flags     flag.Set
	Unchanged *mailbox.ModSeq // UNCHANGEDSINCE (RFC 7162 section 3.1.3): messages with a higher mod-sequence are left alone
	// Again, with AddFlags, queues the change for the messages that have all these flags already, and leaves the others
	// alone: replay puts flags back so that it took away upstream for a moment, unless a client takes them away, too. So it does
	// for copies that are to be made from these messages and have the flags: they may be made while these do not. Else
	// what changes nothing here is not queued.
	Again bool
	Now   time.Time
}

// FlagsEdited is what EditFlags did.
type FlagsEdited struct {
	ModSeq   mailbox.ModSeq // the mailbox's HIGHESTMODSEQ now
	Rows     []mailbox.Row  // every message of the set that exists and passed Unchanged, as it is now, in UID order
	Changed  mailbox.Set    // those of them whose flags changed
	Modified mailbox.Set    // those that failed Unchanged
}

// AddEdit is an APPEND, or a REPLACE (RFC 8508).
type AddEdit struct {
	Mailbox  mailbox.ID
	Messages []NewMessage
	Replaces mutation.Ref // with a UID: expunged in the same transaction; fault.NotFound when it does not exist
	// Restores is ids of the undo list (Retained.ID), which Messages were made from: they leave the list in the same
	// transaction, so that each comes back once; fault.Conflict when one is not on the account's list any more.
	Restores []int64
	Quota    int64 // see OverQuota; 0: none
	Now      time.Time
}

// OverQuota returns what an edit fails with, and changes nothing, that would grow its account beyond its Quota: Usage after
// it would be above both the Quota, in octets, and what Usage was before. The store finds that out in the edit's own
// transaction, so that of edits at the same time, in whichever mailboxes of the account, no two take the same room. Nothing
// else is ever refused so: what the upstream has always comes in, and then the account holds more than its quota.
func OverQuota(quota int64) error {
	return fault.Newf(fault.OverQuota, "", "the account may hold %d KiB", (quota+1023)/1024)
}

// Added is what AddMessages did.
type Added struct {
	UIDValidity uint32
	UIDs        []mailbox.UID // one for each message, rising
	ModSeq      mailbox.ModSeq
}

// CopyEdit is a COPY or MOVE.
type CopyEdit struct {
	From, To mailbox.ID
	UIDs     mailbox.Set
	Move     bool
	Quota    int64 // see OverQuota; 0: none. A move grows nothing
	Now      time.Time
}

// Copied is what CopyMessages did. Source and Target correspond, in order; both are empty when nothing existed.
type Copied struct {
	UIDValidity    uint32 // of To
	Source, Target []mailbox.UID
	FromModSeq     mailbox.ModSeq
	ToModSeq       mailbox.ModSeq
}

// RemoveEdit is an EXPUNGE.
type RemoveEdit struct {
	Mailbox mailbox.ID
	UIDs    mailbox.Set // nil: all
	Marked  bool        // only those that have \Deleted
	Now     time.Time
}

// Removed is what RemoveMessages did.
type Removed struct {
	UIDs   mailbox.Set
	ModSeq mailbox.ModSeq
}

// Folders is what clients change in the list of mailboxes. Each call is one transaction, and appends to the queue of an
// account that has an upstream.
type Folders interface {
	// CreateMailbox makes an empty, subscribed mailbox; fault.Exists when there is one of that name. A name that only
	// holds other mailboxes (NoSelect) is made a real one and keeps its id. The queue gets a Create and a Subscribe.
	CreateMailbox(ctx context.Context, acc account.ID, name string, attrs mailbox.Attr, now time.Time) (mailbox.Info, error)
	// DeleteMailbox hides a mailbox from clients at once: its name is free, its id is fault.NotFound to Mailboxes, Messages
	// and Edits. For an account with an upstream its rows stay, as Mirrored.Deleting, until the upstream has lost it too. One
	// that the upstream does not have is removed at once, with its mutations, and nothing is queued, unless something of
	// it was Sent, a Copy or Move from one of its messages is outstanding, or a Rename, which those below it need; what was
	// moved into it is expunged where it was. A Delete that was parked before is dropped. Behind the Delete of a subscribed mailbox the queue gets an Unsubscribe of its
	// name, with a zero Ref: it outlives the mailbox.
	DeleteMailbox(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) error
	// RenameMailboxes gives mailboxes new names, all or none: fault.Exists when a new name belongs to a mailbox that is
	// not among them. The first is the one that the client named; the others are below it. The queue gets one Rename, and
	// behind it, for each of them that is subscribed, an Unsubscribe of the old name, with a zero Ref, and a Subscribe under
	// the new one; for a mailbox that the upstream does not have yet only the latter, in place of what is queued.
	// What is queued so behind a Rename or Delete is dropped when that is parked or discarded, and comes back with a retry.
	RenameMailboxes(ctx context.Context, acc account.ID, renames []Rename, now time.Time) error
	// Subscribe sets whether a mailbox is subscribed. Nothing is queued when it is so already.
	Subscribe(ctx context.Context, acc account.ID, id mailbox.ID, on bool, now time.Time) error
}

// Rename is a mailbox's new name.
type Rename struct {
	ID   mailbox.ID
	Name string
}

// Queue is what carries the mutation queue out. Writes that carry a Fence are the account owner's.
type Queue interface {
	// Mutations returns the queue after an id, in order, at most limit.
	Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) ([]Queued, error)
	// Intend marks placements, creations, deletions and renames Sent with their intents, before they are sent. It returns
	// those that were still Waiting, or Sent already, which keep their first intents; others must not be sent: a client
	// took them back, or they are Parked. What can be repeated is returned and not marked. A mailbox into which something is
	// placed and that was never looked at gets the intent's UIDValidity as its Checkpoint's: it is known by that when somebody
	// renames it before the outcome is known.
	Intend(ctx context.Context, f Fence, intents []Intended) ([]mutation.ID, error)
	// Settle records outcomes; those of mutations that are not in the queue any more are skipped. It returns the mailboxes
	// that clients see changed.
	Settle(ctx context.Context, f Fence, now time.Time, outcomes []Outcome) ([]Applied, error)
	// QueueSummary counts an account's queue.
	QueueSummary(ctx context.Context, acc account.ID) (QueueSummary, error)
	// Resolve is a person's word on parked or waiting mutations: retry makes them Waiting, at once, and for a parked Copy, and
	// every Copy into the mailbox of a parked Create, queues as Flags of the copy, and of what was made from it, what takes the
	// flags that its source has now to those that these have; else they are
	// discarded, which gives up the local side: flags fall back to the upstream's at the next full look (the mailbox's
	// Checkpoint.Synced is cleared), a placed message is removed (and, for a Move, its source comes back as a new message),
	// an expunged message comes back as a new one, a created mailbox that the upstream does not have is removed, a deleted
	// one comes back, a renamed one gets its upstream name back. fault.NotFound when there is no such mutation,
	// fault.Conflict for one that is Sent. A parked Delete that is retried hides the mailbox again, with what is known to be in
	// it now; a mailbox that comes back has its name, or the next free one.
	Resolve(ctx context.Context, acc account.ID, id mutation.ID, retry bool, now time.Time) error
}

// Queued is a mutation with what its messages and mailboxes are upstream now.
type Queued struct {
	mutation.Mutation
	Upstream       uint32           // of Ref: its upstream UID; 0: not there (yet)
	SourceUpstream uint32           // of Source: the same; 0 also when it is gone there
	SourceHere     bool             // Source has a row, or a departed one, in a mailbox that the upstream has
	Email          mailbox.ObjectID // of Ref
	Departed       bool             // Ref is gone here
	Row            mailbox.Row      // placements: the message as it is here, to be uploaded; zero when Departed
	Content        *Content         // placements: Blob and Size where the body is here, else nil
}

// Intended is what Intend records of one mutation.
type Intended struct {
	ID     mutation.ID
	Intent mutation.Intent
}

// Verdict is how an attempt ended.
type Verdict uint8

// The verdicts.
const (
	// Done: the upstream has it. The mutation is removed, unless its Version rose meanwhile (it stays Waiting). A placement
	// binds Ref to Outcome.Upstream (0: it is not known; the mailbox's next look binds it by identity); a Move and an
	// Expunge forget the departed row; a Create, Rename or Delete writes Outcome.Raw, or removes the mailbox. Where another
	// message has that upstream UID already, it was taken in by mistake: it is removed, as if it had never been.
	Done Verdict = iota
	// Again: it is Waiting, not before Next; Attempts rises. A placement whose Ref departed is given up when its Ref is
	// only to be expunged, as if it had been Waiting when the message was removed, and an Append always: what was made
	// from it will be uploaded.
	Again
	// Park: it is Parked with Reason. Of a Flags mutation what later ones of the message are about is left out, nothing is
	// left of it when the message was moved since, and what was copied or moved since gets it as Flags of its own
	// (mutation.Parting). A parked Delete brings the mailbox back under its name, or the next free one. A
	// placement whose Ref departed is given up as for Again, a Copy or Move also when something was made from it; a Move whose
	// message was only moved on leaves its source to that Move (mutation.Shorten). An
	// Unsubscribe of a name that no mailbox has (a zero Ref) is Done: there is nothing to decide about.
	Park
)

// Outcome is what became of one mutation.
type Outcome struct {
	ID       mutation.ID
	Version  int
	Verdict  Verdict
	Upstream uint32
	// Left says, for a Move that is Done, that its source may be upstream still: it stays departed, and an Expunge of it is
	// queued.
	Left bool
	// Uploaded is, for a Copy or Move that is Done, with which flags it was uploaded; nil: it was not. What is to be
	// made from it gets as Flags what takes them from these to what they have here.
	Uploaded *flag.Set
	Raw      []RawName // Create, Rename: the upstream names that the mailboxes have now
	// Rest is, for a Flags mutation that is parked, the part that the upstream does not take: the rest of it was carried
	// out, and the mutation's Op becomes Rest. Empty: its Op stays as it is. One whose Version rose meanwhile is not parked
	// but stays Waiting.
	Rest   flag.Op
	Reason string
	Next   time.Time
}

// RawName is a mailbox's name upstream.
type RawName struct {
	ID        mailbox.ID
	Name      string
	Delimiter byte
}

// QueueSummary is an account's queue in figures.
type QueueSummary struct {
	Waiting, Sent, Parked int
	Oldest                time.Time // when the oldest was made; zero: the queue is empty
}

// Undo is the list of messages that were removed, here or upstream, while their bodies are kept.
type Undo interface {
	// Retained calls fn for each message removed since a time from mailboxes of that name ("": any), the oldest first.
	Retained(ctx context.Context, acc account.ID, name string, since time.Time, fn func(Retained) error) error
	// PurgeRetained forgets what was removed before, and returns how much, also with an error. A long list goes in pieces.
	PurgeRetained(ctx context.Context, before time.Time) (int, error)
}

// Retained is a removed message.
type Retained struct {
	ID      int64
	Mailbox string // its name then
	Removed time.Time
	Row     mailbox.Row // Flags, Size, Date, Zone
	Content Content     // Blob, Size and Fragments
}

// References tells which blobs are needed, for sweeping the others.
type References interface {
	// References calls fn for the key of every blob that a message (a hidden mailbox's too) or the undo list of the user's
	// accounts names, or of all accounts for 0, in any order, doubled or not, all read at one moment.
	References(ctx context.Context, user account.UserID, fn func(blob.Key) error) error
}

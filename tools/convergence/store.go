package main

import (
	"context"
	"time"

	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// store is the metadata store as one process sees it.
type store struct {
	lane
	db   database
	left func(ctx context.Context, acc account.ID, id mailbox.ID) error // is told of deleted mailboxes; nil: nobody is
}

var (
	_ syncer.Accounts    = store{}
	_ syncer.Leases      = store{}
	_ metadata.Statuses  = store{}
	_ metadata.Mailboxes = store{}
	_ metadata.Messages  = store{}
	_ metadata.Mirror    = store{}
	_ metadata.Bodies    = store{}
	_ metadata.Edits     = store{}
	_ metadata.Folders   = store{}
	_ metadata.Queue     = store{}
)

func (s store) CreateAccount(ctx context.Context, a account.Account) (account.Account, error) {
	return call(s.lane, "CreateAccount", true, func() (account.Account, error) { return s.db.CreateAccount(ctx, a) })
}

func (s store) Accounts(ctx context.Context, user account.UserID) ([]account.Account, error) {
	return call(s.lane, "Accounts", false, func() ([]account.Account, error) { return s.db.Accounts(ctx, user) })
}

func (s store) Account(ctx context.Context, id account.ID) (account.Account, error) {
	return call(s.lane, "Account", false, func() (account.Account, error) { return s.db.Account(ctx, id) })
}

func (s store) UpdateAccount(ctx context.Context, a account.Account) error {
	return do(s.lane, "UpdateAccount", true, func() error { return s.db.UpdateAccount(ctx, a) })
}

func (s store) DeleteAccount(ctx context.Context, id account.ID) error {
	return do(s.lane, "DeleteAccount", true, func() error { return s.db.DeleteAccount(ctx, id) })
}

func (s store) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	return call(s.lane, "Acquire", true, func() (metadata.Fence, error) { return s.db.Acquire(ctx, id, owner, now, ttl) })
}

func (s store) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	return do(s.lane, "Renew", true, func() error { return s.db.Renew(ctx, f, now, ttl) })
}

func (s store) Release(ctx context.Context, f metadata.Fence) error {
	return do(s.lane, "Release", true, func() error { return s.db.Release(ctx, f) })
}

func (s store) RenewAll(ctx context.Context, owner string, now time.Time, ttl time.Duration) (int, error) {
	return call(s.lane, "RenewAll", true, func() (int, error) { return s.db.RenewAll(ctx, owner, now, ttl) })
}

func (s store) Held(ctx context.Context, owner string) ([]metadata.Fence, error) {
	return call(s.lane, "Held", false, func() ([]metadata.Fence, error) { return s.db.Held(ctx, owner) })
}

func (s store) Acquirable(ctx context.Context, now time.Time) ([]metadata.Acquirable, error) {
	return call(s.lane, "Acquirable", false, func() ([]metadata.Acquirable, error) { return s.db.Acquirable(ctx, now) })
}

func (s store) AcquireAll(
	ctx context.Context, ids []account.ID, owner string, now time.Time, ttl time.Duration,
) ([]metadata.Fence, error) {
	return call(s.lane, "AcquireAll", true, func() ([]metadata.Fence, error) { return s.db.AcquireAll(ctx, ids, owner, now, ttl) })
}

func (s store) ReleaseAll(ctx context.Context, owner string, now time.Time) error {
	return do(s.lane, "ReleaseAll", true, func() error { return s.db.ReleaseAll(ctx, owner, now) })
}

func (s store) Owners(ctx context.Context, now time.Time) ([]string, error) {
	return call(s.lane, "Owners", false, func() ([]string, error) { return s.db.Owners(ctx, now) })
}

func (s store) Queues(ctx context.Context, owner string) ([]metadata.QueueState, error) {
	return call(s.lane, "Queues", false, func() ([]metadata.QueueState, error) { return s.db.Queues(ctx, owner) })
}

func (s store) SetStatus(ctx context.Context, f metadata.Fence, st account.Status) error {
	return do(s.lane, "SetStatus", true, func() error { return s.db.SetStatus(ctx, f, st) })
}

func (s store) Status(ctx context.Context, id account.ID) (account.Status, error) {
	return call(s.lane, "Status", false, func() (account.Status, error) { return s.db.Status(ctx, id) })
}

func (s store) Mailboxes(ctx context.Context, acc account.ID) ([]mailbox.Info, error) {
	return call(s.lane, "Mailboxes", false, func() ([]mailbox.Info, error) { return s.db.Mailboxes(ctx, acc) })
}

func (s store) Mailbox(ctx context.Context, acc account.ID, id mailbox.ID) (mailbox.Info, error) {
	return call(s.lane, "Mailbox", false, func() (mailbox.Info, error) { return s.db.Mailbox(ctx, acc, id) })
}

func (s store) Usage(ctx context.Context, acc account.ID) (int64, error) {
	return call(s.lane, "Usage", false, func() (int64, error) { return s.db.Usage(ctx, acc) })
}

func (s store) ClaimRecent(ctx context.Context, acc account.ID, id mailbox.ID, upTo mailbox.UID) (mailbox.UID, error) {
	return call(s.lane, "ClaimRecent", true, func() (mailbox.UID, error) { return s.db.ClaimRecent(ctx, acc, id, upTo) })
}

func (s store) Changes(ctx context.Context, acc account.ID, id mailbox.ID, since mailbox.ModSeq) (mailbox.Delta, error) {
	return call(s.lane, "Changes", false, func() (mailbox.Delta, error) { return s.db.Changes(ctx, acc, id, since) })
}

func (s store) Identities(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, fn func(metadata.Identity) error) error {
	return do(s.lane, "Identities", false, func() error { return s.db.Identities(ctx, acc, id, uids, fn) })
}

func (s store) Contents(
	ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, want metadata.Want, fn func(*metadata.Content) error,
) error {
	return do(s.lane, "Contents", false, func() error { return s.db.Contents(ctx, acc, id, uids, want, fn) })
}

func (s store) Mirrored(ctx context.Context, acc account.ID) ([]metadata.Mirrored, error) {
	return call(s.lane, "Mirrored", false, func() ([]metadata.Mirrored, error) { return s.db.Mirrored(ctx, acc) })
}

func (s store) SaveMailbox(ctx context.Context, f metadata.Fence, m metadata.Mirrored) (metadata.Mirrored, error) {
	return call(s.lane, "SaveMailbox", true, func() (metadata.Mirrored, error) { return s.db.SaveMailbox(ctx, f, m) })
}

func (s store) RemoveMailbox(ctx context.Context, f metadata.Fence, id mailbox.ID) error {
	return do(s.lane, "RemoveMailbox", true, func() error { return s.db.RemoveMailbox(ctx, f, id) })
}

func (s store) UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	return do(s.lane, "UpstreamRows", false, func() error { return s.db.UpstreamRows(ctx, acc, id, fn) })
}

func (s store) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (metadata.Applied, error) {
	return call(s.lane, "Apply", true, func() (metadata.Applied, error) { return s.db.Apply(ctx, f, u) })
}

func (s store) Pending(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) ([]metadata.PendingBody, error) {
	return call(s.lane, "Pending", false, func() ([]metadata.PendingBody, error) { return s.db.Pending(ctx, acc, id, now) })
}

func (s store) StoreContents(ctx context.Context, f metadata.Fence, contents []metadata.Content) error {
	return do(s.lane, "StoreContents", true, func() error { return s.db.StoreContents(ctx, f, contents) })
}

func (s store) AddContents(ctx context.Context, acc account.ID, contents []metadata.Content) error {
	return do(s.lane, "AddContents", true, func() error { return s.db.AddContents(ctx, acc, contents) })
}

func (s store) Unfetchable(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID, why string, next time.Time) error {
	return do(s.lane, "Unfetchable", true, func() error { return s.db.Unfetchable(ctx, f, id, uid, why, next) })
}

func (s store) DropContent(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID) error {
	return do(s.lane, "DropContent", true, func() error { return s.db.DropContent(ctx, f, id, uid) })
}

func (s store) EditFlags(ctx context.Context, acc account.ID, e metadata.FlagEdit) (metadata.FlagsEdited, error) {
	return call(s.lane, "EditFlags", true, func() (metadata.FlagsEdited, error) { return s.db.EditFlags(ctx, acc, e) })
}

func (s store) AddMessages(ctx context.Context, acc account.ID, e metadata.AddEdit) (metadata.Added, error) {
	return call(s.lane, "AddMessages", true, func() (metadata.Added, error) { return s.db.AddMessages(ctx, acc, e) })
}

func (s store) CopyMessages(ctx context.Context, acc account.ID, e metadata.CopyEdit) (metadata.Copied, error) {
	return call(s.lane, "CopyMessages", true, func() (metadata.Copied, error) { return s.db.CopyMessages(ctx, acc, e) })
}

func (s store) RemoveMessages(ctx context.Context, acc account.ID, e metadata.RemoveEdit) (metadata.Removed, error) {
	return call(s.lane, "RemoveMessages", true, func() (metadata.Removed, error) { return s.db.RemoveMessages(ctx, acc, e) })
}

func (s store) CreateMailbox(ctx context.Context, acc account.ID, name string, attrs mailbox.Attr, now time.Time) (mailbox.Info, error) {
	return call(s.lane, "CreateMailbox", true, func() (mailbox.Info, error) {
		return s.db.CreateMailbox(ctx, acc, name, attrs, now)
	})
}

func (s store) DeleteMailbox(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) error {
	return do(s.lane, "DeleteMailbox", true, func() error {
		err := s.db.DeleteMailbox(ctx, acc, id, now)
		if err == nil && s.left != nil {
			err = s.left(ctx, acc, id)
		}
		return err
	})
}

func (s store) RenameMailboxes(ctx context.Context, acc account.ID, renames []metadata.Rename, now time.Time) error {
	return do(s.lane, "RenameMailboxes", true, func() error { return s.db.RenameMailboxes(ctx, acc, renames, now) })
}

func (s store) Subscribe(ctx context.Context, acc account.ID, id mailbox.ID, on bool, now time.Time) error {
	return do(s.lane, "Subscribe", true, func() error { return s.db.Subscribe(ctx, acc, id, on, now) })
}

func (s store) Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) ([]metadata.Queued, error) {
	return call(s.lane, "Mutations", false, func() ([]metadata.Queued, error) { return s.db.Mutations(ctx, acc, after, limit) })
}

func (s store) Intend(ctx context.Context, f metadata.Fence, intents []metadata.Intended) ([]mutation.ID, error) {
	return call(s.lane, "Intend", true, func() ([]mutation.ID, error) { return s.db.Intend(ctx, f, intents) })
}

func (s store) Settle(ctx context.Context, f metadata.Fence, now time.Time, outcomes []metadata.Outcome) ([]metadata.Applied, error) {
	return call(s.lane, "Settle", true, func() ([]metadata.Applied, error) { return s.db.Settle(ctx, f, now, outcomes) })
}

func (s store) QueueSummary(ctx context.Context, acc account.ID) (metadata.QueueSummary, error) {
	return call(s.lane, "QueueSummary", false, func() (metadata.QueueSummary, error) { return s.db.QueueSummary(ctx, acc) })
}

func (s store) Resolve(ctx context.Context, acc account.ID, id mutation.ID, retry bool, now time.Time) error {
	return do(s.lane, "Resolve", true, func() error { return s.db.Resolve(ctx, acc, id, retry, now) })
}

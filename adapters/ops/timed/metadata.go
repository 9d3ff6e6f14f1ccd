package timed

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// Metadata is a store of everything but raw messages: all interfaces of ports/metadata.
type Metadata interface {
	metadata.Users
	metadata.Accounts
	metadata.AccountReader
	metadata.Logins
	metadata.Statuses
	metadata.Leases
	metadata.NodeLeases
	metadata.Owners
	metadata.Mailboxes
	metadata.Messages
	metadata.Mirror
	metadata.Bodies
	metadata.Edits
	metadata.Folders
	metadata.Queue
	metadata.Undo
	metadata.References
	metadata.Installation
}

// NewMetadata returns a store that is next, timed. Methods that ports gain later pass through without being timed.
func NewMetadata(next Metadata, o Observe) Metadata { return &store{next, o} }

// store is what NewMetadata returns.
type store struct {
	Metadata
	observe Observe
}

// Installation implements metadata.Installation.
func (st *store) Installation(ctx context.Context) (blob.Installation, error) {
	began := time.Now()
	v, err := st.Metadata.Installation(ctx)
	st.observe("installation", time.Since(began), err)
	return v, err
}

// CreateUser implements metadata.Users.
func (st *store) CreateUser(ctx context.Context, u account.User) (account.User, error) {
	began := time.Now()
	v, err := st.Metadata.CreateUser(ctx, u)
	st.observe("create_user", time.Since(began), err)
	return v, err
}

// User implements metadata.Users.
func (st *store) User(ctx context.Context, name string) (account.User, error) {
	began := time.Now()
	v, err := st.Metadata.User(ctx, name)
	st.observe("user", time.Since(began), err)
	return v, err
}

// Users implements metadata.Users.
func (st *store) Users(ctx context.Context) ([]account.User, error) {
	began := time.Now()
	v, err := st.Metadata.Users(ctx)
	st.observe("users", time.Since(began), err)
	return v, err
}

// UpdateUser implements metadata.Users.
func (st *store) UpdateUser(ctx context.Context, u account.User) error {
	began := time.Now()
	err := st.Metadata.UpdateUser(ctx, u)
	st.observe("update_user", time.Since(began), err)
	return err
}

// CreateAccount implements metadata.Accounts.
func (st *store) CreateAccount(ctx context.Context, a account.Account) (account.Account, error) {
	began := time.Now()
	v, err := st.Metadata.CreateAccount(ctx, a)
	st.observe("create_account", time.Since(began), err)
	return v, err
}

// Accounts implements metadata.Accounts.
func (st *store) Accounts(ctx context.Context, user account.UserID) ([]account.Account, error) {
	began := time.Now()
	v, err := st.Metadata.Accounts(ctx, user)
	st.observe("accounts", time.Since(began), err)
	return v, err
}

// Account implements metadata.AccountReader.
func (st *store) Account(ctx context.Context, id account.ID) (account.Account, error) {
	began := time.Now()
	v, err := st.Metadata.Account(ctx, id)
	st.observe("account", time.Since(began), err)
	return v, err
}

// Logins implements metadata.Logins.
func (st *store) Logins(ctx context.Context, email string, limit int) ([]metadata.Login, error) {
	began := time.Now()
	v, err := st.Metadata.Logins(ctx, email, limit)
	st.observe("logins", time.Since(began), err)
	return v, err
}

// UpdateAccount implements metadata.Accounts.
func (st *store) UpdateAccount(ctx context.Context, a account.Account) error {
	began := time.Now()
	err := st.Metadata.UpdateAccount(ctx, a)
	st.observe("update_account", time.Since(began), err)
	return err
}

// DeleteAccount implements metadata.Accounts.
func (st *store) DeleteAccount(ctx context.Context, id account.ID) error {
	began := time.Now()
	err := st.Metadata.DeleteAccount(ctx, id)
	st.observe("delete_account", time.Since(began), err)
	return err
}

// SetStatus implements metadata.Statuses.
func (st *store) SetStatus(ctx context.Context, f metadata.Fence, s account.Status) error {
	began := time.Now()
	err := st.Metadata.SetStatus(ctx, f, s)
	st.observe("set_status", time.Since(began), err)
	return err
}

// Status implements metadata.Statuses.
func (st *store) Status(ctx context.Context, id account.ID) (account.Status, error) {
	began := time.Now()
	v, err := st.Metadata.Status(ctx, id)
	st.observe("status", time.Since(began), err)
	return v, err
}

// Acquire implements metadata.Leases.
func (st *store) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	began := time.Now()
	v, err := st.Metadata.Acquire(ctx, id, owner, now, ttl)
	st.observe("acquire", time.Since(began), err)
	return v, err
}

// Renew implements metadata.Leases.
func (st *store) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	began := time.Now()
	err := st.Metadata.Renew(ctx, f, now, ttl)
	st.observe("renew", time.Since(began), err)
	return err
}

// Release implements metadata.Leases.
func (st *store) Release(ctx context.Context, f metadata.Fence) error {
	began := time.Now()
	err := st.Metadata.Release(ctx, f)
	st.observe("release", time.Since(began), err)
	return err
}

// RenewAll implements metadata.NodeLeases.
func (st *store) RenewAll(ctx context.Context, owner string, now time.Time, ttl time.Duration) (int, error) {
	began := time.Now()
	v, err := st.Metadata.RenewAll(ctx, owner, now, ttl)
	st.observe("renew_all", time.Since(began), err)
	return v, err
}

// Held implements metadata.NodeLeases.
func (st *store) Held(ctx context.Context, owner string) ([]metadata.Fence, error) {
	began := time.Now()
	v, err := st.Metadata.Held(ctx, owner)
	st.observe("held", time.Since(began), err)
	return v, err
}

// Acquirable implements metadata.NodeLeases.
func (st *store) Acquirable(ctx context.Context, now time.Time) ([]metadata.Acquirable, error) {
	began := time.Now()
	v, err := st.Metadata.Acquirable(ctx, now)
	st.observe("acquirable", time.Since(began), err)
	return v, err
}

// AcquireAll implements metadata.NodeLeases.
func (st *store) AcquireAll(ctx context.Context, ids []account.ID, owner string, now time.Time, ttl time.Duration) ([]metadata.Fence, error) {
	began := time.Now()
	v, err := st.Metadata.AcquireAll(ctx, ids, owner, now, ttl)
	st.observe("acquire_all", time.Since(began), err)
	return v, err
}

// ReleaseAll implements metadata.NodeLeases.
func (st *store) ReleaseAll(ctx context.Context, owner string, now time.Time) error {
	began := time.Now()
	err := st.Metadata.ReleaseAll(ctx, owner, now)
	st.observe("release_all", time.Since(began), err)
	return err
}

// Owners implements metadata.Owners.
func (st *store) Owners(ctx context.Context, now time.Time) ([]string, error) {
	began := time.Now()
	v, err := st.Metadata.Owners(ctx, now)
	st.observe("owners", time.Since(began), err)
	return v, err
}

// Queues implements metadata.Owners.
func (st *store) Queues(ctx context.Context, owner string) ([]metadata.QueueState, error) {
	began := time.Now()
	v, err := st.Metadata.Queues(ctx, owner)
	st.observe("queues", time.Since(began), err)
	return v, err
}

// Mailboxes implements metadata.Mailboxes.
func (st *store) Mailboxes(ctx context.Context, acc account.ID) ([]mailbox.Info, error) {
	began := time.Now()
	v, err := st.Metadata.Mailboxes(ctx, acc)
	st.observe("mailboxes", time.Since(began), err)
	return v, err
}

// Mailbox implements metadata.Mailboxes.
func (st *store) Mailbox(ctx context.Context, acc account.ID, id mailbox.ID) (mailbox.Info, error) {
	began := time.Now()
	v, err := st.Metadata.Mailbox(ctx, acc, id)
	st.observe("mailbox", time.Since(began), err)
	return v, err
}

// Usage implements metadata.Mailboxes.
func (st *store) Usage(ctx context.Context, acc account.ID) (int64, error) {
	began := time.Now()
	v, err := st.Metadata.Usage(ctx, acc)
	st.observe("usage", time.Since(began), err)
	return v, err
}

// ClaimRecent implements metadata.Mailboxes.
func (st *store) ClaimRecent(ctx context.Context, acc account.ID, id mailbox.ID, upTo mailbox.UID) (mailbox.UID, error) {
	began := time.Now()
	v, err := st.Metadata.ClaimRecent(ctx, acc, id, upTo)
	st.observe("claim_recent", time.Since(began), err)
	return v, err
}

// Changes implements metadata.Messages.
func (st *store) Changes(ctx context.Context, acc account.ID, id mailbox.ID, since mailbox.ModSeq) (mailbox.Delta, error) {
	began := time.Now()
	v, err := st.Metadata.Changes(ctx, acc, id, since)
	st.observe("changes", time.Since(began), err)
	return v, err
}

// Identities implements metadata.Messages.
func (st *store) Identities(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, fn func(metadata.Identity) error) error {
	began := time.Now()
	err := st.Metadata.Identities(ctx, acc, id, uids, fn)
	st.observe("identities", time.Since(began), err)
	return err
}

// Contents implements metadata.Messages.
func (st *store) Contents(ctx context.Context, acc account.ID, id mailbox.ID, uids mailbox.Set, want metadata.Want, fn func(*metadata.Content) error) error {
	began := time.Now()
	err := st.Metadata.Contents(ctx, acc, id, uids, want, fn)
	st.observe("contents", time.Since(began), err)
	return err
}

// Mirrored implements metadata.Mirror.
func (st *store) Mirrored(ctx context.Context, acc account.ID) ([]metadata.Mirrored, error) {
	began := time.Now()
	v, err := st.Metadata.Mirrored(ctx, acc)
	st.observe("mirrored", time.Since(began), err)
	return v, err
}

// SaveMailbox implements metadata.Mirror.
func (st *store) SaveMailbox(ctx context.Context, f metadata.Fence, m metadata.Mirrored) (metadata.Mirrored, error) {
	began := time.Now()
	v, err := st.Metadata.SaveMailbox(ctx, f, m)
	st.observe("save_mailbox", time.Since(began), err)
	return v, err
}

// RemoveMailbox implements metadata.Mirror.
func (st *store) RemoveMailbox(ctx context.Context, f metadata.Fence, id mailbox.ID) error {
	began := time.Now()
	err := st.Metadata.RemoveMailbox(ctx, f, id)
	st.observe("remove_mailbox", time.Since(began), err)
	return err
}

// UpstreamRows implements metadata.Mirror.
func (st *store) UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	began := time.Now()
	err := st.Metadata.UpstreamRows(ctx, acc, id, fn)
	st.observe("upstream_rows", time.Since(began), err)
	return err
}

// Apply implements metadata.Mirror.
func (st *store) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (metadata.Applied, error) {
	began := time.Now()
	v, err := st.Metadata.Apply(ctx, f, u)
	st.observe("apply", time.Since(began), err)
	return v, err
}

// Pending implements metadata.Bodies.
func (st *store) Pending(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) ([]metadata.PendingBody, error) {
	began := time.Now()
	v, err := st.Metadata.Pending(ctx, acc, id, now)
	st.observe("pending", time.Since(began), err)
	return v, err
}

// StoreContents implements metadata.Bodies.
func (st *store) StoreContents(ctx context.Context, f metadata.Fence, contents []metadata.Content) error {
	began := time.Now()
	err := st.Metadata.StoreContents(ctx, f, contents)
	st.observe("store_contents", time.Since(began), err)
	return err
}

// AddContents implements metadata.Bodies.
func (st *store) AddContents(ctx context.Context, acc account.ID, contents []metadata.Content) error {
	began := time.Now()
	err := st.Metadata.AddContents(ctx, acc, contents)
	st.observe("add_contents", time.Since(began), err)
	return err
}

// Unfetchable implements metadata.Bodies.
func (st *store) Unfetchable(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID, why string, next time.Time) error {
	began := time.Now()
	err := st.Metadata.Unfetchable(ctx, f, id, uid, why, next)
	st.observe("unfetchable", time.Since(began), err)
	return err
}

// DropContent implements metadata.Bodies.
func (st *store) DropContent(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID) error {
	began := time.Now()
	err := st.Metadata.DropContent(ctx, f, id, uid)
	st.observe("drop_content", time.Since(began), err)
	return err
}

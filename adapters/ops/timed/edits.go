package timed

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// EditFlags implements metadata.Edits.
func (st *store) EditFlags(ctx context.Context, acc account.ID, e metadata.FlagEdit) (metadata.FlagsEdited, error) {
	began := time.Now()
	v, err := st.Metadata.EditFlags(ctx, acc, e)
	st.observe("edit_flags", time.Since(began), err)
	return v, err
}

// AddMessages implements metadata.Edits.
func (st *store) AddMessages(ctx context.Context, acc account.ID, e metadata.AddEdit) (metadata.Added, error) {
	began := time.Now()
	v, err := st.Metadata.AddMessages(ctx, acc, e)
	st.observe("add_messages", time.Since(began), err)
	return v, err
}

// CopyMessages implements metadata.Edits.
func (st *store) CopyMessages(ctx context.Context, acc account.ID, e metadata.CopyEdit) (metadata.Copied, error) {
	began := time.Now()
	v, err := st.Metadata.CopyMessages(ctx, acc, e)
	st.observe("copy_messages", time.Since(began), err)
	return v, err
}

// RemoveMessages implements metadata.Edits.
func (st *store) RemoveMessages(ctx context.Context, acc account.ID, e metadata.RemoveEdit) (metadata.Removed, error) {
	began := time.Now()
	v, err := st.Metadata.RemoveMessages(ctx, acc, e)
	st.observe("remove_messages", time.Since(began), err)
	return v, err
}

// CreateMailbox implements metadata.Folders.
func (st *store) CreateMailbox(ctx context.Context, acc account.ID, name string, attrs mailbox.Attr, now time.Time) (mailbox.Info, error) {
	began := time.Now()
	v, err := st.Metadata.CreateMailbox(ctx, acc, name, attrs, now)
	st.observe("create_mailbox", time.Since(began), err)
	return v, err
}

// DeleteMailbox implements metadata.Folders.
func (st *store) DeleteMailbox(ctx context.Context, acc account.ID, id mailbox.ID, now time.Time) error {
	began := time.Now()
	err := st.Metadata.DeleteMailbox(ctx, acc, id, now)
	st.observe("delete_mailbox", time.Since(began), err)
	return err
}

// RenameMailboxes implements metadata.Folders.
func (st *store) RenameMailboxes(ctx context.Context, acc account.ID, renames []metadata.Rename, now time.Time) error {
	began := time.Now()
	err := st.Metadata.RenameMailboxes(ctx, acc, renames, now)
	st.observe("rename_mailboxes", time.Since(began), err)
	return err
}

// Subscribe implements metadata.Folders.
func (st *store) Subscribe(ctx context.Context, acc account.ID, id mailbox.ID, on bool, now time.Time) error {
	began := time.Now()
	err := st.Metadata.Subscribe(ctx, acc, id, on, now)
	st.observe("subscribe", time.Since(began), err)
	return err
}

// Mutations implements metadata.Queue.
func (st *store) Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) ([]metadata.Queued, error) {
	began := time.Now()
	v, err := st.Metadata.Mutations(ctx, acc, after, limit)
	st.observe("mutations", time.Since(began), err)
	return v, err
}

// Intend implements metadata.Queue.
func (st *store) Intend(ctx context.Context, f metadata.Fence, intents []metadata.Intended) ([]mutation.ID, error) {
	began := time.Now()
	v, err := st.Metadata.Intend(ctx, f, intents)
	st.observe("intend", time.Since(began), err)
	return v, err
}

// Settle implements metadata.Queue.
func (st *store) Settle(ctx context.Context, f metadata.Fence, now time.Time, outcomes []metadata.Outcome) ([]metadata.Applied, error) {
	began := time.Now()
	v, err := st.Metadata.Settle(ctx, f, now, outcomes)
	st.observe("settle", time.Since(began), err)
	return v, err
}

// QueueSummary implements metadata.Queue.
func (st *store) QueueSummary(ctx context.Context, acc account.ID) (metadata.QueueSummary, error) {
	began := time.Now()
	v, err := st.Metadata.QueueSummary(ctx, acc)
	st.observe("queue_summary", time.Since(began), err)
	return v, err
}

// Resolve implements metadata.Queue.
func (st *store) Resolve(ctx context.Context, acc account.ID, id mutation.ID, retry bool, now time.Time) error {
	began := time.Now()
	err := st.Metadata.Resolve(ctx, acc, id, retry, now)
	st.observe("resolve", time.Since(began), err)
	return err
}

// Retained implements metadata.Undo.
func (st *store) Retained(ctx context.Context, acc account.ID, name string, since time.Time, fn func(metadata.Retained) error) error {
	began := time.Now()
	err := st.Metadata.Retained(ctx, acc, name, since, fn)
	st.observe("retained", time.Since(began), err)
	return err
}

// PurgeRetained implements metadata.Undo.
func (st *store) PurgeRetained(ctx context.Context, before time.Time) (int, error) {
	began := time.Now()
	v, err := st.Metadata.PurgeRetained(ctx, before)
	st.observe("purge_retained", time.Since(began), err)
	return v, err
}

// References implements metadata.References.
func (st *store) References(ctx context.Context, user account.UserID, fn func(blob.Key) error) error {
	began := time.Now()
	err := st.Metadata.References(ctx, user, fn)
	st.observe("references", time.Since(began), err)
	return err
}

package syncer_test

import (
	"context"
	"time"

	"imapped/adapters/sqlite"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// steady is the store with writes that a canceled context does not interrupt.
type steady struct{ *sqlite.Store }

func (s steady) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	return s.Store.Acquire(context.WithoutCancel(ctx), id, owner, now, ttl)
}
func (s steady) Renew(ctx context.Context, f metadata.Fence, now time.Time, ttl time.Duration) error {
	return s.Store.Renew(context.WithoutCancel(ctx), f, now, ttl)
}
func (s steady) Release(ctx context.Context, f metadata.Fence) error {
	return s.Store.Release(context.WithoutCancel(ctx), f)
}
func (s steady) SetStatus(ctx context.Context, f metadata.Fence, st account.Status) error {
	return s.Store.SetStatus(context.WithoutCancel(ctx), f, st)
}
func (s steady) Apply(ctx context.Context, f metadata.Fence, u metadata.Update) (metadata.Applied, error) {
	return s.Store.Apply(context.WithoutCancel(ctx), f, u)
}
func (s steady) StoreContents(ctx context.Context, f metadata.Fence, c []metadata.Content) error {
	return s.Store.StoreContents(context.WithoutCancel(ctx), f, c)
}
func (s steady) SaveMailbox(ctx context.Context, f metadata.Fence, m metadata.Mirrored) (metadata.Mirrored, error) {
	return s.Store.SaveMailbox(context.WithoutCancel(ctx), f, m)
}
func (s steady) RemoveMailbox(ctx context.Context, f metadata.Fence, id mailbox.ID) error {
	return s.Store.RemoveMailbox(context.WithoutCancel(ctx), f, id)
}
func (s steady) Unfetchable(ctx context.Context, f metadata.Fence, id mailbox.ID, uid mailbox.UID, why string, next time.Time) error {
	return s.Store.Unfetchable(context.WithoutCancel(ctx), f, id, uid, why, next)
}

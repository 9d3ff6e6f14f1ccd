package session

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/mailbox"
)

// BodySource gets bodies that are not stored yet: the syncer of the account's owner.
type BodySource interface {
	// Fetch asks for the bodies, ahead of everything else that the syncer has to do, and returns when each is stored
	// or cannot be had (fault.Unavailable, with the reason). Several callers for one body cause one fetch.
	Fetch(ctx context.Context, acc account.ID, id mailbox.ID, uids []mailbox.UID) error
	// Stream is Fetch of one body that returns as soon as its size is known: reads of Bytes wait for what has not
	// arrived yet, and go on after a reconnect.
	Stream(ctx context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) (Bytes, error)
}

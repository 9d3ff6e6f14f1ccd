package secrets

import (
	"context"
	"strconv"

	"imapped/domain/account"
)

// DataKeys keeps a data key for each user, as a Sealer sealed it. A user's data key never changes; sealing it under
// another master key changes only its sealed form. With the user it is deleted, and what it sealed is unreadable.
type DataKeys interface {
	// DataKey returns the user's sealed data key. Where there is none it keeps fresh durably and returns it: all who ask
	// at a time get the same. fault.NotFound when there is no such user.
	DataKey(ctx context.Context, user account.UserID, fresh account.Secret) (account.Secret, error)
}

// SealedDataKeys exchanges the sealed forms of data keys when the master key changes.
type SealedDataKeys interface {
	// AllDataKeys returns the sealed data key of every user who has one.
	AllDataKeys(ctx context.Context) (map[account.UserID]account.Secret, error)
	// ResealDataKey gives the user the sealed data key to in place of from; fault.Conflict when it is not from any more,
	// fault.NotFound when there is no such user.
	ResealDataKey(ctx context.Context, user account.UserID, from, to account.Secret) error
}

// DataKeyContext is what a user's data key is bound to when it is sealed.
func DataKeyContext(user account.UserID) []byte {
	return strconv.AppendInt([]byte("blobs/"), int64(user), 10)
}

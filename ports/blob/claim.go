package blob

import (
	"context"
	"encoding/hex"

	"imapped/domain/fault"
)

// Installation is the id of a metadata store: 128 random bits, made with its schema. A copy of the database has the same.
type Installation [16]byte

// String returns the id in hex.
func (i Installation) String() string { return hex.EncodeToString(i[:]) }

// Owns says whether the id that a store of blobs noted is this one; fault.Forbidden: it is another's, as is what says nothing
// sensible.
func (i Installation) Owns(noted string) error {
	if noted == i.String() {
		return nil
	}
	other := "an unreadable id"
	if id, ok := ParseInstallation(noted); ok {
		other = id.String()
	}
	return fault.Newf(fault.Forbidden, "", "its messages belong to another database (%s) than this one (%v)", other, i)
}

// Claimable is a store of blobs that belongs to one installation: the one whose metadata names what is in it. Whatever that
// does not name is garbage, so nobody else may sweep it.
type Claimable interface {
	// Claim makes the store the installation's, durably, where it is nobody's. It is for ever, and of those who claim it at
	// the same time one gets it. fault.Forbidden: it is another's.
	Claim(ctx context.Context, by Installation) error
	// ClaimedBy makes sure that the store is the installation's, and writes nothing. fault.Forbidden: it is another's,
	// fault.NotFound: it is nobody's.
	ClaimedBy(ctx context.Context, by Installation) error
}

// ParseInstallation returns the id of its text; false when it is none.
func ParseInstallation(text string) (i Installation, ok bool) {
	if len(text) != hex.EncodedLen(len(i)) {
		return i, false
	}
	n, err := hex.Decode(i[:], []byte(text))
	return i, n == len(i) && err == nil
}

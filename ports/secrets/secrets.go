// Package secrets is the port that keeps upstream passwords, and the data keys of users, unreadable at rest.
//
// Invariants:
//  1. What Seal returned opens only with the same context bytes and a key that the sealer still has.
//  2. A sealed secret names the key that sealed it, so that keys can be rotated.
package secrets

import "imapped/domain/account"

// Sealer seals and opens secrets.
type Sealer interface {
	// Seal encrypts plain under the current key and binds it to context (for example "account/email").
	Seal(plain, context []byte) (account.Secret, error)
	// Open decrypts. It fails with fault.NotFound when the key is not known, and with fault.Corrupt when the
	// secret was changed or belongs to another context.
	Open(secret account.Secret, context []byte) ([]byte, error)
}

// Package seal keeps upstream passwords unreadable at rest: XChaCha20-Poly1305 under keys derived from a master key.
//
// Invariants:
//  1. A sealed secret is version, salt, nonce, ciphertext with tag: 1 + 16 + 24 + n + 16 bytes. Its key is
//     HKDF-SHA256 of the master key with that salt; the context is authenticated with it.
//  2. A master key of random bytes is used as it is; a passphrase goes through Argon2id first, once, when the Sealer
//     is made. Its salt is fixed, because a passphrase from the environment has no place to keep one: what protects
//     it is its length, and Short refuses little.
//  3. A key's id is derived from the stretched key, one way, and says nothing about a passphrase that Argon2id does not
//     guard.
//  4. No key and no plaintext appears in an error.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/secrets"
)

var _ secrets.Sealer = (*Sealer)(nil)

const (
	version  = 1
	saltSize = 16
	header   = 1 + saltSize + chacha20poly1305.NonceSizeX

	// The least that is taken for a passphrase.
	minLength   = 16
	minDistinct = 6

	// Argon2id's cost (RFC 9106 section 4 recommends more memory; a start of a small server shall not need it).
	argonTime, argonMemoryKB, argonLanes = 3, 32 << 10, 1
	argonSalt                            = "imapped master key"
)

// Sealer seals under one key and opens under any that it was given.
type Sealer struct {
	current string            // the id of the key that seals
	keys    map[string][]byte // stretched master keys by id
}

// New returns a Sealer that seals under the current master key and opens what the old ones sealed too. A master key is
// at least 32 random bytes in hex or base64, or a passphrase of at least 16 characters; fault.Invalid for less.
func New(current string, old ...string) (*Sealer, error) {
	s := &Sealer{keys: map[string][]byte{}}
	for i, master := range append([]string{current}, old...) {
		key, err := stretch(master)
		if err != nil {
			return nil, err
		}
		id, err := fingerprint(key)
		if err != nil {
			return nil, fault.As(fault.Internal, "name the master key", err)
		}
		s.keys[id] = key
		if i == 0 {
			s.current = id
		}
	}
	return s, nil
}

// KeyID returns the id of the key that seals.
func (s *Sealer) KeyID() string { return s.current }

// Check says whether a text can be a master key, without the cost of New; fault.Invalid when it cannot.
func Check(master string) error {
	_, err := decode(master)
	return err
}

// decode returns the bytes of a master key that is random ones as text, and nil for a passphrase.
func decode(master string) ([]byte, error) {
	const op = "read the master key"
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(master); err == nil && len(key) >= chacha20poly1305.KeySize {
			if distinct(key) < minDistinct {
				return nil, fault.New(fault.Invalid, op, "it is not random: make one with \"openssl rand -base64 32\"")
			}
			return key, nil
		}
	}
	if len(master) < minLength || distinct([]byte(master)) < minDistinct {
		return nil, fault.Newf(fault.Invalid, op, "it is too short or too simple: at least 32 random bytes in base64 "+
			"(\"openssl rand -base64 32\") or a passphrase of at least %d characters", minLength)
	}
	return nil, nil
}

// stretch turns a master key as it is configured into key bytes.
func stretch(master string) ([]byte, error) {
	key, err := decode(master)
	if key != nil || err != nil {
		return key, err
	}
	return argon2.IDKey([]byte(master), []byte(argonSalt), argonTime, argonMemoryKB, argonLanes,
		chacha20poly1305.KeySize), nil
}

func distinct(b []byte) (n int) {
	var seen [256]bool
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

// fingerprint returns a key's id: 8 bytes in hex.
func fingerprint(key []byte) (string, error) {
	id, err := hkdf.Key(sha256.New, key, nil, "imapped key id", 8)
	return hex.EncodeToString(id), err
}

func aead(key, salt []byte) (cipher.AEAD, error) {
	sub, err := hkdf.Key(sha256.New, key, salt, "imapped secret", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(sub)
}

// Seal implements secrets.Sealer.
func (s *Sealer) Seal(plain, context []byte) (account.Secret, error) {
	sealed := make([]byte, header, header+len(plain)+chacha20poly1305.Overhead)
	sealed[0] = version
	if _, err := rand.Read(sealed[1:]); err != nil {
		return account.Secret{}, fault.As(fault.Internal, "seal a secret", err)
	}
	box, err := aead(s.keys[s.current], sealed[1:1+saltSize])
	if err != nil {
		return account.Secret{}, fault.As(fault.Internal, "seal a secret", err)
	}
	sealed = box.Seal(sealed, sealed[1+saltSize:header], plain, context)
	return account.Secret{KeyID: s.current, Sealed: sealed}, nil
}

// Open implements secrets.Sealer.
func (s *Sealer) Open(secret account.Secret, context []byte) ([]byte, error) {
	const op = "open a secret"
	key := s.keys[secret.KeyID]
	if key == nil {
		return nil, fault.Newf(fault.NotFound, op, "the master key %q that sealed it is not configured", secret.KeyID)
	}
	b := secret.Sealed
	if len(b) < header+chacha20poly1305.Overhead || b[0] != version {
		return nil, fault.New(fault.Corrupt, op, "the sealed bytes are not of a known form")
	}
	box, err := aead(key, b[1:1+saltSize])
	if err != nil {
		return nil, fault.As(fault.Internal, op, err)
	}
	plain, err := box.Open(nil, b[1+saltSize:header], b[header:], context)
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, "the sealed bytes were changed, or belong to something else")
	}
	return plain, nil
}

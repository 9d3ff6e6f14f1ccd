// Package secretstest is the contract suite of ports/secrets.
//
// Invariants:
//  1. It never prints a plaintext.
package secretstest

import (
	"bytes"
	"slices"
	"testing"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/secrets"
)

// Harness is one sealer under test, at three moments of a rotation of its key.
type Harness struct {
	Old     secrets.Sealer // has the old key only
	Rotated secrets.Sealer // seals under the new key and still has the old one
	New     secrets.Sealer // has the new key only
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	context := []byte("account/ann@example.org")
	seal := func(t *testing.T, s secrets.Sealer, plain, context []byte) account.Secret {
		t.Helper()
		secret, err := s.Seal(plain, context)
		if err != nil {
			t.Fatal(err)
		}
		if secret.KeyID == "" {
			t.Fatal("the secret does not name its key")
		}
		return secret
	}
	opens := func(t *testing.T, s secrets.Sealer, secret account.Secret, plain, context []byte) {
		t.Helper()
		got, err := s.Open(secret, context)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened: %v, equal: %v", err, bytes.Equal(got, plain))
		}
	}
	fails := func(t *testing.T, s secrets.Sealer, secret account.Secret, context []byte, kind fault.Kind) {
		t.Helper()
		if got, err := s.Open(secret, context); !fault.Is(err, kind) || got != nil {
			t.Fatalf("%d bytes and the error %v, want none and one of the kind %q", len(got), err, kind)
		}
	}

	t.Run("there and back", func(t *testing.T) {
		h := open(t)
		for _, plain := range [][]byte{nil, []byte("p"), []byte("pässword\x00\xff"), bytes.Repeat([]byte("x"), 100_000)} {
			for _, ctx := range [][]byte{nil, context} {
				secret := seal(t, h.Old, plain, ctx)
				opens(t, h.Old, secret, plain, ctx)
				if len(plain) > 5 && bytes.Contains(secret.Sealed, plain[:6]) {
					t.Fatal("the plaintext shows")
				}
			}
		}
	})

	t.Run("equal secrets look different", func(t *testing.T) {
		h := open(t)
		a, b := seal(t, h.Old, []byte("password"), context), seal(t, h.Old, []byte("password"), context)
		if bytes.Equal(a.Sealed, b.Sealed) || a.KeyID != b.KeyID {
			t.Fatal("two seals of one secret must differ, and name the same key")
		}
	})

	t.Run("bound to its context", func(t *testing.T) {
		h := open(t)
		secret := seal(t, h.Old, []byte("password"), context)
		fails(t, h.Old, secret, []byte("account/bob@example.org"), fault.Corrupt)
		fails(t, h.Old, secret, nil, fault.Corrupt)
	})

	t.Run("any change is noticed", func(t *testing.T) {
		h := open(t)
		secret := seal(t, h.Old, []byte("password"), context)
		for i := range secret.Sealed {
			changed := account.Secret{KeyID: secret.KeyID, Sealed: slices.Clone(secret.Sealed)}
			changed.Sealed[i] ^= 0x40
			fails(t, h.Old, changed, context, fault.Corrupt)
			fails(t, h.Old, account.Secret{KeyID: secret.KeyID, Sealed: secret.Sealed[:i]}, context, fault.Corrupt)
		}
		longer := account.Secret{KeyID: secret.KeyID, Sealed: append(slices.Clone(secret.Sealed), 0)}
		fails(t, h.Old, longer, context, fault.Corrupt)
	})

	t.Run("rotation", func(t *testing.T) {
		h := open(t)
		old := seal(t, h.Old, []byte("password"), context)
		opens(t, h.Rotated, old, []byte("password"), context)
		renewed := seal(t, h.Rotated, []byte("password"), context)
		if renewed.KeyID == old.KeyID {
			t.Fatal("another key must have another id")
		}
		opens(t, h.New, renewed, []byte("password"), context)
		fails(t, h.New, old, context, fault.NotFound)
		fails(t, h.Old, renewed, context, fault.NotFound)
		fails(t, h.New, account.Secret{KeyID: renewed.KeyID, Sealed: old.Sealed}, context, fault.Corrupt)
		fails(t, h.New, account.Secret{}, context, fault.NotFound)
	})
}

package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// fingerprintLabel keeps a fingerprint from being the hash of the bare value, which tables of such hashes would tell.
const fingerprintLabel = "imapped setting\x00"

// Secret is a value that prints as its fingerprint, whatever the verb. The zero value is the one that is not set.
type Secret struct{ value string }

// NewSecret returns the secret with the value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value itself.
func (s Secret) Reveal() string { return s.value }

// IsSet says whether there is a value.
func (s Secret) IsSet() bool { return s.value != "" }

// String returns the fingerprint: "sha256:" and the first 8 hex digits of SHA-256 over a fixed label and the value. It is
// "" for a secret that is not set. Two machines with the same fingerprint have the same secret; a short password can be
// guessed from it, so it belongs in no public place.
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	sum := sha256.Sum256([]byte(fingerprintLabel + s.value))
	return "sha256:" + hex.EncodeToString(sum[:4])
}

// Format implements fmt.Formatter: every verb prints the fingerprint.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, s.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON and log records.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"imapped/domain/fault"
)

// params is the cost of a hash.
type params struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// current is what new hashes cost: 19 MiB, two passes, one lane.
var current = params{memory: 19 << 10, time: 2, threads: 1}

// Bounds on what a stored hash may ask for, so that a damaged or planted one cannot exhaust the machine.
const (
	maxMemory  = 256 << 10
	maxTime    = 16
	maxThreads = 16
	saltLen    = 16
	keyLen     = 32
	maxKeyLen  = 128
)

var b64 = base64.RawStdEncoding

// phc is a parsed hash in the PHC string format: $argon2id$v=19$m=19456,t=2,p=1$salt$key.
type phc struct {
	params
	salt, key []byte
}

func parsePHC(s string) (phc, error) {
	bad := fault.New(fault.Corrupt, "read password hash", "not an Argon2id hash that can be checked")
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, bad
	}
	var h phc
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); n != 3 || err != nil {
		return phc{}, bad
	}
	var err1, err2 error
	h.salt, err1 = b64.DecodeString(f[4])
	h.key, err2 = b64.DecodeString(f[5])
	switch {
	case err1 != nil, err2 != nil,
		h.memory < 8*uint32(h.threads), h.memory > maxMemory, h.time < 1, h.time > maxTime,
		h.threads < 1, h.threads > maxThreads, len(h.salt) < 8, len(h.key) < 16, len(h.key) > maxKeyLen:
		return phc{}, bad
	}
	return h, nil
}

// CheckHash says whether a password can be checked against the hash; fault.Corrupt when not, without the hash in it.
func CheckHash(hash string) error {
	_, err := parsePHC(hash)
	return err
}

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

// derive computes the key of password under h's salt and cost.
func (h phc) derive(password string, size int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(size))
}

// Hash returns the hash of a new password, in the PHC string format. It waits while Config.Hashes hashes are being
// computed.
func (a *Auth) Hash(password string) (string, error) {
	a.hashes <- struct{}{}
	defer func() { <-a.hashes }()
	h := phc{params: current, salt: make([]byte, saltLen)}
	if _, err := rand.Read(h.salt); err != nil {
		return "", fault.As(fault.Internal, "hash password", err)
	}
	h.key = h.derive(password, keyLen)
	return h.String(), nil
}

// verify says whether password is the one of the stored hash. It waits for its turn; locked is asked once more then,
// so that attempts that came together cannot all slip through before the first of them has failed.
func (a *Auth) verify(ctx context.Context, stored, password string, locked func() error) (bool, error) {
	select {
	case a.hashes <- struct{}{}:
		defer func() { <-a.hashes }()
	case <-ctx.Done():
		return false, fault.As(fault.Canceled, "check password", ctx.Err())
	}
	if err := locked(); err != nil {
		return false, err
	}
	h, err := parsePHC(stored)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1, nil
}

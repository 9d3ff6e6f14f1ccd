package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"imapped/domain/account"
)

// maxRemembered bounds each of the two memories below.
const maxRemembered = 10_000

// verified remembers successful logins: which password was right for a hash, so that a client that reconnects need not
// wait for Argon2id, and from which addresses a user has logged in.
type verified struct {
	key [32]byte // random, of this process

	mu        sync.Mutex
	passwords map[[32]byte]time.Time // keyed hash of user, stored hash and password -> until when
	addresses map[string]time.Time   // user and address -> until when
}

func newVerified() *verified {
	v := &verified{passwords: map[[32]byte]time.Time{}, addresses: map[string]time.Time{}}
	// crypto/rand.Read does not fail: it ends the program when the system has no randomness.
	_, _ = rand.Read(v.key[:])
	return v
}

// mark returns the keyed hash under which a right password is remembered. A new stored hash makes another mark.
func (v *verified) mark(u account.User, password string) (sum [32]byte) {
	m := hmac.New(sha256.New, v.key[:])
	var n [8]byte
	for _, part := range []string{u.PasswordHash, password} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		m.Write(n[:])
		m.Write([]byte(part))
	}
	binary.BigEndian.PutUint64(n[:], uint64(u.ID))
	m.Write(n[:])
	m.Sum(sum[:0])
	return sum
}

func (v *verified) password(mark [32]byte, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Before(v.passwords[mark])
}

func (v *verified) address(pair string, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Before(v.addresses[pair])
}

// remember records a success. A zero mark is not recorded.
func (v *verified) remember(mark [32]byte, until time.Time, pair string, pairUntil, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if mark != ([32]byte{}) {
		makeRoom(v.passwords, now)
		v.passwords[mark] = until
	}
	makeRoom(v.addresses, now)
	v.addresses[pair] = pairUntil
}

// makeRoom drops what has expired once m is full, and failing that a tenth of the entries, whichever: so many logins
// are slow once more. It has work to do only once in many calls.
func makeRoom[K comparable](m map[K]time.Time, now time.Time) {
	if len(m) < maxRemembered {
		return
	}
	for k, until := range m {
		if !now.Before(until) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) <= maxRemembered*9/10 {
			return
		}
		delete(m, k)
	}
}

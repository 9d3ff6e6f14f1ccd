package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"imapped/adapters/s3"
	"imapped/adapters/s3/s3test"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/secrets"
	"imapped/ports/secrets/secretstest"
)

// box is a Sealer that puts the context before the plaintext, which is enough to see that both are used.
type box struct{}

func (box) Seal(plain, context []byte) (account.Secret, error) {
	return account.Secret{KeyID: "box", Sealed: fmt.Appendf(nil, "%s|%s", context, plain)}, nil
}

func (box) Open(s account.Secret, context []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(s.Sealed, fmt.Appendf(nil, "%s|", context))
	if !ok {
		return nil, fault.New(fault.Corrupt, "open", "another context")
	}
	return plain, nil
}

// keys are the data keys of users 1 to 9.
type keys struct {
	mu sync.Mutex
	m  map[account.UserID]account.Secret
}

func (k *keys) DataKey(_ context.Context, user account.UserID, fresh account.Secret) (account.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if user < 1 || user > 9 {
		return account.Secret{}, fault.New(fault.NotFound, "get data key", "no such user")
	}
	if _, ok := k.m[user]; !ok {
		k.m[user] = fresh
	}
	return k.m[user], nil
}

func newKeys() *keys { return &keys{m: map[account.UserID]account.Secret{}} }

func TestDataKeys(t *testing.T) {
	secretstest.RunDataKeys(t, func(*testing.T) (secrets.DataKeys, [2]account.UserID, account.UserID) {
		return newKeys(), [2]account.UserID{1, 9}, 10
	})
}

// TestUsers: what a user stores is theirs, nobody else finds it, and the bucket shows neither bytes nor keys.
func TestUsers(t *testing.T) {
	b, k := s3test.Fake(t).Bucket(t), newKeys()
	users := s3.NewUsers(open(t, b.Config), k, box{})
	mail := bytes.Repeat([]byte("Subject: the same for both\r\n"), 100)
	for _, user := range []account.UserID{1, 2} {
		s, err := users.Of(t.Context(), user)
		must(t, err)
		if _, err := s.Open(t.Context(), keyOf(mail)); !fault.Is(err, fault.NotFound) {
			t.Errorf("user %d finds what another one stored: %v", user, err)
		}
		must1(s.Put(t.Context(), mail))(t)
		holds(t, s, mail)
		n := 0
		for st, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) {
			must(t, err)
			if n++; st.Key != keyOf(mail) || st.Size != int64(len(mail)) {
				t.Errorf("user %d: listed %+v", user, st)
			}
		}
		if n != 1 {
			t.Errorf("user %d: %d blobs are listed", user, n)
		}
	}
	names := b.Names(t)
	if len(names) != 2 {
		t.Errorf("objects: %v", names)
	}
	for _, name := range names {
		if strings.Contains(name, keyOf(mail).String()) || bytes.Contains(b.Get(t, name), []byte("Subject")) {
			t.Errorf("the object %s shows what it is", name)
		}
	}
	// Another process, with the same keys, reads them; with other keys it finds nothing.
	again, err := s3.NewUsers(open(t, b.Config), k, box{}).For(t.Context(), 1)
	must(t, err)
	holds(t, again, mail)
	other, err := s3.NewUsers(open(t, b.Config), newKeys(), box{}).For(t.Context(), 1)
	must(t, err)
	if _, err := other.Open(t.Context(), keyOf(mail)); !fault.Is(err, fault.NotFound) {
		t.Errorf("with another data key: %v", err)
	}
	if _, err := users.For(t.Context(), 77); !fault.Is(err, fault.NotFound) {
		t.Errorf("nobody: %v", err)
	}
	// A data key that was moved to another user is refused.
	k.m[3] = k.m[1]
	if _, err := users.For(t.Context(), 3); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a moved data key: %v", err)
	}
}

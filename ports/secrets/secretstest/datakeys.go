package secretstest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/secrets"
)

// RunDataKeys runs the suite of secrets.DataKeys. open makes a fresh one with two users, and says who is not a user.
func RunDataKeys(t *testing.T, open func(t *testing.T) (keys secrets.DataKeys, users [2]account.UserID, nobody account.UserID)) {
	secret := func(n int) account.Secret {
		return account.Secret{KeyID: fmt.Sprint("key ", n), Sealed: bytes.Repeat([]byte{byte(n)}, 100)}
	}
	same := func(a, b account.Secret) bool { return a.KeyID == b.KeyID && bytes.Equal(a.Sealed, b.Sealed) }

	t.Run("the first one stays", func(t *testing.T) {
		keys, users, _ := open(t)
		for i, user := range users {
			for again := range 3 {
				got, err := keys.DataKey(t.Context(), user, secret(10*i+again))
				if err != nil || !same(got, secret(10*i)) {
					t.Fatalf("user %d, call %d: the first one: %v, %v", i, again, same(got, secret(10*i)), err)
				}
			}
		}
	})

	t.Run("all at a time get the same", func(t *testing.T) {
		keys, users, _ := open(t)
		got := make([]account.Secret, 16)
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() {
				var err error
				if got[i], err = keys.DataKey(t.Context(), users[0], secret(i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i := range got {
			if !same(got[i], got[0]) {
				t.Fatalf("caller %d got another key", i)
			}
		}
	})

	t.Run("nobody", func(t *testing.T) {
		keys, _, nobody := open(t)
		if _, err := keys.DataKey(t.Context(), nobody, secret(1)); !fault.Is(err, fault.NotFound) {
			t.Fatalf("%v, want one of the kind %q", err, fault.NotFound)
		}
	})
}

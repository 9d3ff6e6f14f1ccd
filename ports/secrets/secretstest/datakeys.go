package secretstest

import (
	"bytes"
	"fmt"
	"maps"
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

// SealedDataKeys is what RunSealedDataKeys tests.
type SealedDataKeys interface {
	secrets.DataKeys
	secrets.SealedDataKeys
}

// RunSealedDataKeys runs the suite of secrets.SealedDataKeys. open makes a fresh one as that of RunDataKeys does.
func RunSealedDataKeys(t *testing.T, open func(t *testing.T) (keys SealedDataKeys, users [2]account.UserID, nobody account.UserID)) {
	secret := func(id string, b byte) account.Secret {
		return account.Secret{KeyID: id, Sealed: bytes.Repeat([]byte{b}, 100)}
	}
	keys, users, nobody := open(t)
	ctx := t.Context()
	holds := func(want map[account.UserID]account.Secret) {
		t.Helper()
		got, err := keys.AllDataKeys(ctx)
		if err != nil || !maps.EqualFunc(got, want, func(a, b account.Secret) bool { return a.KeyID == b.KeyID && bytes.Equal(a.Sealed, b.Sealed) }) {
			t.Fatalf("%d data keys, not the %d that there are: %v", len(got), len(want), err)
		}
	}
	holds(nil)
	from, to := secret("old", 1), secret("new", 2)
	if err := keys.ResealDataKey(ctx, users[0], from, to); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a user without a data key: %v, want one of the kind %q", err, fault.Conflict)
	}
	if err := keys.ResealDataKey(ctx, nobody, from, to); !fault.Is(err, fault.NotFound) {
		t.Fatalf("nobody: %v, want one of the kind %q", err, fault.NotFound)
	}
	for _, user := range users {
		if _, err := keys.DataKey(ctx, user, from); err != nil {
			t.Fatal(err)
		}
	}
	holds(map[account.UserID]account.Secret{users[0]: from, users[1]: from})
	for _, wrong := range []account.Secret{{KeyID: "other", Sealed: from.Sealed}, {KeyID: from.KeyID, Sealed: to.Sealed}} {
		if err := keys.ResealDataKey(ctx, users[0], wrong, to); !fault.Is(err, fault.Conflict) {
			t.Fatalf("in place of what it is not: %v, want one of the kind %q", err, fault.Conflict)
		}
	}
	if err := keys.ResealDataKey(ctx, users[0], from, to); err != nil {
		t.Fatal(err)
	}
	holds(map[account.UserID]account.Secret{users[0]: to, users[1]: from})
	if got, err := keys.DataKey(ctx, users[0], from); err != nil || got.KeyID != to.KeyID {
		t.Fatalf("after the exchange the data key is sealed by %q, %v", got.KeyID, err)
	}
}

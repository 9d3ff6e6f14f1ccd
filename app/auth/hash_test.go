package auth

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
)

func TestHashesAreComputedOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Hashes: 1})
		a.hashes <- struct{}{} // somebody computes
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		open := func() error { return nil }
		if _, err := a.verify(ctx, a.decoy, "x", open); !fault.Is(err, fault.Canceled) {
			t.Errorf("waiting ended with %v", err)
		}
		<-a.hashes
		limit := fault.New(fault.Limit, "log in", "")
		if _, err := a.verify(t.Context(), a.decoy, "x", func() error { return limit }); !errors.Is(err, limit) {
			t.Errorf("locked while waiting: %v", err)
		}
	})
}

func TestMemoryOfLoginsIsBounded(t *testing.T) {
	v := newVerified()
	now := time.Unix(1_800_000_000, 0)
	for i := range 3 * maxRemembered {
		mark := v.mark(account.User{ID: account.UserID(i)}, "password")
		v.remember(mark, now.Add(time.Hour), fmt.Sprint(i), now.Add(time.Hour), now)
		if !v.password(mark, now) || !v.address(fmt.Sprint(i), now) {
			t.Fatalf("login %d is not remembered", i)
		}
		if v.password(mark, now.Add(time.Hour)) {
			t.Fatal("a login is remembered for too long")
		}
	}
	if len(v.passwords) > maxRemembered || len(v.addresses) > maxRemembered {
		t.Errorf("%d and %d entries", len(v.passwords), len(v.addresses))
	}
}

func TestMarksDiffer(t *testing.T) {
	v, other := newVerified(), newVerified()
	u := account.User{ID: 1, PasswordHash: "ab"}
	mark := v.mark(u, "cd")
	for what, m := range map[string][32]byte{
		"another process":  other.mark(u, "cd"),
		"another password": v.mark(u, "ce"),
		"another user":     v.mark(account.User{ID: 2, PasswordHash: "ab"}, "cd"),
		"shifted parts":    v.mark(account.User{ID: 1, PasswordHash: "abc"}, "d"),
	} {
		if m == mark {
			t.Errorf("%s has the same mark", what)
		}
	}
}

package admin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"imapped/app/admin"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mutation"
	"imapped/ports/audit"
	"imapped/ports/metadata"
)

// directory is the users of a store: ann.
type directory struct{}

func (directory) CreateUser(_ context.Context, u account.User) (account.User, error) {
	if u.Name == "ann" {
		return u, fault.New(fault.Exists, "create", "there is one")
	}
	return u, nil
}

func (directory) User(_ context.Context, name string) (account.User, error) {
	if name != "ann" {
		return account.User{}, fault.New(fault.NotFound, "find", "there is none")
	}
	return account.User{ID: 1, Name: name}, nil
}

func (directory) Users(context.Context) ([]account.User, error) { return nil, nil }

func (directory) UpdateUser(context.Context, account.User) error { return nil }

// accounts is the accounts of a store: one.
type accounts struct{}

func (accounts) CreateAccount(_ context.Context, a account.Account) (account.Account, error) {
	return a, nil
}

func (accounts) Accounts(context.Context, account.UserID) ([]account.Account, error) {
	return []account.Account{{ID: 1, User: 1, Email: "ann@example.org"}}, nil
}

func (accounts) UpdateAccount(context.Context, account.Account) error { return nil }
func (accounts) DeleteAccount(context.Context, account.ID) error      { return nil }

// sealer does not seal.
type sealer struct{}

func (sealer) Seal(plain, _ []byte) (account.Secret, error) {
	return account.Secret{Sealed: plain}, nil
}
func (sealer) Open(s account.Secret, _ []byte) ([]byte, error) { return s.Sealed, nil }

// records is an audit log.
type records struct{ all []audit.Record }

func (r *records) Record(_ context.Context, rec audit.Record) { r.all = append(r.all, rec) }

// outcomes is what was recorded, in short.
func (r *records) outcomes() string {
	var all []string
	for _, rec := range r.all {
		all = append(all, rec.Action+": "+rec.Subject+": "+rec.Outcome)
	}
	return strings.Join(all, "; ")
}

// TestActsAreRecorded: whatever changes something is told with who did it, to whom and how it ended, and without secrets.
func TestActsAreRecorded(t *testing.T) {
	var r records
	q := &queues{all: map[account.ID][]metadata.Queued{1: {queued(3, mutation.Flags, mutation.Parked)}}, boxes: map[account.ID][]metadata.Mirrored{}}
	s := admin.New(admin.Config{
		Users: directory{}, Accounts: accounts{}, Queue: q, Mirror: q, Sealer: sealer{}, Clock: fixedClock{}, Audit: &r, Actor: "root",
		Hash: func(string) (string, error) { return "$hash", nil },
	})
	ctx, secret := t.Context(), []byte("s3cret")
	_, _ = s.CreateUser(ctx, "bob", secret)
	_, _ = s.CreateUser(ctx, "ann", secret)
	_ = s.SetPassword(ctx, "ann", secret)
	_ = s.SetPassword(ctx, "nobody", secret)
	_ = s.SetDisabled(ctx, "ann", true)
	_ = s.SetDisabled(ctx, "ann", false)
	a, _ := s.AddAccount(ctx, admin.NewAccount{
		User: "ann", Email: "ann@example.com", Endpoint: account.Endpoint{Host: "h", Port: 993, TLS: account.TLSImplicit}, Secret: secret,
	})
	_, _ = s.AddAccount(ctx, admin.NewAccount{User: "ann", Email: strings.Repeat("x", 1000)})
	_, _ = s.UpdateUpstream(ctx, a, account.Endpoint{Host: "i", Port: 993, TLS: account.TLSImplicit}, secret)
	_, _ = s.SetPaused(ctx, "ann@example.org", true)
	_, _ = s.SetPaused(ctx, "ann@example.org", false)
	_ = s.DeleteAccount(ctx, "ann@example.org")
	_ = s.DeleteAccount(ctx, "nobody@example.org")
	_, _ = s.AddLocal(ctx, account.User{ID: 1}, "local@example.org")
	acc := account.Account{ID: 1, Email: "ann@example.org"}
	m, err := s.Mutation(ctx, []account.Account{acc}, 3)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Retry(ctx, m)
	_, _ = s.RetryParked(ctx, acc)
	_ = s.Discard(ctx, m)
	var got []string
	for _, rec := range r.all {
		if rec.Actor != "root" || len(rec.Subject) > audit.MaxText || strings.Contains(fmt.Sprint(rec), "s3cret") {
			t.Errorf("%+v", rec)
		}
		got = append(got, fmt.Sprintf("%s: %.30s: %s", rec.Action, rec.Subject, rec.Outcome))
	}
	want := []string{
		"create user: bob: ok", "create user: ann: exists", "set password: ann: ok", "set password: nobody: not found",
		"disable user: ann: ok", "enable user: ann: ok", "add account: ann ann@example.com: ok",
		"add account: ann " + strings.Repeat("x", 26) + ": invalid", "update account: ann@example.com: ok",
		"pause account: ann@example.org: ok", "resume account: ann@example.org: ok", "delete account: ann@example.org: ok",
		"delete account: nobody@example.org: not found", "add local account: local@example.org: ok",
		"retry mutation: ann@example.org 3 flags: ok", "retry parked mutations: ann@example.org: ok",
		"discard mutation: ann@example.org 3 flags: ok",
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

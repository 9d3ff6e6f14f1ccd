package admin_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/app/admin"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
)

// letters is a secrets.Sealer whose keys are letters: it puts the first before what it seals, and opens what begins with
// any.
type letters string

func (l letters) Seal(plain, _ []byte) (account.Secret, error) {
	return account.Secret{KeyID: string(l[:1]), Sealed: append([]byte(l[:1]), plain...)}, nil
}

func (l letters) Open(s account.Secret, _ []byte) ([]byte, error) {
	switch {
	case !strings.Contains(string(l), s.KeyID):
		return nil, fault.New(fault.NotFound, "open", "no key "+s.KeyID)
	case string(s.Sealed[:1]) != s.KeyID:
		return nil, fault.New(fault.Corrupt, "open", "changed")
	}
	return slices.Clone(s.Sealed[1:]), nil
}

// The ports as fields whose names are not those of methods.
type (
	userPort    = metadata.Users
	accountPort = metadata.Accounts
)

// people is users and accounts in memory, as far as the tests use them.
type people struct {
	userPort
	accountPort
	all      []account.User
	accounts []account.Account
	dataKeys map[account.UserID]account.Secret
	meddle   func() // what somebody else does before each secret is stored
}

func (p *people) User(_ context.Context, name string) (account.User, error) {
	for _, u := range p.all {
		if u.Name == name {
			return u, nil
		}
	}
	return account.User{}, fault.New(fault.NotFound, "user", "none")
}

func (p *people) CreateUser(_ context.Context, u account.User) (account.User, error) {
	p.all = append(p.all, u)
	return u, nil
}

func (p *people) Accounts(context.Context, account.UserID) ([]account.Account, error) {
	return slices.Clone(p.accounts), nil
}

func (p *people) Reseal(_ context.Context, id account.ID, from, to account.Secret) error {
	if p.meddle != nil {
		p.meddle()
	}
	for i := range p.accounts {
		if a := &p.accounts[i]; a.ID == id {
			if a.Secret.KeyID != from.KeyID || string(a.Secret.Sealed) != string(from.Sealed) {
				return fault.New(fault.Conflict, "reseal", "another secret")
			}
			a.Secret = to
			return nil
		}
	}
	return fault.New(fault.NotFound, "reseal", "none")
}

func (p *people) AllDataKeys(context.Context) (map[account.UserID]account.Secret, error) {
	return maps.Clone(p.dataKeys), nil
}

func (p *people) ResealDataKey(_ context.Context, user account.UserID, from, to account.Secret) error {
	if key, ok := p.dataKeys[user]; !ok || key.KeyID != from.KeyID || string(key.Sealed) != string(from.Sealed) {
		return fault.New(fault.Conflict, "reseal", "another data key")
	}
	p.dataKeys[user] = to
	return nil
}

// Now implements clock.Clock.
func (p *people) Now() time.Time { return time.Unix(1_800_000_000, 0) }

func sealedAs(id account.ID, key, sealed string) account.Account {
	return account.Account{ID: id, Email: "a" + string(rune('0'+id)) + "@example.org", Secret: account.Secret{KeyID: key, Sealed: []byte(sealed)}}
}

func TestReseal(t *testing.T) {
	local := account.Account{ID: 9, Local: true}
	for _, tt := range []struct {
		name     string
		accounts []account.Account
		meddle   func(p *people)
		want     []string // the secrets afterwards
		changed  int
		refused  []string // what the error names
	}{
		{"two keys", []account.Account{sealedAs(1, "o", "oone"), sealedAs(2, "n", "ntwo"), local}, nil, []string{"none", "ntwo", ""}, 1, nil},
		{"a lost key does not stop the others", []account.Account{sealedAs(1, "x", "xone"), sealedAs(2, "o", "otwo")}, nil,
			[]string{"xone", "ntwo"}, 1, []string{"a1@example.org", "no key x"}},
		{"a damaged secret", []account.Account{sealedAs(1, "o", "?one"), sealedAs(2, "o", "otwo")}, nil,
			[]string{"?one", "ntwo"}, 1, []string{"a1@example.org", "changed"}},
		{"a password changed meanwhile, under the new key", []account.Account{sealedAs(1, "o", "oone")},
			func(p *people) { p.accounts[0] = sealedAs(1, "n", "nother") }, []string{"nother"}, 0, nil},
		{"a password changed meanwhile, under the old key", []account.Account{sealedAs(1, "o", "oone")},
			func(p *people) { p.accounts[0] = sealedAs(1, "o", "oother") }, []string{"oother"}, 0, []string{"a1@example.org", "another secret"}},
		{"an account removed meanwhile", []account.Account{sealedAs(1, "o", "oone")}, func(p *people) { p.accounts = nil }, nil, 0, nil},
	} {
		p := &people{accounts: tt.accounts}
		if tt.meddle != nil {
			p.meddle = func() { tt.meddle(p) }
		}
		s := admin.New(admin.Config{Accounts: p, Sealer: letters("no")})
		done, err := s.Reseal(t.Context(), p, letters("n"))
		if (err == nil) != (tt.refused == nil) || done.Changed != tt.changed {
			t.Errorf("%s: %+v, %v", tt.name, done, err)
		}
		for _, text := range tt.refused {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, want %q in it", tt.name, err, text)
			}
		}
		var got []string
		for _, a := range p.accounts {
			got = append(got, string(a.Secret.Sealed))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: the secrets are %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestResealDataKeys: users' data keys are sealed anew beside the passwords of accounts, and one that does not open is named.
func TestResealDataKeys(t *testing.T) {
	p := &people{
		accounts: []account.Account{sealedAs(1, "o", "oone")},
		dataKeys: map[account.UserID]account.Secret{1: {KeyID: "o", Sealed: []byte("oann")}, 2: {KeyID: "n", Sealed: []byte("nbob")}},
	}
	r := &records{}
	s := admin.New(admin.Config{Accounts: p, Sealer: letters("no"), Audit: r})
	for _, changed := range []int{1, 0} {
		done, err := s.Reseal(t.Context(), p, letters("n"))
		if want := (admin.Resealed{Accounts: 1, DataKeys: 2, Changed: changed, Renewed: changed}); err != nil || done != want {
			t.Errorf("%+v, %v, want %+v", done, err, want)
		}
	}
	if ann, bob := p.dataKeys[1].Sealed, p.dataKeys[2].Sealed; string(ann) != "nann" || string(bob) != "nbob" {
		t.Errorf("the data keys are %q and %q", ann, bob)
	}
	p.dataKeys[1] = account.Secret{KeyID: "x", Sealed: []byte("xann")}
	if _, err := s.Reseal(t.Context(), p, letters("n")); err == nil || !strings.Contains(err.Error(), "the data key of user 1") {
		t.Errorf("a data key under a key that is lost: %v", err)
	}
	if got := r.outcomes(); got != "rotate key: all secrets: ok; rotate key: all secrets: ok; rotate key: all secrets: not found" {
		t.Errorf("recorded: %s", got)
	}
}

func TestBootstrap(t *testing.T) {
	p, r := &people{}, &records{}
	s := admin.New(admin.Config{Users: p, Clock: p, Audit: r, Hash: func(password string) (string, error) { return "hash of " + password, nil }})
	for _, tt := range []struct {
		name, password, hash string
		created              bool
	}{
		{"ann", "secret", "", true}, {"ann", "another", "", false}, {"bob", "", "ready", true}, {"bob", "", "other", false},
	} {
		if created, err := s.Bootstrap(t.Context(), tt.name, []byte(tt.password), tt.hash); created != tt.created || err != nil {
			t.Errorf("%+v: %v, %v", tt, created, err)
		}
	}
	if len(p.all) != 2 || p.all[0].PasswordHash != "hash of secret" || p.all[1].PasswordHash != "ready" {
		t.Errorf("users: %+v", p.all)
	}
	if _, err := s.Bootstrap(t.Context(), " ", []byte("x"), ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("a name that cannot be used: %v", err)
	}
	// What is there already at a start is nothing that anybody did.
	if got := r.outcomes(); got != "create the first user: ann: ok; create the first user: bob: ok; create the first user:  : invalid" {
		t.Errorf("recorded: %s", got)
	}
}

package sqlite_test

import (
	"path/filepath"
	"testing"

	"imapped/adapters/sqlite"
	"imapped/domain/account"
	"imapped/ports/metadata/metadatatest"
	"imapped/ports/secrets"
	"imapped/ports/secrets/secretstest"
)

// TestDataKeys runs the suites of data keys.
func TestDataKeys(t *testing.T) {
	start := func(t *testing.T) (secretstest.SealedDataKeys, [2]account.UserID, account.UserID) {
		s := open(t, filepath.Join(t.TempDir(), "meta.db"))
		t.Cleanup(func() { must(t, s.Close()) })
		var users [2]account.UserID
		for i, name := range []string{"ann", "bob"} {
			u, err := s.CreateUser(t.Context(), account.User{Name: name})
			must(t, err)
			users[i] = u.ID
		}
		return s, users, 999
	}
	secretstest.RunDataKeys(t, func(t *testing.T) (secrets.DataKeys, [2]account.UserID, account.UserID) { return start(t) })
	secretstest.RunSealedDataKeys(t, start)
}

// TestContract runs the port's suite.
func TestContract(t *testing.T) {
	metadatatest.Run(t, func(t *testing.T) metadatatest.Harness {
		path := filepath.Join(t.TempDir(), "meta.db")
		s := open(t, path)
		t.Cleanup(func() { must(t, s.Close()) })
		return metadatatest.Harness{
			Store: s,
			Reopen: func(t *testing.T) metadatatest.Store {
				must(t, s.Close())
				s = open(t, path)
				return s
			},
		}
	})
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Migrate: true})
	must(t, err)
	return s
}

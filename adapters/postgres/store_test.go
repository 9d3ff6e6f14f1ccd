package postgres_test

import (
	"os"
	"testing"

	"imapped/adapters/postgres"
	"imapped/adapters/postgres/pgtest"
	"imapped/domain/account"
	"imapped/ports/metadata/metadatatest"
	"imapped/ports/secrets"
	"imapped/ports/secrets/secretstest"
)

// server is the one that this package's tests share.
var server pgtest.Server

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, &server, &durable)) }

// database returns the URL of a new database with the newest schema.
func database(tb testing.TB) string {
	tb.Helper()
	return server.Like(tb, "migrated", func(url string) error { return postgres.Migrate(tb.Context(), url) })
}

func open(tb testing.TB, url string) *postgres.Store {
	tb.Helper()
	return openWith(tb, postgres.Options{URL: url, Connections: 4, CallerClock: true})
}

// openWith opens a store that is closed when the test ends.
func openWith(tb testing.TB, o postgres.Options) *postgres.Store {
	tb.Helper()
	s, err := postgres.Open(tb.Context(), o)
	must(tb, err)
	tb.Cleanup(func() { must(tb, s.Close()) })
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestDataKeys runs the suites of data keys.
func TestDataKeys(t *testing.T) {
	start := func(t *testing.T) (secretstest.SealedDataKeys, [2]account.UserID, account.UserID) {
		s := open(t, database(t))
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
		url := database(t)
		s := open(t, url)
		return metadatatest.Harness{
			Store: s,
			Reopen: func(t *testing.T) metadatatest.Store {
				must(t, s.Close())
				s = open(t, url)
				return s
			},
		}
	})
}

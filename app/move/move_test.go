package move_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"imapped/adapters/blobfs"
	"imapped/adapters/postgres"
	"imapped/adapters/postgres/pgtest"
	"imapped/adapters/sqlite"
	"imapped/app/move"
	"imapped/domain/account"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata/metadatatest"
	"imapped/ports/transfer"
)

var server pgtest.Server

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, &server)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// empty returns the URL of a new database with the newest schema.
func empty(t testing.TB) string {
	t.Helper()
	return server.Like(t, "migrated", func(url string) error { return postgres.Migrate(t.Context(), url) })
}

func openSQLite(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Migrate: true})
	must(t, err)
	return s
}

func openPostgres(t *testing.T, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Connections: 4, CallerClock: true})
	must(t, err)
	return s
}

func openBlobs(t *testing.T) *blobfs.Store {
	t.Helper()
	s, err := blobfs.Open(t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// open is a sealer that opens everything.
type open struct{}

func (open) Seal([]byte, []byte) (account.Secret, error) {
	return account.Secret{}, errors.New("nothing is sealed")
}
func (open) Open(account.Secret, []byte) ([]byte, error) { return nil, nil }

// run moves the database at path into that of url. change may change how.
func run(ctx context.Context, t testing.TB, path, url string, change func(*move.Config)) (move.Report, error) {
	t.Helper()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	must(t, err)
	accounts, err := s.Accounts(ctx, 0)
	must(t, errors.Join(err, s.Close()))
	e, err := sqlite.OpenExport(ctx, path)
	must(t, err)
	defer func() { must(t, e.Close()) }()
	i, err := postgres.OpenImport(ctx, url)
	must(t, err)
	defer func() { must(t, i.Close()) }()
	c := move.Config{
		Source: e, Bodies: e, Sink: i, From: everything{}, To: blob.Shared{Store: everything{}}, Accounts: accounts, Sealer: open{}, Clock: clock.System{},
		Rows: 7, Workers: 3,
	}
	if change != nil {
		change(&c)
	}
	return move.Run(ctx, c)
}

// unbatched has batches of the size that they have by default.
func unbatched(c *move.Config) { c.Rows, c.Workers = 0, 0 }

// everything is a store that has every blob.
type everything struct{}

func (everything) Put(context.Context, ...[]byte) ([]blob.Key, error) {
	return nil, errors.New("it is there")
}
func (everything) Create(context.Context) (blob.Writer, error)       { return nil, errors.New("it is there") }
func (everything) Open(context.Context, blob.Key) (blob.Blob, error) { return nothing{}, nil }

type nothing struct{ io.ReaderAt }

func (nothing) Size() int64  { return 0 }
func (nothing) Close() error { return nil }

// held is a source that tells who has the leases: they go on writing.
type held struct {
	transfer.Source
	owners map[int64]string // by account
}

// holders returns who has the leases of a store, of the owners that the suite has.
func holders(t *testing.T, s *sqlite.Store) map[int64]string {
	t.Helper()
	owners := map[int64]string{}
	for n := range 5 {
		name := fmt.Sprintf("node-%d", n)
		fences, err := s.Held(t.Context(), name)
		must(t, err)
		for _, f := range fences {
			owners[int64(f.Account)] = name
		}
	}
	return owners
}

func (h held) Read(ctx context.Context, table string, from transfer.Position, limit, maxBytes int) (transfer.Batch, error) {
	b, err := h.Source.Read(ctx, table, from, limit, maxBytes)
	i := slices.IndexFunc(h.Tables(), func(t transfer.Table) bool { return t.Name == table })
	if table == "leases" {
		columns := h.Tables()[i].Columns
		for _, row := range b.Rows {
			row[slices.Index(columns, "owner")] = h.owners[row[slices.Index(columns, "account_id")].(int64)]
		}
	}
	return b, err
}

// TestContract runs the suite of the metadata port on a store that is SQLite until a test opens it again for the first
// time: then it is moved, and goes on as Postgres. What the tests, those with a model above all, knew before must hold there.
func TestContract(t *testing.T) {
	metadatatest.Run(t, func(t *testing.T) metadatatest.Harness {
		path, url := filepath.Join(t.TempDir(), "imapped.db"), empty(t)
		before := openSQLite(t, path)
		var after *postgres.Store
		t.Cleanup(func() {
			must(t, before.Close())
			if after != nil {
				must(t, after.Close())
				return
			}
			_, err := run(context.WithoutCancel(t.Context()), t, path, url, nil) // whatever the test left
			must(t, err)
		})
		return metadatatest.Harness{
			Store: before,
			Reopen: func(t *testing.T) metadatatest.Store {
				if after == nil {
					owners := holders(t, before)
					must(t, before.Close())
					_, err := run(t.Context(), t, path, url, func(c *move.Config) { c.Source = held{c.Source, owners} })
					must(t, err)
				} else {
					must(t, after.Close())
				}
				after = openPostgres(t, url)
				return after
			},
		}
	})
}

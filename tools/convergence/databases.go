package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"imapped/adapters/postgres"
	"imapped/adapters/postgres/pgtest"
	"imapped/adapters/sqlite"
	"imapped/domain/account"
	"imapped/ports/metadata"
)

// database is the metadata store under the processes of one history: one user with one account. Close gives it back.
type database interface {
	metadata.Accounts
	metadata.AccountReader
	metadata.Statuses
	metadata.Leases
	metadata.NodeLeases
	metadata.Owners
	metadata.Mailboxes
	metadata.Messages
	metadata.Mirror
	metadata.Bodies
	metadata.Edits
	metadata.Folders
	metadata.Queue
	Close() error
}

// databases makes the stores of histories.
type databases interface {
	// open returns a new one, with its account.
	open(ctx context.Context) (database, account.Account, error)
	// remove takes all away that open made.
	remove() error
	// pace is how much slower a history is than on the quickest.
	pace() int
}

// openDatabases returns what -store names.
func openDatabases(store string) (databases, error) {
	switch store {
	case "", "sqlite":
		return newFiles()
	case "postgres":
		url, stop, err := pgtest.Start()
		if err != nil {
			return nil, err
		}
		return newTenants(url, stop)
	}
	return newTenants(store, func() error { return nil })
}

// creator is what populate needs.
type creator interface {
	metadata.Users
	metadata.Accounts
}

// populate makes a history's user and account.
func populate(ctx context.Context, db creator, user string) (account.Account, error) {
	u, err := db.CreateUser(ctx, account.User{Name: user, Created: time.Unix(1, 0)})
	if err != nil {
		return account.Account{}, err
	}
	return db.CreateAccount(ctx, account.Account{
		User: u.ID, Display: "Ann", Email: "ann@example.org", Username: "ann",
		Upstream: account.Endpoint{Host: "imap.example.org", Port: 993, TLS: account.TLSImplicit},
		Secret:   account.Secret{KeyID: "plain", Sealed: []byte("secret")}, Created: time.Unix(1, 0),
	})
}

// files are SQLite databases, copies of one that has the account.
type files struct {
	dir  string
	like []byte
	acc  account.Account
	n    atomic.Int64
}

// newFiles makes the folder for them, in memory where the system has a place for that.
func newFiles() (_ *files, err error) {
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "convergence")
	if err != nil {
		return nil, err
	}
	f := &files{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.remove())
		}
	}()
	ctx := context.Background()
	path := filepath.Join(dir, "template.db")
	db, err := sqlite.Open(ctx, sqlite.Options{Path: path, Migrate: true})
	if err != nil {
		return nil, err
	}
	f.acc, err = populate(ctx, db, "ann")
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	f.like, err = os.ReadFile(path)
	return f, err
}

func (f *files) remove() error { return os.RemoveAll(f.dir) }

func (f *files) pace() int { return 1 }

func (f *files) open(ctx context.Context) (database, account.Account, error) {
	path := filepath.Join(f.dir, fmt.Sprintf("%d.db", f.n.Add(1)))
	if err := os.WriteFile(path, f.like, 0o600); err != nil {
		return nil, account.Account{}, err
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	return file{db, path}, f.acc, err
}

// file is a database in a file of its own.
type file struct {
	*sqlite.Store
	path string
}

// Close also removes the file.
func (f file) Close() error {
	err := f.Store.Close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(f.path + suffix)
	}
	return err
}

// tenants are users of one Postgres database, which thereby shows that accounts leave one another alone.
type tenants struct {
	db   *postgres.Store
	stop func() error // of the server
	run  string       // in the names of users, as the database may be one that was used before
	n    atomic.Int64
}

func newTenants(url string, stop func() error) (*tenants, error) {
	db, err := postgres.Open(context.Background(), postgres.Options{
		URL: url, Migrate: true, CallerClock: true, Connections: 64, // many histories may run at the same time
	})
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &tenants{db: db, stop: stop, run: fmt.Sprintf("ann-%d-%d", time.Now().Unix(), os.Getpid())}, nil
}

func (t *tenants) remove() error { return errors.Join(t.db.Close(), t.stop()) }

// pace: every statement is a round trip to another process.
func (t *tenants) pace() int { return 4 }

func (t *tenants) open(ctx context.Context) (database, account.Account, error) {
	a, err := populate(ctx, t.db, fmt.Sprintf("%s-%d", t.run, t.n.Add(1)))
	return tenant{t.db, a}, a, err
}

// tenant is the database as the processes of one history see it.
type tenant struct {
	*postgres.Store
	acc account.Account
}

// Accounts tells of the history's user alone, so that a process does not mirror the accounts of others.
func (t tenant) Accounts(ctx context.Context, user account.UserID) ([]account.Account, error) {
	if user == 0 {
		user = t.acc.User
	}
	return t.Store.Accounts(ctx, user)
}

// Acquirable tells of the history's account alone, likewise.
func (t tenant) Acquirable(ctx context.Context, now time.Time) ([]metadata.Acquirable, error) {
	free, err := t.Store.Acquirable(ctx, now)
	return slices.DeleteFunc(free, func(v metadata.Acquirable) bool { return v.ID != t.acc.ID }), err
}

// Owners tells of the history's processes alone.
func (t tenant) Owners(ctx context.Context, now time.Time) ([]string, error) {
	names, err := t.Store.Owners(ctx, now)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, ownerOf(t.acc.ID)) }), err
}

// ownerOf begins the names of the processes of one history, as histories may share a database.
func ownerOf(acc account.ID) string { return fmt.Sprintf("owner of %d: ", acc) }

// Close removes the account, so that the database does not grow.
func (t tenant) Close() error { return t.DeleteAccount(context.Background(), t.acc.ID) }

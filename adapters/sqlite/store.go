package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"imapped/domain/fault"
	"imapped/ports/metadata"
)

var (
	_ metadata.Users         = (*Store)(nil)
	_ metadata.Accounts      = (*Store)(nil)
	_ metadata.AccountReader = (*Store)(nil)
	_ metadata.Logins        = (*Store)(nil)
	_ metadata.Secrets       = (*Store)(nil)
	_ metadata.Statuses      = (*Store)(nil)
	_ metadata.Leases        = (*Store)(nil)
	_ metadata.NodeLeases    = (*Store)(nil)
	_ metadata.Owners        = (*Store)(nil)
	_ metadata.Mailboxes     = (*Store)(nil)
	_ metadata.Messages      = (*Store)(nil)
	_ metadata.Mirror        = (*Store)(nil)
	_ metadata.Bodies        = (*Store)(nil)
	_ metadata.Edits         = (*Store)(nil)
	_ metadata.Folders       = (*Store)(nil)
	_ metadata.Queue         = (*Store)(nil)
	_ metadata.Undo          = (*Store)(nil)
	_ metadata.References    = (*Store)(nil)
)

// What the connections are set to. Page caches are memory outside Go's heap, one a connection: together they stay
// below 8 MB, the rest is the operating system's cache.
const (
	busyTimeout   = 5 * time.Second // how long to wait for another process's write
	readers       = 3
	writerCacheKB = 4096
	readerCacheKB = 1024
	walPages      = 2000 // checkpoint when the WAL has grown to so many pages (8 MB)
)

// Options says which database to open and how.
type Options struct {
	Path    string // the database file; its folder must exist
	Migrate bool   // apply pending migrations; without it a database that needs some is fault.Invalid
}

// Store is an open database. Its methods may be called by any number of goroutines.
type Store struct {
	write, read *sql.DB
	patience    time.Duration   // how long a call waits for its turn to write
	writes      chan *writeCall // what is to be written, for the writer
	written     chan error      // the writer's end
	idle        chan *conn      // holds the read connections that nobody uses
	closing     chan struct{}
	closeOnce   sync.Once
	closeErr    error
}

// Open opens the database, and creates it where it does not exist and Migrate is set. The file is readable by its
// owner alone.
func Open(ctx context.Context, o Options) (*Store, error) {
	const op = "open the database"
	if err := prepare(ctx, o); err != nil {
		return nil, err
	}
	s := &Store{
		patience: patience,

		writes:  make(chan *writeCall, maxGroup),
		written: make(chan error, 1),
		idle:    make(chan *conn, readers),
		closing: make(chan struct{}),
	}
	var err error
	if s.write, err = openDB(o.Path, writerCacheKB, 1); err != nil {
		return nil, mapErr(op, err)
	}
	if s.read, err = openDB(o.Path, readerCacheKB, readers, "query_only(1)"); err != nil {
		return nil, errors.Join(mapErr(op, err), s.write.Close())
	}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(mapErr(op, err), s.read.Close(), s.write.Close())
	}
	return s, nil
}

// prepare makes sure that the file exists with the right mode and that its schema is the newest.
func prepare(ctx context.Context, o Options) error {
	const op = "open the database"
	if o.Migrate {
		f, err := os.OpenFile(o.Path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fault.As(fault.Unavailable, op, err)
		}
		if err := f.Close(); err != nil {
			return fault.As(fault.Unavailable, op, err)
		}
		return Migrate(ctx, o.Path)
	}
	if _, err := os.Stat(o.Path); err != nil {
		return fault.As(fault.NotFound, op, err)
	}
	pending, err := Pending(ctx, o.Path)
	if err != nil {
		return err
	}
	if pending > 0 {
		return fault.Newf(fault.Invalid, op, "%d migrations are missing: run them first", pending)
	}
	return nil
}

// openDB returns a handle whose connections are set up as the store needs them.
func openDB(path string, cacheKB, conns int, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_txlock": {"immediate"}}
	q["_pragma"] = append([]string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(1)",
		"temp_store(MEMORY)",
		fmt.Sprintf("cache_size(-%d)", cacheKB),
		fmt.Sprintf("wal_autocheckpoint(%d)", walPages),
		"journal_size_limit(67108864)",
	}, pragmas...)
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// connect fills the pools.
func (s *Store) connect(ctx context.Context) error {
	c, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	for range readers {
		c, err := s.read.Conn(ctx)
		if err != nil {
			return err
		}
		s.idle <- newConn(c)
	}
	w := newConn(c)
	w.steady = true
	go func() { s.written <- s.writer(w) }()
	return nil
}

// Close waits for the calls that are running and closes the database. Calls after it fail with fault.Unavailable.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		var errs []error
		for range readers {
			errs = append(errs, (<-s.idle).close())
		}
		errs = append(errs, s.read.Close(), <-s.written, s.write.Close())
		s.closeErr = mapErr("close the database", errors.Join(errs...))
	})
	return s.closeErr
}

// take gets a connection out of the pool, waiting for one.
func (s *Store) take(ctx context.Context, pool chan *conn) (*conn, error) {
	select {
	case <-s.closing:
		return nil, errClosed
	default:
	}
	select {
	case c := <-pool:
		return c, nil
	case <-s.closing:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// view runs fn with a read connection, outside a transaction: each statement sees its own moment.
func (s *Store) view(ctx context.Context, op string, fn func(c *conn) error) error {
	c, err := s.take(ctx, s.idle)
	if err != nil {
		return mapErr(op, err)
	}
	defer func() { s.idle <- c }()
	return mapErr(op, fn(c))
}

// snapshot runs fn in one read transaction: all its statements see the same moment.
func (s *Store) snapshot(ctx context.Context, op string, fn func(c *conn) error) error {
	return s.view(ctx, op, func(c *conn) error { return c.transact(ctx, "BEGIN", fn) })
}

package postgres

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"imapped/domain/fault"
	"imapped/ports/metadata"
)

type commandTag = pgconn.CommandTag

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

// The defaults of Options, and what is not for choice.
const (
	defaultConnections = 16
	defaultStatement   = 60 * time.Second
	defaultLock        = 10 * time.Second
	// idleTimeout ends a transaction whose process stands still, so that its locks do not keep the account from the next
	// owner.
	idleTimeout = 5 * time.Second
	// longSilence is how long statements may take together whose work grows with an account or a mailbox: it is many
	// minutes for a few million messages on a slow disk.
	longSilence    = time.Hour
	patience       = 10 * time.Second // how long a call waits for a connection
	connectTimeout = 5 * time.Second
	cancelTimeout  = 5 * time.Second
	maxIdle        = 5 * time.Minute
	maxLifetime    = time.Hour
)

// Options says which database to open and how. Zero values stand for the defaults.
type Options struct {
	// URL is postgres://user:password@host/database?sslmode=..., or a list of keywords and values, as for libpq. Settings of
	// the server that it names, such as statement_timeout, win over those that the store makes.
	URL     string
	Migrate bool // apply pending migrations; without it a database that needs some is fault.Invalid
	// Connections is the most that the store opens, at least 2: one is for a node's leases, the others are what all sessions
	// share. 16 by default.
	Connections int
	// StatementTimeout bounds one statement, LockTimeout its wait for a lock; 60 and 10 seconds by default.
	StatementTimeout, LockTimeout time.Duration
	// CallerClock has owners live by the times that their callers pass, for tests that have a clock of their own. Else they
	// run by the database's clock, so that a node whose clock is wrong takes no account from a node that is well.
	CallerClock bool
}

// Store is an open database. Its methods may be called by any number of goroutines.
type Store struct {
	pool        *pgxpool.Pool
	patience    time.Duration // how long a call waits for a connection
	lockWait    time.Duration // how long a call waits for an account's lock
	silence     time.Duration // how long a server may say nothing before it is given up
	longSilence time.Duration // the same for a transaction that is unhurried
	callerClock bool
	closed      atomic.Bool
	closeOnce   sync.Once
	gates       gates
	leases      *Store // does what a node's leases need, over its own connection: sessions that take all others take no lease away
}

// Open connects to the database. One whose schema is older than this program is brought up to date where Migrate is set,
// and fault.Invalid else; one whose schema is newer is fault.Invalid in any case. While another installation is being moved into
// it (Import) it is fault.Unavailable.
func Open(ctx context.Context, o Options) (*Store, error) {
	const op = "open the database"
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	if o.Migrate {
		err = Migrate(ctx, o.URL)
	} else {
		err = upToDate(ctx, op, o.URL)
	}
	if err != nil {
		return nil, err
	}
	apart := config.Copy()
	apart.MaxConns = 1
	s, err := o.over(ctx, config)
	if err != nil {
		return nil, mapErr(op, err)
	}
	if s.leases, err = o.over(ctx, apart); err != nil {
		s.pool.Close()
		return nil, mapErr(op, err)
	}
	if err := s.moved(ctx, op); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// over returns a store with a pool of connections.
func (o Options) over(ctx context.Context, config *pgxpool.Config) (*Store, error) {
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &Store{
		pool: pool, patience: patience, callerClock: o.CallerClock,
		lockWait: or(o.LockTimeout, defaultLock), longSilence: longSilence,
		silence: or(o.StatementTimeout, defaultStatement) + or(o.LockTimeout, defaultLock) + connectTimeout,
	}, nil
}

// config returns how connections are made.
func (o Options) config() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		// The driver's text may hold the URL, and that the password.
		return nil, fault.New(fault.Invalid, "open the database", "the database's URL makes no sense")
	}
	most := o.Connections
	if most <= 0 {
		most = defaultConnections
	}
	config.MaxConns = int32(min(max(most, 2), 1<<16)) - 1
	config.MaxConnIdleTime = maxIdle
	config.MaxConnLifetime, config.MaxConnLifetimeJitter = maxLifetime, maxLifetime/10
	c := config.ConnConfig
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement // row reads the binary format that this one asks for
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    "imapped",
		"statement_timeout":                   milliseconds(or(o.StatementTimeout, defaultStatement)),
		"lock_timeout":                        milliseconds(or(o.LockTimeout, defaultLock)),
		"idle_in_transaction_session_timeout": milliseconds(idleTimeout),
		"client_connection_check_interval":    milliseconds(idleTimeout),
		"tcp_user_timeout":                    milliseconds(idleTimeout),
		"default_transaction_isolation":       "read committed",
		"synchronous_commit":                  "on", // what was acknowledged survives
		"timezone":                            "UTC",
		// Every statement finds its rows by a key that leads with the account. The planner is kept from the odd idea that
		// statistics of a table that has just been filled give it.
		"enable_seqscan": "off",
		// What is read in the order of its key is read so, and not sorted.
		"enable_bitmapscan": "off",
		"jit":               "off",
		// Answers are streamed in the order of an index; workers would cost more than they save.
		"max_parallel_workers_per_gather": "0",
	} {
		if c.RuntimeParams[name] == "" {
			c.RuntimeParams[name] = value
		}
	}
	return config, nil
}

func or(d, byDefault time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return byDefault
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// Close waits for the calls that are running and closes the connections. Calls after it fail with fault.Unavailable.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		s.pool.Close()
		if s.leases != nil {
			_ = s.leases.Close() // never fails
		}
	})
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"imapped/adapters/control"
	"imapped/adapters/memory"
	"imapped/adapters/ops"
	"imapped/adapters/postgres"
	"imapped/adapters/seal"
	imapup "imapped/adapters/upstream"
	"imapped/app/admin"
	"imapped/app/auth"
	"imapped/app/sweep"
	"imapped/app/syncer"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/audit"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/events"
	"imapped/ports/limits"
	"imapped/ports/nodes"
	"imapped/ports/secrets"
	"imapped/ports/upstream"
)

// dataFlags says which data directory a command works on.
type dataFlags struct {
	Data string `setting:"IMAPPED_DATA" help:"The data directory: database, mail, key." type:"path" placeholder:"DIR"`
}

// withStore opens the stores for a command that does its work and ends.
func withStore(ctx context.Context, conf *config.Config, fn func(*instance) error) error {
	in, err := openInstance(ctx, conf, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(fn(in), in.close())
}

// instance is an open data directory, or the stores that the configuration names in its place, with everything that serves
// no clients yet.
type instance struct {
	conf    *config.Config
	log     *slog.Logger
	keys    *masterKeys
	serves  bool
	locked  bool
	store   metadataStore
	blobs   blob.Stores
	sweeper blob.Sweeper                                       // of all blobs; nil: see areas
	areas   func(context.Context) iter.Seq2[sweep.Area, error] // of blobs that lie apart; nil: see sweeper
	bus     events.Bus
	sealer  secrets.Sealer
	dialer  *imapup.Dialer
	auth    *auth.Auth
	admin   *admin.Service
	audit   audit.Log    // of logins; nil: nobody keeps one
	metrics *ops.Metrics // nil: nobody reads them
	peers   *peers       // nil: this process is alone, or serves nobody

	untimed metadataStore // store, without the instruments
	source  storedBlobs   // the store of messages itself, without what is kept of them here
	closers []func() error
}

// openInstance opens the stores, and makes the data directory where there is none.
func openInstance(ctx context.Context, conf *config.Config, log *slog.Logger) (*instance, error) {
	return openAs(ctx, conf, log, false)
}

// openServer is openInstance for a process that serves clients: with its instruments, and with other nodes where there may
// be some.
func openServer(ctx context.Context, conf *config.Config, log *slog.Logger) (*instance, error) {
	return openAs(ctx, conf, log, true)
}

func openAs(ctx context.Context, conf *config.Config, log *slog.Logger, serves bool) (*instance, error) {
	if err := makeData(conf); err != nil {
		return nil, err
	}
	in := &instance{conf: conf, log: log, serves: serves}
	if serves {
		// What follows cleans up, and tells others: that is for the only server here to do.
		if err := in.lock(); err != nil {
			return nil, err
		}
	}
	keys, err := openKeys(conf)
	if err != nil {
		return nil, errors.Join(err, closeAll(in.closers))
	}
	in.keys = keys
	return in.open(ctx)
}

// lock makes this process the only server of the data directory, until the instance is closed.
func (in *instance) lock() error {
	if in.locked {
		return nil
	}
	unlock, err := lockDir(in.path("lock"))
	if err != nil {
		return err
	}
	in.locked = true
	in.closers = append(in.closers, func() error { unlock(); return nil })
	return nil
}

func makeData(conf *config.Config) error {
	if err := conf.Stores(); err != nil {
		return err
	}
	return fault.As(fault.Unavailable, "open data directory", os.MkdirAll(conf.Data, 0o700))
}

// openWith is openInstance with master keys that are open already; they are closed with the instance, and at once where
// there is none.
func openWith(ctx context.Context, conf *config.Config, keys *masterKeys, log *slog.Logger) (*instance, error) {
	return (&instance{conf: conf, log: log, keys: keys}).open(ctx)
}

// open opens the rest, or closes what is open.
func (in *instance) open(ctx context.Context) (_ *instance, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	conf := in.conf
	if in.sealer, err = seal.New(in.keys.current, in.keys.old...); err != nil {
		return nil, err
	}
	if many(conf) && in.serves && !conf.MasterKey.IsSet() {
		in.log.Warn("ENCRYPTION_MASTER_KEY is not set: nodes with another key file cannot open the passwords that this one stores",
			"file", keyFile(conf))
	}
	if in.serves && conf.MetricsBind != "" {
		in.metrics = ops.NewMetrics(version)
	}
	in.audit = logins(conf, in.serves)
	if in.store, err = openMetadata(ctx, conf, in); err != nil {
		return nil, err
	}
	in.closers = append(in.closers, in.store.Close)
	if err = openBlobs(conf, in, in.store); err != nil {
		return nil, err
	}
	if in.serves {
		if err = in.checkBlobs(ctx); err != nil {
			return nil, err
		}
	}
	var limits, usual limits.Failures = memory.NewFailures(clock.System{}, 0), nil
	in.bus = &memory.Bus{}
	if many(conf) && in.serves {
		if in.peers, err = openPeers(conf, in.log); err != nil {
			return nil, err
		}
		in.closers = append(in.closers, in.peers.close)
		in.bus, limits = in.peers, in.peers.failures(limits)
		if in.peers.redis != nil { // with a memory of their own: they must not push failures out of the other one
			usual = in.peers.failures(memory.NewFailures(clock.System{}, 0))
		}
	}
	in.dialer = &imapup.Dialer{Log: in.log}
	in.measure()
	in.auth = auth.New(auth.Config{
		Users: in.store, Logins: in.store, Limits: limits, Usual: usual, Clock: clock.System{}, Log: in.log,
		Failures: conf.LoginFailures, Window: conf.LoginLockout, Remember: auth.DefaultRemember, Hashes: 2,
	})
	in.admin = admin.New(admin.Config{
		Users: in.store, Accounts: in.store, Statuses: in.store, Mirror: in.store, Queue: in.store, Sealer: in.sealer,
		Dialer: in.dialer, Hash: in.auth.Hash, Clock: clock.System{}, Audit: in.acts(), Actor: operator(),
	})
	return in, nil
}

// databaseFile is the name of the database in the data directory.
const databaseFile = "imapped.db"

// close closes in the reverse order of opening; the keys last, as the store holds what is sealed under them.
func (in *instance) close() error { return errors.Join(closeAll(in.closers), in.keys.close()) }

func (in *instance) path(name string) string { return filepath.Join(in.conf.Data, name) }

// socket is the control socket. Its path is relative where that is shorter: a socket's path has at most 107 bytes.
func (in *instance) socket() string {
	path := in.path("control.sock")
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
			return rel
		}
	}
	return path
}

// probe tries an account that is not stored yet.
func (in *instance) probe(ctx context.Context, n admin.NewAccount) error {
	name := n.Username
	if name == "" {
		name = n.Email
	}
	_, err := in.admin.Probe(ctx, upstream.Target{Endpoint: n.Endpoint, Auth: n.Auth, Username: name, Password: n.Secret})
	return err
}

// tellServer makes running servers look at the accounts again.
func (in *instance) tellServer(ctx context.Context) error {
	return in.tell(ctx, func(c *control.Client) error { return c.Reload(ctx) }, func() error {
		return postgres.Tell(ctx, in.conf.DatabaseURL.Reveal(), nil, nodes.Call{What: nodes.Accounts})
	})
}

// tellChanged makes running servers look at what this process changed in an account.
func (in *instance) tellChanged(ctx context.Context, id account.ID) error {
	return in.tell(ctx, func(c *control.Client) error { return c.Changed(ctx, id) }, func() error {
		hints, err := in.changed(ctx, id)
		if err != nil {
			return err
		}
		return postgres.Tell(ctx, in.conf.DatabaseURL.Reveal(), hints, nodes.Call{What: nodes.Queue, Account: id})
	})
}

// tell asks the server of the data directory. Where there is none, and there may be nodes elsewhere, everybody is told through
// the database, which all of them listen to.
func (in *instance) tell(ctx context.Context, ask func(*control.Client) error, everybody func() error) error {
	client := control.Dial(in.socket())
	defer client.Close()
	err := ask(client)
	if errors.Is(err, control.ErrNoServer) {
		if !many(in.conf) {
			return nil
		}
		err = everybody()
	}
	if err != nil {
		return fmt.Errorf("stored, but a running server did not take notice: %w", err)
	}
	return nil
}

// changed returns the hints that say that anything of an account may have changed.
func (in *instance) changed(ctx context.Context, id account.ID) ([]events.Hint, error) {
	boxes, err := in.store.Mailboxes(ctx, id)
	if err != nil {
		return nil, err
	}
	hints := []events.Hint{{Account: id}}
	for _, b := range boxes {
		hints = append(hints, events.Hint{Account: id, Mailbox: b.ID, ModSeq: b.HighestModSeq})
	}
	return hints, nil
}

// newManager returns the syncer of all accounts here.
func (in *instance) newManager() *syncer.Manager {
	c := syncer.Config{
		Owner: hostname(), Concurrency: in.conf.SyncConcurrency, Connections: in.conf.UpstreamConnections, Poll: in.conf.PeriodicSync,
	}
	p := syncer.Ports{
		Accounts: in.store, Leases: in.store, Statuses: in.store, Mirror: in.store, Bodies: in.store, Messages: in.store,
		Queue: in.store, Edits: in.store, Blobs: in.blobs, Dialer: in.dialer, Secrets: in.sealer, Bus: in.bus,
		Clock: clock.System{}, Log: in.log,
	}
	if many(in.conf) {
		c.Owner, c.LeaseTTL = peerName(), nodeLease
	}
	if in.peers != nil {
		c.Owner, c.LeaseTTL = in.peers.name, nodeLease
		p.Calls = in.peers
		if in.peers.redis != nil {
			p.Nodes = in.peers.presence
		}
	}
	return syncer.New(p, c)
}

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

// forceAlone is forceHere where there may be nodes on other machines. What they own is not taken from them for a moment.
func (in *instance) forceAlone(ctx context.Context, id account.ID, show func(control.Progress)) error {
	live, err := in.store.Owners(ctx, time.Now())
	if err != nil {
		return err
	}
	if len(live) > 0 {
		return fault.Newf(fault.Unavailable, "force sync",
			"no server runs on this data directory, but %d do on others: run this on the machine of one, with its --data", len(live))
	}
	return in.forceHere(ctx, id, show)
}

// forceHere synchronises one account in this process, as a server would that nobody has started.
func (in *instance) forceHere(ctx context.Context, id account.ID, show func(control.Progress)) error {
	unlock, err := lockDir(in.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := in.checkBlobs(ctx); err != nil {
		return err
	}
	m := in.newManager()
	ctx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	select {
	case <-m.Ready():
		err = m.Force(ctx, id, func(p syncer.Progress) { show(progressOf(p)) })
	case err = <-ran:
		stop()
		return err
	}
	stop()
	return errors.Join(err, <-ran)
}

func progressOf(p syncer.Progress) control.Progress {
	c := control.Progress{Text: p.Text}
	for _, m := range p.Mailboxes {
		c.Messages += uint64(max(m.Messages, m.Upstream, m.Bodies)) // the three are counted at different moments
		c.Bodies += uint64(m.Bodies)
		c.Pending += m.Pending
		if m.Bodies < m.Messages && c.Text == "" {
			c.Text = printable(m.Name)
		}
	}
	return c
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"imapped/adapters/blobfs"
	"imapped/adapters/control"
	"imapped/adapters/memory"
	"imapped/adapters/seal"
	"imapped/adapters/sqlite"
	imapup "imapped/adapters/upstream"
	"imapped/app/admin"
	"imapped/app/auth"
	"imapped/app/syncer"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/clock"
	"imapped/ports/secrets"
	"imapped/ports/upstream"
)

// dataFlags says which data directory a command works on.
type dataFlags struct {
	Data string `setting:"IMAPPED_DATA" help:"The data directory: database, mail, key." type:"path" placeholder:"DIR"`
}

// withStore opens the data directory for a command that does its work and ends.
func withStore(ctx context.Context, conf *config.Config, fn func(*instance) error) error {
	in, err := openInstance(ctx, conf, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(fn(in), in.close())
}

// instance is an open data directory with everything that needs no network.
type instance struct {
	conf   *config.Config
	log    *slog.Logger
	keys   *masterKeys
	store  *sqlite.Store
	blobs  *blobfs.Store
	bus    *memory.Bus
	sealer secrets.Sealer
	dialer upstream.Dialer
	auth   *auth.Auth
	admin  *admin.Service
}

// openInstance opens the data directory, and makes it where there is none.
func openInstance(ctx context.Context, conf *config.Config, log *slog.Logger) (*instance, error) {
	if err := makeData(conf); err != nil {
		return nil, err
	}
	keys, err := openKeys(conf)
	if err != nil {
		return nil, err
	}
	return openWith(ctx, conf, keys, log)
}

func makeData(conf *config.Config) error {
	return fault.As(fault.Unavailable, "open data directory", os.MkdirAll(conf.Data, 0o700))
}

// openWith is openInstance with master keys that are open already; they are closed with the instance, and at once where
// there is none.
func openWith(ctx context.Context, conf *config.Config, keys *masterKeys, log *slog.Logger) (_ *instance, err error) {
	in := &instance{conf: conf, log: log, keys: keys, bus: &memory.Bus{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	if in.sealer, err = seal.New(keys.current, keys.old...); err != nil {
		return nil, err
	}
	if in.store, err = sqlite.Open(ctx, sqlite.Options{Path: in.path(databaseFile), Migrate: true}); err != nil {
		return nil, err
	}
	if in.blobs, err = blobfs.Open(conf.ObjectStorePath); err != nil {
		return nil, err
	}
	in.dialer = &imapup.Dialer{Log: log}
	in.auth = auth.New(auth.Config{
		Users: in.store, Accounts: in.store, Limits: memory.NewFailures(clock.System{}, 0), Clock: clock.System{}, Log: log,
		Failures: conf.LoginFailures, Window: conf.LoginLockout, Remember: auth.DefaultRemember, Hashes: 2,
	})
	in.admin = admin.New(admin.Config{
		Users: in.store, Accounts: in.store, Statuses: in.store, Mirror: in.store, Queue: in.store, Sealer: in.sealer,
		Dialer: in.dialer, Hash: in.auth.Hash, Clock: clock.System{},
	})
	return in, nil
}

// databaseFile is the name of the database in the data directory.
const databaseFile = "imapped.db"

func (in *instance) close() error {
	var errs []error
	if in.blobs != nil {
		errs = append(errs, in.blobs.Close())
	}
	if in.store != nil {
		errs = append(errs, in.store.Close())
	}
	errs = append(errs, in.keys.close()) // last: the store holds what is sealed under them
	return errors.Join(errs...)
}

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

// tellServer makes a running server look at the accounts again.
func (in *instance) tellServer(ctx context.Context) error {
	client := control.Dial(in.socket())
	defer client.Close()
	if err := client.Reload(ctx); err != nil && !errors.Is(err, control.ErrNoServer) {
		return fmt.Errorf("stored, but the running server did not take notice: %w", err)
	}
	return nil
}

// tellChanged makes a running server look at what this process changed in an account.
func (in *instance) tellChanged(ctx context.Context, id account.ID) error {
	client := control.Dial(in.socket())
	defer client.Close()
	if err := client.Changed(ctx, id); err != nil && !errors.Is(err, control.ErrNoServer) {
		return fmt.Errorf("stored, but the running server did not take notice: %w", err)
	}
	return nil
}

// newManager returns the syncer of all accounts here.
func (in *instance) newManager() *syncer.Manager {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return syncer.New(syncer.Ports{
		Accounts: in.store, Leases: in.store, Statuses: in.store, Mirror: in.store, Bodies: in.store, Messages: in.store,
		Queue: in.store, Edits: in.store, Blobs: in.blobs, Dialer: in.dialer, Secrets: in.sealer, Bus: in.bus,
		Clock: clock.System{}, Log: in.log,
	}, syncer.Config{
		Owner: host, Concurrency: in.conf.SyncConcurrency, Connections: in.conf.UpstreamConnections, Poll: in.conf.PeriodicSync,
	})
}

// forceHere synchronises one account in this process, as a server would that nobody has started.
func (in *instance) forceHere(ctx context.Context, id account.ID, show func(control.Progress)) error {
	unlock, err := lockDir(in.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
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

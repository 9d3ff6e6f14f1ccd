package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"imapped/adapters/postgres"
	"imapped/adapters/seal"
	"imapped/app/admin"
	"imapped/domain/account"
	"imapped/e2e/harness"
	"imapped/ports/clock"
)

const (
	restingAccounts  = 5000
	restingMailboxes = 20
	masterKey        = "a master key of the benchmarks, which is long enough"
)

// accounts measures what a node costs whose accounts rest: its share of a core, its memory, and what it asks Postgres. The
// upstream is simulated, in this process: it has 20 mailboxes for everybody, and nothing ever happens there.
func (b *bench) accounts(ctx context.Context) (err error) {
	up, err := listenStill(restingMailboxes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.close()) }()
	servers, err := harness.StartServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	// Statements are counted.
	if _, err := servers.Postgres.SQL(ctx, `ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements`); err != nil {
		return err
	}
	if err := servers.Postgres.Restart(ctx, false); err != nil {
		return err
	}
	if err := servers.Postgres.Ready(ctx); err != nil {
		return err
	}
	env, err := servers.Installation(ctx)
	if err != nil {
		return err
	}
	env = append(env, "ENCRYPTION_MASTER_KEY="+masterKey)
	m := harness.Mirror{Binary: b.binary, Data: filepath.Join(b.dir, "accounts"), Env: env}
	if _, err := m.Run(ctx, "run-migrations"); err != nil {
		return err
	}
	if err := addResting(ctx, setting(env, "DATABASE_URL"), up.port()); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.dir, "accounts.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd := exec.CommandContext(ctx, m.Binary, "run", "--data", m.Data)
	metrics, err := freeAddr()
	if err != nil {
		return err
	}
	cmd.Env = append(append(os.Environ(), env...), "IMAP_PLAINTEXT_BIND=127.0.0.1:0", "METRICS_BIND="+metrics)
	cmd.Stdout, cmd.Stderr = log, log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), <-ended)
		if err != nil {
			text, _ := os.ReadFile(log.Name()) // the first error says more
			err = fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4096):])
		}
	}()
	ask := func(query string) (int64, error) {
		out, err := servers.Postgres.Exec(ctx, "psql -U imapped -d "+filepath.Base(setting(env, "DATABASE_URL"))+` -Atc "`+query+`"`)
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	}
	if err := harness.Eventually(ctx, 15*time.Minute, "all accounts rest", func() (bool, error) {
		n, err := ask("SELECT count(*) FROM statuses WHERE state = 'idle'")
		return n == restingAccounts, err
	}); err != nil {
		return err
	}
	started := time.Since(start)
	if _, err := servers.Postgres.Exec(ctx, "psql -U imapped -d "+filepath.Base(setting(env, "DATABASE_URL"))+` -qc 'CREATE EXTENSION pg_stat_statements'`); err != nil {
		return err
	}
	const calls = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()"
	const window = 5 * time.Minute // each account is looked at once in it
	before, err := ask(calls)
	if err != nil {
		return err
	}
	cpuBefore, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	at := time.Now()
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return ctx.Err()
	}
	cpuAfter, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	took := time.Since(at)
	after, err := ask(calls)
	if err != nil {
		return err
	}
	now, peak, err := harness.Memory(cmd.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d accounts of %d mailboxes that rest, for %s (all rested %s after the start; %d connections upstream)\n",
		restingAccounts, restingMailboxes, took.Round(time.Second), started.Round(time.Second), up.open.Load())
	fmt.Printf("%.1f %% of a core, RSS %.0f MB (peak %.0f MB), %.0f statements a second to Postgres\n",
		100*(cpuAfter-cpuBefore).Seconds()/took.Seconds(), float64(now)/1e6, float64(peak)/1e6, float64(after-before)/took.Seconds())
	text, err := harness.Get(ctx, "http://"+metrics+"/metrics")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		for _, name := range []string{"go_goroutines ", "go_memstats_heap_alloc_bytes ", "go_memstats_heap_inuse_bytes ", "go_memstats_stack_inuse_bytes "} {
			if strings.HasPrefix(line, name) {
				fmt.Print(line)
			}
		}
	}
	return nil
}

// freeAddr returns an address of this machine on which nobody listens.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is at once
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// setting returns a setting's value.
func setting(env []string, name string) string {
	for _, s := range env {
		if v, ok := strings.CutPrefix(s, name+"="); ok {
			return v
		}
	}
	return ""
}

// addResting makes the accounts, all of one user.
func addResting(ctx context.Context, url string, port uint16) (err error) {
	store, err := postgres.Open(ctx, postgres.Options{URL: url})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	sealer, err := seal.New(masterKey)
	if err != nil {
		return err
	}
	a := admin.New(admin.Config{
		Users: store, Accounts: store, Statuses: store, Mirror: store, Queue: store, Sealer: sealer, Hash: func(string) (string, error) { return "*", nil }, Clock: clock.System{},
	})
	if _, err := a.CreateUser(ctx, "resting", []byte(harness.Password)); err != nil {
		return err
	}
	for i := range restingAccounts {
		email := fmt.Sprintf("a%d@example.org", i)
		if _, err := a.AddAccount(ctx, admin.NewAccount{
			User: "resting", Email: email, Secret: []byte(harness.Password),
			Endpoint: account.Endpoint{Host: "127.0.0.1", Port: port, TLS: account.TLSPlain, Insecure: true},
		}); err != nil {
			return err
		}
	}
	return nil
}

// cpu returns the time that a process has spent on processors.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("what is known of process %d is short: %q", pid, text)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // sysconf(_SC_CLK_TCK) is 100 on Linux
	return time.Duration(user+system) * tick, err
}

// Command bench measures the program against Dovecot and mbsync, and prints a table for each benchmark.
//
//	bench [-run NAME,...] [-pairs N]
//
// The benchmarks: mirror (a first mirror next to mbsync's, on loopback and behind 50 ms of round-trip time), memory (peak
// RSS of a first mirror at 3,250 and 30,000 messages), servers (a first mirror into Postgres and S3 next to one into SQLite and
// files), select (a mailbox of 100,000 messages on Postgres), accounts (what 5,000 accounts cost that rest; takes ten minutes, and
// is run by name only), store (changes of flags next to Dovecot's own), idle (2,000 idle clients on a mailbox of 30,000 messages),
// push (from the upstream's OK to an idling client), nodes (from a change on one node to an idling client of another).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"imapped/e2e/harness"
)

// bench is what the benchmarks share.
type bench struct {
	dir     string
	binary  string
	pairs   int
	raw     [][]byte
	dovecot *harness.Dovecot
	clients *harness.Clients
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	only := flag.String("run", "mirror,servers,select,memory,push,nodes,store,idle", "the benchmarks to run")
	pairs := flag.Int("pairs", 5, "pairs of runs where two programs are compared")
	flag.Parse()
	b := &bench{pairs: max(*pairs, 1)}
	if err := harness.Engine(ctx); err != nil {
		return err
	}
	if b.raw, err = harness.Corpus(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "imapped-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.binary, err = harness.Build(ctx, b.dir); err != nil {
		return err
	}
	if b.dovecot, err = harness.StartDovecot(ctx, harness.DovecotOptions{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dovecot.Close()) }()
	if b.clients, err = harness.StartClients(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clients.Close()) }()
	for _, name := range strings.Split(*only, ",") {
		f, ok := map[string]func(context.Context) error{
			"mirror": b.mirror, "servers": b.servers, "accounts": b.accounts, "memory": b.memory, "push": b.push, "store": b.store, "select": b.selects, "idle": b.idle,
			"nodes": b.nodes,
		}[name]
		if !ok {
			return fmt.Errorf("there is no benchmark %q", name)
		}
		if err := f(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// load puts mail into an account.
func (b *bench) load(ctx context.Context, user string, boxes []harness.Box) (messages int, size int64, err error) {
	messages, size = harness.Count(boxes)
	return messages, size, b.dovecot.Load(ctx, user, boxes)
}

// target returns a mirror of a user, with a data directory of its own.
func (b *bench) target(user, name, addr string) harness.Mirror {
	return harness.Mirror{Binary: b.binary, Data: filepath.Join(b.dir, name), Upstream: addr, User: user}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func medianFloat(d []float64) float64 {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

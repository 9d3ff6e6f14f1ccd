package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
)

func main() {
	var (
		histories = flag.Int("histories", 1000, "how many histories to play")
		seed      = flag.Uint64("seed", 0, "the first history's seed; 0: a fresh one")
		parallel  = flag.Int("parallel", 2, "how many at the same time")
		file      = flag.String("history", "", "play the history of this file, and tell what happens")
		verbose   = flag.Bool("v", false, "tell what happens in each")
		on        = flag.Bool("on", false, "go on after failures, and tell of all")
		traces    = flag.String("traces", "", "write what happened in those that fail to files of this folder")
		shrinking = flag.Bool("shrink", true, "shrink the first history that fails")
		to        servers
		in        stores
	)
	flag.StringVar(&to.Addr, "imap", "", "play on the IMAP server at this host:port, without TLS; empty: in this process")
	flag.StringVar(&to.Dot, "imap-dot", "", "the same with \".\" between the levels of names")
	flag.StringVar(&to.Shell, "shell", "sh", "the command of a shell where that server keeps the mail")
	flag.StringVar(&to.DotShell, "shell-dot", "sh", "the same with \".\"")
	flag.StringVar(&to.Home, "maildir", "/srv/mail/%u/Maildir", "where it keeps the mail of user %u")
	flag.StringVar(&to.Password, "password", "secret", "every user's password; every user exists")
	flag.StringVar(&in.metadata, "store", "sqlite", "the metadata store: sqlite, postgres (a server is started) or a Postgres URL")
	flag.StringVar(&in.s3, "s3", "", "the blob store: http://KEY:SECRET@HOST:PORT/BUCKET, or start (versitygw); empty: in memory")
	flag.StringVar(&in.redis, "redis", "", "what carries hints: redis://HOST:PORT, or start; empty: they stay in their process")
	flag.Parse()
	if (to.Addr == "") != (to.Dot == "") {
		fmt.Fprintln(os.Stderr, "-imap and -imap-dot belong together")
		os.Exit(2)
	}
	if *seed == 0 {
		*seed = rand.Uint64() >> 16
	}
	if err := simulate(to, in, *histories, *seed, *parallel, *file, *verbose, *on, *shrinking, *traces); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func simulate(
	to servers, in stores, histories int, seed uint64, parallel int, file string, verbose, on, shrinking bool, traces string,
) (err error) {
	t, err := newTemplate(to, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.remove()) }()
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		h, err := ParseHistory(b)
		if err != nil {
			return err
		}
		return t.play(h, os.Stdout)
	}
	if verbose {
		for n := range uint64(histories) {
			if err := t.play(generate(seed+n), os.Stdout); err != nil {
				return fmt.Errorf("seed %d: %w", seed+n, err)
			}
		}
		return nil
	}
	failure := t.many(histories, seed, parallel, on, traces, os.Stdout)
	switch {
	case failure == nil:
		return nil
	case on:
		return errors.New("there are failures")
	}
	fmt.Printf("seed %d: %v\n", failure.History.Seed, failure.Err)
	if shrinking {
		failure = t.shrink(*failure, os.Stdout)
	}
	path := fmt.Sprintf("convergence-%d.json", failure.History.Seed)
	if err := os.WriteFile(path, []byte(failure.History.String()), 0o600); err != nil {
		return err
	}
	return fmt.Errorf("seed %d: %w\n%sreplay with -history %s", failure.History.Seed, failure.Err, failure.History, path)
}

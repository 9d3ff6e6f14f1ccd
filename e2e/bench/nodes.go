package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapped/e2e/harness"
)

// nodes measures how long a client's change on one node takes, from its OK, to an idling client of another: with Redis, and
// without one, when Postgres carries the news.
func (b *bench) nodes(ctx context.Context) (err error) {
	messages, _, err := b.load(ctx, "nodes", harness.Account(b.raw[:200], 4))
	if err != nil {
		return err
	}
	servers, err := harness.StartServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	fmt.Printf("\nA change on a node reaches an idling client of another\n%-10s %8s %10s %10s %10s\n", "through", "changes", "median", "90 %", "worst")
	for _, through := range []string{"Redis", "Postgres"} {
		env, err := servers.Installation(ctx)
		if err != nil {
			return err
		}
		env = append(env, "ENCRYPTION_MASTER_KEY="+masterKey)
		if through == "Postgres" {
			env = slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, "REDIS_URL=") })
		}
		took, err := b.between(ctx, through, env, messages)
		if err != nil {
			return err
		}
		slices.Sort(took)
		fmt.Printf("%-10s %8d %10s %10s %10s\n", through, len(took), round(median(took)), round(took[len(took)*9/10]), round(took[len(took)-1]))
	}
	return nil
}

// between starts two nodes of an installation, and changes flags through each while a client of the other one listens.
func (b *bench) between(ctx context.Context, name string, env []string, messages int) (took []time.Duration, err error) {
	var pair [2]*harness.Process
	for i := range pair {
		m := b.target("nodes", fmt.Sprintf("nodes-%s-%d", name, i), b.dovecot.Addr)
		m.Env = env
		if pair[i], err = m.Start(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, pair[i].Stop()) }()
		if err := pair[i].Synced(ctx, messages, 5*time.Minute); err != nil {
			return nil, err
		}
	}
	for i := range pair {
		writer, err := pair[i].Login(ctx)
		if err != nil {
			return nil, err
		}
		defer writer.Close()
		reader, err := pair[1-i].Login(ctx)
		if err != nil {
			return nil, err
		}
		defer reader.Close()
		if _, err := writer.Cmd("SELECT INBOX"); err != nil {
			return nil, err
		}
		if _, err := reader.Cmd("SELECT INBOX"); err != nil {
			return nil, err
		}
		if _, err := reader.Idle(); err != nil {
			return nil, err
		}
		for k := range 102 { // in the end nothing is changed
			if _, err := writer.Cmd("STORE 1 " + []string{"+", "-"}[k%2] + `FLAGS.SILENT (measured)`); err != nil {
				return nil, err
			}
			start := time.Now()
			if err := hear(reader, "FETCH"); err != nil {
				return nil, err
			}
			if k > 0 { // the first finds connections cold
				took = append(took, time.Since(start))
			}
		}
	}
	return took, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"imapped/e2e/harness"
)

// selects measures SELECT of a mailbox of 100,000 messages, whose rows are in Postgres: the first one of a process, and one
// after others.
func (b *bench) selects(ctx context.Context) (err error) {
	const n, cold, warm = 100_000, 7, 101
	small := slices.SortedFunc(slices.Values(b.raw), func(x, y []byte) int { return cmp.Compare(len(x), len(y)) })[:500]
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 7, Messages: harness.Dress(harness.Multiply(small, n), 5)}}
	if _, _, err := b.load(ctx, "select", boxes); err != nil {
		return err
	}
	servers, err := harness.StartServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	m := b.target("select", "select", b.dovecot.Addr)
	if m.Env, err = servers.Installation(ctx); err != nil {
		return err
	}
	if _, err := m.Run(ctx, "run-migrations"); err != nil {
		return err
	}
	p, err := m.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { p.Kill() }()
	if err := p.Synced(ctx, n, 15*time.Minute); err != nil {
		return err
	}
	var first, later []time.Duration
	for range cold {
		if err := p.Stop(); err != nil {
			return err
		}
		if p, err = m.Start(ctx); err != nil {
			return err
		}
		if err := p.Synced(ctx, n, time.Minute); err != nil { // what it does at the start is over
			return err
		}
		c, err := p.Login(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		for k := range warm {
			start := time.Now()
			if _, err := c.Cmd("SELECT INBOX"); err != nil {
				return err
			}
			if took := time.Since(start); k == 0 {
				first = append(first, took)
			} else {
				later = append(later, took)
			}
			if _, err := c.Cmd("UNSELECT"); err != nil {
				return err
			}
		}
	}
	slices.Sort(first)
	slices.Sort(later)
	fmt.Printf("\nSELECT of %d messages on Postgres\ncold: median %s, worst %s of %d; warm: median %s, 90 %% %s of %d\n", n,
		round(median(first)), round(first[len(first)-1]), len(first), round(median(later)), round(later[len(later)*9/10]), len(later))
	return nil
}

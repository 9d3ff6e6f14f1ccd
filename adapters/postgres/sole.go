package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Sole runs fn in one of all the processes that call it for the database of the URL with the same number, until ctx ends.
// The one that has it keeps it by an advisory lock, on a connection of its own; the others ask every so often whether they
// can have it. When that connection is lost, fn's context ends and somebody else may begin before fn has returned: what fn
// does must bear that.
func Sole(ctx context.Context, url string, number int64, every time.Duration, fn func(context.Context)) error {
	config, err := Options{URL: url}.config()
	if err != nil {
		return err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "imapped sole"
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_ = sole(ctx, config.ConnConfig, number, fn) // why it ended is of no use to anybody: it is tried again
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sole runs fn if the lock is free, as long as it can be held.
func sole(ctx context.Context, config *pgx.ConnConfig, number int64, fn func(context.Context)) error {
	wait, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	c, err := pgx.ConnectConfig(wait, config)
	if err != nil {
		return err
	}
	defer func() { // which gives the lock up
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(wait)
	}()
	var mine bool
	if err := c.QueryRow(wait, "SELECT pg_try_advisory_lock($1)", number).Scan(&mine); err != nil || !mine {
		return err
	}
	holding, lost := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(holding)
	}()
	defer func() { <-done }()
	defer lost()
	beat := time.NewTicker(answer)
	defer beat.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
		}
		wait, cancel := context.WithTimeout(ctx, answer)
		err := c.Ping(wait)
		cancel()
		if err != nil {
			return err
		}
	}
}

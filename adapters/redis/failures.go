package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"imapped/domain/fault"
	"imapped/ports/limits"
)

var _ limits.Failures = (*Failures)(nil)

// Failures is a limits.Failures over all nodes. While Redis is away it is what each node counts for itself, from nothing.
type Failures struct {
	c        *Client
	fallback limits.Failures
}

// NewFailures returns a count in Redis, and in fallback while Redis is away.
func NewFailures(c *Client, fallback limits.Failures) *Failures {
	return &Failures{c: c, fallback: fallback}
}

func (f *Failures) key(key string) string { return f.c.prefix + "failures:" + key }

// Add implements limits.Failures. A failure whose answer from Redis was lost may count in both places.
func (f *Failures) Add(ctx context.Context, key string, window time.Duration) (int, error) {
	var n *goredis.IntCmd
	ok, err := f.try(ctx, func(ctx context.Context) error {
		_, err := f.c.rdb.TxPipelined(ctx, func(p goredis.Pipeliner) error {
			n = p.Incr(ctx, f.key(key))
			p.PExpire(ctx, f.key(key), max(window, time.Millisecond))
			return nil
		})
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return f.fallback.Add(ctx, key, window)
	}
	return int(n.Val()), nil
}

// Count implements limits.Failures.
func (f *Failures) Count(ctx context.Context, key string) (int, time.Duration, error) {
	n := 0
	var left time.Duration
	ok, err := f.try(ctx, func(ctx context.Context) error {
		var count *goredis.StringCmd
		var ttl *goredis.DurationCmd
		_, err := f.c.rdb.TxPipelined(ctx, func(p goredis.Pipeliner) error {
			count, ttl = p.Get(ctx, f.key(key)), p.PTTL(ctx, f.key(key))
			return nil
		})
		if err != nil {
			return err // goredis.Nil: there is none
		}
		n, err = count.Int()
		left = max(ttl.Val(), 0)
		return err
	})
	switch {
	case err != nil:
		return 0, 0, err
	case !ok:
		return f.fallback.Count(ctx, key)
	}
	return n, left, nil
}

// Clear implements limits.Failures.
func (f *Failures) Clear(ctx context.Context, key string) error {
	if err := f.fallback.Clear(ctx, key); err != nil {
		return err
	}
	_, err := f.try(ctx, func(ctx context.Context) error { return f.c.rdb.Del(ctx, f.key(key)).Err() })
	return err
}

// try asks Redis; ok says whether it answered. err is the caller's end.
func (f *Failures) try(ctx context.Context, ask func(context.Context) error) (ok bool, err error) {
	const op = "count login failures"
	if err := over(ctx); err != nil {
		return false, fault.As(fault.Canceled, op, err)
	}
	if !f.c.Connected() {
		return false, nil
	}
	asking, cancel := context.WithTimeout(ctx, f.c.timeout)
	defer cancel()
	err = ask(asking)
	switch {
	case err == nil || err == goredis.Nil: //nolint:errorlint // a value, never wrapped
		return true, nil
	case over(ctx) != nil:
		return false, fault.As(fault.Canceled, op, over(ctx))
	case broken(err):
		f.c.fail(err)
	}
	return false, nil
}

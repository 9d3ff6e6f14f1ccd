package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"imapped/adapters/memory"
	"imapped/adapters/redis"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/events/eventstest"
	"imapped/ports/limits/limitstest"
	"imapped/ports/presence"
	"imapped/ports/presence/presencetest"
	"imapped/ports/wake"
	"imapped/ports/wake/waketest"
)

func TestBus(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		eventstest.Run(t, func(t *testing.T) events.Bus {
			o.Prefix = prefix()
			bus := redis.NewBus(connected(t, o), new(memory.Bus))
			// The suite's accounts are listened to before it begins: subscribing to the first mailbox of an account has a
			// wake-up of its own, when the channel is there.
			for id := range account.ID(3) {
				s := bus.Subscribe(id, 1000)
				t.Cleanup(s.Close)
				heard(t, "the channel", s.C())
			}
			return bus
		})
	})
}

func TestWakes(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		waketest.Run(t, func(t *testing.T) wake.Bus {
			o.Prefix = prefix()
			bus, s := newWakes(t, connected(t, o))
			s.Close()
			return bus
		})
	})
}

// newWakes returns a bus whose channel is there, and a subscription.
func newWakes(t *testing.T, c *redis.Client) (*redis.Wakes, wake.Subscription) {
	t.Helper()
	local := new(memory.Wakes)
	s := local.Subscribe() // before the channel, whose coming is heard of
	bus := redis.NewWakes(c, "leases", local)
	await(t, "the channel", func() bool { _, all := s.Take(); return all })
	return bus, s
}

func TestFailures(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		limitstest.Run(t, func(t *testing.T) limitstest.Harness {
			o.Prefix = prefix()
			return limitstest.Harness{
				Failures: redis.NewFailures(connected(t, o), refusing{t}), Advance: func(d time.Duration) { advance(t, o, d) },
			}
		})
	})
}

func TestNodes(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		presencetest.Run(t, func(t *testing.T) presencetest.Harness {
			o.Prefix = prefix()
			return presencetest.Harness{
				Nodes: redis.NewNodes(connected(t, o)), Advance: func(d time.Duration) { advance(t, o, d) },
			}
		})
	})
}

func TestNodesBounded(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		nodes := redis.NewNodes(connected(t, o))
		if _, err := nodes.Announce(t.Context(), "n0", time.Minute); err != nil {
			t.Fatal(err)
		}
		opt, err := goredis.ParseURL(o.URL)
		if err != nil {
			t.Fatal(err)
		}
		rdb := goredis.NewClient(opt)
		defer rdb.Close()
		var others []goredis.Z
		for i := range presence.MaxNodes - 1 {
			others = append(others, goredis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: fmt.Sprint("n", i+1)})
		}
		if err := rdb.ZAdd(t.Context(), o.Prefix+"nodes", others...).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes.Announce(t.Context(), "more", time.Minute); !fault.Is(err, fault.Limit) {
			t.Errorf("one node more: %v, want limit", err)
		}
		if all, err := nodes.Announce(t.Context(), "n7", time.Minute); err != nil || len(all) != presence.MaxNodes {
			t.Errorf("a known node: %d nodes, %v", len(all), err)
		}
	})
}

// refusing is a fallback that must not be asked.
type refusing struct{ t *testing.T }

func (r refusing) Add(context.Context, string, time.Duration) (int, error) {
	r.t.Error("the fallback counts, although Redis is there")
	return 0, nil
}

func (r refusing) Count(context.Context, string) (int, time.Duration, error) {
	r.t.Error("the fallback is asked, although Redis is there")
	return 0, 0, nil
}

func (r refusing) Clear(context.Context, string) error { return nil }

// advance makes time pass for what is stored: everything with a time to live, or with a time for a score, is brought
// nearer to its end.
func advance(t *testing.T, o redis.Options, d time.Duration) {
	t.Helper()
	opt, err := goredis.ParseURL(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	rdb := goredis.NewClient(opt)
	defer rdb.Close()
	ctx := t.Context()
	keys, err := rdb.Keys(ctx, o.Prefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		switch kind := rdb.Type(ctx, key).Val(); {
		case key == o.Prefix+"probe":
		case kind == "zset":
			for _, z := range rdb.ZRangeWithScores(ctx, key, 0, -1).Val() {
				if err := rdb.ZIncrBy(ctx, key, -float64(d.Milliseconds()), z.Member.(string)).Err(); err != nil {
					t.Fatal(err)
				}
			}
		default:
			left := rdb.PTTL(ctx, key).Val()
			if left <= 0 {
				t.Fatalf("%s is kept for good", key)
			}
			if err := rdb.PExpire(ctx, key, left-d).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBetweenNodes: what one node publishes wakes who listens on another, and only for what it is about.
func TestBetweenNodes(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		here, there := connected(t, o), connected(t, o)
		busHere, busThere := redis.NewBus(here, new(memory.Bus)), redis.NewBus(there, new(memory.Bus))
		box, other := busHere.Subscribe(5, 7), busHere.Subscribe(5, 8)
		defer box.Close()
		defer other.Close()
		heard(t, "the channel", box.C())
		heard(t, "the channel", other.C())
		for seq := range 10 {
			busThere.Publish(events.Hint{Account: 5, Mailbox: 7, ModSeq: mailbox.ModSeq(seq + 1)})
			heard(t, fmt.Sprint("change ", seq), box.C())
		}
		busThere.Publish(events.Hint{Account: 6, Mailbox: 8})
		busThere.Publish(events.Hint{Account: 5, Mailbox: 7})
		heard(t, "the last change", box.C())
		select {
		case <-other.C():
			t.Error("a mailbox is woken that nothing happened to")
		default:
		}

		_, s := newWakes(t, here)
		defer s.Close()
		wakesThere, _ := newWakes(t, there)
		wakesThere.Publish(42)
		heard(t, "the lease", s.C())
		if ids, all := s.Take(); len(ids) != 1 || ids[0] != 42 || all {
			t.Errorf("woken for %v, %v; want account 42", ids, all)
		}

		f, g := redis.NewFailures(here, refusing{t}), redis.NewFailures(there, refusing{t})
		for want := 1; want <= 4; want += 2 {
			if n, err := f.Add(t.Context(), "user/ann", time.Minute); n != want || err != nil {
				t.Errorf("%d, %v, want %d", n, err, want)
			}
			if n, err := g.Add(t.Context(), "user/ann", time.Minute); n != want+1 || err != nil {
				t.Errorf("%d, %v, want %d", n, err, want+1)
			}
		}
	})
}

// TestGoodbye: what was published last before a node stops is heard of by the others.
func TestGoodbye(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		_, s := newWakes(t, connected(t, o))
		defer s.Close()
		var got []int
		var want []int
		for i := range 20 {
			o.Log = slog.New(slog.DiscardHandler)
			c, err := redis.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			await(t, "the connection", c.Connected)
			bus := redis.NewWakes(c, "leases", new(memory.Wakes))
			bus.Publish(account.ID(2 * i))
			bus.Publish(account.ID(2*i + 1))
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			want = append(want, 2*i, 2*i+1)
		}
		await(t, "every goodbye", func() bool {
			ids, _ := s.Take()
			for _, id := range ids {
				got = append(got, int(id))
			}
			slices.Sort(got)
			return slices.Equal(got, want)
		})
	})
}

func TestURL(t *testing.T) {
	for _, url := range []string{"", "http://x", "redis://:s3cret@host:port:x/1", "redis://:s3cret@h/notanumber"} {
		_, err := redis.Open(redis.Options{URL: url})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want invalid", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

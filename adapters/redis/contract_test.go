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
	"imapped/ports/nodes"
	"imapped/ports/nodes/nodestest"
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

func TestCalls(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		nodestest.RunCalls(t, func(t *testing.T, n int) []nodes.Calls {
			o.Prefix = prefix()
			ends := make([]nodes.Calls, n)
			for i := range ends {
				ends[i] = redis.NewCalls(connected(t, o))
			}
			return ends
		})
	})
}

func TestPresence(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		nodestest.RunPresence(t, func(*testing.T) nodestest.Join {
			o.Prefix = prefix()
			return func(t *testing.T, name string) (nodes.Presence, func()) {
				p := newPresence(t, open(t, o), name)
				return p, p.Leave
			}
		})
	})
}

func newPresence(t *testing.T, c *redis.Client, name string) *redis.Presence {
	t.Helper()
	p, err := redis.NewPresence(c, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Leave)
	return p
}

// newCalls returns a client's calls, whose channel is there, and what is heard of them from then on.
func newCalls(t *testing.T, o redis.Options, c *redis.Client) (*redis.Calls, <-chan nodes.Call) {
	t.Helper()
	calls := redis.NewCalls(c)
	heard := make(chan nodes.Call, 200_000)
	t.Cleanup(calls.Receive(func(c nodes.Call) { heard <- c }))
	rdb := rawClient(t, o)
	await(t, "the channel", func() bool {
		n, err := rdb.Publish(t.Context(), o.Prefix+"calls", "test 1.4.1.0.").Result()
		return err == nil && n > 0 && len(heard) > 0
	})
	for len(heard) > 0 {
		<-heard
	}
	return calls, heard
}

// missed waits until a node is told that it may have missed calls.
func missed(t *testing.T, heard <-chan nodes.Call) {
	t.Helper()
	for _, want := range nodes.Missed() {
		hears(t, heard, want)
	}
}

// hears waits for a call, and passes others over.
func hears(t *testing.T, heard <-chan nodes.Call, want nodes.Call) (others int) {
	t.Helper()
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		select {
		case c := <-heard:
			if c.What == want.What && c.Account == want.Account && c.Mailbox == want.Mailbox && slices.Equal(c.UIDs, want.UIDs) {
				return others
			}
			others++
		case <-over.C:
			t.Fatalf("%+v is not heard", want)
		}
	}
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

// rawClient is another program's way to the server.
func rawClient(t *testing.T, o redis.Options) *goredis.Client {
	t.Helper()
	opt, err := goredis.ParseURL(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	rdb := goredis.NewClient(opt)
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// become waits until the list of nodes has so many names.
func become(t *testing.T, p *redis.Presence, want int) {
	t.Helper()
	await(t, fmt.Sprint(want, " nodes"), func() bool {
		names, err := p.Nodes(t.Context())
		return err == nil && len(names) == want
	})
}

// TestPresenceForgets: a node that has not said for its time that it is there is gone.
func TestPresenceForgets(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		rdb := rawClient(t, o)
		dead := goredis.Z{Score: float64(time.Now().Add(3 * time.Second).UnixMilli()), Member: "dead"}
		if err := rdb.ZAdd(t.Context(), o.Prefix+"nodes", dead).Err(); err != nil {
			t.Fatal(err)
		}
		p := newPresence(t, open(t, o), "here")
		become(t, p, 2)
		become(t, p, 1)
	})
}

// TestPresenceBounded: a node for which there is no room waits for some.
func TestPresenceBounded(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		rdb := rawClient(t, o)
		var others []goredis.Z
		for i := range 1024 {
			others = append(others, goredis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: fmt.Sprint("n", i)})
		}
		if err := rdb.ZAdd(t.Context(), o.Prefix+"nodes", others...).Err(); err != nil {
			t.Fatal(err)
		}
		j := &journal{}
		o.Log = j.logger()
		p := newPresence(t, open(t, o), "one more")
		await(t, "the log", func() bool { return j.count("there are 1024 nodes already") == 1 })
		if names, err := p.Nodes(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%d nodes, %v, want unavailable", len(names), err)
		}
		if err := rdb.ZRem(t.Context(), o.Prefix+"nodes", "n7").Err(); err != nil {
			t.Fatal(err)
		}
		become(t, p, 1024)
	})
}

// TestPresenceNames: a node has a name, and not a long one.
func TestPresenceNames(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("n", 256)} {
		if _, err := redis.NewPresence(nil, name); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.5q: %v, want invalid", name, err)
		}
	}
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
		box := busHere.Subscribe(5, 7)
		defer box.Close()
		heard(t, "the channel", box.C())
		other := busHere.Subscribe(5, 8) // not woken by the channel, which is there
		defer other.Close()
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

		_, news := newCalls(t, o, here)
		callsThere, _ := newCalls(t, o, there)
		callsThere.Send(nodes.Call{What: nodes.Round, Account: 42})
		hears(t, news, nodes.Call{What: nodes.Round, Account: 42})

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

// TestGoodbye: what a node called last before it stops is heard by the others, and that it left the list.
func TestGoodbye(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		stays := connected(t, o)
		_, heard := newCalls(t, o, stays)
		list := newPresence(t, stays, "stays")
		for i := range 20 {
			o.Log = slog.New(slog.DiscardHandler)
			c, err := redis.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			p, err := redis.NewPresence(c, fmt.Sprint("node ", i))
			if err != nil {
				t.Fatal(err)
			}
			become(t, list, 2)
			calls := redis.NewCalls(c)
			calls.Send(nodes.Call{What: nodes.Queue, Account: account.ID(i + 1)})
			calls.Send(nodes.Call{What: nodes.Free})
			p.Leave()
			p.Leave()
			if _, err := p.Nodes(t.Context()); !fault.Is(err, fault.Unavailable) {
				t.Errorf("after the end: %v, want unavailable", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			became := map[nodes.What]bool{}
			for len(became) < 2 { // in any order
				select {
				case call := <-heard:
					became[call.What] = true
				case <-time.After(patience):
					t.Fatalf("heard %v alone", became)
				}
			}
			become(t, list, 1)
		}
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

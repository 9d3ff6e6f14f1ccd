package redis

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// hear is told what came through a channel: the message without its origin. It runs on the client's goroutine and does not
// wait; all says that something may have been missed.
type hear func(text string, all bool)

// ear is who listens to a channel.
type ear struct {
	hear hear
	// wanted is false for a channel that nobody listens to any more: it is left at the next sweep, for a client that
	// goes from one mailbox to the next comes back at once.
	wanted bool
}

// join makes fn listen to a channel; it takes the place of who listened before.
func (c *Client) join(channel string, fn hear) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ears[channel] = &ear{hear: fn, wanted: true}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// leave ends join.
func (c *Client) leave(channel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.ears[channel]; e != nil {
		e.hear, e.wanted = func(string, bool) {}, false
	}
}

// everyone is the channel that every node listens to: what comes through it is for all listeners of the node.
func (c *Client) everyone() string { return c.prefix + "everyone" }

// Between attempts to connect the client waits at least and at most so long, with jitter; an attempt that held for steady
// ends a series.
const (
	retryMin = 50 * time.Millisecond
	retryMax = 2 * time.Second
	steady   = 10 * time.Second
)

// keep connects, again and again, until ctx is done.
func (c *Client) keep(ctx context.Context) {
	for delay := retryMin; ctx.Err() == nil; delay = min(2*delay, retryMax) {
		began := time.Now()
		err := c.link(ctx)
		if ctx.Err() != nil {
			return
		}
		c.fail(err)
		if time.Since(began) > steady {
			delay = retryMin
		}
		pause(ctx, delay/2+rand.N(delay/2))
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// link is one connection for subscriptions, from its beginning to its end. It returns why it ended.
func (c *Client) link(ctx context.Context) error {
	if err := c.probe(ctx); err != nil {
		return err
	}
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	c.mu.Lock()
	c.cut = cut
	c.mu.Unlock()
	ps := c.rdb.Subscribe(ctx)
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() { // ends what waits for the server
		defer close(closed)
		_ = ps.Close()
	})
	adjusted := make(chan struct{})
	go func() {
		defer close(adjusted)
		cut(c.adjust(ctx, ps))
	}()
	cut(c.receive(ctx, ps))
	<-adjusted
	<-closed
	return context.Cause(ctx)
}

// probe asks whether Redis takes changes and messages, which a replica, a server that is loading or full, or one that does
// not allow it, does not.
func (c *Client) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+c.timeout)
	defer cancel()
	_, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.Set(ctx, c.prefix+"probe", c.origin, time.Minute)
		p.Publish(ctx, c.prefix+"probe", c.origin)
		return nil
	})
	return err
}

// receive passes on what comes until the connection is lost.
func (c *Client) receive(ctx context.Context, ps *goredis.PubSub) error {
	for ctx.Err() == nil {
		m, err := ps.ReceiveTimeout(ctx, 2*c.interval)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *goredis.Subscription:
			switch {
			case m.Kind != "subscribe":
			case m.Channel == c.everyone():
				c.arrived()
			default:
				c.tell(m.Channel, "", true)
			}
		case *goredis.Message:
			from, text, _ := strings.Cut(m.Payload, " ")
			switch {
			case from == c.origin: // listeners of this node know it already
			case m.Channel == c.everyone():
				c.tellAll()
			default:
				c.tell(m.Channel, text, false)
			}
		}
	}
	return ctx.Err()
}

func (c *Client) tell(channel, text string, all bool) {
	c.mu.Lock()
	fn := func(string, bool) {}
	if e := c.ears[channel]; e != nil {
		fn = e.hear
	}
	c.mu.Unlock()
	fn(text, all)
}

// tellAll tells every listener of the node that something may have been missed.
func (c *Client) tellAll() {
	c.mu.Lock()
	all := make([]hear, 0, len(c.ears))
	for _, e := range c.ears {
		all = append(all, e.hear)
	}
	c.mu.Unlock()
	for _, fn := range all {
		fn("", true)
	}
}

const (
	// maxChannels is how many channels one command names.
	maxChannels = 500
	// sweepEvery is after how many heartbeats channels are left that nobody listens to.
	sweepEvery = 30
)

// adjust keeps the subscriptions of a connection what is wanted, and asks the server for a sign of life now and then.
func (c *Client) adjust(ctx context.Context, ps *goredis.PubSub) error {
	if err := ps.Subscribe(ctx, c.everyone()); err != nil {
		return err
	}
	have := map[string]bool{}
	beat := time.NewTicker(c.interval)
	defer beat.Stop()
	for beats := 0; ; {
		join, drop := c.difference(have, beats > 0 && beats%sweepEvery == 0)
		if err := inChunks(drop, func(part []string) error { return ps.Unsubscribe(ctx, part...) }); err != nil {
			return err
		}
		if err := inChunks(join, func(part []string) error { return ps.Subscribe(ctx, part...) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.changed:
		case <-beat.C:
			beats++
			if err := ps.Ping(ctx); err != nil {
				return err
			}
		}
	}
}

// difference returns what is to be subscribed to and to be left, and changes have so.
func (c *Client) difference(have map[string]bool, sweep bool) (join, drop []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel, e := range c.ears {
		switch {
		case e.wanted && !have[channel]:
			have[channel] = true
			join = append(join, channel)
		case !e.wanted && (sweep || !have[channel]):
			delete(c.ears, channel)
			if have[channel] {
				delete(have, channel)
				drop = append(drop, channel)
			}
		}
	}
	return join, drop
}

func inChunks(channels []string, do func([]string) error) error {
	for len(channels) > 0 {
		n := min(len(channels), maxChannels)
		if err := do(channels[:n]); err != nil {
			return err
		}
		channels = channels[n:]
	}
	return nil
}

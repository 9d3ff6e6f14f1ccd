package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"imapped/domain/fault"
	"imapped/ports/nodes"
)

const (
	// A node says so often that it is there, and is gone when it has not said so for so long.
	announceEvery = 2 * time.Second
	announceFor   = 3 * announceEvery
	// announcePause is the least time between two announcements of a node.
	announcePause = 20 * time.Millisecond
	// maxNodes is how many nodes there are at most, maxName how many octets a name has.
	maxNodes = 1024
	maxName  = 255
)

var _ nodes.Presence = (*Presence)(nil)

// Presence is a nodes.Presence in Redis: a sorted set of names by when they are gone, in milliseconds of the server's clock.
// It announces its own node until Leave.
type Presence struct {
	c       *Client
	script  *goredis.Script
	name    string
	changed chan struct{} // capacity 1
	kick    chan struct{} // capacity 1: look now
	stop    context.CancelFunc
	ended   chan struct{}

	mu    sync.Mutex
	names []string  // the last list
	at    time.Time // when it was asked for; zero: there is none
	left  bool
	full  bool // there was no room for this node at the last time
}

// NewPresence announces a node, whose name no other node has at the same time, as soon as Redis is there and again and again;
// fault.Invalid for a name that is empty or longer than 255 octets. The caller ends it by Leave, before the client.
func NewPresence(c *Client, name string) (*Presence, error) {
	if name == "" || len(name) > maxName {
		return nil, fault.Newf(fault.Invalid, "announce node", "a node needs a name of at most %d octets", maxName)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Presence{
		c: c, script: goredis.NewScript(presenceScript), name: name, changed: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		stop: stop, ended: make(chan struct{}),
	}
	c.join(p.channel(), func(string, bool) { // somebody came or went, or may have
		select {
		case p.kick <- struct{}{}:
		default:
		}
	})
	go p.announce(ctx)
	return p, nil
}

// channel is where it is said that the list changed.
func (p *Presence) channel() string { return p.c.prefix + "presence" }

// presenceScript takes a node (ARGV[1]), its time to live in milliseconds (ARGV[2]; 0: it is gone), how many nodes there may
// be (ARGV[3]), and what to say on the channel (KEYS[2]) when it came or went (ARGV[4]). It forgets who is gone, and returns
// who is left.
const presenceScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local ttl = tonumber(ARGV[2])
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ttl <= 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
elseif known or redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
else
  return redis.error_reply('FULL too many nodes')
end
if (ttl > 0) == not known then
  redis.call('PUBLISH', KEYS[2], ARGV[4])
end
return redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
`

// Nodes implements nodes.Presence: it is the last list, which nobody waits for. While Redis is away, or where that list is
// not fresh, the error is fault.Unavailable.
func (p *Presence) Nodes(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.c.Connected() || p.at.IsZero() || time.Since(p.at) >= announceFor {
		return nil, fault.New(fault.Unavailable, "list nodes", "Redis is away")
	}
	return slices.Clone(p.names), nil
}

// Changed implements nodes.Presence.
func (p *Presence) Changed() <-chan struct{} { return p.changed }

// Leave says that the node is gone, which the others hear at once, and ends everything. Without Redis they find out by
// themselves, a little later. It may be called more than once.
func (p *Presence) Leave() {
	p.stop()
	<-p.ended
	p.mu.Lock()
	left := p.left
	p.left, p.at = true, time.Time{}
	p.mu.Unlock()
	if !left {
		p.c.leave(p.channel())
		_, _ = p.ask(context.Background(), 0)
	}
}

// announce keeps the node in the list until ctx is done.
func (p *Presence) announce(ctx context.Context) {
	defer close(p.ended)
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.c.whenLive():
		}
		began := time.Now()
		names, err := p.ask(context.WithoutCancel(ctx), announceFor) // what is on its way would otherwise overtake Leave
		p.note(began, names, err)
		pause(ctx, announcePause)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.kick:
		}
	}
}

// note keeps what was answered to a question of the time.
func (p *Presence) note(at time.Time, names []string, err error) {
	p.mu.Lock()
	wasFull := p.full
	p.full = fault.Is(err, fault.Limit)
	news := err == nil && (p.at.IsZero() || !slices.Equal(names, p.names))
	if err == nil {
		p.names, p.at = names, at
	}
	full := p.full && !wasFull
	p.mu.Unlock()
	if full {
		p.c.log.Warn("other nodes do not hear that this one is there", "error", err)
	}
	if !news {
		return
	}
	p.c.log.Info("nodes", "alive", len(names), "names", names)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// ask changes the list and returns it, by name. It waits for an answer as long as one may take.
func (p *Presence) ask(ctx context.Context, ttl time.Duration) ([]string, error) {
	const op = "announce node"
	if !p.c.Connected() {
		return nil, fault.Wrap(op, errAway)
	}
	asking, cancel := context.WithTimeout(ctx, p.c.timeout)
	defer cancel()
	names, err := p.script.Run(asking, p.c.rdb, []string{p.c.prefix + "nodes", p.channel()},
		p.name, ttl.Milliseconds(), maxNodes, p.c.origin).StringSlice()
	switch {
	case err == nil:
		slices.Sort(names)
		return names, nil
	case goredis.HasErrorPrefix(err, "FULL"):
		return nil, fault.Newf(fault.Limit, op, "there are %d nodes already", maxNodes)
	case broken(err):
		p.c.fail(err)
	}
	return nil, fault.As(fault.Unavailable, op, err)
}

package redis

import (
	"context"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"imapped/domain/fault"
	"imapped/ports/presence"
)

var _ presence.Nodes = (*Nodes)(nil)

// Nodes is a presence.Nodes in Redis: a sorted set of names by when they are gone, in milliseconds of the server's clock.
type Nodes struct {
	c      *Client
	script *goredis.Script
}

// NewNodes returns the list of nodes in Redis. While that is away every call fails with fault.Unavailable.
func NewNodes(c *Client) *Nodes { return &Nodes{c: c, script: goredis.NewScript(nodesScript)} }

// nodesScript takes a node (ARGV[1]; empty: none) and its time to live in milliseconds (ARGV[2]; 0: it is gone), and how
// many nodes there may be (ARGV[3]); it forgets who is gone, and returns who is left.
const nodesScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local ttl = tonumber(ARGV[2])
if ARGV[1] ~= '' then
  if ttl <= 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
  elseif redis.call('ZSCORE', KEYS[1], ARGV[1]) or redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[3]) then
    redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
  else
    return redis.error_reply('FULL too many nodes')
  end
end
return redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
`

// Announce implements presence.Nodes.
func (n *Nodes) Announce(ctx context.Context, node string, ttl time.Duration) ([]string, error) {
	const op = "announce node"
	if node == "" || len(node) > 255 || ttl < time.Millisecond {
		return nil, fault.New(fault.Invalid, op, "a node needs a name of at most 255 octets and a time to live")
	}
	return n.run(ctx, op, node, ttl)
}

// Leave implements presence.Nodes.
func (n *Nodes) Leave(ctx context.Context, node string) error {
	_, err := n.run(ctx, "leave nodes", node, 0)
	return err
}

// Live implements presence.Nodes.
func (n *Nodes) Live(ctx context.Context) ([]string, error) { return n.run(ctx, "list nodes", "", 0) }

func (n *Nodes) run(ctx context.Context, op, node string, ttl time.Duration) ([]string, error) {
	if err := over(ctx); err != nil {
		return nil, fault.As(fault.Canceled, op, err)
	}
	if !n.c.Connected() {
		return nil, fault.Wrap(op, errAway)
	}
	asking, cancel := context.WithTimeout(ctx, n.c.timeout)
	defer cancel()
	names, err := n.script.Run(asking, n.c.rdb, []string{n.c.prefix + "nodes"}, node, ttl.Milliseconds(), presence.MaxNodes).StringSlice()
	switch {
	case err == nil:
		slices.Sort(names)
		return names, nil
	case goredis.HasErrorPrefix(err, "FULL"):
		return nil, fault.Newf(fault.Limit, op, "there are %d nodes already", presence.MaxNodes)
	case over(ctx) != nil:
		return nil, fault.As(fault.Canceled, op, over(ctx))
	case broken(err):
		n.c.fail(err)
	}
	return nil, fault.As(fault.Unavailable, op, err)
}

package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/ports/clock"
	"imapped/ports/presence"
)

var _ presence.Nodes = (*Nodes)(nil)

// Nodes is a presence.Nodes within one process, which is the only node then, or plays several.
type Nodes struct {
	clock clock.Clock

	mu    sync.Mutex
	until map[string]time.Time // at most presence.MaxNodes
}

// NewNodes returns an empty list.
func NewNodes(c clock.Clock) *Nodes { return &Nodes{clock: c, until: map[string]time.Time{}} }

// Announce implements presence.Nodes.
func (n *Nodes) Announce(ctx context.Context, node string, ttl time.Duration) ([]string, error) {
	const op = "announce node"
	if node == "" || len(node) > 255 || ttl < time.Millisecond {
		return nil, fault.New(fault.Invalid, op, "a node needs a name of at most 255 octets and a time to live")
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(op, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.clock.Now()
	names := n.live(now)
	if _, known := n.until[node]; !known {
		if len(names) >= presence.MaxNodes {
			return nil, fault.Newf(fault.Limit, op, "there are %d nodes already", len(names))
		}
		at, _ := slices.BinarySearch(names, node)
		names = slices.Insert(names, at, node)
	}
	n.until[node] = now.Add(ttl)
	return names, nil
}

// Leave implements presence.Nodes.
func (n *Nodes) Leave(ctx context.Context, node string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.until, node)
	return ctx.Err()
}

// Live implements presence.Nodes.
func (n *Nodes) Live(ctx context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live(n.clock.Now()), ctx.Err()
}

// live forgets who is gone and returns the others by name. mu is held.
func (n *Nodes) live(now time.Time) []string {
	var names []string
	for name, until := range n.until {
		if now.Before(until) {
			names = append(names, name)
		} else {
			delete(n.until, name)
		}
	}
	slices.Sort(names)
	return names
}

package memory

import (
	"context"
	"maps"
	"slices"
	"sync"

	"imapped/ports/nodes"
)

// Nodes is which nodes there are in one process. The zero value is ready.
type Nodes struct {
	mu   sync.Mutex
	live map[*Presence]string
}

// Presence is one node's view of a Nodes, and its place there.
type Presence struct {
	nodes   *Nodes
	changed chan struct{}
}

var _ nodes.Presence = (*Presence)(nil)

// Join adds a node, which is alive until it leaves.
func (n *Nodes) Join(name string) *Presence {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live == nil {
		n.live = map[*Presence]string{}
	}
	p := &Presence{nodes: n, changed: make(chan struct{}, 1)}
	n.live[p] = name
	n.tell()
	return p
}

// tell says that the list changed; mu is held.
func (n *Nodes) tell() {
	for p := range n.live {
		select {
		case p.changed <- struct{}{}:
		default: // it is told already
		}
	}
}

// Nodes implements nodes.Presence.
func (p *Presence) Nodes(context.Context) ([]string, error) {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	return slices.Compact(slices.Sorted(maps.Values(p.nodes.live))), nil
}

// Changed implements nodes.Presence.
func (p *Presence) Changed() <-chan struct{} { return p.changed }

// Leave removes the node; it may be called more than once.
func (p *Presence) Leave() {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	delete(p.nodes.live, p)
	p.nodes.tell()
}

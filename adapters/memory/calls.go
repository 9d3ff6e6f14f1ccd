package memory

import (
	"sync"

	"imapped/ports/nodes"
)

// Calls carries calls between the nodes of one process: each gets its own end by Node. The zero value is ready.
type Calls struct {
	mu    sync.Mutex
	nodes map[*Node]struct{}
}

// Node is one node's end of a Calls.
type Node struct {
	calls *Calls
	mu    sync.Mutex // held while fn runs
	fn    func(nodes.Call)
}

var _ nodes.Calls = (*Node)(nil)

// Node returns the end of one more node.
func (c *Calls) Node() *Node { return &Node{calls: c} }

// Send implements nodes.Calls. The others hear it before it returns.
func (n *Node) Send(call nodes.Call) {
	n.calls.mu.Lock()
	others := make([]*Node, 0, len(n.calls.nodes))
	for other := range n.calls.nodes {
		if other != n {
			others = append(others, other)
		}
	}
	n.calls.mu.Unlock()
	for _, other := range others {
		other.hear(call)
	}
}

func (n *Node) hear(call nodes.Call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fn != nil {
		n.fn(call)
	}
}

// Receive implements nodes.Calls. A node has one receiver at a time.
func (n *Node) Receive(fn func(nodes.Call)) (stop func()) {
	n.mu.Lock()
	n.fn = fn
	n.mu.Unlock()
	n.calls.mu.Lock()
	defer n.calls.mu.Unlock()
	if n.calls.nodes == nil {
		n.calls.nodes = map[*Node]struct{}{}
	}
	n.calls.nodes[n] = struct{}{}
	return func() {
		n.calls.mu.Lock()
		delete(n.calls.nodes, n)
		n.calls.mu.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.fn = nil
	}
}

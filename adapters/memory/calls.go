package memory

import (
	"sync"

	"imapped/ports/nodes"
)

// Calls carries calls between the nodes of one process: each gets its own end by Node. The zero value is ready.
type Calls struct {
	mu    sync.Mutex
	nodes []*Node
}

// Node is one node's end of a Calls.
type Node struct {
	calls     *Calls
	listeners nodes.Listeners
}

var _ nodes.Calls = (*Node)(nil)

// Node returns the end of one more node.
func (c *Calls) Node() *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &Node{calls: c}
	c.nodes = append(c.nodes[:len(c.nodes):len(c.nodes)], n) // who sends now goes on with the list that it has
	return n
}

// Send implements nodes.Calls. The others hear it before it returns.
func (n *Node) Send(call nodes.Call) {
	n.calls.mu.Lock()
	all := n.calls.nodes
	n.calls.mu.Unlock()
	for _, other := range all {
		if other != n {
			other.listeners.Hear(call)
		}
	}
}

// Receive implements nodes.Calls.
func (n *Node) Receive(fn func(nodes.Call)) (stop func()) { return n.listeners.Receive(fn) }

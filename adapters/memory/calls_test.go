package memory_test

import (
	"testing"

	"imapped/adapters/memory"
	"imapped/ports/nodes"
	"imapped/ports/nodes/nodestest"
)

func TestCalls(t *testing.T) {
	nodestest.RunCalls(t, func(_ *testing.T, n int) []nodes.Calls {
		calls := new(memory.Calls)
		ends := make([]nodes.Calls, n)
		for i := range ends {
			ends[i] = calls.Node()
		}
		return ends
	})
}

func TestPresence(t *testing.T) {
	nodestest.RunPresence(t, func(*testing.T) nodestest.Join {
		all := new(memory.Nodes)
		return func(_ *testing.T, name string) (nodes.Presence, func()) {
			p := all.Join(name)
			return p, p.Leave
		}
	})
}

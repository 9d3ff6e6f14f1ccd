// Package presence is the port that tells which nodes are alive, so that work can be spread fairly.
//
// Invariants:
//  1. It is advice: who may write to an account is decided by its lease (ports/metadata), whatever is said here. A list
//     may lack nodes for as long as they take to announce themselves again.
//  2. A node is alive until the time it gave in its last Announce is over. No node's clock is compared with another's.
package presence

import (
	"context"
	"time"
)

// MaxNodes is how many nodes a list holds at most.
const MaxNodes = 1024

// Nodes keeps which nodes are alive.
type Nodes interface {
	// Announce says that the node is alive, for ttl from now on, and returns the nodes that are, this one included, by
	// name. fault.Invalid for an empty name, one longer than 255 octets, or a ttl below a millisecond;
	// fault.Unavailable when nobody can tell: what was known last is the best guess then.
	Announce(ctx context.Context, node string, ttl time.Duration) ([]string, error)
	// Leave says that the node is gone; one that is not known is no error.
	Leave(ctx context.Context, node string) error
	// Live returns the nodes that are alive, by name.
	Live(ctx context.Context) ([]string, error)
}

// Package limits is the port that counts failures so that guessing a password does not pay.
//
// Invariants:
//  1. A count forgets its failures when its window has passed since the last one.
package limits

import (
	"context"
	"time"
)

// Failures counts failures by key (for example "ip/192.0.2.1" or "user/ann").
type Failures interface {
	// Add counts one failure and returns how many there are in the window, this one included.
	Add(ctx context.Context, key string, window time.Duration) (int, error)
	// Count returns how many failures there are, and how long until they are forgotten.
	Count(ctx context.Context, key string) (int, time.Duration, error)
	// Clear forgets the key.
	Clear(ctx context.Context, key string) error
}

// Package clock is the port through which the application reads the time.
//
// Invariants:
//  1. Nothing in app reads the wall clock any other way; timers come from the standard library, which testing/synctest
//     controls.
package clock

import "time"

// Clock tells the time.
type Clock interface {
	Now() time.Time
}

// Elapsed is how much time went by from one reading of a clock to another: by the monotonic clock or by the wall clock,
// whichever says more. The first stands still while the machine sleeps, the second may be put back.
func Elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// System is the machine's clock.
type System struct{}

// Now returns the current time.
func (System) Now() time.Time { return time.Now() }

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

// System is the machine's clock.
type System struct{}

// Now returns the current time.
func (System) Now() time.Time { return time.Now() }

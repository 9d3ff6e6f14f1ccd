// Package timed wraps stores so that each of their operations is timed.
//
// Invariants:
//  1. What a store returns is returned as it is. Where a file is sent without passing through the process, it still is.
//  2. The time of an operation that calls back for each row holds what the callbacks took.
//  3. Names of operations are those of the ports' methods, in lower case with underscores, and nothing else.
package timed

import "time"

// Observe hears how long an operation took, and its error. It must not wait; any number of goroutines call it.
type Observe func(op string, took time.Duration, err error)

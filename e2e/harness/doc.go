// Package harness gives the e2e suites their world: Dovecot and real clients in containers, mail to put into them, and
// the program under test as a child process.
//
// Invariants:
//  1. Everything that is started is ended by whoever started it: Close, Stop or Kill.
//  2. Nothing waits without a bound.
//  3. The same seed gives the same mail, flags and dates.
package harness

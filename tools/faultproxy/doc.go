// Package faultproxy is a TCP proxy that misbehaves on demand: it delays, throttles, stalls, swallows, corrupts and
// cuts what passes, as a network or a peer may. Tests use it as a library; cmd/faultproxy is the same on a command line.
//
// Invariants:
//  1. Faults may be changed at any time and act on live connections from the next byte on.
//  2. A delay costs time, not throughput: bytes are stamped when read and written when due, as on a long line.
//  3. Bytes are counted when they are written on, so that a count never runs ahead of what the other side can have.
//  4. A cut lets exactly CutAt bytes of its direction pass, then resets both ends; it happens once.
//  5. Close returns when every goroutine of the proxy has ended.
package faultproxy

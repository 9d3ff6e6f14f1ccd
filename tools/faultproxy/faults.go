package faultproxy

import "time"

// Faults is how a proxy misbehaves; the zero value passes everything on.
type Faults struct {
	// Refuse closes the listening socket: a dial is refused by the kernel. Live connections go on.
	Refuse bool
	// BlackHole accepts and reads everything, and passes nothing on, not even an end of stream. A connection that lost
	// bytes to it is reset when it is lifted.
	BlackHole bool
	// Up is the way from the client to the upstream, Down the way back.
	Up, Down Flow
}

// Flow is the faults of one direction.
type Flow struct {
	// Delay is the one-way latency. The round-trip time grows by Up.Delay + Down.Delay.
	Delay time.Duration
	// Bandwidth is the bytes per second of each connection; 0 does not limit.
	Bandwidth int64
	// Stall holds everything back until it is lifted.
	Stall bool
	// OneByte writes every byte by itself.
	OneByte bool
	// CutAt resets the connection on which the CutAt-th byte of this direction passes, counted over all connections
	// since Set; 0 does not cut.
	CutAt int64
	// CorruptEvery inverts the lowest bit of every CorruptEvery-th byte of a connection; 0 changes nothing.
	CorruptEvery int64
}

// Stats counts what a proxy did since it was started.
type Stats struct {
	Accepted int64 // connections
	Up, Down int64 // bytes written on to the upstream and to clients
	Cuts     int64 // connections reset by CutAt
}

// RoundTrip is the faults of a long line: rtt more for a round trip, split over both directions, and nothing else. (A
// dial is not delayed: the proxy accepts at once.)
func RoundTrip(rtt time.Duration) Faults {
	return Faults{Up: Flow{Delay: rtt / 2}, Down: Flow{Delay: rtt - rtt/2}}
}

package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector lets the heap grow by a part of what is live, stacks included, before it runs again: by all of it, unless it is
// told otherwise. What thousands of resting accounts hold is live and never changes, so that such a reserve is of no use.
const (
	reserve      = 64 << 20 // octets that may be garbage, whatever is live
	leastPercent = 25       // a smaller part would cost more in collections than it saves
	reserveEvery = 15 * time.Second
)

// thrift has the collector keep its reserve small where much is live, until ctx is done. Whoever starts the program with GOGC
// or GOMEMLIMIT decides instead.
func thrift(ctx context.Context) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, ok := os.LookupEnv(name); ok {
			return
		}
	}
	tick := time.NewTicker(reserveEvery)
	defer tick.Stop()
	held := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	set := 100
	for {
		metrics.Read(held)
		if p := percent(held[0].Value.Uint64() + held[1].Value.Uint64()); p != set {
			debug.SetGCPercent(p)
			set = p
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// percent returns the collector's target for what is live, in octets. It moves in steps: to set it costs a collection.
func percent(live uint64) int {
	const step = 25
	p := 100
	if live > reserve {
		p = int(reserve * 100 / live)
	}
	return max(p/step*step, leastPercent)
}

package memory_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/ports/events"
	"imapped/ports/events/eventstest"
	"imapped/ports/limits/limitstest"
)

func TestBus(t *testing.T) {
	eventstest.Run(t, func(*testing.T) events.Bus { return new(memory.Bus) })
}

// TestBusMemory: a subscription is a few hundred bytes, and a closed one is none.
func TestBusMemory(t *testing.T) {
	bus := new(memory.Bus)
	const n = 20_000
	subs := make([]events.Subscription, n)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range subs {
		subs[i] = bus.Subscribe(1, 1)
	}
	if each := (heap() - before) / n; each > 300 {
		t.Errorf("%d bytes for a subscription", each)
	}
	for i := range subs {
		subs[i].Close()
		subs[i] = nil
	}
	if left := heap() - before; left > n*8 {
		t.Errorf("%d bytes are left of %d closed subscriptions", left, n)
	}
	runtime.KeepAlive(bus)
}

// TestBusPublishAllocates: a hint for thousands of sessions costs no memory.
func TestBusPublishAllocates(t *testing.T) {
	bus := new(memory.Bus)
	for range 2000 {
		defer bus.Subscribe(1, 1).Close()
	}
	if n := testing.AllocsPerRun(10, func() { bus.Publish(events.Hint{Account: 1, Mailbox: 1}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPublish2000(b *testing.B) {
	bus := new(memory.Bus)
	for range 2000 {
		defer bus.Subscribe(1, 1).Close()
	}
	for b.Loop() {
		bus.Publish(events.Hint{Account: 1, Mailbox: 1})
	}
}

// fakeClock moves when it is told to.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestFailures(t *testing.T) {
	limitstest.Run(t, func(*testing.T) limitstest.Harness {
		clock := &fakeClock{now: time.Unix(1_000_000, 0)}
		return limitstest.Harness{Failures: memory.NewFailures(clock, 1000), Advance: clock.advance}
	})
}

// TestFailuresDefault: no bound given is not a bound of nothing.
func TestFailuresDefault(t *testing.T) {
	f := memory.NewFailures(&fakeClock{now: time.Unix(1_000_000, 0)}, 0)
	for i := range 1000 {
		for want := 1; want <= 2; want++ {
			if n, err := f.Add(t.Context(), fmt.Sprint(i), time.Hour); n != want || err != nil {
				t.Fatalf("%d, %v, want %d", n, err, want)
			}
		}
	}
}

// TestFailuresBounded floods the count with made-up names: memory stays bounded and what was guessed at is kept.
func TestFailuresBounded(t *testing.T) {
	clock := &fakeClock{now: time.Unix(1_000_000, 0)}
	f := memory.NewFailures(clock, 100)
	ctx := t.Context()
	count := func(key string) int {
		n, _, err := f.Count(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 3 {
		_, _ = f.Add(ctx, "user/ann", time.Hour)
	}
	for i := range 1000 {
		clock.advance(time.Millisecond)
		_, _ = f.Add(ctx, fmt.Sprint("user/", i), time.Hour)
	}
	if n := count("user/ann"); n != 3 {
		t.Errorf("%d failures of the name that is guessed at, want 3", n)
	}
	kept := 0
	for i := range 1000 {
		kept += count(fmt.Sprint("user/", i))
	}
	if kept > 99 {
		t.Errorf("%d other keys are kept, want at most 99", kept)
	}
	clock.advance(2 * time.Hour)
	if n, _ := f.Add(ctx, "user/ann", time.Hour); n != 1 {
		t.Errorf("%d failures after the window, want 1", n)
	}
}

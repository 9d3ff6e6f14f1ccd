package redis_test

import (
	"slices"
	"testing"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/redis"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/events"
)

// BenchmarkHint is the way of one hint from a node to a session of another.
func BenchmarkHint(b *testing.B) {
	o := redis.Options{URL: newServer(b).url(), Prefix: prefix()}
	s := redis.NewBus(connected(b, o), new(memory.Bus)).Subscribe(1, 1)
	defer s.Close()
	<-s.C()
	bus := redis.NewBus(connected(b, o), new(memory.Bus))
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		bus.Publish(events.Hint{Account: 1, Mailbox: 1})
		<-s.C()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkPublish is what a hint costs who publishes it, with Redis there.
func BenchmarkPublish(b *testing.B) {
	bus := redis.NewBus(connected(b, redis.Options{URL: newServer(b).url(), Prefix: prefix()}), new(memory.Bus))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		bus.Publish(events.Hint{Account: account.ID(i % 5000), Mailbox: 1, ModSeq: mailbox.ModSeq(i)})
	}
}

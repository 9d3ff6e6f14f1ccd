package ops

import (
	"iter"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imapped/domain/account"
	"imapped/ports/clock"
)

// Account is how an account is doing that this process mirrors.
type Account struct {
	ID       account.ID
	State    account.State
	LastSync time.Time // zero: never
	Queue    int       // changes that wait for the upstream: at least so many
	Oldest   time.Time // when the oldest of them was made
	Parked   int       // changes that the upstream refused and nobody has decided about: at least so many
}

// WatchAccounts shows what read yields, at each scrape: the accounts that this process owns, from memory. It is called
// once.
func (m *Metrics) WatchAccounts(c clock.Clock, read func() iter.Seq[Account]) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.registry.MustRegister(&accounts{
		clock: c, read: read,
		states: desc("imapped_accounts", "Accounts that this process mirrors, by state; paused ones are nobody's.", "state"),
		lag: desc("imapped_account_sync_lag_seconds",
			"Since the last complete look at the upstream; not there for an account that never had one.", "account"),
		length: desc("imapped_account_queue_length", "Changes that wait for the upstream, where there are any: at least so many.", "account"),
		oldest: desc("imapped_account_queue_oldest_seconds", "Age of the oldest of them.", "account"),
		total:  desc("imapped_queue_length", "Changes of all accounts that wait for their upstreams: at least so many."),
		age:    desc("imapped_queue_oldest_seconds", "Age of the oldest of them; 0 when nothing waits."),
		parked: desc("imapped_account_queue_parked",
			"Changes that the upstream refused and that wait for somebody to decide, where there are any: at least so many.", "account"),
		allParked: desc("imapped_queue_parked", "Changes of all accounts that wait for somebody to decide: at least so many."),
	})
}

// accounts is a prometheus.Collector.
type accounts struct {
	clock                                                      clock.Clock
	read                                                       func() iter.Seq[Account]
	states, lag, length, oldest, total, age, parked, allParked *prometheus.Desc
}

// states are those of accounts that a process mirrors. They are shown with 0, too, so that a graph does not end.
var states = []account.State{
	account.StateNew, account.StateSyncing, account.StateIdle, account.StateBackoff, account.StateAuthFail, account.StateThrottle,
}

// Describe implements prometheus.Collector.
func (a *accounts) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{a.states, a.lag, a.length, a.oldest, a.total, a.age, a.parked, a.allParked} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (a *accounts) Collect(c chan<- prometheus.Metric) {
	show := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := a.clock.Now()
	since := func(t time.Time) float64 { return max(0, now.Sub(t).Seconds()) }
	count := map[account.State]int{}
	total, parked, age := 0, 0, 0.0
	for acc := range a.read() {
		count[acc.State]++
		id := strconv.FormatInt(int64(acc.ID), 10)
		if !acc.LastSync.IsZero() {
			show(a.lag, since(acc.LastSync), id)
		}
		if acc.Queue > 0 {
			show(a.length, float64(acc.Queue), id)
			show(a.oldest, since(acc.Oldest), id)
			total += acc.Queue
			age = max(age, since(acc.Oldest))
		}
		if acc.Parked > 0 {
			show(a.parked, float64(acc.Parked), id)
			parked += acc.Parked
		}
	}
	for _, s := range states {
		show(a.states, float64(count[s]), string(s))
	}
	show(a.total, float64(total))
	show(a.age, age)
	show(a.allParked, float64(parked))
}

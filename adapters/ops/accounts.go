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
	Queue    int       // changes that wait for the upstream
	Oldest   time.Time // when the oldest of them was made
}

// WatchAccounts shows what read yields, at each scrape: the accounts that this process owns, from memory. It is called
// once.
func (m *Metrics) WatchAccounts(c clock.Clock, read func() iter.Seq[Account]) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.registry.MustRegister(&accounts{
		clock: c, read: read,
		states: desc("imapped_accounts", "Accounts that this process mirrors, by state.", "state"),
		lag: desc("imapped_account_sync_lag_seconds",
			"Since the last complete look at the upstream; not there for an account that never had one.", "account"),
		length: desc("imapped_account_queue_length", "Changes that wait for the upstream, where there are any.", "account"),
		oldest: desc("imapped_account_queue_oldest_seconds", "Age of the oldest of them.", "account"),
		total:  desc("imapped_queue_length", "Changes of all accounts that wait for their upstreams."),
		age:    desc("imapped_queue_oldest_seconds", "Age of the oldest of them; 0 when nothing waits."),
	})
}

// accounts is a prometheus.Collector.
type accounts struct {
	clock                                   clock.Clock
	read                                    func() iter.Seq[Account]
	states, lag, length, oldest, total, age *prometheus.Desc
}

// states are shown with 0, too, so that a graph does not end.
var states = []account.State{
	account.StateNew, account.StateSyncing, account.StateIdle, account.StateBackoff, account.StateAuthFail, account.StatePaused,
	account.StateStopped, account.StateThrottle,
}

// Describe implements prometheus.Collector.
func (a *accounts) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{a.states, a.lag, a.length, a.oldest, a.total, a.age} {
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
	total, age := 0, 0.0
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
	}
	for _, s := range states {
		show(a.states, float64(count[s]), string(s))
	}
	show(a.total, float64(total))
	show(a.age, age)
}

package ops

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"imapped/domain/fault"
)

// Metrics is the instruments of one process. Its methods may be called from any number of goroutines and do not wait.
type Metrics struct {
	registry *prometheus.Registry

	commands  *prometheus.HistogramVec // of clients
	lookups   *prometheus.CounterVec
	upstream  *prometheus.HistogramVec
	stores    *prometheus.HistogramVec
	storeErrs *prometheus.CounterVec
	panics    prometheus.Counter
}

// Buckets, in seconds. What is served from memory takes microseconds; what waits for an upstream takes seconds.
var (
	commandBuckets  = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30}
	upstreamBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120}
	storeBuckets    = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}
)

// NewMetrics returns instruments that show nothing yet but the process itself and its version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		commands: histogram("imapped_commands_seconds", "IMAP commands of clients, by name and result (ok, no, bad).",
			commandBuckets, "command", "result"),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapped_cache_lookups_total", Help: "What caches were asked for, by cache and what came of it.",
		}, []string{"cache", "result"}),
		upstream: histogram("imapped_upstream_commands_seconds", "Commands sent upstream, by name and result (ok, or the kind of failure).",
			upstreamBuckets, "command", "result"),
		stores: histogram("imapped_store_seconds", "Operations of the metadata and blob stores.", storeBuckets, "store", "operation"),
		storeErrs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imapped_store_errors_total",
			Help: "Operations of the stores that gave an error, by kind; not found, exists and conflict are answers rather than failures.",
		}, []string{"store", "operation", "kind"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imapped_panics_total", Help: "Panics that were recovered from: each is a bug.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "imapped_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.commands, m.lookups, m.upstream, m.stores, m.storeErrs, m.panics, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Register adds GET /metrics to a mux. A scrape that takes long does not delay others: at most three run at a time.
func (m *Metrics) Register(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 3, Timeout: 20 * time.Second, ErrorHandling: promhttp.ContinueOnError,
	}))
}

// Command is for the IMAP server's OnCommand: label is from session.table, result is ok, no or bad.
func (m *Metrics) Command(label, result string, took time.Duration) {
	m.commands.WithLabelValues(label, result).Observe(took.Seconds())
}

// Lookup is for the caches' OnLookup.
func (m *Metrics) Lookup(cache, result string) { m.lookups.WithLabelValues(cache, result).Inc() }

// UpstreamCommand is for the upstream dialer's OnCommand.
func (m *Metrics) UpstreamCommand(verb string, took time.Duration, err error) {
	m.upstream.WithLabelValues(verb, outcome(err)).Observe(took.Seconds())
}

// Store returns what timed.Blobs and timed.Metadata are given, for the store with the name.
func (m *Metrics) Store(name string) func(op string, took time.Duration, err error) {
	return func(op string, took time.Duration, err error) {
		m.stores.WithLabelValues(name, op).Observe(took.Seconds())
		if err != nil {
			m.storeErrs.WithLabelValues(name, op, fault.KindOf(err).String()).Inc()
		}
	}
}

// Panic is for the IMAP server's OnPanic.
func (m *Metrics) Panic(any) { m.panics.Inc() }

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return fault.KindOf(err).String()
}

// Connections is how busy the IMAP server is.
type Connections struct {
	Open     int    // now
	Accepted uint64 // since the start
	Refused  uint64 // since the start, because there were too many
}

// WatchConnections shows what read returns, at each scrape. It is called once.
func (m *Metrics) WatchConnections(read func() Connections) {
	m.registry.MustRegister(
		gauge("imapped_connections", "Connections of clients.", func() float64 { return float64(read().Open) }),
		counter("imapped_connections_accepted_total", "Connections of clients that were served.",
			func() float64 { return float64(read().Accepted) }),
		counter("imapped_connections_refused_total", "Connections of clients that were turned away because there were too many.",
			func() float64 { return float64(read().Refused) }),
	)
}

// Traffic is what all connections to upstreams have used since the start.
type Traffic struct{ Commands, Sent, Received int64 }

// WatchUpstream shows what read returns, at each scrape. It is called once.
func (m *Metrics) WatchUpstream(read func() Traffic) {
	m.registry.MustRegister(
		counter("imapped_upstream_commands_total", "Commands sent upstream, those of connecting included.",
			func() float64 { return float64(read().Commands) }),
		counter("imapped_upstream_sent_bytes_total", "Octets sent upstream, below TLS's own.",
			func() float64 { return float64(read().Sent) }),
		counter("imapped_upstream_received_bytes_total", "Octets received from upstreams, below TLS's own.",
			func() float64 { return float64(read().Received) }),
	)
}

// WatchUp shows 1 or 0 for a part that everything goes on without, for example "redis". It is called once for a name.
func (m *Metrics) WatchUp(part string, up func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "imapped_up", Help: "Whether a part is there that the process goes on without.", ConstLabels: prometheus.Labels{"part": part},
	}, func() float64 {
		if up() {
			return 1
		}
		return 0
	}))
}

func gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
}

func counter(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read)
}

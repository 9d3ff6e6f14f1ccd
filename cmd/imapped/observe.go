package main

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"imapped/adapters/ops"
	"imapped/adapters/ops/timed"
	"imapped/app/syncer"
	"imapped/domain/fault"
	"imapped/imapwire/fsm"
	"imapped/imapwire/server"
	"imapped/ports/clock"
)

// measure puts the instruments between the stores, the upstreams and whoever uses them, where there are instruments.
func (in *instance) measure() {
	in.untimed = in.store
	m := in.metrics
	if m == nil {
		return
	}
	in.store = timedStore{timed.NewMetadata(in.store, m.Store("metadata")), in.untimed, in.untimed}
	in.blobs = timed.NewStores(in.blobs, m.Store("blobs"))
	in.dialer.OnCommand = m.UpstreamCommand
	m.WatchUpstream(func() ops.Traffic {
		u := in.dialer.Usage()
		return ops.Traffic{Commands: u.Commands, Sent: u.Sent, Received: u.Received}
	})
	if in.peers == nil {
		return
	}
	m.WatchUp("hints", in.peers.database.Up)
	if r := in.peers.redis; r != nil {
		m.WatchUp("redis", r.Connected)
	}
}

// instrument puts the instruments into a server's options.
func (in *instance) instrument(o *server.Options) {
	if m := in.metrics; m != nil {
		o.OnCommand, o.OnPanic = func(label string, r fsm.Result, took time.Duration) {
			m.Command(label, strings.ToLower(r.String()), took)
		}, m.Panic
	}
}

// watch shows what a running server does.
func (in *instance) watch(s *server.Server, m *syncer.Manager) {
	if in.metrics == nil {
		return
	}
	in.metrics.WatchConnections(func() ops.Connections {
		l := s.Load()
		return ops.Connections{Open: l.Open, Accepted: l.Accepted, Refused: l.Refused}
	})
	in.metrics.WatchAccounts(clock.System{}, func() iter.Seq[ops.Account] {
		return func(yield func(ops.Account) bool) {
			for _, h := range m.Health() {
				a := ops.Account{
					ID: h.ID, State: h.State, LastSync: h.LastSync,
					Queue: h.Backlog.Changes, Oldest: h.Backlog.Oldest, Parked: h.Backlog.Parked,
				}
				if !yield(a) {
					return
				}
			}
		}
	})
}

// observed is an address at which operators look at the process.
type observed struct {
	net.Listener
	mux *http.ServeMux
}

// observe listens on HTTP_BIND and METRICS_BIND, which may be one address.
func (s *serving) observe(ctx context.Context) (err error) {
	conf := s.in.conf
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeObserved())
		}
	}()
	open := func(addr string, register func(*http.ServeMux)) error {
		l, err := listen(ctx, addr)
		if err != nil {
			return err
		}
		s.in.log.Info("serving HTTP", "address", l.Addr().String())
		mux := http.NewServeMux()
		register(mux)
		s.observed = append(s.observed, observed{l, mux})
		return nil
	}
	if conf.HTTPBind != "" {
		if err := open(conf.HTTPBind, ops.NewHealth(s.in.log, s.checks()...).Register); err != nil {
			return err
		}
	}
	switch {
	case s.in.metrics == nil:
		return nil
	case conf.MetricsBind == conf.HTTPBind:
		s.in.metrics.Register(s.observed[0].mux)
		return nil
	}
	return open(conf.MetricsBind, s.in.metrics.Register)
}

func (s *serving) closeObserved() error {
	var errs []error
	for _, o := range s.observed {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}

// checks returns what /readyz looks at.
func (s *serving) checks() []ops.Check {
	checks := []ops.Check{
		{Name: "server", Run: func(context.Context) error {
			if s.stopping.Load() {
				return fault.New(fault.Unavailable, "check the server", "it is stopping")
			}
			return nil
		}},
		{Name: "database", Run: s.in.databaseAnswers},
		{Name: "blobs", Run: s.in.blobsAnswer},
	}
	p := s.in.peers
	switch {
	case p == nil:
	case p.redis != nil:
		checks = append(checks, ops.Check{Name: "redis", Optional: true, Run: p.redis.Check})
	default:
		checks = append(checks, ops.Check{Name: "hints", Optional: true, Run: func(context.Context) error {
			if p.database.Up() {
				return nil
			}
			return fault.New(fault.Unavailable, "check hints", "there is no connection to the database for them")
		}})
	}
	return checks
}

package ops

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"imapped/domain/fault"
)

// Check finds out whether a part of the process can do its work.
type Check struct {
	Name    string        // for example "database"
	Timeout time.Duration // 0: two seconds
	// Optional is for a part that everything goes on without, slower: its failure is told, and the process is ready.
	Optional bool
	Run      func(context.Context) error // returns soon after its context has ended
}

const (
	checkTimeout = 2 * time.Second
	// freshFor is for how long an answer of the checks is given again, so that asking often does not load what is asked.
	freshFor = time.Second
)

// Health answers GET /healthz, which says that the process is alive, and GET /readyz, which says which checks fail.
type Health struct {
	log    *slog.Logger
	checks []*running

	turn chan struct{} // capacity 1; who holds it looks, and owns the following
	last report
	at   time.Time
}

// running is a check with its state, which the holder of Health.turn owns.
type running struct {
	Check
	busy   chan struct{} // capacity 1: a run has not returned
	failed bool
}

// report is the answer of /readyz.
type report struct {
	Ready  bool     `json:"ready"`
	Checks []result `json:"checks"`
}

// result is one check's. Error is the kind of its failure; its text is for the log, not for whoever may ask.
type result struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Optional bool   `json:"optional,omitempty"`
	Error    string `json:"error,omitempty"`
}

// NewHealth returns the health of a process with these checks; log hears when one begins or ceases to fail.
func NewHealth(log *slog.Logger, checks ...Check) *Health {
	h := &Health{log: log, turn: make(chan struct{}, 1)}
	for _, c := range checks {
		if c.Timeout <= 0 {
			c.Timeout = checkTimeout
		}
		h.checks = append(h.checks, &running{Check: c, busy: make(chan struct{}, 1)})
	}
	return h
}

// Register adds the two paths to a mux.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // who asked is gone
	})
	mux.HandleFunc("GET /readyz", h.ready)
}

func (h *Health) ready(w http.ResponseWriter, r *http.Request) {
	select {
	case h.turn <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	if h.at.IsZero() || time.Since(h.at) > freshFor {
		// Not the request's context: others get the same answer.
		h.last = h.look(context.WithoutCancel(r.Context()))
		h.at = time.Now()
	}
	rep := h.last
	<-h.turn
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !rep.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(rep) // who asked is gone
}

// look runs all checks at the same time. The caller has the turn.
func (h *Health) look(ctx context.Context) report {
	errs := make([]error, len(h.checks))
	var all sync.WaitGroup
	for i, c := range h.checks {
		all.Go(func() { errs[i] = c.run(ctx) })
	}
	all.Wait()
	rep := report{Ready: true, Checks: []result{}}
	for i, c := range h.checks {
		res := result{Name: c.Name, OK: errs[i] == nil, Optional: c.Optional}
		if err := errs[i]; err != nil {
			res.Error = fault.KindOf(err).String()
			rep.Ready = rep.Ready && c.Optional
		}
		h.note(ctx, c, errs[i])
		rep.Checks = append(rep.Checks, res)
	}
	return rep
}

// note tells the log of a change.
func (h *Health) note(ctx context.Context, c *running, err error) {
	switch {
	case err != nil && !c.failed:
		h.log.WarnContext(ctx, "check fails", "check", c.Name, "error", err)
	case err == nil && c.failed:
		h.log.InfoContext(ctx, "check is well again", "check", c.Name)
	}
	c.failed = err != nil
}

// run runs the check, and waits no longer than its time-out: a run that outlasts it counts as a failure, and no other
// one begins before it has returned.
func (c *running) run(ctx context.Context) error {
	select {
	case c.busy <- struct{}{}:
	default:
		return fault.New(fault.Unavailable, c.Name, "it has not answered since the last check")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		err := c.Run(ctx)
		<-c.busy
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // cancel is called by the run itself, too
		return err
	default:
		return fault.Newf(fault.Unavailable, c.Name, "no answer in %v", c.Timeout)
	}
}

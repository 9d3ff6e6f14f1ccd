package ops_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"imapped/adapters/ops"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/audit"
)

var quiet = slog.New(slog.DiscardHandler)

// get asks a handler.
func get(t *testing.T, register func(*http.ServeMux), path string) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		broken := map[string]error{}
		check := func(name string, optional bool) ops.Check {
			return ops.Check{Name: name, Optional: optional, Run: func(context.Context) error { return broken[name] }}
		}
		h := ops.NewHealth(slog.New(slog.NewTextHandler(&log, nil)), check("database", false), check("blobs", false), check("redis", true))
		for _, c := range []struct {
			fails string
			code  int
			want  string
		}{
			{"", 200, `{"ready":true,"checks":[{"name":"database","ok":true},{"name":"blobs","ok":true},{"name":"redis","ok":true,"optional":true}]}`},
			{"blobs", 503, `{"ready":false,"checks":[{"name":"database","ok":true},{"name":"blobs","ok":false,"error":"unavailable"},{"name":"redis","ok":true,"optional":true}]}`},
			{"redis", 200, `{"ready":true,"checks":[{"name":"database","ok":true},{"name":"blobs","ok":true},{"name":"redis","ok":false,"optional":true,"error":"unavailable"}]}`},
		} {
			clear(broken)
			broken[c.fails] = fault.New(fault.Unavailable, "ask", "no route to secret.example.org")
			time.Sleep(time.Minute)
			for range 3 {
				if code, body := get(t, h.Register, "/readyz"); code != c.code || strings.TrimSpace(body) != c.want {
					t.Errorf("%q fails: %d %s", c.fails, code, body)
				}
				time.Sleep(time.Minute)
			}
			if code, body := get(t, h.Register, "/healthz"); code != 200 || body != "ok\n" {
				t.Errorf("%q fails, alive: %d %q", c.fails, code, body)
			}
		}
		if n := strings.Count(log.String(), "check fails"); n != 2 || strings.Count(log.String(), "check is well again") != 1 {
			t.Errorf("the log:\n%s", log.String())
		}
		if !strings.Contains(log.String(), "secret.example.org") {
			t.Error("the log does not say why")
		}
	})
}

// TestSlowCheck: a check that does not answer is named in time, whatever it does with its context, and is not run again
// before it has returned.
func TestSlowCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		stuck := make(chan struct{})
		h := ops.NewHealth(quiet,
			ops.Check{Name: "stuck", Timeout: time.Second, Run: func(context.Context) error { runs.Add(1); <-stuck; return nil }},
			ops.Check{Name: "slow", Timeout: 3 * time.Second, Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			ops.Check{Name: "quick", Run: func(context.Context) error { return nil }})
		for range 5 {
			began := time.Now()
			code, body := get(t, h.Register, "/readyz")
			if took := time.Since(began); code != 503 || took > 3*time.Second {
				t.Errorf("%d after %v", code, took)
			}
			for _, want := range []string{`"stuck","ok":false`, `"slow","ok":false`, `"quick","ok":true`} {
				if !strings.Contains(body, want) {
					t.Errorf("%s lacks %s", body, want)
				}
			}
			time.Sleep(time.Minute)
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("the stuck check was run %d times", n)
		}
		close(stuck)
		synctest.Wait()
		if _, body := get(t, h.Register, "/readyz"); !strings.Contains(body, `"stuck","ok":true`) {
			t.Errorf("when it goes on: %s", body)
		}
	})
}

// TestManyAsk: asking often does not load what is asked.
func TestManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		h := ops.NewHealth(quiet, ops.Check{Name: "database", Run: func(context.Context) error {
			runs.Add(1)
			time.Sleep(100 * time.Millisecond)
			return nil
		}})
		for range 3 {
			var all sync.WaitGroup
			for range 200 {
				all.Go(func() {
					if code, _ := get(t, h.Register, "/readyz"); code != 200 {
						t.Error(code)
					}
				})
			}
			all.Wait()
			time.Sleep(2 * time.Second)
		}
		if n := runs.Load(); n != 3 {
			t.Errorf("%d runs for 3 bursts", n)
		}
	})
}

// clock stands still.
type clock struct{}

func (clock) Now() time.Time { return time.Unix(1_000_000, 0) }

func TestMetrics(t *testing.T) {
	m := ops.NewMetrics("v1.2.3")
	_ = ops.NewMetrics("another one does not disturb it")
	m.Command("uid_fetch", "ok", 3*time.Millisecond)
	m.Command("uid_fetch", "ok", 20*time.Second)
	m.Command("login", "no", time.Millisecond)
	m.Lookup("snapshot", "current")
	m.UpstreamCommand("UID FETCH", 40*time.Millisecond, nil)
	m.UpstreamCommand("SELECT", time.Second, fault.New(fault.Unavailable, "SELECT", "text of theirs"))
	observe := m.Store("metadata")
	observe("mailbox", time.Millisecond, nil)
	observe("mailbox", time.Millisecond, errors.New("disk on fire"))
	m.Panic("value")
	m.WatchConnections(func() ops.Connections { return ops.Connections{Open: 3, Accepted: 10, Refused: 2} })
	m.WatchUpstream(func() ops.Traffic { return ops.Traffic{Commands: 7, Sent: 100, Received: 2000} })
	m.WatchUp("redis", func() bool { return true })
	m.WatchUp("search", func() bool { return false })
	ago := func(d time.Duration) time.Time { return clock{}.Now().Add(-d) }
	m.WatchAccounts(clock{}, func() iter.Seq[ops.Account] {
		return slices.Values([]ops.Account{
			{ID: 1, State: account.StateIdle, LastSync: ago(time.Minute)},
			{ID: 2, State: account.StateBackoff, LastSync: ago(time.Hour), Queue: 4, Oldest: ago(2 * time.Minute), Parked: 2},
			{ID: 4, State: account.StateIdle, Parked: 1},
			{ID: 3, State: account.StateIdle, Queue: 1, Oldest: ago(time.Second)},
		})
	})
	code, body := get(t, m.Register, "/metrics")
	if code != 200 {
		t.Fatalf("%d: %s", code, body)
	}
	lines := strings.Split(body, "\n")
	for _, want := range []string{
		`imapped_build_info{version="v1.2.3"} 1`,
		`imapped_commands_seconds_bucket{command="uid_fetch",result="ok",le="0.005"} 1`,
		`imapped_commands_seconds_count{command="uid_fetch",result="ok"} 2`,
		`imapped_commands_seconds_count{command="login",result="no"} 1`,
		`imapped_cache_lookups_total{cache="snapshot",result="current"} 1`,
		`imapped_upstream_commands_seconds_count{command="UID FETCH",result="ok"} 1`,
		`imapped_upstream_commands_seconds_count{command="SELECT",result="unavailable"} 1`,
		`imapped_store_seconds_count{operation="mailbox",store="metadata"} 2`,
		`imapped_store_errors_total{kind="internal",operation="mailbox",store="metadata"} 1`,
		`imapped_panics_total 1`,
		`imapped_connections 3`, `imapped_connections_accepted_total 10`, `imapped_connections_refused_total 2`,
		`imapped_upstream_commands_total 7`, `imapped_upstream_sent_bytes_total 100`, `imapped_upstream_received_bytes_total 2000`,
		`imapped_up{part="redis"} 1`, `imapped_up{part="search"} 0`,
		`imapped_accounts{state="idle"} 3`, `imapped_accounts{state="backoff"} 1`, `imapped_accounts{state="auth"} 0`,
		`imapped_account_sync_lag_seconds{account="1"} 60`, `imapped_account_sync_lag_seconds{account="2"} 3600`,
		`imapped_account_queue_length{account="2"} 4`, `imapped_account_queue_oldest_seconds{account="2"} 120`,
		`imapped_queue_length 5`, `imapped_queue_oldest_seconds 120`,
		`imapped_account_queue_parked{account="2"} 2`, `imapped_account_queue_parked{account="4"} 1`, `imapped_queue_parked 3`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s", want)
		}
	}
	for _, no := range []string{"text of theirs", "disk on fire", `sync_lag_seconds{account="3"}`, `queue_length{account="1"}`,
		`queue_length{account="4"}`, `queue_oldest_seconds{account="4"}`, `queue_parked{account="1"}`, `state="paused"`, `state="stopped"`} {
		if strings.Contains(body, no) {
			t.Errorf("%q is told", no)
		}
	}
}

// TestMetricsAllocate: what is called for every command of every client costs no memory.
func TestMetricsAllocate(t *testing.T) {
	m := ops.NewMetrics("test")
	observe := m.Store("metadata")
	call := func() {
		m.Command("fetch", "ok", time.Millisecond)
		m.Lookup("snapshot", "current")
		observe("mailbox", time.Millisecond, nil)
	}
	call()
	if n := testing.AllocsPerRun(100, call); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAudit(t *testing.T) {
	var b bytes.Buffer
	a := ops.NewAudit(&b)
	a.Record(t.Context(), audit.Record{
		Action: "log in", Actor: "ann\n\"x\"", Subject: "ann", Remote: "192.0.2.1", Session: "abc-1", Outcome: "ok",
	})
	a.Record(t.Context(), audit.Record{Action: "delete account", Actor: "root", Subject: "ann@example.org", Outcome: "not found"})
	var got []map[string]any
	for line := range strings.Lines(b.String()) {
		var v struct {
			Time  time.Time
			Msg   string
			Audit map[string]any
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Msg != "audit" || v.Time.IsZero() {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, v.Audit)
	}
	want := []string{
		`{"action":"log in","actor":"ann\n\"x\"","outcome":"ok","remote":"192.0.2.1","session":"abc-1","subject":"ann"}`,
		`{"action":"delete account","actor":"root","outcome":"not found","subject":"ann@example.org"}`,
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines", len(got))
	}
	for i, w := range want {
		if b, _ := json.Marshal(got[i]); string(b) != w {
			t.Errorf("%s, want %s", b, w)
		}
	}
}

// TestServe: requests are answered until the end, those that run too, and then the address is free.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	mux := http.NewServeMux()
	ops.NewHealth(quiet).Register(mux)
	under, goOn := make(chan struct{}), make(chan struct{})
	mux.HandleFunc("GET /long", func(w http.ResponseWriter, _ *http.Request) {
		close(under)
		<-goOn
		_, _ = io.WriteString(w, "done")
	})
	served := make(chan error, 1)
	go func() { served <- ops.Serve(ctx, l, mux, quiet) }()
	url := "http://" + l.Addr().String()
	fetch := func(path string) (string, error) {
		res, err := http.Get(url + path)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	if body, err := fetch("/healthz"); body != "ok\n" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	long := make(chan string, 1)
	go func() {
		body, _ := fetch("/long")
		long <- body
	}()
	<-under
	stop()
	close(goOn)
	if body := <-long; body != "done" {
		t.Errorf("what ran was cut: %q", body)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := fetch("/healthz"); err == nil {
		t.Error("it still answers")
	}
}

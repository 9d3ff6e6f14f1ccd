package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// greeter is a listener on loopback that greets every connection with a line; it returns the address.
func greeter(t *testing.T, line string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(nc, line) // whoever asks sees what is missing
			_ = nc.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestHealthcheckIMAP(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	up := startUpstream(t)
	for _, tt := range []struct {
		name, addr string
		status     int
	}{
		{"a server", up.addr, 0},
		{"one that is full", greeter(t, "* BYE too many connections\r\n"), 3},
		{"one that says nothing", greeter(t, ""), 3},
		{"one that says too much", greeter(t, "* OK "+strings.Repeat("x", 2*maxHealthAnswer)), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cliRun(t, data, tt.status, "healthcheck", "--imap-plaintext-bind", tt.addr)
		})
	}
	cliRun(t, data, 2, "healthcheck", "--ready", "--imap-plaintext-bind", up.addr)
	cliRun(t, data, 2, "healthcheck", "--imap-plaintext-bind", "")
}

func TestHealthcheckHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "database: not reached\nobject store: not reached", http.StatusServiceUnavailable)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9") // must not be used
	conf := config.Default()
	conf.HTTPBind = strings.TrimPrefix(srv.URL, "http://")

	var out bytes.Buffer
	if err := (healthcheckCmd{}).Run(t.Context(), conf, output{&out}); err != nil || out.String() != "ok\n" {
		t.Errorf("alive: %v, %q", err, out.String())
	}
	err := healthcheckCmd{Ready: true}.Run(t.Context(), conf, output{&out})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "database: not reached; object store") {
		t.Errorf("ready: %v, want what is not", err)
	}
	srv.Close()
	if err := (healthcheckCmd{}).Run(t.Context(), conf, output{&out}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("stopped: %v, want Unavailable", err)
	}
}

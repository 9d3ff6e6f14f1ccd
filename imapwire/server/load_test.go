package server

import (
	"bytes"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lockedBuffer is a log that several connections write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLoad counts connections, those that were turned away too.
func TestLoad(t *testing.T) {
	ts := startServer(t, newFake(), func(o *Options) { o.MaxConns = 2 })
	for range 2 {
		dial(t, ts.addr).line()
	}
	if s := dial(t, ts.addr).line(); !strings.HasPrefix(s, "* BYE") {
		t.Errorf("one more: %q", s)
	}
	if l := ts.Load(); l != (Load{Open: 2, Accepted: 2, Refused: 1}) {
		t.Errorf("%+v", l)
	}
}

// TestSessionIDs: each session has an id of its own over all servers, in every record of the log and in what is checked at
// login.
func TestSessionIDs(t *testing.T) {
	var log lockedBuffer
	store := newFake()
	for range 2 {
		ts := startServer(t, store, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		for range 2 {
			c := dial(t, ts.addr)
			c.login("")
			c.send("x LOGOUT\r\n")
			c.until("x")
		}
	}
	var ids []string
	for line := range strings.Lines(log.String()) {
		m := regexp.MustCompile(` session=([a-z0-9]{8}-[0-9]+) `).FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no session in %s", line)
			continue
		}
		if !slices.Contains(ids, m[1]) {
			ids = append(ids, m[1])
		}
	}
	if len(ids) != 4 {
		t.Errorf("4 sessions, %q", ids)
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	if !slices.Equal(store.sessions, ids) {
		t.Errorf("logged in as %q, logged as %q", store.sessions, ids)
	}
}

package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"imapped/adapters/redis"
)

// patience bounds the wait for what must come.
const patience = 20 * time.Second

// server is a redis-server of the test's own, without anything on disk.
type server struct {
	t    testing.TB
	addr string
	cmd  *exec.Cmd
}

// newServer starts a server on a port of its own, or skips the test.
func newServer(t testing.TB) *server {
	t.Helper()
	s := downServer(t)
	s.start()
	return s
}

// downServer is newServer before it was started: connections are refused.
func downServer(t testing.TB) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no redis-server here")
		}
		t.Skip("there is no redis-server here")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &server{t: t, addr: l.Addr().String()}
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	rdb := goredis.NewClient(&goredis.Options{Addr: s.addr})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for rdb.Ping(ctx).Err() != nil {
		if ctx.Err() != nil {
			s.t.Fatal("redis-server does not come up")
		}
	}
}

func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) url() string { return "redis://" + s.addr }

// journal is a log that can be looked into.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), text)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// open returns a client that is closed at the end of the test.
func open(t testing.TB, o redis.Options) *redis.Client {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 { // a busy machine is not to be taken for a server that is away
		o.Timeout = 3 * time.Second
	}
	c, err := redis.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// connected returns a client that has connected.
func connected(t testing.TB, o redis.Options) *redis.Client {
	t.Helper()
	c := open(t, o)
	await(t, "the connection", c.Connected)
	return c
}

// await waits until done says so.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}

// heard fails the test unless a value comes.
func heard(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s is not heard of", what)
	}
}

// onEach runs f over the servers that there are: one in memory, and a real one.
func onEach(t *testing.T, f func(t *testing.T, o redis.Options)) {
	t.Run("miniredis", func(t *testing.T) {
		f(t, redis.Options{URL: "redis://" + miniredis.RunT(t).Addr(), Prefix: prefix()})
	})
	t.Run("redis", func(t *testing.T) {
		if url := os.Getenv("IMAPPED_TEST_REDIS"); url != "" {
			f(t, redis.Options{URL: url, Prefix: prefix()})
			return
		}
		f(t, redis.Options{URL: newServer(t).url(), Prefix: prefix()})
	})
}

var prefixes struct {
	sync.Mutex
	n int
}

// prefix returns one that nothing else uses.
func prefix() string {
	prefixes.Lock()
	defer prefixes.Unlock()
	prefixes.n++
	return fmt.Sprintf("test-%d-%d-%d:", os.Getpid(), time.Now().UnixNano(), prefixes.n)
}

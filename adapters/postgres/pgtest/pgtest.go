// Package pgtest gives tests a Postgres server of their own.
//
// Invariants:
//  1. One server serves a test binary: the first test that needs it starts it, Main stops it. Its files are in a
//     temporary folder, which goes with it; it listens on a Unix socket there and nowhere else.
//  2. Every test gets a database of its own. It is dropped when the test ends.
//  3. Where there is no server a test is skipped, saying why; under CI=true it fails.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// URLVariable names the environment variable with the URL of a server to be used in place of a private one. Its user
// must be allowed to create databases. Where it is set, a server that cannot be reached fails the test.
const URLVariable = "IMAPPED_TEST_POSTGRES"

// Server is a Postgres server for the tests of one package. The zero value is one that has not been started.
type Server struct {
	// Durable says that a commit waits for the disk, as in production: for benchmarks. Else nothing does.
	Durable bool

	once    sync.Once
	url     string // of the server, with the database "postgres"
	absent  string // why there is none
	process *process

	mu       sync.Mutex
	next     int
	template map[string]string
}

// patience bounds the start and the stop of a server, and each statement to it.
const patience = 30 * time.Second

// Main runs a package's tests and then stops the servers; its result is for os.Exit.
func Main(m *testing.M, servers ...*Server) int {
	code := m.Run()
	for _, s := range servers {
		if s.process == nil {
			continue
		}
		if err := s.process.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	return code
}

// URL returns the URL of a new, empty database, for the time of the test.
func (s *Server) URL(tb testing.TB) string {
	tb.Helper()
	return s.create(tb, "")
}

// Like returns the URL of a new database that prepare has filled: it is called once for each name, with the URL of a
// database of which all those of that name are copies.
func (s *Server) Like(tb testing.TB, name string, prepare func(url string) error) string {
	tb.Helper()
	s.start(tb)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.template[name] == "" {
		db := s.name()
		s.exec(tb, "CREATE DATABASE "+db)
		if err := prepare(s.of(tb, db)); err != nil {
			tb.Fatal(err)
		}
		if s.template == nil {
			s.template = map[string]string{}
		}
		s.template[name] = db
	}
	return s.copy(tb, s.template[name])
}

func (s *Server) create(tb testing.TB, template string) string {
	tb.Helper()
	s.start(tb)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copy(tb, template)
}

// copy makes a database, with s.mu held.
func (s *Server) copy(tb testing.TB, template string) string {
	tb.Helper()
	db := s.name()
	text := "CREATE DATABASE " + db
	if template != "" {
		text += " TEMPLATE " + template
	}
	s.exec(tb, text)
	tb.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.exec(tb, "DROP DATABASE "+db+" WITH (FORCE)")
	})
	return s.of(tb, db)
}

// name returns a name that no other database has, also on a server that other processes use.
func (s *Server) name() string {
	s.next++
	return fmt.Sprintf("imapped_test_%d_%d", os.Getpid(), s.next)
}

// of returns the URL of a database.
func (s *Server) of(tb testing.TB, db string) string {
	tb.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		tb.Fatalf("%s is no URL", URLVariable)
	}
	u.Path = "/" + db
	return u.String()
}

func (s *Server) exec(tb testing.TB, text string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	if _, err := c.Exec(ctx, text); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
}

// Start starts a server for a program that is not a test, and returns the URL of an empty database and what stops the server.
func Start() (url string, stop func() error, err error) {
	bin := binaries()
	if bin == "" {
		return "", nil, errors.New("there are no Postgres server binaries")
	}
	p, err := initialise(bin, false)
	if err != nil {
		return "", nil, err
	}
	return p.url(), p.stop, nil
}

// Process returns the id of the server's process, and false for a server that is not ours.
func (s *Server) Process(tb testing.TB) (pid int, ours bool) {
	tb.Helper()
	s.start(tb)
	if s.process == nil {
		return 0, false
	}
	return s.process.cmd.Process.Pid, true
}

// Restart stops the server at once, as a crash would, and starts it again. A test is skipped when the server is not ours.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.start(tb)
	if s.process == nil {
		tb.Skip("the server is not ours to be restarted")
	}
	if err := errors.Join(s.process.end(syscall.SIGQUIT), s.process.run()); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) start(tb testing.TB) {
	tb.Helper()
	s.once.Do(func() {
		if s.url = os.Getenv(URLVariable); s.url != "" {
			return
		}
		bin := binaries()
		if bin == "" {
			s.absent = "there are no Postgres server binaries, and " + URLVariable + " names no server"
			return
		}
		p, err := initialise(bin, s.Durable)
		if err != nil {
			s.absent = err.Error()
			return
		}
		s.process, s.url = p, p.url()
	})
	switch {
	case s.absent == "":
	case os.Getenv("CI") == "true":
		tb.Fatal(s.absent)
	default:
		tb.Skip(s.absent)
	}
}

// binaries returns the folder with the newest server's programs, or "".
func binaries() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

// process is a server that we started.
type process struct {
	bin, dir string
	as       *syscall.Credential // who runs it: it refuses to be root
	settings []string
	cmd      *exec.Cmd
}

func (p *process) url() string {
	u := url.URL{Scheme: "postgres", User: url.User("imapped"), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {p.dir}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// command returns a command that runs as the server's user.
func (p *process) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = attributes(p.as)
	return cmd
}

func initialise(bin string, durable bool) (_ *process, err error) {
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	p := &process{bin: bin, dir: dir, settings: []string{"fsync=off", "synchronous_commit=off", "full_page_writes=off"}}
	if durable {
		p.settings = []string{"fsync=on", "synchronous_commit=on"}
	}
	if os.Geteuid() == 0 {
		if err := p.lower(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := p.command(ctx, "initdb", "-N", "-A", "trust", "-U", "imapped", "-E", "UTF8", "-D", p.data()).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return p, p.run()
}

func (p *process) data() string { return filepath.Join(p.dir, "data") }

// lower chooses a user other than root, and gives the folder to that one.
func (p *process) lower() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("the server does not run as root, and there is no user for it: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(p.dir, int(uid), int(gid))
}

// run starts the server and waits until it answers.
func (p *process) run() error {
	args := []string{"-D", p.data(), "-k", p.dir, "-c", "listen_addresses=", "-c", "max_connections=200",
		"-c", "shared_buffers=256MB", "-c", "max_wal_size=2GB", "-c", "log_min_messages=fatal"}
	for _, s := range p.settings {
		args = append(args, "-c", s)
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = p.command(context.Background(), "postgres", args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, p.url())
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(log.Name())
			return errors.Join(fmt.Errorf("the server does not answer: %w: %s", err, text), p.end(syscall.SIGQUIT))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end sends the server a signal and waits for its end.
func (p *process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // how it ended does not matter
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("the server does not end"), p.cmd.Process.Kill())
	}
}

func (p *process) stop() error {
	return errors.Join(p.end(syscall.SIGINT), os.RemoveAll(p.dir))
}

package suites

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// world is what the suites share: one Dovecot with the corpus in the account "corpus", and the built binary.
type world struct {
	dovecot *harness.Dovecot
	raw     [][]byte
	boxes   []harness.Box // of the account "corpus"
	binary  string
	servers *harness.Servers // nil: mirrors keep their data in files
}

const corpusSeed = 20021

// storeVariable names the environment variable that says what mirrors keep their data in: "servers" is Postgres, S3 and Redis,
// anything else SQLite and files.
const storeVariable = "IMAPPED_E2E_STORE"

var (
	errEngine error
	shared    struct {
		once  sync.Once
		world world
		err   error
	}
	mirrored struct {
		once sync.Once
		proc *harness.Process
		err  error
	}
	scratch string // removed at the end
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	if errEngine = harness.Engine(ctx); errEngine != nil && harness.CI() {
		fmt.Fprintln(os.Stderr, "e2e:", errEngine)
		return 1
	}
	dir, err := os.MkdirTemp("", "imapped-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	scratch = dir
	code := m.Run()
	if mirrored.proc != nil {
		if err := mirrored.proc.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			code = 1
		}
	}
	var end error
	if shared.world.dovecot != nil {
		end = shared.world.dovecot.Close()
	}
	if shared.world.servers != nil {
		end = errors.Join(end, shared.world.servers.Close())
	}
	if end = errors.Join(end, os.RemoveAll(dir)); end != nil {
		fmt.Fprintln(os.Stderr, "e2e:", end)
		code = 1
	}
	return code
}

// theWorld returns the shared world, or skips the test.
func theWorld(t *testing.T) *world {
	t.Helper()
	if errEngine != nil {
		t.Skip(errEngine)
	}
	shared.once.Do(func() { shared.world, shared.err = makeWorld(context.Background()) })
	if errors.Is(shared.err, harness.ErrNoCorpus) {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return &shared.world
}

func makeWorld(ctx context.Context) (w world, err error) {
	if w.raw, err = harness.Corpus(); err != nil {
		return w, err
	}
	if w.binary, err = harness.Build(ctx, scratch); err != nil {
		return w, err
	}
	if w.dovecot, err = harness.StartDovecot(ctx, harness.DovecotOptions{}); err != nil {
		return w, err
	}
	if os.Getenv(storeVariable) == "servers" {
		if w.servers, err = harness.StartServers(ctx); err != nil {
			return w, err
		}
	}
	w.boxes = harness.Account(w.raw, corpusSeed)
	return w, w.dovecot.Load(ctx, "corpus", w.boxes)
}

// theMirror returns a running mirror of the account "corpus" that is complete.
func theMirror(t *testing.T) (*world, *harness.Process) {
	t.Helper()
	w := theWorld(t)
	mirrored.once.Do(func() {
		ctx := context.Background()
		m := harness.Mirror{Binary: w.binary, Data: filepath.Join(scratch, "corpus"), Upstream: w.dovecot.Addr, User: "corpus"}
		if m.Env, mirrored.err = w.settings(ctx); mirrored.err != nil {
			return
		}
		start := time.Now()
		if mirrored.proc, mirrored.err = m.Start(ctx); mirrored.err != nil {
			return
		}
		messages, _ := harness.Count(w.boxes)
		mirrored.err = mirrored.proc.Synced(ctx, messages, 3*time.Minute)
		_, peak, err := mirrored.proc.Memory()
		t.Logf("figure: first mirror of %d messages %s, peak RSS %d MB", messages, time.Since(start).Round(time.Millisecond), peak>>20)
		mirrored.err = errors.Join(mirrored.err, err)
	})
	if mirrored.err != nil {
		t.Fatal(mirrored.err)
	}
	return w, mirrored.proc
}

// account loads an account of its own and returns how to mirror it from addr (the upstream itself where that is "").
func account(t *testing.T, w *world, user, addr string, boxes []harness.Box) harness.Mirror {
	t.Helper()
	must(t, w.dovecot.Load(t.Context(), user, boxes))
	if addr == "" {
		addr = w.dovecot.Addr
	}
	env, err := w.settings(t.Context())
	must(t, err)
	return harness.Mirror{Binary: w.binary, Data: filepath.Join(t.TempDir(), user), Upstream: addr, User: user, Env: env}
}

// settings returns those of a new mirror.
func (w *world) settings(ctx context.Context) ([]string, error) {
	if w.servers == nil {
		return nil, nil
	}
	return w.servers.Installation(ctx)
}

// fresh returns the mirror with nothing in its stores.
func (w *world) fresh(t *testing.T, m harness.Mirror) harness.Mirror {
	t.Helper()
	env, err := w.settings(t.Context())
	must(t, err)
	m.Data, m.Env = filepath.Join(t.TempDir(), "data"), env
	return m
}

// embedded skips a test that is about data in SQLite and files.
func (w *world) embedded(t *testing.T) {
	t.Helper()
	if w.servers != nil {
		t.Skip("this is about data in SQLite and files")
	}
}

// started starts a mirror, and ends it with the test.
func started(t *testing.T, m harness.Mirror) *harness.Process {
	t.Helper()
	p, err := m.Start(context.WithoutCancel(t.Context()))
	must(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of imapped:\n%s", p.Log())
		}
	})
	return p
}

// synced starts a mirror and waits until all messages of the boxes are there.
func synced(t *testing.T, m harness.Mirror, boxes []harness.Box) *harness.Process {
	t.Helper()
	p := started(t, m)
	messages, _ := harness.Count(boxes)
	must(t, p.Synced(t.Context(), messages, 2*time.Minute))
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loginer is a server that the strict client can log in to.
type loginer func(ctx context.Context) (*imapc.Client, error)

// login logs in, and closes the connection with the test.
func login(t *testing.T, in loginer) *imapc.Client {
	t.Helper()
	c, err := in(t.Context())
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// upstreamLogin logs in to Dovecot.
func upstreamLogin(t *testing.T, w *world, user string) *imapc.Client {
	t.Helper()
	return login(t, func(ctx context.Context) (*imapc.Client, error) { return w.dovecot.Login(ctx, user) })
}

func cmd(t *testing.T, c *imapc.Client, parts ...any) *imapc.Reply {
	t.Helper()
	r, err := c.Cmd(parts...)
	must(t, err)
	return r
}

// wire returns a mailbox name as it is sent.
func wire(name string) string { return imapc.Quote(harness.ModifiedUTF7(name)) }

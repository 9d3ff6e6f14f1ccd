package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/tools/faultproxy"
)

// links are the lines of a node to what it depends on.
type links struct {
	database, redis, objects, upstream *faultproxy.Proxy
}

// rig is a cluster with everything around it.
type rig struct {
	dovecot                  *harness.Dovecot
	database, redis, objects *harness.Service
	nodes                    []*harness.Node
	links                    []*links

	mu      sync.Mutex
	started []string // of each node, when it was started last; "" while it is meant not to run
}

var (
	errEngine error
	program   struct {
		once   sync.Once
		dir    string // removed at the end
		binary string
		err    error
	}
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	if errEngine = harness.Engine(ctx); errEngine == nil {
		errEngine = harness.Have(ctx)
	}
	if errEngine != nil && harness.CI() {
		fmt.Fprintln(os.Stderr, "e2e:", errEngine)
		return 1
	}
	code := m.Run()
	if program.dir == "" {
		return code
	}
	if err := os.RemoveAll(program.dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

// binary returns the program under test.
func binary(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "imapped-cluster-"); program.err == nil {
			program.binary, program.err = harness.Build(context.WithoutCancel(t.Context()), program.dir)
		}
	})
	must(t, program.err)
	return program.binary
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inParallel runs all functions and returns their errors.
func inParallel(fns ...func() error) error {
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// start starts a cluster of n nodes, and ends it with the test. None of them has an account.
func start(t *testing.T, n int) *rig {
	t.Helper()
	if errEngine != nil {
		t.Skip(errEngine)
	}
	ctx := context.WithoutCancel(t.Context())
	r := &rig{started: make([]string, n)}
	end := func(fn func() error) {
		t.Cleanup(func() {
			if err := fn(); err != nil {
				t.Error(err)
			}
		})
	}
	must(t, inParallel(
		func() (err error) { r.dovecot, err = harness.StartDovecot(ctx, harness.DovecotOptions{}); return err },
		func() (err error) { r.database, err = harness.StartPostgres(ctx); return err },
		func() (err error) { r.redis, err = harness.StartRedis(ctx); return err },
		func() (err error) { r.objects, err = harness.StartS3(ctx); return err },
	))
	end(r.dovecot.Close)
	for _, s := range []*harness.Service{r.database, r.redis, r.objects} {
		end(s.Close)
	}
	port := "0" // of the upstream: an account has one, whichever node mirrors it
	for i := range n {
		l := &links{}
		host := address(i)
		open := func(to, port string) *faultproxy.Proxy {
			t.Helper()
			p, err := faultproxy.Listen(net.JoinHostPort(host, port), to)
			must(t, err)
			end(p.Close)
			return p
		}
		l.database, l.redis, l.objects = open(r.addr(t, r.database), "0"), open(r.addr(t, r.redis), "0"), open(r.addr(t, r.objects), "0")
		l.upstream = open(r.dovecot.Addr, port)
		_, p, err := net.SplitHostPort(l.upstream.Addr())
		must(t, err)
		port = p
		r.links = append(r.links, l)
		node, err := harness.NewNode(ctx, harness.NodeOptions{
			Binary: binary(t), Host: host, Upstream: host,
			Database: l.database.Addr(), Redis: l.redis.Addr(), S3: l.objects.Addr(),
		})
		must(t, err)
		end(node.Close)
		r.nodes = append(r.nodes, node)
	}
	t.Cleanup(func() { r.keep(t) })
	must(t, r.nodes[0].Migrate(ctx))
	for i := range r.nodes {
		must(t, r.startNode(ctx, i))
	}
	return r
}

// address is the address of a node, with its lines: every run has its own ones of 127.0.0.0/8.
func address(node int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 16+pid>>8&0x7f, pid&0xff, 10+node)
}

func (r *rig) addr(t *testing.T, s *harness.Service) string {
	t.Helper()
	addr, err := s.Addr(t.Context())
	must(t, err)
	return addr
}

// startNode starts a node and waits until it is ready. One that ends by itself meanwhile, because what it needs at the start
// is away, is started again.
func (r *rig) startNode(ctx context.Context, i int) error {
	return harness.Eventually(ctx, 2*time.Minute, fmt.Sprintf("node %d is ready", i), func() (bool, error) {
		runs, since, err := r.nodes[i].Runs(ctx)
		if err != nil {
			return false, err
		}
		if !runs {
			return false, r.nodes[i].Start(ctx)
		}
		if err := r.nodes[i].Ready(ctx); err != nil {
			return false, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.started[i] = since
		return true, nil
	})
}

// killNode ends a node by kill -9.
func (r *rig) killNode(ctx context.Context, i int) error {
	r.mu.Lock()
	r.started[i] = ""
	r.mu.Unlock()
	return r.nodes[i].Signal(ctx, "KILL")
}

// ran returns an error for each node that does not run, or not since it was started.
func (r *rig) ran(ctx context.Context) error {
	var errs []error
	for i, n := range r.nodes {
		runs, since, err := n.Runs(ctx)
		r.mu.Lock()
		meant := r.started[i]
		r.mu.Unlock()
		if err == nil && (!runs || since != meant) {
			err = fmt.Errorf("node %d ended by itself: it runs: %t, since %s; it was started at %s", i, runs, since, meant)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// redirect makes the nodes' lines end where a service is now.
func (r *rig) redirect(ctx context.Context, s *harness.Service, line func(*links) *faultproxy.Proxy) error {
	addr, err := s.Addr(ctx)
	if err != nil {
		return err
	}
	for _, l := range r.links {
		line(l).Redirect(addr)
		line(l).Cut() // what the container left behind answers nothing
	}
	return nil
}

// owners returns which node mirrors which account. Nodes that do not answer at once mirror nothing.
func (r *rig) owners(ctx context.Context) map[int64]int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	owned := make([][]int64, len(r.nodes))
	var wg sync.WaitGroup
	for i, n := range r.nodes {
		wg.Go(func() { owned[i], _ = n.Owned(ctx) })
	}
	wg.Wait()
	all := map[int64]int{}
	for i, ids := range owned {
		for _, id := range ids {
			all[id] = i
		}
	}
	return all
}

// keep keeps the logs of a test that failed.
func (r *rig) keep(t *testing.T) {
	if !t.Failed() {
		return
	}
	dir, err := os.MkdirTemp(os.Getenv("IMAPPED_E2E_LOGS"), "imapped-cluster-logs-")
	if err != nil {
		t.Error(err)
		return
	}
	save := func(name string, log func(context.Context) (string, error)) {
		text, err := log(context.WithoutCancel(t.Context()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".log"), []byte(text), 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	for i, n := range r.nodes {
		save(fmt.Sprintf("node%d", i), n.Log)
	}
	save("postgres", r.database.Log)
	save("s3", r.objects.Log)
	save("redis", r.redis.Log)
	save("dovecot", r.dovecot.Log)
	t.Logf("the logs of the containers are in %s", dir)
}

// user is a user with one account.
type user struct {
	name string // here and at Dovecot
	id   int64  // of the account
}

func (u user) email() string { return u.name + "@example.org" }

// addUsers makes users whose accounts have boxes, and waits until everything is mirrored.
func (r *rig) addUsers(t *testing.T, n int, boxes []harness.Box) []user {
	t.Helper()
	ctx := t.Context()
	_, port, err := net.SplitHostPort(r.links[0].upstream.Addr())
	must(t, err)
	users := make([]user, n)
	for i := range users {
		u := user{name: fmt.Sprintf("u%d", i)}
		must(t, r.dovecot.Load(ctx, u.name, boxes))
		for _, args := range [][]string{
			{"create-user", "--username-email", u.name, "--password-stdin"},
			{
				"add-account", "--user-email", u.name, "--email-address", u.email(), "--upstream-host", harness.UpstreamName,
				"--upstream-port", port, "--upstream-tls-mode", "plain", "--upstream-username", u.name, "--upstream-secret-stdin",
			},
		} {
			_, err := r.nodes[i%len(r.nodes)].Run(ctx, args...)
			must(t, err)
		}
		users[i] = u
	}
	want, _ := harness.Count(boxes)
	must(t, harness.Eventually(ctx, time.Minute, "all accounts are mirrored", func() (bool, error) {
		rows, err := r.nodes[0].Statuses(ctx)
		if err != nil || len(rows) != n {
			return false, err
		}
		for _, row := range rows {
			if row.Messages != want || row.Bodies != want || row.LastSync.IsZero() {
				return false, nil
			}
			for i := range users {
				if users[i].email() == row.Account {
					users[i].id = row.ID
				}
			}
		}
		return true, nil
	}))
	return users
}

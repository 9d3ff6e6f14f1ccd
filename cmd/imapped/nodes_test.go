package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"imapped/adapters/postgres"
	"imapped/adapters/postgres/pgtest"
	"imapped/adapters/s3/s3test"
)

var database pgtest.Server

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "" {
		os.Exit(run([]string{"run"}, os.Stdout))
	}
	os.Exit(pgtest.Main(m, &database))
}

// valve passes connections on to a server until it is shut.
type valve struct {
	net.Listener
	network, target string

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// newValve returns an open valve before the server of the URL, and the URL that leads through it.
func newValve(t *testing.T, through string) (*valve, string) {
	t.Helper()
	u, err := url.Parse(through)
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{network: "tcp", target: u.Host, conns: map[net.Conn]struct{}{}}
	q := u.Query()
	if dir := q.Get("host"); dir != "" {
		v.network, v.target = "unix", filepath.Join(dir, ".s.PGSQL.5432")
		q.Del("host")
	}
	if v.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = v.Addr().String(), q.Encode()
	v.wg.Go(v.accept)
	t.Cleanup(func() {
		v.Listener.Close()
		v.set(true)
		v.wg.Wait()
	})
	return v, u.String()
}

func (v *valve) accept() {
	for {
		in, err := v.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial(v.network, v.target)
		if err != nil {
			in.Close()
			continue
		}
		v.mu.Lock()
		v.conns[in], v.conns[out] = struct{}{}, struct{}{}
		if v.shut {
			in.Close()
			out.Close()
		}
		v.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			v.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // ends with either
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}

// set shuts or opens the valve.
func (v *valve) set(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
	if shut {
		for c := range v.conns {
			c.Close()
		}
		clear(v.conns)
	}
}

// fleet is an installation that nodes can be started for.
type fleet struct {
	t       *testing.T
	environ []string
}

// newFleet returns an installation on the database, brought up to date, with a user and an account at the upstream.
func newFleet(t *testing.T, databaseURL string, environ ...string) *fleet {
	t.Helper()
	f := &fleet{t, append(environ, "DATABASE_URL="+databaseURL, "ENCRYPTION_MASTER_KEY="+oneKey)}
	if text := f.cli(0, "run-migrations"); !regexp.MustCompile(`[1-9]\d* migrations were applied`).MatchString(text) {
		t.Errorf("run-migrations says %q", text)
	}
	if text := f.cli(0, "run-migrations"); !strings.Contains(text, " 0 migrations") {
		t.Errorf("run-migrations, again, says %q", text)
	}
	f.cli(0, "create-user", "--username-email", demoName, "--password-file", passwordFile(t, demoName))
	return f
}

// cli runs a command on a machine without a server.
func (f *fleet) cli(want int, args ...string) string {
	f.t.Helper()
	var out bytes.Buffer
	if got := runIn(f.t.Context(), args, append([]string{"IMAPPED_DATA=" + f.t.TempDir()}, f.environ...), &out); got != want {
		f.t.Fatalf("%v: exit status %d, want %d; %s", args, got, want, out.String())
	}
	return out.String()
}

// addAccount adds the account of the sample upstream.
func (f *fleet) addAccount(up upstreamRig) {
	f.t.Helper()
	host, port, err := net.SplitHostPort(up.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.cli(0, "add-account", "--user-email", demoName, "--email-address", "demo@example.org", "--upstream-host", host, "--upstream-port", port,
		"--upstream-tls-mode", "plain", "--upstream-username", demoName, "--upstream-secret-file", passwordFile(f.t, demoName))
}

// node is a running node.
type node struct {
	imap, http, metrics string
	stop                func()
}

func (f *fleet) start() node {
	f.t.Helper()
	at, stop := startRun(f.t, 3, append([]string{"IMAPPED_DATA=" + f.t.TempDir(), "IMAP_PLAINTEXT_BIND=127.0.0.1:0", "HTTP_BIND=127.0.0.1:0",
		"METRICS_BIND=localhost:0"}, f.environ...)...)
	return node{at[0], at[1], at[2], stop}
}

// get asks a node by HTTP.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// becomes waits until /readyz has the status and names just the parts as failing.
func (n node) becomes(t *testing.T, status int, failing ...string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		got, body := get(t, n.http+"/readyz")
		var said struct {
			Checks []struct {
				Name string
				OK   bool
			}
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		var parts []string
		for _, c := range said.Checks {
			if !c.OK {
				parts = append(parts, c.Name)
			}
		}
		if last = body; got == status && strings.Join(parts, " ") == strings.Join(failing, " ") {
			return
		}
	}
	t.Fatalf("/readyz keeps saying %s; want %d and %v failing", last, status, failing)
}

// idle begins IDLE; heard waits for what the client is told of, and how ends it.
func (c *mailClient) idle() (heard func(want string) time.Time, end func()) {
	c.t.Helper()
	c.write("idle IDLE\r\n")
	read := func(want string) time.Time {
		c.t.Helper()
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				c.t.Fatalf("%v, waiting for %q", err, want)
			}
			if strings.Contains(line, want) {
				return time.Now()
			}
		}
	}
	read("+ idling")
	return read, func() {
		c.write("DONE\r\n")
		read("idle OK")
	}
}

// passesOn checks that a client that idles on one node hears of what one on the other does.
func passesOn(t *testing.T, here, there node) {
	t.Helper()
	listener := dialMail(t, there.imap, "Drafts")
	heard, end := listener.idle()
	writer := dialMail(t, here.imap, "Drafts")
	writer.ok("%s", appendLine("Drafts", "Subject: across\r\n\r\ntext\r\n"))
	done := time.Now()
	t.Logf("heard after %v", heard("EXISTS").Sub(done).Round(time.Millisecond))
	end()
	listener.eventually(func(s string) bool { return strings.Contains(s, "Subject: across") }, "FETCH * BODY.PEEK[]")
}

// mirrors waits until a client of the node finds the sample's mail, with a body: from whichever node has stored it.
func (n node) mirrors(t *testing.T) {
	t.Helper()
	c := dialMail(t, n.imap, "")
	c.eventually(func(s string) bool { return strings.Contains(s, "Drafts") }, `LIST "" *`)
	await(t, "INBOX", func() bool { // it may come after the others
		_, tagged := c.do("SELECT INBOX")
		return strings.HasPrefix(tagged, "OK")
	})
	c.eventually(func(s string) bool { return strings.Contains(s, "EXISTS") && !strings.Contains(s, "* 0 EXISTS") }, "SELECT INBOX")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		untagged, tagged := c.do("FETCH 1 BODY.PEEK[]")
		if last = tagged; strings.Contains(untagged, "BODY[]") {
			return
		}
	}
	t.Fatalf("FETCH keeps being answered %q", last)
}

// released checks that nobody holds the account.
func (f *fleet) released(databaseURL string) {
	f.t.Helper()
	s, err := postgres.Open(f.t.Context(), postgres.Options{URL: databaseURL})
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	accounts, err := s.Accounts(f.t.Context(), 0)
	if err != nil || len(accounts) == 0 {
		f.t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	for _, a := range accounts {
		lease, err := s.Acquire(f.t.Context(), a.ID, "test", time.Now(), time.Minute)
		if err != nil {
			f.t.Errorf("account %d after all nodes ended: %v", a.ID, err)
		}
		if err := s.Release(f.t.Context(), lease); err != nil {
			f.t.Error(err)
		}
	}
}

// TestNodes runs two nodes on Postgres, S3 and Redis, and takes these away.
func TestNodes(t *testing.T) {
	direct := database.URL(t)
	bucket := s3test.Fake(t).Bucket(t).Config
	red := miniredis.RunT(t)
	v, through := newValve(t, direct)
	objects, endpoint := newValve(t, bucket.Endpoint)
	f := newFleet(t, through, "R2_ENDPOINT="+endpoint, "R2_BUCKET="+bucket.Bucket, "R2_ACCESS_KEY_ID="+bucket.AccessKeyID,
		"R2_SECRET_ACCESS_KEY="+bucket.SecretAccessKey, "REDIS_URL=redis://"+red.Addr())
	up := startUpstream(t)
	a, b := f.start(), f.start()
	for _, n := range []node{a, b} {
		n.becomes(t, http.StatusOK)
		if status, body := get(t, n.http+"/healthz"); status != http.StatusOK || body != "ok\n" {
			t.Errorf("/healthz is answered %d, %q", status, body)
		}
	}
	f.addAccount(up) // the nodes hear of it
	a.mirrors(t)
	b.mirrors(t)
	passesOn(t, a, b)
	passesOn(t, b, a)
	there := dialMail(t, up.addr, "Drafts")
	there.eventually(func(s string) bool { return found(s) == 2 }, "SEARCH SUBJECT across")
	for _, args := range [][]string{{"list-users"}, {"list-accounts"}, {"show-sync-status", "--mailboxes"}, {"mutations"},
		{"list-mailboxes", "--account-email", "#1"}, {"restore", "--account-email", "#1", "--since", "1h", "--dry-run"}} {
		f.cli(0, args...)
	}
	_, text := get(t, a.metrics+"/metrics")
	for _, want := range []string{`imapped_commands_seconds_count{command="select",result="ok"}`, `imapped_connections `, `imapped_up{part="redis"} 1`,
		`imapped_store_seconds_count{operation="changes",store="metadata"}`, `store="blobs"`, `imapped_cache_lookups_total{cache="snapshot"`,
		`imapped_cache_lookups_total{cache="blob",result=`, `imapped_accounts{state="idle"}`, `imapped_upstream_commands_total`} {
		if !strings.Contains(strings.ToLower(text), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}

	red.Close() // everything goes on, slower
	a.becomes(t, http.StatusOK, "redis")
	b.becomes(t, http.StatusOK, "redis")
	passesOn(t, a, b)
	if err := red.Restart(); err != nil {
		t.Fatal(err)
	}
	a.becomes(t, http.StatusOK)
	b.becomes(t, http.StatusOK)
	passesOn(t, b, a)

	for part, v := range map[string]*valve{"database": v, "blobs": objects} {
		v.set(true)
		a.becomes(t, http.StatusServiceUnavailable, part)
		v.set(false)
		a.becomes(t, http.StatusOK)
	}
	passesOn(t, a, b)

	a.stop()
	dialMail(t, b.imap, "Drafts").ok("%s", appendLine("Drafts", "Subject: the rest\r\n\r\ntext\r\n"))
	there.eventually(func(s string) bool { return found(s) == 1 }, `SEARCH SUBJECT "the rest"`)
	b.stop()
	f.released(direct)
}

// TestNodesWithoutRedis runs two nodes on Postgres and a directory alone.
func TestNodesWithoutRedis(t *testing.T) {
	direct := database.URL(t)
	if text := failing(t, 2, []string{"IMAPPED_DATA=" + t.TempDir(), "OBJECT_STORE_PATH=" + t.TempDir(), "DATABASE_URL=" + direct}, "list-users"); text != "" {
		t.Errorf("a database without tables is answered %q", text)
	}
	f := newFleet(t, direct, "OBJECT_STORE_PATH="+t.TempDir())
	a, b := f.start(), f.start()
	f.addAccount(startUpstream(t))
	a.mirrors(t)
	a.becomes(t, http.StatusOK)
	passesOn(t, a, b)
	passesOn(t, b, a)
	b.stop()
	a.stop()
	f.released(direct)
}

// failing runs a command that fails, and returns what it printed.
func failing(t *testing.T, want int, environ []string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := runIn(t.Context(), args, environ, &out); got != want {
		t.Errorf("%v: exit status %d, want %d", args, got, want)
	}
	return out.String()
}

// TestStoresThatDoNotGoTogether: a server does not start, and says which settings are wrong.
func TestStoresThatDoNotGoTogether(t *testing.T) {
	s3 := []string{"S3_ENDPOINT=https://s3.example.org", "R2_BUCKET=mail", "R2_ACCESS_KEY_ID=id", "R2_SECRET_ACCESS_KEY=s"}
	for _, tt := range []struct {
		environ []string
		want    []string
	}{
		{[]string{"DATABASE_URL=postgres://db/mail"}, []string{"DATABASE_URL", "R2_ENDPOINT", "OBJECT_STORE_PATH"}},
		{append(s3, "OBJECT_STORE_PATH=/srv/mail"), []string{"OBJECT_STORE_PATH", "S3_ENDPOINT"}},
	} {
		_, err := openServer(t.Context(), configOf(t, append(tt.environ, "IMAPPED_DATA="+t.TempDir())...), logger(configOf(t)))
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want it to name %s", tt.environ, err, want)
			}
		}
		if text := failing(t, 2, tt.environ, "config", "check"); !strings.Contains(text, tt.want[0]) {
			t.Errorf("config check says %q", text)
		}
	}
	configOf(t, append(s3, "DATABASE_URL=postgres://db/mail", "REDIS_URL=redis://cache")...)
}

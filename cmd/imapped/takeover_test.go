package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"imapped/adapters/postgres"
	"imapped/domain/account"
)

// nodeEnv makes this test binary a node, as "imapped run" is, whose settings are in its environment.
const nodeEnv = "IMAPPED_TEST_NODE"

// spawn starts a node in a process of its own. kill ends that at once, without a word to anybody; more than once does nothing.
func (f *fleet) spawn() (n node, kill func()) {
	f.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append([]string{nodeEnv + "=1", "LOG_FORMAT=json", "IMAPPED_DATA=" + f.t.TempDir(), "IMAP_PLAINTEXT_BIND=127.0.0.1:0",
		"HTTP_BIND=127.0.0.1:0"}, f.environ...)
	log, err := cmd.StderrPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	addresses := make(chan string, 2)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			var record struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &record) == nil && (record.Msg == "listening" || record.Msg == "serving HTTP") {
				addresses <- record.Address
			}
		}
	}()
	killed := false
	kill = func() {
		if killed {
			return
		}
		killed = true
		if err := cmd.Process.Kill(); err != nil {
			f.t.Error(err)
		}
		<-read
		_ = cmd.Wait() // which says that it was killed
	}
	f.t.Cleanup(func() { kill() })
	for _, at := range []*string{&n.imap, &n.http} {
		select {
		case *at = <-addresses:
		case <-read:
			f.t.Fatal("the node ends")
		case <-time.After(time.Minute):
			f.t.Fatal("the node does not listen")
		}
	}
	return n, kill
}

// owners reads who owns accounts.
type owners struct {
	t *testing.T
	*postgres.Store
}

func (f *fleet) owners(databaseURL string) owners {
	f.t.Helper()
	s, err := postgres.Open(f.t.Context(), postgres.Options{URL: databaseURL})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { s.Close() })
	return owners{f.t, s}
}

// of returns who owns the account and lives; empty: nobody.
func (o owners) of(id account.ID) string {
	o.t.Helper()
	names, err := o.Owners(o.t.Context(), time.Now())
	if err != nil {
		o.t.Fatal(err)
	}
	for _, name := range names {
		fences, err := o.Held(o.t.Context(), name)
		if err != nil {
			o.t.Fatal(err)
		}
		for _, f := range fences {
			if f.Account == id {
				return name
			}
		}
	}
	return ""
}

// until waits until somebody owns the account who did not before, and returns who, and how long it took.
func (o owners) until(id account.ID, before ...string) (string, time.Duration) {
	o.t.Helper()
	begun := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; time.Since(begun) < time.Minute; <-tick.C {
		if name := o.of(id); name != "" && !slices.Contains(before, name) {
			return name, time.Since(begun)
		}
	}
	o.t.Fatalf("nobody takes the account over from %s", strings.Join(before, ", "))
	return "", 0
}

// TestTakeOver kills the node that owns the account, and stops the one that took it over: changes that clients of others
// make go on reaching the upstream. Clients of the others notice nothing.
func TestTakeOver(t *testing.T) {
	for _, withRedis := range []bool{true, false} {
		name := "without Redis"
		var environ []string
		if withRedis {
			name = "with Redis"
		}
		t.Run(name, func(t *testing.T) {
			if withRedis {
				environ = append(environ, "REDIS_URL=redis://"+miniredis.RunT(t).Addr())
			}
			url := database.URL(t)
			f := newFleet(t, url, append(environ, "OBJECT_STORE_PATH="+t.TempDir())...)
			up := startUpstream(t)
			first, kill := f.spawn()
			f.addAccount(up) // before there are others, so that the first node has it
			own := f.owners(url)
			a, _ := own.until(1)
			first.mirrors(t)
			second, third := f.start(), f.start()
			third.mirrors(t)
			there := dialMail(t, up.addr, "Drafts")
			change := func(n node, subject string) {
				t.Helper()
				dialMail(t, n.imap, "Drafts").ok("%s", appendLine("Drafts", "Subject: "+subject+"\r\n\r\ntext\r\n"))
				there.eventually(func(s string) bool { return found(s) == 1 }, "SEARCH SUBJECT %q", subject)
			}
			listener := dialMail(t, third.imap, "Drafts")
			heard, end := listener.idle()
			change(third, "on another node than the owner")
			heard("EXISTS")
			if now := own.of(1); now != a {
				t.Skipf("the account went to another node for balance before the test began: the machine is slow (%s, %s)", a, now)
			}

			kill()
			b, took := own.until(1, a)
			t.Logf("taken over %v after a death", took.Round(time.Millisecond))
			if took > 10*time.Second {
				t.Errorf("it took %v to take over from a node that was killed", took)
			}
			change(second, "after a death")
			heard("EXISTS")
			end()

			// One of the two has it; the other gets it when that one stops.
			stopped, left := second, third
			if !f.owns(second) {
				stopped, left = third, second
			}
			stopped.stop()
			_, took = own.until(1, a, b)
			t.Logf("taken over %v after a stop", took.Round(time.Millisecond))
			if took > nodeLease/2 {
				t.Errorf("it took %v to take over from a node that was stopped", took)
			}
			change(left, "after a stop")
			left.stop()
			f.released(url)
		})
	}
}

// owns says whether a node owns the one account: it alone tells in its metrics how that is.
func (f *fleet) owns(n node) bool {
	f.t.Helper()
	_, text := get(f.t, n.metrics+"/metrics")
	for line := range strings.Lines(text) {
		if state, ok := strings.CutPrefix(line, "imapped_accounts{"); ok && !strings.HasSuffix(strings.TrimSpace(state), " 0") {
			return true
		}
	}
	return false
}

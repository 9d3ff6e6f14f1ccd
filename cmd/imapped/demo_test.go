package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lines is an output that tells each line as it is written.
type lines struct{ c chan string }

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l.c <- strings.TrimSpace(line)
	}
	return len(p), nil
}

// TestDemo runs the whole program: the sample upstream, its mirror, a client that reads, waits for a new message and
// changes another, which reaches the upstream, and the same again on the same data.
func TestDemo(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for round := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		c := demoCmd{
			mirrorFlags: mirrorFlags{Listen: "127.0.0.1:0"}, UpstreamListen: "127.0.0.1:0", Every: time.Second,
		}
		conf := testConfig(data)
		conf.LogLevel = slog.LevelError + 1
		out := lines{make(chan string, 100)}
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, conf, output{out}) }()
		port, upstream := "", ""
		for port == "" {
			select {
			case line := <-out.c:
				if m := regexp.MustCompile(`^Sample upstream on (\S+),`).FindStringSubmatch(line); m != nil {
					upstream = m[1]
				}
				if m := regexp.MustCompile(`^Port +(\d+)`).FindStringSubmatch(line); m != nil {
					port = m[1]
				}
			case err := <-ended:
				t.Fatalf("round %d: the demo ended: %v", round, err)
			case <-time.After(time.Minute):
				t.Fatal("the demo does not say where it listens")
			}
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		readDemo(t, addr)
		changeDemo(t, addr, upstream, round)
		stop()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: stopping: %v", round, err)
		}
	}
}

func readDemo(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	until := func(prefix string) string {
		var all strings.Builder
		for {
			line, err := r.ReadString('\n')
			all.WriteString(line)
			if err != nil {
				t.Fatalf("waiting for %q: %v after %q", prefix, err, all.String())
			}
			if strings.HasPrefix(line, prefix) {
				return all.String()
			}
		}
	}
	send := func(line string) {
		if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	send("a LOGIN demo demo")
	until("a OK")
	// The first look may come before the first synchronisation has made INBOX.
	for n := 0; ; n++ {
		send(fmt.Sprintf("b%d SELECT INBOX", n))
		if answer := until(fmt.Sprintf("b%d ", n)); strings.Contains(answer, " OK [READ-WRITE]") {
			break
		}
		if n == 5000 {
			t.Fatal("there is no INBOX")
		}
	}
	send("c IDLE")
	until("* ") // EXISTS of a message that has come
	send("DONE")
	until("c OK")
	send(`d UID FETCH 1 (BODY.PEEK[] ENVELOPE)`)
	if answer := until("d OK"); !strings.Contains(answer, "the ficus that nobody waters") || !strings.Contains(answer, `"Welcome aboard"`) {
		t.Errorf("the first message is %q", answer)
	}
}

// changeDemo changes a message and adds another, and sees both at the upstream, with those of earlier rounds.
func changeDemo(t *testing.T, addr, upstream string, round int) {
	t.Helper()
	c := dialMail(t, addr, "INBOX")
	c.ok("STORE 1 +FLAGS (round%d)", round)
	c.ok("%s", appendLine("Drafts", "Subject: in writing\r\n\r\nround\r\n"))
	up := dialMail(t, upstream, "INBOX")
	up.eventually(func(s string) bool { return strings.Count(s, "round") == round+1 }, "FETCH 1 FLAGS")
	up.ok("SELECT Drafts")
	up.eventually(func(s string) bool { return found(s) == round+1 }, `SEARCH SUBJECT "in writing"`)
}

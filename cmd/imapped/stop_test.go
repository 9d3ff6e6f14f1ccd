package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestStopWhileReplaying stops the server again and again in the middle of carrying changes out: it ends soon and without
// an error, and the next one goes on, so that every message is at the upstream once.
func TestStopWhileReplaying(t *testing.T) {
	up := startUpstream(t)
	data := filepath.Join(t.TempDir(), "data")
	const rounds, messages = 4, 25
	for round := range rounds {
		m := startMirror(t, data, up)
		c := dialMail(t, m.addr, "")
		for n := range messages {
			c.ok("%s", appendLine("Drafts", fmt.Sprintf("Subject: stopped %d %03d.\r\n\r\ntext\r\n", round, n)))
		}
		if round%2 == 1 { // by now the first of them are under way
			dialMail(t, up.addr, "Drafts").eventually(func(s string) bool { return found(s) > 0 }, `SEARCH SUBJECT "stopped %d"`, round)
		}
		begun := time.Now()
		m.stop()
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("stopping took %v", d)
		}
	}
	m := startMirror(t, data, up)
	here, there := dialMail(t, m.addr, "Drafts"), dialMail(t, up.addr, "Drafts")
	there.eventually(func(s string) bool { return found(s) == rounds*messages }, "SEARCH SUBJECT stopped")
	here.eventually(func(string) bool { return len(mutationsOf(t, data)) == 0 }, "NOOP")
	for _, c := range []*mailClient{here, there} {
		for round := range rounds {
			for n := range messages {
				c.eventually(func(s string) bool { return found(s) == 1 }, `SEARCH SUBJECT "stopped %d %03d."`, round, n)
			}
		}
	}
}

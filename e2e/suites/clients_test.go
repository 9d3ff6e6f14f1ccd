package suites

import (
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"imapped/e2e/harness"
)

// clients starts the container with the real clients.
func clients(t *testing.T) *harness.Clients {
	t.Helper()
	c, err := harness.StartClients(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestMbsync pulls the whole mirror with mbsync and compares what it stored.
func TestMbsync(t *testing.T) {
	w, p := theMirror(t)
	c := clients(t)
	conf, err := harness.MbsyncConfig(p.Addr, "corpus", "/mail")
	must(t, err)
	must(t, c.WriteFile(t.Context(), "/mbsyncrc", conf))
	_, err = c.Exec(t.Context(), "mkdir -p /mail && mbsync -q -c /mbsyncrc -a")
	must(t, err)
	// mbsync stores LF, and adds a header field X-TUID.
	out, err := c.Exec(t.Context(), `python3 -c '
import glob, hashlib, re
for name in glob.glob("/mail/**/*", recursive=True):
    if re.search("/(cur|new)/[^/]+$", name):
        with open(name, "rb") as f:
            text = re.sub(rb"^X-TUID: .{12}\n", b"", f.read(), count=1, flags=re.M)
        print(hashlib.sha256(text).hexdigest())
'`)
	must(t, err)
	got := strings.Fields(out)
	slices.Sort(got)
	var want []string
	for _, b := range w.boxes {
		for _, m := range b.Messages {
			want = append(want, fmt.Sprintf("%x", sha256.Sum256([]byte(strings.ReplaceAll(string(m.Raw), "\r\n", "\n")))))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("mbsync stored %d messages, want %d; only there %v, only here %v", len(got), len(want), only(got, want), only(want, got))
	}
	// A second pull has nothing to do.
	if _, err = c.Exec(t.Context(), "mbsync -q -c /mbsyncrc -a"); err != nil {
		t.Error(err)
	}
}

// TestCurl fetches messages by URL.
func TestCurl(t *testing.T) {
	_, p := theMirror(t)
	c := clients(t)
	rows, err := fetchBox(login(t, p.Login), "Work", itemsBody)
	must(t, err)
	for _, m := range rows[:10] {
		out, err := c.Exec(t.Context(), fmt.Sprintf("curl -sS --user corpus:%s 'imap://%s/Work;UID=%d' | sha256sum", harness.Password, p.Addr, m.uid))
		must(t, err)
		if got := strings.Fields(out)[0]; got != fmt.Sprintf("%x", m.sha) {
			t.Errorf("UID %d: curl got %s, want %x", m.uid, got, m.sha)
		}
	}
	out, err := c.Exec(t.Context(), fmt.Sprintf("curl -sS --user corpus:%s 'imap://%s/Work?SEEN'", harness.Password, p.Addr))
	if err != nil || !strings.HasPrefix(out, "* SEARCH") {
		t.Errorf("curl's search: %q, %v", out, err)
	}
}

//go:embed testdata/read_everything.py
var readEverything string

// TestImaplib runs a script over Python's imaplib that uses every reading command.
func TestImaplib(t *testing.T) {
	w, p := theMirror(t)
	c := clients(t)
	must(t, c.WriteFile(t.Context(), "/script.py", readEverything))
	host, port, _ := strings.Cut(p.Addr, ":")
	out, err := c.Exec(t.Context(), fmt.Sprintf("python3 /script.py %s %s corpus %s", host, port, harness.Password))
	must(t, err)
	var report struct {
		Boxes, Inbox int
		Problems     []string
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for _, s := range report.Problems {
		t.Error(s)
	}
	if report.Boxes < len(w.boxes) || report.Inbox != len(w.boxes[0].Messages) {
		t.Errorf("imaplib saw %d mailboxes, and %d messages in INBOX", report.Boxes, report.Inbox)
	}
}

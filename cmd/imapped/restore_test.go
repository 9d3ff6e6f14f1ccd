package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRestore removes messages and puts them back, without a server and beside one whose sessions hear of it.
func TestRestore(t *testing.T) {
	up := startUpstream(t)
	data := filepath.Join(t.TempDir(), "data")
	m := startMirror(t, data, up)
	c := dialMail(t, m.addr, "INBOX")
	restore := func(args ...string) (r restoredRow) {
		t.Helper()
		decode(t, cliRun(t, data, 0, append([]string{"restore", "--account-email", m.account.Email, "--json"}, args...)...), &r)
		return r
	}
	if r := restore("--since", "2h"); r.Messages != 0 {
		t.Errorf("before anything was removed %+v is put back", r)
	}
	upstream := dialMail(t, up.addr, "INBOX")
	before := upstream.ok(`UID SEARCH SUBJECT "Welcome aboard"`)
	uid := strings.TrimSpace(strings.TrimPrefix(c.ok(`UID SEARCH SUBJECT "Welcome aboard"`), "* SEARCH"))
	c.ok("UID STORE %s +FLAGS (\\Deleted kept)", uid)
	c.ok("EXPUNGE")
	c.ok("CREATE Plans")
	c.ok("%s", appendLine("Plans", "Subject: a plan\r\n\r\nIn writing.\r\n"))
	c.ok("DELETE Plans")

	if r := restore("--since", "2h", "--dry-run"); r.Messages != 2 || r.Mailboxes["INBOX"] != 1 || r.Mailboxes["Plans"] != 1 || r.Bytes == 0 {
		t.Errorf("a dry run says %+v", r)
	}
	if n := found(c.ok(`SEARCH SUBJECT "Welcome aboard"`)); n != 0 {
		t.Errorf("a dry run put %d messages back", n)
	}
	c.write("x IDLE\r\n")
	if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+") {
		t.Fatalf("IDLE is answered %q, %v", line, err)
	}
	if r := restore("--since", "2h", "--mailbox", "INBOX"); r.Messages != 1 || r.Mailboxes["INBOX"] != 1 {
		t.Errorf("putting back says %+v", r)
	}
	for heard := false; !heard; {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatalf("an idle session does not hear of the message that came back: %v", err)
		}
		heard = strings.HasSuffix(line, " EXISTS\r\n")
	}
	c.write("DONE\r\n")
	c.ok("NOOP")
	answer := c.ok("FETCH * (FLAGS BODY.PEEK[])")
	if !strings.Contains(answer, "Welcome aboard") || !strings.Contains(answer, "kept") || strings.Contains(answer, `\Deleted`) {
		t.Errorf("what came back is %q", answer)
	}
	upstream.eventually(func(s string) bool { return found(s) == 1 && s != before }, `UID SEARCH SUBJECT "Welcome aboard"`)

	m.stop()
	if text := cliRun(t, data, 0, "restore", "--account-email", m.account.Email, "--since", "2h"); !strings.Contains(text, "1 messages") ||
		!strings.Contains(text, "Plans") {
		t.Errorf("restore without a server says %q", text)
	}
	m = startMirror(t, data, up)
	dialMail(t, m.addr, "Plans").ok("FETCH 1 BODY[]")
	dialMail(t, up.addr, "").eventually(func(s string) bool { return strings.Contains(s, "MESSAGES 1") }, `LIST "" Plans RETURN (STATUS (MESSAGES))`)
	cliRun(t, data, 2, "restore", "--account-email", m.account.Email, "--since", "tomorrow")
	cliRun(t, data, 2, "restore", "--account-email", "nobody@example.org", "--since", "2h")
}

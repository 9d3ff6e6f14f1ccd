package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"imapped/adapters/s3/s3test"
	"imapped/domain/fault"
)

// moveStore runs migrate-store, and returns what it prints.
func moveStore(t *testing.T, want int, from string, environ []string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	args = append([]string{"migrate-store", "--from", from}, args...)
	if got := runIn(t.Context(), args, environ, &out); got != want {
		t.Fatalf("%v: exit status %d, want %d; %s", args, got, want, out.String())
	}
	return out.String()
}

// keyOf returns the setting that gives a node the key of a data directory.
func keyOf(t *testing.T, data string) string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(data, "key"))
	if err != nil {
		t.Fatal(err)
	}
	return "ENCRYPTION_MASTER_KEY=" + strings.TrimSpace(string(key))
}

var states = regexp.MustCompile(`(?s)UIDVALIDITY (\d+).*HIGHESTMODSEQ (\d+)`)

// qresync is what a client keeps of a mailbox: its UIDVALIDITY and mod-sequence.
func (c *mailClient) qresync(mailbox string) (state string) {
	c.t.Helper()
	found := states.FindStringSubmatch(c.ok("SELECT %s", mailbox))
	if found == nil {
		c.t.Fatalf("SELECT %s tells no state", mailbox)
	}
	return found[1] + " " + found[2]
}

// news returns what a client is told that knew the mailbox in a state: lines about messages.
func (c *mailClient) news(mailbox, state string) string {
	c.t.Helper()
	var lines strings.Builder
	for line := range strings.Lines(c.ok("SELECT %s (QRESYNC (%s))", mailbox, state)) {
		if strings.Contains(line, " FETCH ") || strings.Contains(line, "VANISHED") {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// all is everything that a client can be told of its mail.
func (c *mailClient) all(mailboxes ...string) string {
	c.t.Helper()
	var text strings.Builder
	text.WriteString(c.ok(`LIST (SUBSCRIBED) "" *`))
	for _, name := range mailboxes {
		text.WriteString(c.ok("STATUS %s (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ MAILBOXID SIZE)", name))
		c.ok("EXAMINE %s", name)
		text.WriteString(c.ok("UID FETCH 1:* (FLAGS MODSEQ INTERNALDATE RFC822.SIZE EMAILID THREADID SAVEDATE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"))
	}
	return text.String()
}

// TestMigrateStore moves what a server with one data directory has into Postgres and S3: clients that know the state from
// before are told of nothing, and what waited is done upstream, once.
func TestMigrateStore(t *testing.T) {
	t.Run("in the clear", func(t *testing.T) {
		testMigrateStore(t, s3test.Fake(t).Bucket(t))
	})
	t.Run("encrypted", func(t *testing.T) {
		b := s3test.Fake(t).Bucket(t)
		testMigrateStore(t, b, "S3_ENCRYPT=true")
		if len(sealedObjects(t, b)) == 0 {
			t.Error("nothing was moved into the bucket")
		}
	})
}

func testMigrateStore(t *testing.T, bucket *s3test.Bucket, settings ...string) {
	up, data := startUpstream(t), t.TempDir()
	m := startMirror(t, data, up)
	c := dialMail(t, m.addr, "")
	c.ok("ENABLE QRESYNC")
	first := c.qresync("INBOX")
	c.ok(`STORE 2 +FLAGS (\Flagged $Work)`)
	c.ok(`STORE 3:4 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	there := dialMail(t, up.addr, "INBOX")
	there.eventually(func(s string) bool { return found(s) > 0 }, "SEARCH KEYWORD $Work")
	waiting := func() int {
		q, err := m.in.store.QueueSummary(t.Context(), m.account.ID)
		if err != nil {
			t.Fatal(err)
		}
		return q.Waiting + q.Sent + q.Parked
	}
	c.eventually(func(string) bool { return waiting() == 0 }, "NOOP")
	var out bytes.Buffer
	if status := runIn(t.Context(), []string{"pause-sync", "--data", data, "--account-email", m.account.Email}, nil, &out); status != 0 {
		t.Fatalf("pause-sync: %d, %s", status, out.String())
	}
	c.ok(`STORE 1 +FLAGS (\Answered)`) // these wait
	c.ok("%s", appendLine("Drafts", "Subject: just once\r\n\r\ntext\r\n"))
	c.ok("STORE 5 +FLAGS (\\Deleted)")
	c.ok("EXPUNGE")
	if n := waiting(); n != 3 {
		t.Fatalf("%d changes wait, want 3", n)
	}
	inbox, drafts := c.qresync("INBOX"), c.qresync("Drafts")
	since, before := c.news("INBOX", first), c.all("INBOX", "Drafts")
	if !strings.Contains(since, "VANISHED") || !strings.Contains(since, " FETCH ") {
		t.Fatalf("since the first state there was only %q", since)
	}

	environ := append([]string{"DATABASE_URL=" + database.URL(t), "APPLY_MIGRATIONS=true"}, append(storedIn(bucket), settings...)...)
	to := append([]string{"IMAPPED_DATA=" + t.TempDir(), keyOf(t, data)}, environ...)
	moveStore(t, 3, data, to) // a server runs
	m.stop()
	moveStore(t, 2, data, append([]string{"IMAPPED_DATA=" + t.TempDir(), "ENCRYPTION_MASTER_KEY=" + oneKey}, environ...)) // another key
	text := moveStore(t, 0, data, to)
	for _, want := range []string{m.account.Email, "are equal"} {
		if !strings.Contains(text, want) {
			t.Errorf("migrate-store says %q, not %q", text, want)
		}
	}
	if text := moveStore(t, 0, data, to); !strings.Contains(text, "before") {
		t.Errorf("migrate-store, again, says %q", text)
	}
	if acts := audited(t, strings.TrimPrefix(to[0], "IMAPPED_DATA=")); !slices.Equal(acts, slices.Repeat([]string{"migrate store: " + data + ": ok"}, 2)) {
		t.Errorf("recorded: %q", acts)
	}
	if _, err := openInstance(t.Context(), testConfig(data), logger(testConfig(data))); !fault.Is(err, fault.Conflict) {
		t.Errorf("the data directory is still opened: %v", err)
	}
	moveStore(t, 3, data, append([]string{"DATABASE_URL=" + database.URL(t)}, append(to[:2:2], environ[1:]...)...)) // elsewhere, too

	f := &fleet{t, append([]string{keyOf(t, data)}, environ...)}
	n := f.start()
	c = dialMail(t, n.imap, "")
	c.ok("ENABLE QRESYNC")
	for mailbox, state := range map[string]string{"INBOX": inbox, "Drafts": drafts} {
		if now := c.qresync(mailbox); now != state {
			t.Errorf("%s is at %s, was at %s", mailbox, now, state)
		}
		if news := c.news(mailbox, state); news != "" {
			t.Errorf("a client that knows %s is told %q", mailbox, news)
		}
	}
	if now := c.news("INBOX", first); now != since {
		t.Errorf("a client that knows the first state is told %q, before %q", now, since)
	}
	if after := c.all("INBOX", "Drafts"); after != before {
		t.Errorf("the mail is\n%.3000s\nand was\n%.3000s", after, before)
	}

	f.cli(0, "resume-sync", "--account-email", m.account.Email)
	there = dialMail(t, up.addr, "Drafts")
	there.eventually(func(s string) bool { return found(s) > 0 }, `SEARCH SUBJECT "just once"`)
	c.eventually(func(string) bool { return strings.Contains(f.cli(0, "mutations", "--json"), "[]") }, "NOOP")
	if s := there.ok(`SEARCH SUBJECT "just once"`); found(s) != 1 {
		t.Errorf("it is upstream as %q", s)
	}
	there.ok("SELECT INBOX")
	if s := there.ok("SEARCH ANSWERED UID 1"); found(s) != 1 {
		t.Errorf("what was answered is upstream as %q", s)
	}
	if news := c.news("INBOX", inbox); news != "" {
		t.Errorf("after the queue was done a client is told %q", news)
	}
	n.stop()
}

// TestMigrateStoreLost moves into a database and a directory. A message whose file is missing is told, and fetched again.
func TestMigrateStoreLost(t *testing.T) {
	up, data := startUpstream(t), t.TempDir()
	m := startMirror(t, data, up)
	c := dialMail(t, m.addr, "INBOX")
	want := c.ok("FETCH 1:* (UID BODY.PEEK[])")
	m.stop()
	removed := 0
	if err := filepath.WalkDir(filepath.Join(data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && len(d.Name()) == 64 && removed < 2 {
			removed++
			return os.Remove(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	environ := []string{"DATABASE_URL=" + database.URL(t), "OBJECT_STORE_PATH=" + t.TempDir(), keyOf(t, data)}
	to := append(environ, "IMAPPED_DATA="+t.TempDir())
	moveStore(t, 2, data, to) // the database has no tables
	f := &fleet{t, environ}
	f.cli(0, "run-migrations")
	if text := moveStore(t, 1, data, to); strings.Count(text, "will be fetched again") < removed {
		t.Errorf("of %d missing messages it says %q", removed, text)
	}
	n := f.start()
	n.mirrors(t)
	c = dialMail(t, n.imap, "INBOX")
	c.eventually(func(s string) bool { return s == want }, "FETCH 1:* (UID BODY.PEEK[])")
	n.stop()
}

// TestMigrateStoreInPlace moves the metadata alone: the messages stay in their directory, and belong to the new database as they
// belonged to the old one; before that, they do not. A move that is given up is begun anew.
func TestMigrateStoreInPlace(t *testing.T) {
	up, data := startUpstream(t), t.TempDir()
	m := startMirror(t, data, up)
	c := dialMail(t, m.addr, "INBOX")
	want := c.ok("FETCH 1:* (UID BODY.PEEK[])")
	if err := m.in.checkBlobs(t.Context()); err != nil { // as run does
		t.Fatal(err)
	}
	m.stop()
	for range 2 {
		f := &fleet{t, []string{"DATABASE_URL=" + database.URL(t), "OBJECT_STORE_PATH=" + filepath.Join(data, "blobs"), keyOf(t, data)}}
		f.cli(0, "run-migrations")
		conf := configOf(t, append(f.environ, "IMAPPED_DATA="+t.TempDir())...)
		if in, err := openServer(t.Context(), conf, logger(conf)); !fault.Is(err, fault.Forbidden) {
			t.Fatalf("a node starts before the move: %v, %v", in, err)
		}
		moveStore(t, 0, data, append(f.environ, "IMAPPED_DATA="+t.TempDir()))
		n := f.start()
		n.mirrors(t)
		if got := dialMail(t, n.imap, "INBOX").ok("FETCH 1:* (UID BODY.PEEK[])"); got != want {
			t.Errorf("the mail is\n%.2000s\nand was\n%.2000s", got, want)
		}
		n.stop()
		if err := os.Remove(filepath.Join(data, movedFile)); err != nil {
			t.Fatal(err)
		}
	}
	other := t.TempDir() // the target's messages are another database's
	newFleet(t, database.URL(t), "OBJECT_STORE_PATH="+other).sweep()
	f := &fleet{t, []string{"DATABASE_URL=" + database.URL(t), "OBJECT_STORE_PATH=" + other, keyOf(t, data)}}
	f.cli(0, "run-migrations")
	moveStore(t, 2, data, append(f.environ, "IMAPPED_DATA="+t.TempDir()))
	if _, err := os.Stat(filepath.Join(data, movedFile)); err == nil {
		t.Error("it was moved into the messages of another database")
	}
}

// TestMovedDirectory: a data directory that was moved is not opened by any command.
func TestMovedDirectory(t *testing.T) {
	data := withSecrets(t, 1)
	if err := (migrateStoreCmd{From: data}).leave("1"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"list-users"}, {"run"}, {"show-sync-status"}} {
		failing(t, 3, []string{"IMAPPED_DATA=" + data}, args...)
	}
	if text := failing(t, 2, nil, "migrate-store", "--from", data); text != "" {
		t.Errorf("without a database it says %q", text)
	}
}

package main

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imapped/domain/fault"
)

// holdEnv names the database that this test binary, run as a helper, keeps locked.
const holdEnv = "IMAPPED_TEST_HOLD"

// smallDisk mounts a file system of 16 MB, and returns where.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("imapped-test", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestWritesWhileDiskFull fills the disk that the data directory is on.
func TestWritesWhileDiskFull(t *testing.T) {
	dir := smallDisk(t)
	ballast := filepath.Join(dir, "ballast")
	refusedFor(t, filepath.Join(dir, "data"), trouble{
		begin: func() { fill(t, ballast) },
		end: func() {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		},
		texts: []string{"the disk is full"}, appends: true,
	})
}

// TestStartReadOnly: a data directory on a file system that is mounted read-only is refused with its name and the reason,
// and can be opened again when it is not any more.
func TestStartReadOnly(t *testing.T) {
	dir := smallDisk(t)
	remount := func(flags uintptr) {
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	cliRun(t, data, 0, "list-users")
	remount(syscall.MS_RDONLY)
	cliRun(t, data, 3, "list-users")
	_, err := openInstance(t.Context(), testConfig(data), slog.New(slog.DiscardHandler))
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("opening it: %v", err)
	}
	remount(0)
	cliRun(t, data, 0, "list-users")
}

// fill writes a file until there is no room for one more octet.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk ends with %v", err)
	}
}

// TestWritesWhileReadOnly makes every file and folder of the data directory immutable, as a file system does that turns
// read-only under a running server: what is open for writing cannot be written to any more.
func TestWritesWhileReadOnly(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	set := func(how string) {
		t.Helper()
		cmd := exec.Command("find", data, "(", "-type", "f", "-o", "-type", "d", ")", "-exec", "chattr", how, "{}", "+")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("chattr %s: %v: %s", how, err, out)
		}
	}
	if err := probeImmutable(t, t.TempDir()); err != nil {
		t.Skipf("files cannot be made immutable here: %v", err)
	}
	refusedFor(t, data, trouble{
		begin: func() {
			t.Cleanup(func() { set("-i") }) // also when the test ends early: nothing else could remove the files
			set("+i")
		},
		end:     func() { set("-i") },
		texts:   []string{"the data directory cannot be written to", "the disk failed, or the database cannot be written to", "not writable"},
		appends: true,
		// Readers of a database note in its shared memory file how far they read. When the system has written that file's
		// pages back, they cannot be written to in memory either.
		blind: true,
	})
}

// probeImmutable says whether an open file of the folder refuses writes once it is immutable.
func probeImmutable(t *testing.T, dir string) error {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := exec.CommandContext(t.Context(), "chattr", "+i", f.Name()).Run(); err != nil {
		return err
	}
	_, err = f.Write([]byte("x"))
	if undo := exec.CommandContext(t.Context(), "chattr", "-i", f.Name()).Run(); undo != nil {
		t.Fatal(undo)
	}
	if err == nil {
		return errors.New("an open file can still be written")
	}
	return nil
}

// TestWritesWhileLocked has another process keep the database locked for longer than a writer waits.
func TestWritesWhileLocked(t *testing.T) {
	if testing.Short() {
		t.Skip("a writer waits for 5 seconds; not in short mode")
	}
	data := filepath.Join(t.TempDir(), "data")
	var helper *exec.Cmd
	var in io.WriteCloser
	refusedFor(t, data, trouble{
		begin: func() {
			helper = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldDatabase$")
			helper.Env = append(os.Environ(), holdEnv+"="+filepath.Join(data, "imapped.db"))
			helper.Stderr = os.Stderr
			var err error
			if in, err = helper.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			out, err := helper.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := helper.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, len("held\n"))); err != nil {
				t.Fatalf("the helper does not hold the lock: %v", err)
			}
		},
		end: func() {
			if err := errors.Join(in.Close(), helper.Wait()); err != nil {
				t.Fatal(err)
			}
		},
		texts: []string{"another process keeps the database busy"},
	})
}

// TestHoldDatabase is the other process of TestWritesWhileLocked: it holds the lock until its input ends.
func TestHoldDatabase(t *testing.T) {
	path := os.Getenv(holdEnv)
	if path == "" {
		t.Skip("this is the helper of TestWritesWhileLocked")
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"PRAGMA busy_timeout = 10000", "BEGIN EXCLUSIVE"} {
		if _, err := c.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Error(err)
	}
	if _, err := c.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
}

// trouble is something that keeps the data directory from being written.
type trouble struct {
	begin, end func()
	texts      []string // what the refusals say: one of them
	appends    bool     // whether a large APPEND is refused before the database is asked
	blind      bool     // whether reading may be refused as well
}

// refusedFor runs a mirror on a data directory and has trouble befall it: writes are refused in words, reads go on, and
// when the trouble is over writes work again in the same session, and what came to the upstream meanwhile arrives. What
// was acknowledged is there afterwards, here after a restart and at the upstream; what was refused is not.
func refusedFor(t *testing.T, data string, tr trouble) {
	t.Helper()
	up := startUpstream(t)
	m := startMirror(t, data, up)
	c := dialMail(t, m.addr, "INBOX")
	c.ok("STORE 1 +FLAGS (before)")
	c.ok("%s", appendLine("Drafts", "Subject: before\r\n\r\nbefore\r\n"))

	tr.begin()
	refused := func(tagged string) {
		t.Helper()
		told := slices.ContainsFunc(tr.texts, func(text string) bool { return strings.Contains(tagged, text) })
		if !strings.HasPrefix(tagged, "NO [UNAVAILABLE] ") || !told || strings.Contains(tagged, data) {
			t.Errorf("a write is answered %q, want NO [UNAVAILABLE], one of %q, and no path", tagged, tr.texts)
		}
	}
	stored := 0 // keywords k0, k1, ... are acknowledged
	tagged := ""
	for ; stored < 2000; stored++ {
		if _, tagged = c.do("STORE 2 +FLAGS (k%d)", stored); !strings.HasPrefix(tagged, "OK") {
			break
		}
	}
	refused(tagged)
	if tr.appends {
		_, tagged = c.do("%s", appendLine("Drafts", "Subject: refused\r\n\r\n"+strings.Repeat("refused\r\n", 20_000)))
		refused(tagged)
	}
	for _, read := range []string{"FETCH 1:3 (FLAGS ENVELOPE BODY.PEEK[])", "UID SEARCH TEXT ficus", "STATUS Drafts (MESSAGES)"} {
		answer, tagged := c.do("%s", read)
		switch {
		case tr.blind && strings.HasPrefix(tagged, "NO"):
			refused(tagged)
		case !strings.HasPrefix(tagged, "OK"):
			t.Errorf("%s is answered %q meanwhile", read, tagged)
		case strings.Contains(read, "BODY") && !strings.Contains(answer, "Welcome aboard"):
			t.Errorf("reading meanwhile gives %q", answer)
		}
	}
	dialMail(t, up.addr, "").ok("%s", appendLine("INBOX", "Subject: meanwhile\r\n\r\nfrom elsewhere\r\n"))

	tr.end()
	c.ok("STORE 3 +FLAGS (after)")
	c.ok("%s", appendLine("Drafts", "Subject: after\r\n\r\nafter\r\n"))

	check := func(c *mailClient, where string) {
		t.Helper()
		c.ok("SELECT INBOX")
		for seq, keyword := range map[int]string{1: "before", 3: "after"} {
			c.eventually(func(s string) bool { return strings.Contains(s, keyword) }, "FETCH %d FLAGS", seq)
		}
		c.eventually(func(s string) bool {
			have := 0
			for _, w := range strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(s)) {
				if strings.HasPrefix(w, "k") {
					have++
				}
			}
			return have == stored
		}, "FETCH 2 FLAGS")
		c.ok("SELECT Drafts")
		for subject, n := range map[string]int{"before": 1, "after": 1, "refused": 0} {
			c.eventually(func(s string) bool { return found(s) == n }, "SEARCH SUBJECT %s", subject)
		}
		if t.Failed() {
			t.Logf("so far: %s", where)
		}
	}
	c.eventually(func(s string) bool { return found(s) == 1 }, "SEARCH SUBJECT meanwhile")
	check(dialMail(t, m.addr, ""), "here")
	check(dialMail(t, up.addr, ""), "at the upstream")
	m.stop()
	m = startMirror(t, data, up)
	check(dialMail(t, m.addr, ""), "here after a restart")
}

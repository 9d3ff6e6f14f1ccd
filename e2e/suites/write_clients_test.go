package suites

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

var (
	//go:embed testdata/write_everything.py
	writeEverything string
	//go:embed testdata/curl.sh
	curlScript string
	//go:embed testdata/mbsync_tree.py
	mbsyncTree string
)

// TestWritingScripts runs scripts over Python's imaplib and curl that use every writing command, then compares both sides.
func TestWritingScripts(t *testing.T) {
	w := theWorld(t)
	s := paired(t, w, "scripts", harness.Account(w.raw[:60], 51))
	c := clients(t)
	host, port, err := net.SplitHostPort(s.p.Addr)
	must(t, err)

	must(t, c.WriteFile(t.Context(), "/script.py", writeEverything))
	out, err := c.Exec(t.Context(), fmt.Sprintf("python3 /script.py %s %s %s %s", host, port, s.user, harness.Password))
	must(t, err)
	var report struct{ Problems []string }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for _, problem := range report.Problems {
		t.Errorf("imaplib: %s", problem)
	}
	must(t, c.WriteFile(t.Context(), "/curl.sh", curlScript))
	if out, err := c.Exec(t.Context(), fmt.Sprintf("sh /curl.sh %s %s %s", s.p.Addr, s.user, harness.Password)); err != nil {
		t.Errorf("curl: %v %s", err, out)
	}

	all, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
	for name, n := range map[string]int{"Python": 3, "Python/Sub folder": 4, "Curl": 2, "Curl/Copies": 3} {
		if len(all[name]) != n {
			t.Errorf("%s has %d messages, want %d", name, len(all[name]), n)
		}
	}
	for _, name := range []string{"Py", "PyGone", "CurlOld", "CurlNew"} {
		if _, ok := all[name]; ok {
			t.Errorf("%s exists", name)
		}
	}
}

// mbsyncTwoWay is MbsyncConfig for changes on both sides.
func mbsyncTwoWay(t *testing.T, addr, user, dir string) string {
	t.Helper()
	conf, err := harness.MbsyncConfig(addr, user, dir)
	must(t, err)
	return strings.NewReplacer("Sync Pull", "Sync All\nExpunge Both\nRemove Both", "Create Near", "Create Both").Replace(conf)
}

var (
	// mbsyncCounts matches mbsync's progress: added, changed and removed messages, done and to be done, of the far side and
	// of the near one.
	mbsyncCounts = regexp.MustCompile(`F: \+(\d+)/\d+ \*(\d+)/\d+ #(\d+)/\d+ +N: \+(\d+)/\d+ \*(\d+)/\d+ #(\d+)/\d+`)
	mbsyncMark   = regexp.MustCompile(`(?m)^X-TUID: .{12}\r\n`)
)

// TestMbsyncTwoWay lets mbsync carry changes both ways; a third run has nothing to do.
func TestMbsyncTwoWay(t *testing.T) {
	w := theWorld(t)
	var boxes []harness.Box
	for i, name := range []string{"INBOX", "Work", "Lists", "Lists/Go"} {
		boxes = append(boxes, harness.Box{Name: name, UIDValidity: uint32(i + 1), Messages: harness.Dress(w.raw[20*i:20*i+20], uint64(60+i))})
		for j := range boxes[i].Messages {
			m := &boxes[i].Messages[j]
			m.Keywords = nil // a Maildir of mbsync's has none
			m.Flags = slices.DeleteFunc(m.Flags, func(f string) bool { return f == `\Deleted` })
		}
	}
	s := paired(t, w, "mbsync2", boxes)
	c := clients(t)
	must(t, c.WriteFile(t.Context(), "/mbsyncrc", mbsyncTwoWay(t, s.p.Addr, s.user, "/mail")))
	must(t, c.WriteFile(t.Context(), "/tree.py", mbsyncTree))
	run := func() (far, near []string) {
		t.Helper()
		out, err := c.Exec(t.Context(), `mkdir -p /mail && script -qec "mbsync -c /mbsyncrc -a" /dev/null </dev/null 2>&1`) // a terminal: else it is silent
		if err != nil {
			t.Fatalf("mbsync: %v %s", err, out)
		}
		all := mbsyncCounts.FindAllStringSubmatch(out, -1)
		if len(all) == 0 {
			t.Fatalf("mbsync did not say what it did: %s", out)
		}
		last := all[len(all)-1]
		return last[1:4], last[4:7]
	}
	trees := func() (near []string) {
		t.Helper()
		out, err := c.Exec(t.Context(), "python3 /tree.py /mail")
		must(t, err)
		var lines []string
		for l := range strings.Lines(out) {
			lines = append(lines, strings.TrimSpace(l))
		}
		slices.Sort(lines)
		return lines
	}
	run()

	// Here: new mail, flags, deletions, moves between mailboxes, a new mailbox. At the same time others change things at
	// the upstream, and through the mirror.
	_, err := c.Exec(t.Context(), "python3 /tree.py /mail change")
	must(t, err)
	up := s.theirs(t)
	cmd(t, up, `APPEND INBOX (\Flagged) `, mail("from upstream", 300))
	inTurn(t, up, "SELECT Work", `STORE 15 +FLAGS (\Answered)`, "MOVE 16 INBOX", `STORE 17 +FLAGS (\Deleted)`, "EXPUNGE", "UNSELECT")
	ours := s.ours(t)
	cmd(t, ours, `APPEND Lists `, mail("from a client", 300))
	inTurn(t, ours, "SELECT INBOX", `STORE 18 FLAGS (\Draft)`, "MOVE 19 Lists/Go", "CREATE Made", "COPY 17 Made", "UNSELECT")
	s.force(t)
	far, near := run()
	if slices.Contains([]string{far[0], far[1], near[0], near[1]}, "0") { // it counts what is marked \Deleted as changed
		t.Errorf("the second run did nothing: far %v, near %v", far, near)
	}

	parked := func() content {
		t.Helper()
		all, parked := s.agree(t, time.Minute)
		nothingParked(t, parked)
		return all
	}
	before, tree := parked(), trees()
	far, near = run()
	if nothing := []string{"0", "0", "0"}; !slices.Equal(far, nothing) || !slices.Equal(near, nothing) {
		t.Errorf("the third run changed something: far %v, near %v", far, near)
	}
	after := parked()
	if diff := differences(after, before); len(diff) > 0 {
		t.Errorf("the third run changed %q", diff)
	}
	if again := trees(); !slices.Equal(again, tree) {
		t.Errorf("the third run changed the Maildir: only before %q, only after %q", minus(tree, again), minus(again, tree))
	}
	// The Maildir and the mirror have as many messages with the same flags in each mailbox.
	want := s.letters(t, after)
	if !slices.Equal(tree, want) {
		t.Errorf("only in the Maildir %q, only in the mirror %q", minus(tree, want), minus(want, tree))
	}
	t.Logf("figure: mbsync both ways: %d messages in %d mailboxes, the third run: far %v, near %v", len(tree), len(after), far, near)
}

// letters returns a line for each message, as mbsync_tree.py prints them: mailbox, SHA-256 and flags.
func (s *pair) letters(t *testing.T, all content) []string {
	t.Helper()
	c := s.ours(t)
	letter := map[string]string{`\Seen`: "S", `\Answered`: "R", `\Flagged`: "F", `\Deleted`: "T", `\Draft`: "D"}
	var out []string
	for name := range all {
		cmd(t, c, "EXAMINE "+imapc.Quote(name))
		must(t, c.Stream(func(u imapc.Response) error {
			if u.Name != "FETCH" {
				return nil
			}
			pairs, err := u.Data[0].Pairs()
			if err != nil {
				return err
			}
			var letters []string
			for _, f := range pairs["FLAGS"].Texts() {
				letters = append(letters, letter[f])
			}
			slices.Sort(letters)
			raw := pairs["BODY[]"].Text
			if at := mbsyncMark.FindStringIndex(raw); at != nil {
				raw = raw[:at[0]] + raw[at[1]:]
			}
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %x %s", name, sum([]byte(raw)), strings.Join(letters, ""))))
			return nil
		}, "UID FETCH 1:* (FLAGS BODY.PEEK[])"))
	}
	slices.Sort(out)
	return out
}

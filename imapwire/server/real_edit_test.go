package server

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// realServer is a server over the whole application, with n small messages in INBOX.
func realServer(t testing.TB, n int) *testServer { return realServerWithQuota(t, n, 0) }

func realServerWithQuota(t testing.TB, n int, quota int64) *testServer {
	r := newRealStore(t, quota)
	raws := make([][]byte, n)
	for i := range raws {
		raws[i] = fmt.Appendf(nil, "From: a@example.org\r\nSubject: %d\r\nMessage-ID: <%d@x>\r\n\r\ntext\r\n", i, i)
	}
	r.deliver(t, "INBOX", raws...)
	return startServer(t, newFake(), func(o *Options) { o.Sessions = r.service })
}

// A burst of STOREs on single messages: each is answered and told once, and a session that comes later sees them all.
func TestRealBurstOfStores(t *testing.T) {
	const n = 500
	ts := realServer(t, n)
	c := dial(t, ts.addr).login("INBOX")
	idle := dial(t, ts.addr).login("INBOX")
	idle.send("i IDLE\r\n")
	idle.line()
	var burst strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&burst, "t%d UID STORE %d +FLAGS (\\Flagged)\r\n", i, i)
	}
	begun := time.Now()
	c.background(burst.String() + "end NOOP\r\n")
	seen := map[string]int{}
	for _, l := range c.until("end") {
		seen[l]++
	}
	t.Logf("%d STOREs in %v", n, time.Since(begun).Round(time.Millisecond))
	for i := 1; i <= n; i++ {
		told := 0
		for _, form := range []string{`* %[1]d FETCH (UID %[1]d FLAGS (\Flagged))`, `* %[1]d FETCH (UID %[1]d FLAGS (\Flagged \Recent))`} {
			told += seen[fmt.Sprintf(form, i)]
		}
		if told != 1 || seen[fmt.Sprintf("t%d OK Store completed", i)] != 1 {
			t.Fatalf("message %d: told %d times, answered %d times", i, told, seen[fmt.Sprintf("t%d OK Store completed", i)])
		}
	}
	// The one that is idle hears of every one, too, without asking.
	heard := map[string]bool{}
	for len(heard) < n {
		l := idle.line()
		if !strings.Contains(l, `\Flagged`) {
			t.Fatal(l)
		}
		heard[strings.Fields(l)[1]] = true
	}
	if got := dial(t, ts.addr).login("INBOX").do("SEARCH RETURN (COUNT) FLAGGED"); !strings.HasSuffix(got[0], fmt.Sprintf("COUNT %d", n)) {
		t.Errorf("%q", got)
	}
}

// What was appended is there to its last octet, with NUL and all, and what was cut off is not.
func TestRealAppend(t *testing.T) {
	ts := realServer(t, 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 3<<20)
	for i := range big {
		big[i] = byte(rnd.Uint32())
	}
	c := dial(t, ts.addr).login("INBOX")
	cut := dial(t, ts.addr).login("INBOX")
	cut.background(fmt.Sprintf("a APPEND INBOX ~{%d+}\r\n%s", len(big), big[:1<<20]))
	c.background(fmt.Sprintf("a APPEND INBOX (\\Seen $Work) \" 7-Jul-1996 02:44:25 -0700\" ~{%d+}\r\n%s\r\n", len(big), big))
	got := c.until("a")
	if last := got[len(got)-1]; !fits("a OK [APPENDUID ... 1] Append completed", last) || got[0] != "* 1 EXISTS" {
		t.Fatalf("%q", got)
	}
	_ = cut.nc.Close()
	c.send("b FETCH 1 (INTERNALDATE RFC822.SIZE FLAGS BODY.PEEK[])\r\n")
	head := c.line()
	if !strings.HasPrefix(head, `* 1 FETCH (INTERNALDATE " 7-Jul-1996 02:44:25 -0700" RFC822.SIZE 3145728 FLAGS (\Seen`) {
		t.Errorf("%q", head)
	}
	back := make([]byte, len(big))
	if _, err := io.ReadFull(c.r, back); err != nil || !bytes.Equal(back, big) {
		t.Errorf("the message came back differently: %v", err)
	}
	c.until("b")
	if got := c.do("STATUS INBOX (MESSAGES UIDNEXT)"); got[0] != "* STATUS INBOX (MESSAGES 1 UIDNEXT 2)" {
		t.Errorf("%q", got)
	}
}

// A client that was away is told by QRESYNC what all kinds of changes did.
func TestRealResync(t *testing.T) {
	ts := realServer(t, 8)
	c := dial(t, ts.addr).login("")
	c.do("ENABLE QRESYNC")
	var validity, modSeq string
	for _, l := range c.do("SELECT INBOX") {
		if rest, is := strings.CutPrefix(l, "* OK [UIDVALIDITY "); is {
			validity, _, _ = strings.Cut(rest, "]")
		}
		if rest, is := strings.CutPrefix(l, "* OK [HIGHESTMODSEQ "); is {
			modSeq, _, _ = strings.Cut(rest, "]")
		}
	}
	c.do("UNSELECT")
	other := dial(t, ts.addr).login("INBOX")
	for _, cmd := range []string{
		"STORE 2 FLAGS (\\Seen)", "STORE 3 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 3", "CREATE Other", "UID MOVE 5:6 Other",
		"UID REPLACE 1 INBOX (\\Draft) {3+}\r\nabc", "UID COPY 2 INBOX", "FETCH 1 BODY[]<0.1>",
	} {
		if got := other.do(cmd); !strings.HasPrefix(got[len(got)-1], "x OK") {
			t.Fatalf("%q: %q", cmd, got)
		}
	}
	got := strings.Join(c.do(fmt.Sprintf("SELECT INBOX (QRESYNC (%s %s))", validity, modSeq)), "\n")
	want := "* VANISHED (EARLIER) 1,3,5:6\n" +
		"* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (n))\n" +
		"* 5 FETCH (UID 9 FLAGS (\\Draft) MODSEQ (n))\n" +
		"* 6 FETCH (UID 10 FLAGS (\\Seen) MODSEQ (n))\n" +
		"x OK [READ-WRITE] SELECT completed"
	_, got, _ = strings.Cut(got, "* VANISHED")
	got = "* VANISHED" + modSeqs.ReplaceAllString(got, "MODSEQ (n)")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

var modSeqs = regexp.MustCompile(`MODSEQ \(\d+\)`)

package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// A quota root's name is written as the client can read it, and is found again as it was written.
func TestQuotaRootNames(t *testing.T) {
	store := newFake()
	sampleMail(store)
	store.setQuota(1 << 20)
	ts := startServer(t, store, nil)
	for root, want := range map[string]string{
		"me": "me", "": `""`, "ann (home)": `"ann (home)"`, `a"b\c`: `"a\"b\\c"`, "nil": `"nil"`, "jürgen@example.org": "{19}\r\njürgen@example.org",
	} {
		store.mu.Lock()
		store.root = root
		store.mu.Unlock()
		c := dial(t, ts.addr).login("")
		c.send("a GETQUOTAROOT INBOX\r\n")
		got := strings.Join(c.until("a"), "\r\n")
		if got != "* QUOTAROOT INBOX "+want+"\r\n* QUOTA "+want+" (STORAGE 1 1024)\r\na OK Getquotaroot completed" {
			t.Errorf("%q: %q", root, got)
		}
		c.send(fmt.Sprintf("b GETQUOTA {%d+}\r\n%s\r\n", len(root), root))
		if got := c.until("b"); got[len(got)-1] != "b OK Getquota completed" {
			t.Errorf("%q: %q", root, got)
		}
		c.do("ENABLE UTF8=ACCEPT")
		if got := c.do("GETQUOTAROOT INBOX"); strings.HasPrefix(want, "{") && got[0] != `* QUOTAROOT INBOX "`+root+`"` {
			t.Errorf("%q with UTF-8: %q", root, got)
		}
	}
}

// Units of 1024 octets, rounded up.
func TestStorageUnits(t *testing.T) {
	for octets, want := range map[int64]uint64{-1: 0, 0: 0, 1: 1, 1024: 1, 1025: 2, 1<<63 - 1: 1 << 53} {
		if got := storage(octets); got != want {
			t.Errorf("%d octets: %d", octets, got)
		}
	}
}

// Many clients append, copy and replace at the same time, over the whole application, with room for some: that much is
// taken and no more, however they come to it.
func TestRealQuotaOfManyClients(t *testing.T) {
	const clients, rounds, size, room = 8, 6, 100, 9
	ts := realServerWithQuota(t, 0, (1+room)*size)
	first := dial(t, ts.addr).login("INBOX")
	message := strings.Repeat("x", size)
	first.do("CREATE Box")
	first.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", size, message))
	var mu sync.Mutex
	var all sync.WaitGroup
	taken, refused := 0, 0
	for i := range clients {
		c := dial(t, ts.addr).login("INBOX")
		all.Go(func() {
			for n := range rounds {
				cmd := fmt.Sprintf("APPEND Box {%d+}\r\n%s", size, message)
				switch (i + n) % 3 {
				case 0:
					cmd = "UID COPY 1 Box"
				case 1:
					cmd = "UID COPY 1 INBOX"
				}
				got := c.do(cmd)
				last := got[len(got)-1]
				mu.Lock()
				switch {
				case strings.HasPrefix(last, "x OK"):
					taken++
				case strings.HasPrefix(last, "x NO [OVERQUOTA]"):
					refused++
				default:
					t.Errorf("%.30q: %q", cmd, got)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if taken != room || refused != clients*rounds-room {
		t.Errorf("%d were taken and %d refused, want %d", taken, refused, room)
	}
	if got := first.do("GETQUOTAROOT Box"); got[0] != "* QUOTAROOT Box u@example.org" || got[1] != "* QUOTA u@example.org (STORAGE 1 1)" {
		t.Errorf("%q", got)
	}
	// One that waits is refused before it is sent; what is expunged makes room again.
	first.send("a APPEND INBOX {1}\r\n")
	if got := first.until("a"); !fits("a NO [OVERQUOTA] ...", got[len(got)-1]) {
		t.Errorf("%q", got)
	}
	first.do("UID STORE 1 +FLAGS (\\Deleted)")
	if got := first.do("STATUS INBOX (DELETED-STORAGE)"); got[0] != fmt.Sprintf("* STATUS INBOX (DELETED-STORAGE %d)", size) {
		t.Errorf("%q", got)
	}
	first.do("EXPUNGE")
	if got := first.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", size, message)); !fits("x OK ...", got[len(got)-1]) {
		t.Errorf("%q", got)
	}
}

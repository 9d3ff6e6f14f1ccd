package server

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

func testSeed(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("IMAPPED_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

// Single-message STOREs that arrive together run together, so that the store can commit them together; each is answered
// once, and each change is told once.
func TestStoresOverlap(t *testing.T) {
	const together = 32
	store := newFake()
	for range together {
		store.deliver("INBOX", "Subject: x\n\ny\n")
	}
	var meet sync.WaitGroup
	meet.Add(together)
	store.onStore = func(session.StoreRequest) {
		meet.Done()
		meet.Wait() // until every one has come
	}
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	var burst strings.Builder
	for i := 1; i <= together; i++ {
		fmt.Fprintf(&burst, "t%d UID STORE %d +FLAGS (\\Seen)\r\n", i, i)
	}
	c.send(burst.String() + "end NOOP\r\n")
	told, answered := map[string]int{}, 0
	for _, l := range c.until("end") {
		switch {
		case strings.HasPrefix(l, "* "):
			told[l]++
		case strings.HasSuffix(l, " OK Store completed"):
			answered++
		}
	}
	if answered != together || len(told) != together {
		t.Errorf("%d answers, %d messages told", answered, len(told))
	}
	for l, n := range told {
		if n != 1 {
			t.Errorf("%d times: %s", n, l)
		}
	}
}

var toldFlags = regexp.MustCompile(`^\* (\d+) FETCH \((?:UID \d+ )?FLAGS \(([^)]*)\)`)

// Bursts of STOREs, which overlap and are delayed at random, end as if they had been done one by one, and are told like
// that: each message once for each STORE that is not silent, the last time as that one left it.
func TestStoresOfOneMessageKeepTheirOrder(t *testing.T) {
	rnd := testSeed(t)
	const messages, rounds, burst = 6, 60, 40
	store := newFake()
	for range messages {
		store.deliver("INBOX", "Subject: x\n\ny\n")
	}
	var mu sync.Mutex
	store.onStore = func(session.StoreRequest) {
		mu.Lock()
		n := rnd.IntN(20)
		mu.Unlock()
		for range n {
			runtime.Gosched()
		}
	}
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	flags := []string{`\Seen`, `\Flagged`, `\Draft`, "$A", "$B"}
	want := make([]flag.Set, messages+1)
	for range rounds {
		mu.Lock()
		var text strings.Builder
		shown, tells := map[int]flag.Set{}, 0
		for range burst {
			lo, hi := 1+rnd.IntN(messages), 1+rnd.IntN(messages)
			if rnd.IntN(2) == 0 {
				hi = lo
			}
			lo, hi = min(lo, hi), max(lo, hi)
			f := flag.Parse(flags[rnd.IntN(len(flags))], flags[rnd.IntN(len(flags))])
			form := []string{"", "+", "-"}[rnd.IntN(3)]
			apply := func(s flag.Set) flag.Set {
				switch form {
				case "+":
					return s.Union(f)
				case "-":
					return s.Minus(f)
				}
				return f
			}
			silent := ""
			if rnd.IntN(3) == 0 {
				silent = ".SILENT"
			}
			for i := lo; i <= hi; i++ {
				want[i] = apply(want[i])
				if silent == "" {
					shown[i] = want[i]
					tells++
				}
			}
			fmt.Fprintf(&text, "t %sSTORE %d:%d %sFLAGS%s (%s)\r\n", []string{"", "UID "}[rnd.IntN(2)], hi, lo, form, silent, f)
		}
		external := rnd.IntN(messages) + 1
		mu.Unlock()
		c.send(text.String() + "end NOOP\r\n")
		last, told := map[int]flag.Set{}, 0
		for _, l := range c.until("end") {
			if m := toldFlags.FindStringSubmatch(l); m != nil {
				seq, _ := strconv.Atoi(m[1])
				last[seq] = flag.Parse(strings.Fields(m[2])...)
				told++
			}
		}
		if told != tells || !maps.EqualFunc(last, shown, flag.Set.Equal) {
			t.Fatalf("told %d times, lastly %v, want %d times, lastly %v, after:\n%s", told, last, tells, shown, text.String())
		}
		for i := 1; i <= messages; i++ {
			got := store.flags("INBOX", mailbox.UID(i))
			if !got.Equal(want[i]) {
				t.Fatalf("message %d has %q, want %q after:\n%s", i, got, want[i], text.String())
			}
		}
		// Somebody else's change is told although the client has just changed the same message itself.
		store.setFlags("INBOX", mailbox.UID(external), `\Answered`)
		want[external] = flag.Parse(`\Answered`)
		got := c.do("NOOP")
		if line := fmt.Sprintf(`* %d FETCH (FLAGS (\Answered))`, external); !slices.Contains(got, line) || len(got) != 2 {
			t.Fatalf("after a change of message %d: %q", external, got)
		}
	}
}

// flags returns a message's flags.
func (f *fake) flags(name string, uid mailbox.UID) flag.Set {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.boxes[name].msgs {
		if m.UID == uid {
			return m.Flags
		}
	}
	return flag.Set{}
}

// One FETCH sets \Seen once for all its messages; a message that cannot be shown does not keep it.
func TestSeenOnlyWhereShown(t *testing.T) {
	store := newFake()
	sampleMail(store)
	store.deliver("INBOX", messages["plain"])
	var stores int
	store.onStore = func(session.StoreRequest) { stores++ }
	store.openBody = unavailable(2)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	got := strings.Join(c.do("FETCH 1:4 (UID BODY[]<0.1>)"), "\n")
	want := "* 1 FETCH (UID 1 BODY[]<0> {1}\nF)\n* 3 FETCH (UID 3 BODY[]<0> {1}\nF FLAGS (\\Flagged \\Seen $Work))\n" +
		"* 4 FETCH (UID 4 BODY[]<0> {1}\nF FLAGS (\\Seen))\n* 2 FETCH (FLAGS ())\nx NO [UNAVAILABLE] fetch body: the upstream is down"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if store.flags("INBOX", 2).Has(flag.Seen) || !store.flags("INBOX", 3).Has(flag.Seen) {
		t.Error("wrong messages are seen")
	}
	if stores != 2 {
		t.Errorf("%d changes of the store, want one and its correction", stores)
	}
	// A store that takes nothing does not keep the client from reading.
	store.refuse = func(string) error { return fault.New(fault.Unavailable, "store flags", "no space left on device") }
	store.setFlags("INBOX", 4)
	if got := c.do("FETCH 4 BODY[]<0.1>"); got[1] != "F)" || got[len(got)-1] != "x OK Fetch completed" {
		t.Errorf("%q", got)
	}
}

// A client that is gone before it was shown a message leaves it unseen.
func TestSeenIsTakenBackFromWhoIsGone(t *testing.T) {
	store := newFake()
	sampleMail(store)
	store.setFlags("INBOX", 1)
	opened, _ := held(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	c.send("a FETCH 1 BODY[]\r\n")
	<-opened
	if !store.flags("INBOX", 1).Has(flag.Seen) {
		t.Error("not marked before it is shown")
	}
	_ = c.nc.Close()
	ts.allGone()
	if store.flags("INBOX", 1).Has(flag.Seen) {
		t.Error("what nobody saw is seen")
	}
}

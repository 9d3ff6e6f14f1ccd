package server

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
)

// unavailable makes one message's body impossible to get.
func unavailable(which mailbox.UID) func(context.Context, mailbox.UID) error {
	return func(_ context.Context, uid mailbox.UID) error {
		if uid == which {
			return fault.New(fault.Unavailable, "fetch body", "the upstream is down")
		}
		return nil
	}
}

func (f *fake) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.boxes[name].msgs)
}

// A connection that is lost at any octet of an APPEND leaves nothing visible and nothing open.
func TestAppendCutAnywhere(t *testing.T) {
	store := newFake()
	sampleMail(store)
	before := store.count("INBOX")
	ts := startServer(t, store, nil)
	const cmd = "a APPEND INBOX (\\Seen) {20+}\r\nSubject: first\r\n\r\nab {21+}\r\nSubject: second\r\n\r\nab"
	for n := 1; n <= len(cmd); n++ {
		c := dial(t, ts.addr).login("")
		c.send(cmd[:n])
		_ = c.nc.Close()
	}
	ts.allGone()
	if got := store.count("INBOX"); got != before || store.openAppends() != 0 {
		t.Errorf("%d messages, want %d; %d uploads open", got, before, store.openAppends())
	}
}

// What is too large is dropped to its last octet, and the connection lives.
func TestAppendLimit(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, func(o *Options) { o.AppendLimit = 1000 })
	c := dial(t, ts.addr).login("")
	big := strings.Repeat("x\r\nEVIL LOGOUT\r\n", 63) // 1008 octets
	for _, step := range []struct{ send, want string }{
		{"a APPEND INBOX {1001}\r\n", "a NO [TOOBIG] The message is too large"},
		{fmt.Sprintf("b APPEND INBOX {%d+}\r\n%s\r\n", len(big), big), "b NO [TOOBIG] The message is too large"},
		{fmt.Sprintf("c APPEND INBOX {3+}\r\nabc {%d+}\r\n%s {3+}\r\nabc\r\n", len(big), big), "c NO [TOOBIG] The message is too large"},
		{"d APPEND INBOX {1000+}\r\n" + big[:1000] + "\r\n", "d OK [APPENDUID 100 4] Append completed"},
		{"e STATUS INBOX (MESSAGES APPENDLIMIT)\r\n", "* STATUS INBOX (MESSAGES 4 APPENDLIMIT 1000)"},
		{"", "e OK Status completed"},
		{"f CAPABILITY\r\n", "* CAPABILITY ... APPENDLIMIT=1000 ..."},
		{"", "f OK Capability completed"},
	} {
		c.send(step.send)
		if got := c.line(); !fits(step.want, got) {
			t.Fatalf("%.60q: %q, want %q", step.send, got, step.want)
		}
	}
	if store.openAppends() != 0 {
		t.Error("uploads are open")
	}
}

// A message arrives the same whatever it comes through.
func TestAppendThroughLayers(t *testing.T) {
	body := make([]byte, 300_000)
	for i := range body {
		body[i] = byte('a' + i%23 + i/1000%3)
	}
	store := newFake()
	store.box("INBOX")
	ts := startServer(t, store, withTLS)
	for i, how := range []string{"plain", "tls", "deflate"} {
		c := dial(t, ts.addr)
		c.line()
		if how == "tls" {
			c.do("STARTTLS")
			c = secured(t, c)
		}
		c.do("LOGIN u secret")
		if how == "deflate" {
			c = compressed(t, c)
		}
		c.send(fmt.Sprintf("x APPEND INBOX {%d+}\r\n%s\r\n", len(body), body))
		if got := c.line(); got != fmt.Sprintf("x OK [APPENDUID 100 %d] Append completed", i+1) {
			t.Fatalf("%s: %q", how, got)
		}
		if got := store.boxes["INBOX"].msgs[i].raw; string(got) != string(body) {
			t.Errorf("%s: the message differs", how)
		}
	}
}

// A store that fails before, in or after a message: a tagged NO that says why, and what was on its way is dropped.
func TestAppendToFailingStore(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("")
	body := strings.Repeat("x\r\nEVIL LOGOUT\r\n", 10_000)
	literal := fmt.Sprintf("{%d+}\r\n%s", len(body), body)
	for _, where := range []string{"begin append", "store message", "half", "append"} {
		store.mu.Lock()
		store.failAt, store.refuse = 0, nil
		if where == "half" {
			store.failAt = 70_000
		} else {
			store.refuse = func(op string) error {
				if op != where {
					return nil
				}
				return fault.New(fault.Unavailable, op, "no space left on device")
			}
		}
		store.mu.Unlock()
		c.send("a APPEND INBOX " + literal + " (\\Seen) " + literal + "\r\nb NOOP\r\n")
		if got := c.line(); !fits("a NO [UNAVAILABLE] ...no space left on device", got) {
			t.Errorf("%s: %q", where, got)
		}
		if got := c.line(); got != "b OK Noop completed" {
			t.Errorf("%s: %q", where, got)
		}
		// One that waits is told instead of "+", or after it.
		c.send("c APPEND INBOX {3}\r\n")
		if got := c.line(); got == "+ Ready" {
			c.send("abc\r\n")
			if got = c.line(); !fits("c NO [UNAVAILABLE] ...no space left on device", got) {
				t.Errorf("%s: %q", where, got)
			}
		} else if where != "begin append" {
			t.Errorf("%s: %q", where, got)
		}
	}
	store.mu.Lock()
	store.failAt, store.refuse = 0, nil
	store.mu.Unlock()
	if got := c.do("APPEND INBOX {3+}\r\nabc"); !strings.HasPrefix(got[0], "x OK [APPENDUID 100 4]") {
		t.Errorf("after the failures: %q", got)
	}
	if store.openAppends() != 0 {
		t.Error("uploads are open")
	}
}

// A large message passes through without being held.
func TestAppendHoldsNoMemory(t *testing.T) {
	const size = 64 << 20
	store := newFake()
	store.box("INBOX")
	store.discard = true
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send(fmt.Sprintf("a APPEND INBOX {%d}\r\n", size))
	if got := c.line(); got != "+ Ready" {
		t.Fatal(got)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Minute))
	if _, err := io.CopyN(c.nc, zeroless{}, size); err != nil {
		t.Fatal(err)
	}
	c.send("\r\n")
	if got := c.line(); !strings.HasPrefix(got, "a OK [APPENDUID") {
		t.Fatal(got)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d octets were allocated for %d", got, size)
	}
}

type zeroless struct{}

func (zeroless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A literal's time begins anew with every literalPace octets, and only a literal's.
func TestLiteralPace(t *testing.T) {
	old := time.Unix(1, 0)
	for _, c := range []struct {
		line  string
		n     int
		fresh bool
	}{
		{"a APPEND INBOX {100000}\r\n", literalPace, true}, {"a APPEND INBOX {100000}\r\n", literalPace - 1, false},
		{"a NOOP", literalPace, false},
	} {
		conn := &conn{fr: syntax.NewFramer(syntax.Commands, syntax.PostAuth(), nil), began: old}
		conn.fr.Commit(copy(conn.fr.Reserve(), c.line))
		if _, err := conn.fr.Next(); err != nil {
			t.Fatal(err)
		}
		conn.received(c.n)
		if got := conn.began != old; got != c.fresh {
			t.Errorf("%q and %d octets: the time begins anew: %t", c.line, c.n, got)
		}
	}
}

// Shutdown does not wait for a message that does not come.
func TestShutdownDuringAppend(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("")
	c.send("a APPEND INBOX {100}\r\n")
	if got := c.line(); got != "+ Ready" {
		t.Fatal(got)
	}
	c.send("half of it")
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ts.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if got := c.line(); got != "* BYE Server is shutting down" {
		t.Errorf("%q", got)
	}
	wg.Wait()
	if store.count("INBOX") != 3 || store.openAppends() != 0 {
		t.Error("something is left")
	}
}

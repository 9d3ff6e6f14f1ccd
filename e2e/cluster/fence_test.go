package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// tap is a relay to the upstream that can hold back what the upstream answers to the next FETCH.
type tap struct {
	net.Listener
	to string
	wg sync.WaitGroup

	mu      sync.Mutex
	armed   bool
	holding *tapped
	held    chan struct{} // closed when an answer is held back
}

// tapped is one connection; holding keeps its answers.
type tapped struct {
	mu      sync.Mutex
	here    net.Conn
	holding bool
	kept    []byte
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &tap{Listener: l, to: to}
	p.wg.Go(func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.relay(here) })
		}
	})
	return p
}

func (p *tap) relay(here net.Conn) {
	defer here.Close()
	there, err := net.DialTimeout("tcp", p.to, 10*time.Second)
	if err != nil {
		return // whoever is there sees that the connection ends
	}
	c := &tapped{here: here}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer there.Close() // before the wait: nothing else ends the reader when the node goes without LOGOUT
	wg.Go(func() {
		defer here.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := there.Read(buf)
			if err != nil || !c.pass(buf[:n]) {
				return
			}
		}
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := here.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], []byte(" FETCH ")) {
			p.seen(c)
		}
		if _, err := there.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pass passes an answer on, or keeps it.
func (c *tapped) pass(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holding {
		c.kept = append(c.kept, b...)
		return true
	}
	_, err := c.here.Write(b)
	return err == nil
}

// seen begins to hold back the answers of a connection on which a FETCH comes, if that is what is waited for.
func (p *tap) seen(c *tapped) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed {
		return
	}
	p.armed, p.holding = false, c
	c.mu.Lock()
	c.holding = true
	c.mu.Unlock()
	close(p.held)
}

// arm makes the tap hold back the answer to the next FETCH. What it returns is closed when there is one.
func (p *tap) arm() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.held = true, make(chan struct{})
	return p.held
}

// release passes on what was held back.
func (p *tap) release() error {
	p.mu.Lock()
	c := p.holding
	p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = false
	_, err := c.here.Write(c.kept)
	return err
}

// TestPausedNode stops a node at the moment when it has asked the upstream for news and not recorded them yet. Another node takes
// the account over, and the upstream changes once more. When the first one wakes up, it has old news in its hands: not a bit
// of them may be recorded. (tools/mutation/fencing.sh shows that this fails when the fence is not checked.)
func TestPausedNode(t *testing.T) {
	r := start(t, 2)
	ctx := t.Context()
	first := harness.Message{Raw: mail("first", 100), UID: 1, Date: time.Unix(1e9, 0).UTC()}
	u := r.addUsers(t, 1, []harness.Box{{Name: "INBOX", UIDValidity: 1, Messages: []harness.Message{first}}})[0]
	straight, err := r.dovecot.Login(ctx, u.name)
	must(t, err)
	defer straight.Close()
	command(t, straight, "SELECT INBOX")

	var paused int
	must(t, harness.Eventually(ctx, time.Minute, "somebody owns the account", func() (ok bool, err error) {
		paused, ok = r.owners(ctx)[u.id]
		return ok, nil
	}))
	other := 1 - paused
	p := newTap(t, r.dovecot.Addr)
	defer p.wg.Wait()
	defer r.links[paused].upstream.Close()
	defer p.Close()
	r.links[paused].upstream.Redirect(p.Addr().String())
	r.links[paused].upstream.Cut()
	seen := &seeing{t: t, r: r, u: u, node: other}
	// It listens again when it hears of a message at once.
	command(t, straight, "APPEND INBOX ", mail("second", 100))
	seen.eventually("the second message", func(m map[string][]string) bool { return m["second"] != nil })

	asked := p.arm()
	r1 := command(t, straight, "APPEND INBOX ", mail("third", 100))
	uid := placed(r1.Code, "APPENDUID", 1)
	if uid == nil {
		t.Fatalf("Dovecot answered an APPEND with [%s]", r1.Code)
	}
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("the owner does not ask for news")
	}
	if got := r.owners(ctx)[u.id]; got != paused {
		t.Fatalf("the account went from node %d to node %d before anything happened", paused, got)
	}
	must(t, r.nodes[paused].Signal(ctx, "STOP"))
	stopped := time.Now()
	must(t, p.release())

	seen.eventually("the third message, through the other node", func(m map[string][]string) bool { return m["third"] != nil })
	t.Logf("figure: the account of a node that stands still was taken over in %s", time.Since(stopped).Round(time.Millisecond))
	command(t, straight, "NOOP")
	command(t, straight, `UID STORE 1 +FLAGS (\Flagged)`)
	command(t, straight, fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, uid[0]))
	command(t, straight, fmt.Sprintf("UID EXPUNGE %d", uid[0]))
	seen.eventually("the third message is gone, the first one flagged", func(m map[string][]string) bool {
		return m["third"] == nil && slices.Contains(m["first"], `\Flagged`)
	})
	_, err = r.nodes[other].Run(ctx, "force-sync", "--account-email", u.email())
	must(t, err)
	before := seen.status()
	// Its leases are the first thing that it asks about when it wakes up; here it learns of them a moment later than it can.
	renewal := r.holdRenewal(t)
	must(t, r.nodes[paused].Signal(ctx, "CONT"))
	must(t, harness.Eventually(ctx, time.Minute, "the node that woke up knows that the account is not its own", func() (bool, error) {
		ids, err := r.nodes[paused].Owned(ctx)
		return err == nil && !slices.Contains(ids, u.id), err
	}))
	must(t, <-renewal)
	must(t, r.nodes[paused].Ready(ctx))
	if after := seen.status(); after != before {
		t.Errorf("a node that woke up recorded something: %s before, %s after", before, after)
	}
	must(t, r.ran(ctx))
}

// holdRenewal makes nodes that are taken for dead wait for some seconds when they say that they live. What it returns gets the
// outcome when that is over.
func (r *rig) holdRenewal(t *testing.T) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := r.database.SQL(t.Context(), "BEGIN; SELECT name FROM owners WHERE expires < extract(epoch FROM now()) * 1000000000 FOR UPDATE; "+
			"SELECT pg_sleep(4); COMMIT")
		ended <- err
	}()
	must(t, harness.Eventually(t.Context(), 10*time.Second, "the renewal is held up", func() (bool, error) {
		n, err := r.database.SQL(t.Context(), "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a USING (pid) "+
			"WHERE c.relname = $$owners$$ AND l.mode = $$RowShareLock$$ AND a.wait_event = $$PgSleep$$")
		return strings.TrimSpace(n) == "1", err
	}))
	return ended
}

func command(t *testing.T, c *imapc.Client, parts ...any) *imapc.Reply {
	t.Helper()
	r, err := c.Cmd(parts...)
	must(t, err)
	return r
}

// seeing looks at an INBOX through one node.
type seeing struct {
	t    *testing.T
	r    *rig
	u    user
	node int
}

// eventually waits until the messages, flags by subject, are as they are to be.
func (s *seeing) eventually(what string, ok func(map[string][]string) bool) {
	s.t.Helper()
	ctx := s.t.Context()
	c, err := s.r.nodes[s.node].Login(ctx, s.u.name)
	must(s.t, err)
	defer c.Close()
	must(s.t, harness.Eventually(ctx, 30*time.Second, what, func() (bool, error) {
		if _, err := c.Cmd("SELECT INBOX"); err != nil {
			return false, err
		}
		all, err := c.Cmd("UID FETCH 1:* (UID FLAGS ENVELOPE)")
		if err != nil {
			return false, err
		}
		have := map[string][]string{}
		for _, f := range all.Untagged {
			if f.Name != "FETCH" || len(f.Data) == 0 {
				continue
			}
			if items, err := f.Data[0].Pairs(); err == nil && items["ENVELOPE"].Item(1).Text != "" {
				have[items["ENVELOPE"].Item(1).Text] = append([]string{}, items["FLAGS"].Texts()...)
			}
		}
		return ok(have), nil
	}))
}

// status returns what changes with every change.
func (s *seeing) status() string {
	s.t.Helper()
	c, err := s.r.nodes[s.node].Login(context.WithoutCancel(s.t.Context()), s.u.name)
	must(s.t, err)
	defer c.Close()
	r := command(s.t, c, "STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ)")
	for _, u := range r.Untagged {
		if u.Name == "STATUS" && len(u.Data) == 2 {
			return strings.TrimSpace(u.Data[1].String())
		}
	}
	s.t.Fatalf("STATUS was answered with %+v", r)
	return ""
}

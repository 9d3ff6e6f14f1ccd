package suites

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/tools/faultproxy"
)

// behind starts a mirror that is complete and reaches its upstream through a fault proxy. The tests that use it run side
// by side: they wait most of the time.
func behind(t *testing.T, user string) (*faultproxy.Proxy, *harness.Process, []harness.Box, map[string][]row) {
	t.Helper()
	w := theWorld(t)
	t.Parallel()
	boxes := harness.Account(w.raw[:300], 5)
	proxy, err := faultproxy.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { proxy.Close() })
	p := synced(t, account(t, w, user, proxy.Addr(), boxes), boxes)
	return proxy, p, boxes, complete(t, w, user, p, boxes)
}

// troubled waits until show-sync-status says that something is wrong.
func troubled(t *testing.T, p *harness.Process, within time.Duration) {
	t.Helper()
	var s harness.Status
	err := harness.Eventually(t.Context(), within, "show-sync-status tells of the trouble", func() (bool, error) {
		var err error
		s, err = p.Status(t.Context())
		return s.Text != "" && s.State != "idle", err
	})
	if err != nil {
		t.Fatalf("%v; it says %+v", err, s)
	}
	t.Logf("show-sync-status: %s: %s", s.State, s.Text)
}

// recovered waits until the mirror is in step again.
func recovered(t *testing.T, p *harness.Process) {
	t.Helper()
	must(t, harness.Eventually(t.Context(), 2*time.Minute, "the mirror recovers", func() (bool, error) {
		if err := p.Force(t.Context()); err != nil {
			return false, err
		}
		s, err := p.Status(t.Context())
		return s.Text == "", err
	}))
}

func TestBlackHoledUpstream(t *testing.T) {
	proxy, p, boxes, before := behind(t, "hole")
	must(t, proxy.Set(faultproxy.Faults{BlackHole: true}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = p.Force(ctx) }) // wakes the syncer up; that it fails is the point
	troubled(t, p, 3*time.Minute)
	noLoss(t, login(t, p.Login), boxes, before)
	must(t, proxy.Set(faultproxy.Faults{}))
	recovered(t, p)
	noLoss(t, login(t, p.Login), boxes, before)
}

func TestRefusingUpstream(t *testing.T) {
	proxy, p, boxes, before := behind(t, "refused")
	must(t, proxy.Set(faultproxy.Faults{Refuse: true}))
	proxy.Cut()
	troubled(t, p, time.Minute)
	noLoss(t, login(t, p.Login), boxes, before)
	must(t, proxy.Set(faultproxy.Faults{}))
	recovered(t, p)
}

func TestCorruptingUpstream(t *testing.T) {
	proxy, p, boxes, before := behind(t, "corrupt")
	for _, every := range []int64{7, 23, 101, 499} {
		must(t, proxy.Set(faultproxy.Faults{Down: faultproxy.Flow{CorruptEvery: every}}))
		proxy.Cut()
		_ = p.Force(t.Context()) // whether it can make sense of what comes is not the point
		sameUIDs(t, before, snapshot(t, login(t, p.Login), boxes, itemsLight))
	}
	must(t, proxy.Set(faultproxy.Faults{}))
	proxy.Cut()
	recovered(t, p)
	noLoss(t, login(t, p.Login), boxes, before)
}

// TestGarbageUpstream has the upstream replaced by one that talks nonsense in one way after the other.
func TestGarbageUpstream(t *testing.T) {
	proxy, p, boxes, before := behind(t, "garbage")
	w := theWorld(t)
	login0 := "* CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS ENABLE CONDSTORE QRESYNC LIST-EXTENDED LIST-STATUS"
	for _, g := range []struct {
		name   string
		answer func(tag, verb string) string
	}{
		{"no sense at all", func(string, string) string { return strings.Repeat("\x00\xff(((\"{99}\r\n", 50) }},
		{"an endless line", func(string, string) string { return "* " + strings.Repeat("x", 32<<20) }},
		{"a huge literal", func(string, string) string { return "* LIST () \"/\" {4294967295}\r\nabc" }},
		{"a failing list", func(tag, verb string) string {
			if verb == "LIST" {
				return "* LIST () \"/\" INBOX\r\n" + tag + " NO [UNAVAILABLE] try later\r\n"
			}
			return login0 + "\r\n" + tag + " OK done\r\n"
		}},
		{"a list that is cut off", func(tag, verb string) string {
			if verb == "LIST" {
				return "* LIST () \"/\" INBOX\r\n* STATUS INBOX (MESS"
			}
			return login0 + "\r\n" + tag + " OK done\r\n"
		}},
		{"no mailbox, not even INBOX", func(tag, _ string) string { return login0 + "\r\n" + tag + " OK done\r\n" }},
		{"an empty mailbox that claims messages", func(tag, verb string) string {
			switch verb {
			case "LIST":
				return "* LIST () \"/\" INBOX\r\n* STATUS INBOX (MESSAGES 3 UIDNEXT 900000 UIDVALIDITY 1000000 HIGHESTMODSEQ 99)\r\n" +
					tag + " NO half done\r\n"
			case "SELECT", "EXAMINE":
				return "* 3 EXISTS\r\n* OK [UIDVALIDITY 1000000] x\r\n* OK [UIDNEXT 900000] x\r\n* OK [HIGHESTMODSEQ 99] x\r\n" +
					tag + " OK done\r\n"
			case "UID", "FETCH":
				return "* 1 FETCH (UID\r\n" + tag + " OK done\r\n"
			}
			return login0 + "\r\n" + tag + " OK done\r\n"
		}},
	} {
		t.Run(g.name, func(t *testing.T) {
			proxy.Redirect(nonsense(t, g.answer))
			proxy.Cut()
			_ = p.Force(t.Context()) // it must fail or do nothing; what it must not do follows
			troubled(t, p, 3*time.Minute)
			sameUIDs(t, before, snapshot(t, login(t, p.Login), boxes, itemsLight))
		})
	}
	proxy.Redirect(w.dovecot.Addr)
	proxy.Cut()
	recovered(t, p)
	noLoss(t, login(t, p.Login), boxes, before)
}

// nonsense starts an upstream that greets, and answers every line with what answer returns for its tag and verb.
func nonsense(t *testing.T, answer func(tag, verb string) string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() {
				defer stop()
				defer c.Close()
				fmt.Fprint(c, "* OK ready\r\n")
				for in := bufio.NewScanner(c); in.Scan(); {
					fields := append(strings.Fields(in.Text()), "", "")
					if _, err := io.WriteString(c, answer(fields[0], strings.ToUpper(fields[1]))); err != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

package server

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// unlike is what may differ between the real store and the fake: texts, dates of today, \Recent, mod-sequences, object
// identifiers and UIDVALIDITYs.
var unlike = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`^(\* |x )(OK|NO|BAD)( \[[^]]*\])? .*`), "$1$2$3"},
	{regexp.MustCompile(`(APPENDUID|COPYUID|UIDVALIDITY) \d+`), "$1 n"},
	{regexp.MustCompile(`(HIGHESTMODSEQ|MODSEQ) \(?\d+\)?`), "$1 n"},
	{regexp.MustCompile(`MAILBOXID \([^)]*\)`), "MAILBOXID m"},
	{regexp.MustCompile(` ?\\Recent`), ""},
	{regexp.MustCompile(`^\* \d+ RECENT$`), ""},
	{regexp.MustCompile(`^\* FLAGS .*`), ""}, // the real one forgets keywords later
	{regexp.MustCompile(`\[PERMANENTFLAGS .*\]`), "[PERMANENTFLAGS]"},
}

// twin is two connections that are sent the same, one to a server over the fake and one over the real application.
type twin struct {
	t     *testing.T
	addrs [2]string
	conns [2]net.Conn
	rds   [2]*bufio.Reader
}

func (w *twin) dial() {
	for i, addr := range w.addrs {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = nc.Close() })
		w.conns[i], w.rds[i] = nc, bufio.NewReader(nc)
		if _, err := w.rds[i].ReadString('\n'); err != nil {
			w.t.Fatal(err)
		}
	}
	w.do("LOGIN u secret")
}

// do sends a command on both connections and compares the answers. Where both end the connection, it connects anew.
func (w *twin) do(cmd string) {
	w.t.Helper()
	var got [2]string
	var ended [2]bool
	for i, nc := range w.conns {
		_ = nc.SetDeadline(time.Now().Add(testTimeout))
		_, _ = nc.Write([]byte("x " + cmd + "\r\n"))
		var all []string
		for !ended[i] {
			line, err := w.rds[i].ReadString('\n')
			ended[i] = err != nil
			text := strings.TrimSuffix(line, "\r\n")
			tagged := strings.HasPrefix(text, "x ")
			for _, u := range unlike {
				text = u.what.ReplaceAllString(text, u.with)
			}
			if text != "" {
				all = append(all, text)
			}
			if tagged || strings.HasPrefix(text, "* BYE") && ended[i] {
				break
			}
		}
		got[i] = strings.Join(all, "\n")
	}
	if got[0] != got[1] {
		w.t.Fatalf("%s\n--- over the fake:\n%s\n--- over the real application:\n%s", cmd, got[0], got[1])
	}
	if ended[0] {
		w.dial()
	}
}

// TestRealLikeTheFake sends random commands, of two clients, to a server over the fake and to one over the whole
// application: what they answer is the same.
func TestRealLikeTheFake(t *testing.T) {
	rnd := testSeed(t)
	quota := []int64{0, 10_000, 200_000}[rnd.IntN(3)]
	store, whole := newFake(), newRealStore(t, quota)
	store.setQuota(quota)
	t.Logf("a quota of %d octets", quota)
	for range 8 {
		raw := []byte(strings.ReplaceAll(messages["plain"], "\n", "\r\n"))
		store.deliverRaw("INBOX", raw)
		whole.deliver(t, "INBOX", raw)
	}
	fakeServer := startServer(t, store, nil)
	realServer := startServer(t, store, func(o *Options) { o.Sessions = whole.service })
	var clients [2]*twin
	for i := range clients {
		clients[i] = &twin{t: t, addrs: [2]string{fakeServer.addr, realServer.addr}}
		clients[i].dial()
		if i == 1 {
			clients[i].do("ENABLE QRESYNC")
		}
		clients[i].do("SELECT INBOX")
	}
	g := generator{rnd}
	var sent []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("commands before:\n%s", strings.Join(sent[max(0, len(sent)-25):], "\n"))
		}
	})
	for range 1500 {
		i := rnd.IntN(len(clients))
		cmd := g.command()
		sent = append(sent, fmt.Sprintf("%d: %q", i, cmd))
		// What is told of a mailbox that its own session deletes is nobody's business.
		own := strings.HasPrefix(cmd, "DELETE")
		if own {
			clients[i].do("NOOP")
		}
		clients[i].do(cmd)
		if own {
			clients[i].do("UNSELECT")
		}
	}
}

// generator makes commands.
type generator struct{ *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) box() string { return g.pick("INBOX", "A", "B", "C", "INBOX", "A") }

func (g generator) set() string {
	n := func() string { return g.pick("1", "2", "3", "4", "5", "7", "9", "12", "*") }
	return g.pick(n(), n()+":"+n(), n()+","+n(), "1:*")
}

// few is a set of at most twelve messages: copies of all would fill the fake.
func (g generator) few() string {
	return fmt.Sprintf("%d:%d", 1+g.IntN(12), 1+g.IntN(12))
}

func (g generator) flags() string {
	fs := []string{`\Seen`, `\Flagged`, `\Deleted`, `\Draft`, "$Work", "$Junk"}
	return fs[g.IntN(len(fs))] + " " + fs[g.IntN(len(fs))]
}

func (g generator) literal() string {
	text := strings.Repeat("Subject: x\r\n\r\n", 1+g.IntN(3))
	return fmt.Sprintf("(%s) {%d+}\r\n%s", g.flags(), len(text), text)
}

func (g generator) command() string {
	uid := g.pick("", "UID ")
	store := func() string {
		return uid + "STORE " + g.set() + " " + g.pick("+", "-", "") + "FLAGS" + g.pick("", ".SILENT") + " (" + g.flags() + ")"
	}
	return slices.Concat(
		slices.Repeat([]func() string{
			store,
			func() string { return uid + "FETCH " + g.set() + " (UID FLAGS RFC822.SIZE)" },
			func() string { return uid + "COPY " + g.few() + " " + g.box() },
			func() string { return uid + "MOVE " + g.set() + " " + g.box() },
			func() string { return "APPEND " + g.box() + " " + g.literal() },
			func() string { return "NOOP" },
			func() string { return "SELECT " + g.box() },
		}, 3),
		[]func() string{
			func() string { return uid + "FETCH " + g.set() + " (BODY[]<0.1>)" },
			func() string { return "APPEND " + g.box() + " " + g.literal() + " " + g.literal() },
			func() string {
				return uid + "REPLACE " + g.pick("1", "2", "5", "*") + " " + g.box() + " " + g.literal()
			},
			func() string { return "EXPUNGE" },
			func() string { return "UID EXPUNGE " + g.set() },
			func() string { return "CLOSE" },
			func() string { return "UNSELECT" },
			func() string { return "EXAMINE " + g.box() },
			func() string { return "STATUS " + g.box() + " (MESSAGES UIDNEXT UNSEEN DELETED SIZE DELETED-STORAGE)" },
			func() string { return "GETQUOTAROOT " + g.box() },
			func() string { return "GETQUOTA " + g.pick("u@example.org", `""`) },
			func() string { return "CREATE " + g.box() },
			func() string { return "CREATE " + g.box() },
			func() string { return "DELETE " + g.box() },
			func() string { return "RENAME " + g.pick("A", "B", "C") + " " + g.box() },
			func() string {
				return uid + "SEARCH RETURN (ALL COUNT) " + g.pick("ALL", "UNSEEN", "DELETED", "KEYWORD $Work")
			},
			func() string { return "LIST \"\" *" },
		})[g.IntN(38)]()
}

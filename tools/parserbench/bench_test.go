package parserbench

import (
	"io"
	"log"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"imapped/imapwire/syntax"
)

// lines are commands that both sides accept; NOOP comes first.
var lines = []struct{ name, line string }{
	{"NOOP", "A001 NOOP"},
	{"SELECT", "A002 SELECT \"Sent Items\""},
	{"STATUS", "A003 STATUS \"Sent Items\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"},
	{"LIST", "A004 LIST \"\" \"%\" RETURN (CHILDREN)"},
	{"FETCH", "A005 FETCH 1:50 (UID FLAGS RFC822.SIZE INTERNALDATE BODYSTRUCTURE)"},
	{"UID-FETCH-HEADERS", "A006 UID FETCH 4021,4030:4050,4061 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc " +
		"Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"},
	{"UID-FETCH-BODY", "A007 UID FETCH 4021 BODY.PEEK[1.2]<0.65536>"},
	{"STORE", "A008 STORE 1:5,7 +FLAGS.SILENT (\\Seen \\Answered $Junk)"},
	{"SEARCH", "A009 SEARCH OR SUBJECT \"hello\" (FROM alice SINCE 1-Feb-2024) NOT DELETED UID 1:100"},
	{"LOGIN-REFUSED", "A010 LOGIN joe@example.org \"correct horse battery staple\""},
}

// repeat is a connection that gives first once, then line n times, and then ends. What is written to it is dropped.
type repeat struct {
	first, line string
	n, at       int
	closed      sync.Once
	done        chan struct{}
}

func newRepeat(first, line string, n int) *repeat {
	return &repeat{first: first, line: line + "\r\n", n: n, done: make(chan struct{})}
}

func (c *repeat) Read(p []byte) (n int, err error) {
	if c.first != "" {
		n = copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	for n < len(p) && c.n > 0 {
		k := copy(p[n:], c.line[c.at:])
		n += k
		if c.at += k; c.at == len(c.line) {
			c.at = 0
			c.n--
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *repeat) Write(p []byte) (int, error)      { return len(p), nil }
func (c *repeat) Close() error                     { c.closed.Do(func() { close(c.done) }); return nil }
func (c *repeat) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *repeat) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *repeat) SetDeadline(time.Time) error      { return nil }
func (c *repeat) SetReadDeadline(time.Time) error  { return nil }
func (c *repeat) SetWriteDeadline(time.Time) error { return nil }

// readOurs frames and parses n times the line, and returns how many commands were right.
func readOurs(tb testing.TB, line string, n int) (good int) {
	conn := newRepeat("", line, n)
	fr := syntax.NewFramer(syntax.Commands, syntax.PostAuth(), &syntax.BufferPool{})
	p := &syntax.Parser{Limits: syntax.PostAuth()}
	var cmd syntax.Command
	var out []byte
	for {
		ev, err := fr.Next()
		if err != nil {
			tb.Fatal(err)
		}
		switch ev {
		case syntax.NeedData:
			n, err := conn.Read(fr.Reserve())
			if err != nil {
				return good
			}
			fr.Commit(n)
		case syntax.EventFrame:
			if err := p.Parse(fr.Frame(), &cmd); err != nil {
				tb.Fatal(err)
			}
			good++
			out = append(append(append(out[:0], cmd.Tag...), " OK "...), cmd.Verb.String()...)
			out = append(out, " completed\r\n"...)
			if _, err := conn.Write(out); err != nil {
				tb.Fatal(err)
			}
		default:
			tb.Fatalf("event %d", ev)
		}
	}
}

// one is a listener with one connection.
type one struct {
	conn chan net.Conn
	done chan struct{}
	stop sync.Once
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *one) Close() error   { l.stop.Do(func() { close(l.done) }); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// readTheirs runs go-imap's server over n times the line.
func readTheirs(tb testing.TB, name, line string, n int) *session {
	s := &session{}
	first := "A0 SELECT INBOX\r\n"
	if name == "LOGIN-REFUSED" {
		first = ""
	}
	srv := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return s, &imapserver.GreetingData{PreAuth: first != ""}, nil
		},
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapListExtended: {}},
		Logger:       log.New(io.Discard, "", 0),
		InsecureAuth: true,
	})
	ln := &one{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	conn := newRepeat(first, line, n)
	ln.conn <- conn
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Serve(ln); err != nil {
			tb.Error(err)
		}
	})
	<-conn.done
	if err := srv.Close(); err != nil {
		tb.Error(err)
	}
	wg.Wait()
	return s
}

// TestBothSidesAccept makes sure that the benchmark measures commands that are understood.
func TestBothSidesAccept(t *testing.T) {
	for _, l := range lines {
		if got := readOurs(t, l.line, 10); got != 10 {
			t.Errorf("%s: imapped understood %d of 10", l.name, got)
		}
		if got := readTheirs(t, l.name, l.line, 10).calls; l.name != "NOOP" && got < 10 {
			t.Errorf("%s: go-imap understood %d of 10", l.name, got)
		}
	}
}

func BenchmarkCommands(b *testing.B) {
	for _, side := range []struct {
		name string
		run  func(b *testing.B, name, line string, n int)
	}{
		{"imapped", func(b *testing.B, _, line string, n int) { readOurs(b, line, n) }},
		{"go-imap", func(b *testing.B, name, line string, n int) { readTheirs(b, name, line, n) }},
	} {
		var noop float64
		for _, l := range lines {
			b.Run(side.name+"/"+l.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(l.line) + 2))
				side.run(b, l.name, l.line, b.N)
				perOp := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
				if l.name == "NOOP" {
					noop = perOp
				}
				b.ReportMetric(perOp-noop, "args-ns/op")
			})
		}
	}
}

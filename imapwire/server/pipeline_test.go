package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imapped/app/session"
	"imapped/domain/mailbox"
)

// held makes the body of UID 1 wait: opened says that it was asked for, release lets it come.
func held(store *fake) (opened chan struct{}, release chan struct{}) {
	opened, release = make(chan struct{}, 8), make(chan struct{})
	store.openBody = func(ctx context.Context, uid mailbox.UID) error {
		if uid != 1 {
			return nil
		}
		opened <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return opened, release
}

// What waits for the upstream does not hold up commands that have nothing to do with it.
func TestIndependentCommandsOverlap(t *testing.T) {
	store := newFake()
	sampleMail(store)
	opened, release := held(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	c.send("a FETCH 1 BODY[]<0.4>\r\n")
	<-opened
	c.send("b STATUS Empty (MESSAGES)\r\nc FETCH 2 UID\r\nd SEARCH ALL\r\ne LIST \"\" Empty\r\nf CAPABILITY\r\n")
	for _, tag := range []string{"b", "e", "f"} {
		c.until(tag) // these are in order; c and d run beside them
	}
	// Four may run: the next one waits although it conflicts with nothing.
	c.send("g FETCH 3 UID\r\nh NOOP\r\ni STATUS Empty (MESSAGES)\r\n")
	if l := c.line(); strings.HasPrefix(l, "h ") || strings.HasPrefix(l, "i ") {
		t.Errorf("NOOP, which may renumber, ran beside FETCH: %q", l)
	}
	store.expunge("INBOX", 2)
	close(release)
	var all []string
	for len(all) == 0 || !strings.HasPrefix(all[len(all)-1], "i ") {
		all = append(all, c.line())
	}
	text := strings.Join(all, "\n")
	at := -1
	for _, want := range []string{"* 1 FETCH (BODY[]<0> {4}\nFrom)\n", "a OK", "* 2 EXPUNGE\nh OK", "i OK"} {
		i := strings.Index(text, want)
		if i < at || i < 0 {
			t.Errorf("%q is missing or out of order:\n%s", want, text)
		}
		at = i
	}
}

// Everything sent at once is answered as if it had been sent one by one.
func TestPipelinedLogin(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr)
	c.line()
	c.send("a LOGIN u secret\r\nb SELECT INBOX\r\nc FETCH 1 UID\r\nd CLOSE\r\ne FETCH 1 UID\r\nf SELECT Empty\r\ng LOGOUT\r\n")
	got := c.rest()
	for _, want := range []string{"a OK", "b OK", "* 1 FETCH (UID 1)\r\nc OK", "d OK", "e BAD", "f OK", "g OK"} {
		i := strings.Index(got, want)
		if i < 0 {
			t.Fatalf("%q is missing or out of order in:\n%s", want, got)
		}
		got = got[i:]
	}
}

// A client that goes away while its command waits for the upstream takes the waiting with it.
func TestClientGoneCancelsItsCommand(t *testing.T) {
	store := newFake()
	sampleMail(store)
	opened, _ := held(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	c.send("a FETCH 1 BODY[]\r\n")
	<-opened
	_ = c.nc.Close()
	ts.allGone()
}

// fileSession gives the bodies of a fake as files, as the blob store does.
type fileSession struct {
	session.Server
	dir string
}

type fileLogin struct {
	session.Session
	dir string
}

type fileMailbox struct {
	session.Mailbox
	dir string
}

type fileBytes struct {
	f    *os.File
	size int64
}

func (b fileBytes) ReadAt(p []byte, off int64) (int, error) { return b.f.ReadAt(p, off) }
func (b fileBytes) Close() error                            { return b.f.Close() }
func (b fileBytes) Size() int64                             { return b.size }
func (b fileBytes) File() *os.File                          { return b.f }

func (s fileSession) Login(ctx context.Context, c session.Credentials) (session.Session, error) {
	l, err := s.Server.Login(ctx, c)
	return fileLogin{l, s.dir}, err
}

func (l fileLogin) Open(ctx context.Context, name string, o session.OpenOptions) (session.Mailbox, error) {
	m, err := l.Session.Open(ctx, name, o)
	return fileMailbox{m, l.dir}, err
}

func (m fileMailbox) Fetch(ctx context.Context, seqs mailbox.Set, need session.Need, fn func(*session.Message) error) error {
	return m.Mailbox.Fetch(ctx, seqs, need, func(msg *session.Message) error {
		msg.Open = func(context.Context) (session.Bytes, error) {
			f, err := os.Open(filepath.Join(m.dir, "body"))
			if err != nil {
				return nil, err
			}
			info, err := f.Stat()
			if err != nil {
				return nil, err
			}
			return fileBytes{f, info.Size()}, nil
		}
		return fn(msg)
	})
}

// Bodies that are files arrive the same whether they go by sendfile (plain), through TLS or compressed, whole or in
// parts, on both sides of the size from which sendfile is used.
func TestBodiesFromFiles(t *testing.T) {
	dir := t.TempDir()
	body := []byte("Subject: big\r\n\r\n")
	for i := range 300_000 {
		body = append(body, byte('a'+i%23))
	}
	if err := os.WriteFile(filepath.Join(dir, "body"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	store := newFake()
	store.deliverRaw("INBOX", body)
	ts := startServer(t, store, func(o *Options) {
		withTLS(o)
		o.Sessions = fileSession{store, dir}
	})
	for _, how := range []string{"plain", "tls", "deflate"} {
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
		c.do("SELECT INBOX")
		for _, part := range []struct{ off, n int }{
			{0, len(body)}, {5, sendfileMin}, {5, sendfileMin - 1}, {100_000, 100_000}, {len(body) - 20_000, 50_000}, {7, 1},
		} {
			n := min(part.n, len(body)-part.off)
			c.send(fmt.Sprintf("x FETCH 1 (BODY.PEEK[]<%d.%d> UID)\r\n", part.off, part.n))
			if got, want := c.line(), fmt.Sprintf("* 1 FETCH (BODY[]<%d> {%d}", part.off, n); got != want {
				t.Fatalf("%s: %q, want %q", how, got, want)
			}
			got := make([]byte, n)
			if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, body[part.off:part.off+n]) {
				t.Fatalf("%s: octets %v differ: %v", how, part, err)
			}
			if got := c.until("x"); got[0] != " UID 1)" {
				t.Fatalf("%s: %q", how, got)
			}
		}
	}
	// A file that is shorter than the message should be breaks the connection: its length has been announced.
	if err := os.Truncate(filepath.Join(dir, "body"), 1000); err != nil {
		t.Fatal(err)
	}
	c := dial(t, ts.addr).login("INBOX")
	if got := c.do("FETCH 1 BODY.PEEK[1]"); !strings.HasPrefix(got[0], "x NO [CORRUPTION]") {
		t.Errorf("the index does not fit the file: %q", got)
	}
}

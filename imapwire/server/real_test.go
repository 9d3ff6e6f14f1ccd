package server

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/adapters/memory"
	"imapped/adapters/sqlite"
	"imapped/app/deliver"
	"imapped/app/session"
	"imapped/domain/account"
	"imapped/ports/blob"
	"imapped/ports/clock"
)

// anybody lets everybody in as user 1.
type anybody struct{}

func (anybody) Check(_ context.Context, name, _, _ string) (account.User, *account.Account, error) {
	return account.User{ID: 1, Name: name}, nil, nil
}

// realStore is app/session over the embedded adapters, with one account.
type realStore struct {
	service *session.Service
	box     *deliver.Box
}

// newRealStore makes it; quota is how many octets an account may hold, 0 for any number.
func newRealStore(t testing.TB, quota int64) *realStore {
	ctx := context.Background()
	dir := t.TempDir()
	db, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "db"), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	blobs, err := blobfs.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	u, err := db.CreateUser(ctx, account.User{Name: "u", Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	acc, err := db.CreateAccount(ctx, account.Account{User: u.ID, Display: "u", Email: "u@example.org", Local: true, Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	bus := &memory.Bus{}
	box, err := deliver.New(ctx, deliver.Config{Mirror: db, Leases: db, Blobs: blobs, Bus: bus, Clock: clock.System{}}, acc.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &realStore{box: box, service: session.New(session.Config{
		Auth: anybody{}, Accounts: db, Mailboxes: db, Messages: db, Blobs: blob.Shared{Store: blobs}, Bus: bus, Clock: clock.System{},
		Edits: db, Folders: db, Quota: quota,
	})}
}

func (r *realStore) deliver(t testing.TB, name string, raws ...[]byte) {
	t.Helper()
	id, err := r.box.Mailbox(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	for len(raws) > 0 {
		n := min(len(raws), 500)
		ms := make([]deliver.Message, n)
		for i, raw := range raws[:n] {
			ms[i] = deliver.Message{Raw: raw, Date: testDate}
		}
		if _, err := r.box.Messages(t.Context(), id, ms...); err != nil {
			t.Fatal(err)
		}
		raws = raws[n:]
	}
}

// corpus returns up to n real messages with CRLF line ends.
func corpus(t testing.TB, n int) [][]byte {
	path := "../../../shared/corpus/spamassassin.tar.zst"
	if _, err := os.Stat(path); err != nil {
		t.Skip("the corpus is missing:", path)
	}
	cmd := exec.Command("zstd", "-dc", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("zstd is missing:", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var raws [][]byte
	for tr := tar.NewReader(out); len(raws) < n; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		raw, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		raws = append(raws, bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))
	}
	return raws
}

// TestRealMail fetches everything of real mail from the real application: the stream is well-formed and the bodies are
// those that were delivered.
func TestRealMail(t *testing.T) {
	raws := corpus(t, 400)
	r := newRealStore(t, 0)
	r.deliver(t, "INBOX", raws...)
	ts := startServer(t, newFake(), func(o *Options) { o.Sessions = r.service })
	c := dial(t, ts.addr)
	c.line()
	c.send("a LOGIN u x\r\nb SELECT INBOX\r\n")
	c.until("b")
	c.send("c FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE MODSEQ EMAILID THREADID SAVEDATE PREVIEW " +
		"BODY.PEEK[HEADER.FIELDS (From Subject)] BODY.PEEK[HEADER.FIELDS.NOT (Received)] BODY.PEEK[1] BODY.PEEK[1.MIME] " +
		"BODY.PEEK[2] BINARY.PEEK[1] BINARY.SIZE[1] BODY.PEEK[TEXT]<10.20>)\r\n" +
		"d SEARCH OR TEXT linux SUBJECT spam\r\ne UID SEARCH RETURN (COUNT MIN MAX ALL) BODY http\r\nf NOOP\r\ng LOGOUT\r\n")
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Minute))
	out, err := io.ReadAll(c.r)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := checkStream(out)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tags) // the searches may be answered while FETCH is still running
	if got := strings.Join(tags, " "); got != "c d e f g" {
		t.Errorf("answered: %s", got)
	}
	c = dial(t, ts.addr)
	c.line()
	c.send("a LOGIN u x\r\nb SELECT INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\n")
	c.until("b")
	for i, raw := range raws {
		if got, want := c.line(), fmt.Sprintf("* %d FETCH (BODY[] {%d}", i+1, len(raw)); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		got := make([]byte, len(raw))
		if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("message %d differs: %v", i+1, err)
		}
		c.line()
	}
	c.until("c")
}

// TestIdleMemory holds what an idle connection costs. IMAPPED_IDLE sets how many there are.
func TestIdleMemory(t *testing.T) {
	n := 200
	if s := os.Getenv("IMAPPED_IDLE"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	messages := 3000
	if n >= 2000 {
		messages = 30_000
	}
	raws := make([][]byte, messages)
	for i := range raws {
		raws[i] = fmt.Appendf(nil, "From: a@example.org\r\nSubject: %d\r\nMessage-ID: <%d@x>\r\n\r\ntext\r\n", i, i)
	}
	r := newRealStore(t, 0)
	r.deliver(t, "INBOX", raws...)
	ts := startServer(t, newFake(), func(o *Options) { o.Sessions = r.service })
	clients := make([]*client, n)
	open := func(i int) {
		c := dial(t, ts.addr)
		c.r = nil // its buffer would be counted
		read := func(want string) {
			buf := make([]byte, 0, 8192)
			_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
			for !bytes.Contains(buf, []byte(want)) {
				k, err := c.nc.Read(buf[len(buf):cap(buf)])
				if err != nil {
					t.Fatal(err)
				}
				buf = buf[:len(buf)+k]
			}
		}
		c.send("a LOGIN u x\r\nb SELECT INBOX\r\nc UID FETCH 1:10 (FLAGS ENVELOPE)\r\nd NOOP\r\n")
		read("d OK")
		c.send("i IDLE\r\n")
		read("+ idling")
		clients[i] = c
	}
	open(0)
	settle := func() (heap, stack uint64) {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapInuse, m.StackInuse
	}
	heap0, stack0 := settle()
	rss0 := rss(t)
	for i := 1; i < n; i++ {
		open(i)
	}
	heap1, stack1 := settle()
	per := func(a, b uint64) float64 { return (float64(b) - float64(a)) / float64(n-1) / 1024 }
	t.Logf("%d idle connections: heap %.1f KB, stacks %.1f KB, RSS %.1f KB each (client side included)", n,
		per(heap0, heap1), per(stack0, stack1), per(rss0, rss(t)))
	if got := per(heap0+stack0, heap1+stack1); got > 30 && !raceEnabled {
		t.Errorf("%.1f KB for an idle connection, want at most 30", got)
	}
	begin := time.Now()
	r.deliver(t, "INBOX", []byte("Subject: new\r\n\r\nnew\r\n"))
	for _, c := range clients {
		buf := make([]byte, 100)
		_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
		k, err := c.nc.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:k]), fmt.Sprintf("* %d EXISTS", messages+1)) {
			t.Fatalf("%q, %v", buf[:k], err)
		}
	}
	t.Logf("all heard of a new message after %v", time.Since(begin).Round(time.Millisecond))
}

func rss(t testing.TB) uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc:", err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// BenchmarkReal measures whole commands over loopback, on 3,000 messages of real mail.
func BenchmarkReal(b *testing.B) {
	raws := corpus(b, 3000)
	r := newRealStore(b, 0)
	r.deliver(b, "INBOX", raws...)
	ts := startServer(b, newFake(), func(o *Options) { o.Sessions = r.service })
	for _, cmd := range []string{
		"NOOP", "SELECT INBOX", "FETCH 1:* FLAGS", "UID FETCH 1:* (UID FLAGS)", "FETCH 1:* ENVELOPE",
		"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID)])",
		"FETCH 1:* BODYSTRUCTURE", "UID FETCH 1:* BODY.PEEK[]", "UID FETCH 1500 BODY.PEEK[]", "UID SEARCH UNSEEN",
		"UID SEARCH TEXT linux",
	} {
		b.Run(strings.ReplaceAll(cmd, " ", "_"), func(b *testing.B) {
			c := dial(b, ts.addr)
			c.line()
			c.send("a LOGIN u x\r\nb SELECT INBOX\r\n")
			c.until("b")
			b.ReportAllocs()
			for b.Loop() {
				c.send("x " + cmd + "\r\n")
				for {
					line, err := c.r.ReadSlice('\n')
					if err != nil && len(line) == 0 {
						b.Fatal(err)
					}
					if bytes.HasPrefix(line, []byte("x OK")) {
						break
					}
				}
			}
		})
	}
}

package server

import (
	"bytes"
	"compress/flate"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// memConn is a connection in memory: the client's octets are all there from the beginning, then the client closes its
// side; what the server sends is kept.
type memConn struct {
	mu  sync.Mutex
	in  *bytes.Reader
	out bytes.Buffer
}

func (m *memConn) Read(p []byte) (int, error) { return m.in.Read(p) }
func (m *memConn) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.out.Write(p)
}
func (*memConn) Close() error                     { return nil }
func (*memConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 143} }
func (*memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000} }
func (*memConn) SetDeadline(time.Time) error      { return nil }
func (*memConn) SetReadDeadline(time.Time) error  { return nil }
func (*memConn) SetWriteDeadline(time.Time) error { return nil }

// fuzzStates is what brings a connection into each state.
var fuzzStates = []struct{ name, before string }{
	{"not authenticated", ""},
	{"authenticated", "p1 LOGIN u secret\r\n"},
	{"selected", "p1 LOGIN u secret\r\np2 SELECT INBOX\r\n"},
	{"idle", "p1 LOGIN u secret\r\np2 SELECT INBOX\r\np3 IDLE\r\n"},
	{"everything enabled", "p1 LOGIN u secret\r\np2 ENABLE QRESYNC UTF8=ACCEPT\r\np3 SELECT INBOX\r\n"},
	{"read-only", "p1 LOGIN u secret\r\np2 EXAMINE INBOX\r\n"},
}

const compressLine = "pz COMPRESS DEFLATE\r\n"

// converse lets a server answer everything that the client sends, and returns what it sent.
func converse(t *testing.T, s *Server, before string, input []byte, compress bool) []byte {
	sent := append([]byte(before), input...)
	if compress {
		var z bytes.Buffer
		z.WriteString(before + compressLine)
		w, _ := flate.NewWriter(&z, flate.BestSpeed)
		_, _ = w.Write(input)
		_ = w.Flush()
		sent = z.Bytes()
	}
	m := &memConn{in: bytes.NewReader(sent)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		newConn(context.Background(), s, m, remoteIP(m), PlainMode).serve()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		panic("the server hangs") // with all goroutines' stacks
	}
	out := m.out.Bytes()
	if compress {
		const last = "pz OK DEFLATE active\r\n"
		i := bytes.Index(out, []byte(last))
		if i < 0 {
			return out // the input before it was the end
		}
		plain, _ := io.ReadAll(flate.NewReader(bytes.NewReader(out[i+len(last):]))) // the stream is never ended
		out = append(out[:i+len(last):i+len(last)], plain...)
	}
	return out
}

// FuzzServer sends anything to a whole server in each state: it must not panic or hang, what it answers must be
// well-formed, and no octet of a literal may be answered as a command. IMAPPED_FUZZ_STATE, a number, keeps it to one of
// fuzzStates.
func FuzzServer(f *testing.F) {
	paths, _ := filepath.Glob("testdata/scripts/*.txt")
	clientLine := regexp.MustCompile(`(?m)^C: ?(.*)$`)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var all strings.Builder
		for _, m := range clientLine.FindAllStringSubmatch(string(text), -1) {
			line := strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\\`, `\`).Replace(m[1]) + "\r\n"
			all.WriteString(line)
			f.Add([]byte(line), uint8(2), false)
		}
		for state := range fuzzStates {
			f.Add([]byte(all.String()), uint8(state), state%2 == 1)
		}
	}
	f.Add([]byte("a LOGIN {5000+}\r\nx\r\nEVIL LOGIN u secret\r\n"), uint8(0), false)
	f.Add([]byte("DONE\r\nb NOOP\r\nc IDLE\r\nDONE\r\n"), uint8(3), true)
	store := newFake()
	sampleMail(store)
	store.deliver("INBOX", messages["odd"])
	store.setQuota(5000) // below AppendLimit: literals are refused for either
	begin := store.copyOfBoxes()
	var mu sync.Mutex
	var caught any
	s, err := New(Options{Sessions: store, MaxBad: 1000, AppendLimit: 10_000, OnPanic: func(v any) { mu.Lock(); caught = v; mu.Unlock() }})
	if err != nil {
		f.Fatal(err)
	}
	only := os.Getenv("IMAPPED_FUZZ_STATE")
	f.Fuzz(func(t *testing.T, input []byte, state uint8, compress bool) {
		if bytes.Contains(bytes.ToLower(input), []byte("panic")) {
			return // the fake's user whose login panics
		}
		if only != "" {
			state = only[0] - '0'
		}
		store.restore(begin)
		before := fuzzStates[int(state)%len(fuzzStates)].before
		if !strings.Contains(before, "LOGIN") || strings.Contains(before, "IDLE") {
			compress = false // COMPRESS would be refused, or taken for DONE
		}
		out := converse(t, s, before, input, compress)
		if n := store.openAppends(); n != 0 {
			t.Fatalf("%d uploads are open", n)
		}
		mu.Lock()
		if caught != nil {
			t.Fatalf("panic: %v", caught)
		}
		mu.Unlock()
		tags, err := checkStream(out)
		if err != nil {
			t.Fatalf("malformed answer: %v", err)
		}
		if bytes.Contains(bytes.ToUpper(input), []byte("COMPRESS")) {
			return // from there on the input is not commands
		}
		possible := map[string]bool{"p1": true, "p2": true, "p3": true, "pz": true}
		ways := 0
		if !possibleTags(append([]byte(before), input...), possible, &ways) {
			return
		}
		for _, tag := range tags {
			if !possible[tag] {
				t.Fatalf("an answer to %q, which is no command's tag", tag)
			}
		}
	})
}

package recorder

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// play starts a server and a recorder in front of it, and exchanges the steps on one connection. A step "S: ..." is
// sent by the server, "C: ..." by the client; \r\n is added, unless the step ends in a backslash.
func play(t *testing.T, steps ...string) *Recorder {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Listen("127.0.0.1:0", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		r.Close()
		l.Close()
	})
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range steps {
		from, to := server, client
		if strings.HasPrefix(s, "C: ") {
			from, to = client, server
		}
		text, open := strings.CutSuffix(s[3:], `\`)
		if !open {
			text += "\r\n"
		}
		if _, err := from.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		// The bytes arrive unchanged; and having arrived they have been read.
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			t.Fatalf("%q passed as %q, %v", text, got, err)
		}
	}
	return r
}

func said(r *Recorder) []string {
	var all []string
	for _, c := range r.Commands() {
		all = append(all, c.String())
	}
	return all
}

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []string
		want  []string
	}{
		{"plain", []string{
			"S: * OK hello", "C: a1 capability", "S: a1 OK done", `C: a2 SELECT "x y" (CONDSTORE)`, "S: a2 OK done",
			"C: a3 uid fetch 1:* (FLAGS)",
		}, []string{"CAPABILITY", `SELECT "x y" (CONDSTORE)`, "UID FETCH 1:* (FLAGS)"}},
		{"several at once", []string{"C: a1 NOOP\r\na2 NOOP\r\na3 UID SEARCH ALL"}, []string{"NOOP", "NOOP", "UID SEARCH ALL"}},
		{"secrets", []string{
			"C: a1 LOGIN joe sesame", "S: a1 NO", "C: a2 LOGIN {3}", "S: + go", "C: joe {6+}\r\nsesame", "S: a2 NO",
			"C: a3 AUTHENTICATE plain AGpvZQBzZXNhbWU=", "S: a3 NO",
			"C: a4 AUTHENTICATE PLAIN", "S: + ", "C: AGpvZQBzZXNhbWU=", "S: a4 OK", "C: a5 NOOP",
		}, []string{"LOGIN ***", "LOGIN ***", "AUTHENTICATE PLAIN ***", "AUTHENTICATE PLAIN", "NOOP"}},
		{"literals", []string{
			"C: a1 STATUS {5}", "S: + ", "C: a\r\nb (MESSAGES)", "S: a1 OK", // 5 bytes: a CR LF b SP
			"C: a2 SEARCH SUBJECT {8+}\r\na3 NOOP\r", "C:  ALL", "C: a4 NOOP",
		}, []string{"STATUS {5}(MESSAGES)", "SEARCH SUBJECT {8+}", "NOOP"}},
		{"refused literal", []string{
			"C: a1 STATUS {4}", "S: a1 NO no such mailbox", "C: a2 NOOP", "S: a2 OK",
		}, []string{"STATUS {4}", "NOOP"}},
		{"idle", []string{
			"C: a1 IDLE", "S: + idling", "S: * 3 EXISTS", "C: done", "S: a1 OK", "C: a2 NOOP",
			"C: a3 IDLE", "S: a3 NO not now", "C: a4 NOOP",
		}, []string{"IDLE", "NOOP", "IDLE", "NOOP"}},
		{"opaque", []string{
			"C: a1 COMPRESS DEFLATE", "S: a1 NO", "C: a2 NOOP", "S: a2 OK",
			"C: a3 STARTTLS", "S: a3 OK", "C: a4 NOOP",
		}, []string{"COMPRESS DEFLATE", "NOOP", "STARTTLS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := said(play(t, c.steps...)); !slices.Equal(got, c.want) {
				t.Errorf("recorded %q, want %q", got, c.want)
			}
		})
	}
}

func TestBodiesAreCounted(t *testing.T) {
	r := play(t,
		"S: * OK hello",
		"C: a1 UID FETCH 1:* (UID BODY.PEEK[])",
		"S: * 1 FETCH (UID 7 BODY[] {12}", "S: 1 BODY[] {9}", `S:  FLAGS (\Seen))`,
		"S: * 2 FETCH (UID 8 BODY[HEADER] {4}", "S: ab", `S:  BODY[]<0> {3}`, `S: xyz BODY[1] {1}`, "S: z)",
		"S: * 3 FETCH (RFC822 ~{2}", "S: )", "S: a1 OK done",
	)
	if got := r.Totals(); got.Connections != 1 || got.Bodies != 3 || got.BodyBytes != 12+3+2 {
		t.Errorf("totals %+v", got)
	}
	r.Reset()
	if got := r.Totals(); got != (Totals{}) || len(r.Commands()) != 0 {
		t.Errorf("after Reset: %+v, %v", got, r.Commands())
	}
}

// TestAnySplit feeds the same bytes in pieces of every size.
func TestAnySplit(t *testing.T) {
	const text = "a1 LOGIN {3+}\r\njoe {2+}\r\nxy\r\na2 NOOP\r\na3 SEARCH BODY {11+}\r\na4 NOOP\r\n.. ALL\r\na5 LOGOUT\r\n"
	for size := 1; size <= len(text); size++ {
		r := &Recorder{}
		c := newConversation(r, 1)
		for piece := range slices.Chunk([]byte(text), size) {
			c.fromClient(piece)
		}
		want := []string{"LOGIN ***", "NOOP", "SEARCH BODY {11+} ALL", "LOGOUT"}
		if got := said(r); !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

func TestLongLinesAreBounded(t *testing.T) {
	r := &Recorder{}
	c := newConversation(r, 1)
	c.fromClient([]byte("a1 SEARCH UID " + strings.Repeat("1,", 1<<20) + "1 SUBJECT {3+}\r\nabc\r\na2 NOOP\r\n"))
	got := r.Commands()
	if len(got) != 2 || len(got[0].Args) > maxLine || !slices.Equal(got[0].Literals, []int64{3}) || got[1].Verb != "NOOP" {
		t.Errorf("recorded %d commands", len(got))
	}
}

func TestEndsWithEitherSide(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := Listen("127.0.0.1:0", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.WriteString(server, "* BYE\r\n")
		server.Close()
	})
	if line, err := bufio.NewReader(client).ReadString('\n'); err != nil || line != "* BYE\r\n" {
		t.Errorf("read %q, %v", line, err)
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

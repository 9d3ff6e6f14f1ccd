package upstream_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

// gather returns a callback that renders each message, and what it rendered.
func gather() (func(port.Message) error, *[]string) {
	got := &[]string{}
	return func(m port.Message) error {
		s := fmt.Sprintf("uid %d", m.UID)
		if m.Has&port.ItemFlags != 0 {
			s += fmt.Sprintf(" flags %v", m.Flags)
		}
		if m.ModSeq != 0 {
			s += fmt.Sprintf(" modseq %d", m.ModSeq)
		}
		if m.Has&port.ItemDate != 0 {
			s += " date " + m.Date.Format(time.RFC3339)
		}
		if m.Has&port.ItemSize != 0 {
			s += fmt.Sprintf(" size %d", m.Size)
		}
		if m.Has&port.ItemIdent != 0 {
			s += fmt.Sprintf(" header %q", m.Header)
		}
		if m.Has&port.ItemBody != 0 {
			body, err := io.ReadAll(m.Body)
			if err != nil {
				return err
			}
			if int64(len(body)) != m.BodySize {
				return fmt.Errorf("%d octets of %d", len(body), m.BodySize)
			}
			if len(body) > 100 {
				s += fmt.Sprintf(" body of %d %q", len(body), slices.Compact(body))
			} else {
				s += fmt.Sprintf(" body %q", body)
			}
		}
		*got = append(*got, s)
		return nil
	}, got
}

func TestFetch(t *testing.T) {
	one := mailbox.Set{{First: 7, Last: 7}}
	const ident = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID REFERENCES IN-REPLY-TO DATE FROM SUBJECT)]"
	big := strings.Repeat("x", 3000)
	for _, tc := range []struct {
		name, caps string
		cmd        port.Fetch
		lines      string
		want       []string
		fails      string
	}{
		{name: "metadata", cmd: port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 4}, {First: 9, Last: 9}}, Items: port.ItemMeta}, lines: `
C: a UID FETCH 1:4,9 (UID FLAGS INTERNALDATE RFC822.SIZE ` + ident + `)
S: * 1 FETCH (UID 1 FLAGS (\\Seen $X) INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 4286 BODY[HEADER.FIELDS (DATE FROM)] {13}
S- Date: today\r\n)\r\n
S: * 2 FETCH (FLAGS NIL BODY[HEADER.FIELDS (DATE FROM)] NIL UID 4)
S: a OK`, want: []string{
			`uid 1 flags \Seen $X date 1996-07-17T02:44:25-07:00 size 4286 header "Date: today\r\n"`,
			`uid 4 flags `,
		}},
		{name: "changes", caps: "CONDSTORE", cmd: port.Fetch{UIDs: one, Open: true, Items: port.ItemFlags, ChangedSince: 5, Vanished: true}, lines: `
C: a UID FETCH 7:* (UID FLAGS MODSEQ) (CHANGEDSINCE 5)
S: * 1 FETCH (UID 3 FLAGS () MODSEQ (6))
S: a OK`, want: []string{"uid 3 flags  modseq 6"}},
		{name: "changes with QRESYNC", caps: "ENABLE QRESYNC", cmd: port.Fetch{
			UIDs: mailbox.Set{{First: 1, Last: 2}, {First: 5, Last: 99}}, Open: true, Items: port.ItemFlags, ChangedSince: 5, Vanished: true,
		}, lines: `
C: e ENABLE QRESYNC
S: * ENABLED QRESYNC
S: e OK
C: a UID FETCH 1:2,5:* (UID FLAGS MODSEQ) (CHANGEDSINCE 5 VANISHED)
S: * VANISHED (EARLIER) 4:5,9
S: * 1 FETCH (UID 3 FLAGS () MODSEQ (6))
S: a OK`, want: []string{"uid 3 flags  modseq 6", "gone 4:5,9"}},
		{name: "a malformed VANISHED", caps: "ENABLE QRESYNC", cmd: port.Fetch{
			UIDs: one, Items: port.ItemFlags, ChangedSince: 5, Vanished: true,
		}, lines: `
C: e ENABLE QRESYNC
S: * ENABLED QRESYNC
S: e OK
C: a UID FETCH 7 (UID FLAGS MODSEQ) (CHANGEDSINCE 5 VANISHED)
S: * VANISHED (EARLIER) 4:*
S: a OK`, fails: "malformed"},
		{name: "bodies", cmd: port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 3}}, Items: port.ItemBody}, lines: `
C: a UID FETCH 1:3 (UID BODY.PEEK[])
S: * 1 FETCH (UID 1 BODY[] {4}
S: a\r\nb FLAGS (\\Seen))
S: * 2 FETCH (UID 2 BODY[] {3000}
! big 3000 x
S:  FLAGS (\\Answered))
S: * 3 FETCH (UID 3 BODY[] "")
S: * 4 FETCH (UID 4 BODY[] NIL)
S: a OK`, want: []string{
			`uid 1 flags \Seen body "a\r\nb"`, `uid 2 body of 3000 "x"`, `uid 2 flags \Answered`, `uid 3 body ""`, `uid 4`,
		}},
		{name: "a body before its UID, small and large", cmd: port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 2}}, Items: port.ItemBody}, lines: `
C: a UID FETCH 1:2 (UID BODY.PEEK[])
S: * 1 FETCH (BODY[] {2}
S: ab UID 1)
S: * 2 FETCH (BODY[] {3000}
! big 3000 x
S:  UID 2 FLAGS ())
S: a OK`, want: []string{`uid 1 body "ab"`, `uid 2 flags  body of 3000 "x"`}},
		{name: "a body before what is told with it", cmd: port.Fetch{UIDs: one, Items: port.ItemMeta | port.ItemBody}, lines: `
C: a UID FETCH 7 (UID FLAGS INTERNALDATE RFC822.SIZE ` + ident + ` BODY.PEEK[])
S: * 1 FETCH (UID 7 BODY[] {3000}
! big 3000 x
S:  FLAGS () RFC822.SIZE 3000 BODY[HEADER.FIELDS (DATE FROM)] {4}
S: \r\n\r\n INTERNALDATE "17-Jul-1996 02:44:25 -0700")
S: a OK`, want: []string{
			`uid 7 flags  date 1996-07-17T02:44:25-07:00 size 3000 header "\r\n\r\n" body of 3000 "x"`,
		}},
		{name: "from an offset", cmd: port.Fetch{UIDs: one, Items: port.ItemBody, Offset: 3}, lines: `
C: a UID FETCH 7 (UID BODY.PEEK[]<3.2147483647>)
S: * 1 FETCH (UID 7 BODY[]<3> {4}
S: defg)
S: a OK`, want: []string{`uid 7 body "defg"`}},
		{name: "an offset that the server ignores", cmd: port.Fetch{UIDs: one, Items: port.ItemBody, Offset: 3}, lines: `
C: a UID FETCH 7 (UID BODY.PEEK[]<3.2147483647>)
S: * 1 FETCH (UID 7 BODY[] {3000}
! big 3000 x
S: )
S: * 1 FETCH (UID 7 BODY[] {5}
S: abcde)
S: a OK`, want: []string{`uid 7 body of 2997 "x"`, `uid 7 body "de"`}},
		{name: "an offset past the end", cmd: port.Fetch{UIDs: one, Items: port.ItemBody, Offset: 9}, lines: `
C: a UID FETCH 7 (UID BODY.PEEK[]<9.2147483647>)
S: * 1 FETCH (UID 7 BODY[]<9> "")
S: a OK`, want: []string{`uid 7 body ""`}},
		{name: "OK and no data (Exchange)", cmd: port.Fetch{UIDs: one, Items: port.ItemBody}, lines: `
C: a UID FETCH 7 (UID BODY.PEEK[])
S: a OK`},
		{name: "refused after some (Yahoo)", cmd: port.Fetch{UIDs: one, Items: port.ItemBody}, lines: `
C: a UID FETCH 7 (UID BODY.PEEK[])
S: * 1 FETCH (UID 7 BODY[] {2}
S: ab)
S: a NO [UNAVAILABLE] UID FETCH Server error - Please try again later`, want: []string{`uid 7 body "ab"`}, fails: "UNAVAILABLE"},
		{name: "an answer that is lost", cmd: port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 9}}, Items: port.ItemFlags}, lines: `
C: a UID FETCH 1:9 (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS ())
S: * 2 FETCH (UID x FLAGS ())
S: a OK`, want: []string{"uid 1 flags "}, fails: "malformed"},
		{name: "items that make no sense", cmd: port.Fetch{UIDs: one, Items: port.ItemFlags | port.ItemSize | port.ItemDate}, lines: `
C: a UID FETCH 7 (UID FLAGS INTERNALDATE RFC822.SIZE)
S: * 1 FETCH (UID 7 FLAGS ("\\\\Seen" \\*) RFC822.SIZE -1 INTERNALDATE "garbage" X-FOO (a (b)))
S: a OK`, want: []string{`uid 7 flags \Seen`}},
		{name: "a header that is large", cmd: port.Fetch{UIDs: one, Items: port.ItemIdent}, lines: `
C: a UID FETCH 7 (UID ` + ident + `)
S: * 1 FETCH (UID 7 BODY[HEADER.FIELDS (DATE FROM)] {3000}
! big 3000 x
S: )
S: a OK`, want: []string{`uid 7 header "` + big + `"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := dial(t, dialer(), script(tc.caps, strings.TrimPrefix(tc.lines, "\n")))
			cmd := tc.cmd
			var got *[]string
			cmd.OnMessage, got = gather()
			do(t, conn, &cmd)
			if len(cmd.Gone) > 0 {
				*got = append(*got, "gone "+cmd.Gone.String())
			}
			if !slices.Equal(*got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(*got, "\n"), strings.Join(tc.want, "\n"))
			}
			if tc.fails == "" && cmd.Err != nil || tc.fails != "" && (cmd.Err == nil || !strings.Contains(cmd.Err.Error(), tc.fails)) {
				t.Errorf("error %v, want %q", cmd.Err, tc.fails)
			}
		})
	}
}

func TestFetchOfNothing(t *testing.T) {
	conn, _ := dial(t, dialer(), script("", ""))
	fetch := &port.Fetch{Items: port.ItemFlags}
	do(t, conn, fetch)
	ok(t, fetch)
	fetch = &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 2}}, Items: port.ItemBody, Offset: 4}
	do(t, conn, fetch)
	if !fault.Is(fetch.Err, fault.Invalid) {
		t.Errorf("an offset for two: %v", fetch.Err)
	}
}

func TestLongSetsAreSplit(t *testing.T) {
	var set mailbox.Set
	for i := range uint32(5000) {
		set = append(set, mailbox.Range{First: 10*i + 1, Last: 10*i + 1 + i%2})
	}
	var lines strings.Builder
	for i, part := range parts(set.String(), 8000) {
		fmt.Fprintf(&lines, "C: a%d UID FETCH %s (UID FLAGS)\n", i, part)
		fmt.Fprintf(&lines, "S: * 1 FETCH (UID %d FLAGS ())\nS: a%d OK\n", i+1, i)
	}
	conn, _ := dial(t, dialer(), script("", lines.String()))
	before := usage(conn).Commands
	cmd := &port.Fetch{UIDs: set, Items: port.ItemFlags}
	var got *[]string
	cmd.OnMessage, got = gather()
	do(t, conn, cmd)
	ok(t, cmd)
	if n := usage(conn).Commands - before; n != int64(len(*got)) || n < 5 {
		t.Errorf("%d commands, %d answers", n, len(*got))
	}
}

// parts cuts a set's text at commas into pieces of at most size octets.
func parts(set string, size int) (out []string) {
	for len(set) > size {
		cut := strings.LastIndexByte(set[:size+1], ',')
		out = append(out, set[:cut])
		set = set[cut+1:]
	}
	return append(out, set)
}

// TestBodiesAreNotHeld: a body larger than all the memory that may be used goes through, whole.
func TestBodiesAreNotHeld(t *testing.T) {
	const size = 64 << 20
	conn, _ := dial(t, dialer(), script("", fmt.Sprintf(`
C: a UID FETCH 7 (UID BODY.PEEK[])
S: * 1 FETCH (UID 7 BODY[] {%d}
! big %d x
S: )
S: a OK`, size, size)))
	var before, during runtime.MemStats
	sum := sha256.New()
	cmd := &port.Fetch{UIDs: mailbox.Set{{First: 7, Last: 7}}, Items: port.ItemBody, OnMessage: func(m port.Message) error {
		runtime.GC()
		runtime.ReadMemStats(&before)
		n, err := io.Copy(sum, m.Body)
		runtime.ReadMemStats(&during)
		if n != size || n != m.BodySize {
			t.Errorf("%d octets of %d", n, m.BodySize)
		}
		return err
	}}
	do(t, conn, cmd)
	ok(t, cmd)
	if grown := during.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d octets allocated for a body of %d", grown, size)
	}
	want := sha256.New()
	for range size / (64 << 10) {
		_, _ = io.WriteString(want, strings.Repeat("x", 64<<10))
	}
	if string(sum.Sum(nil)) != string(want.Sum(nil)) {
		t.Error("the body changed")
	}
}

// TestCutAnywhere: whatever octet the connection breaks at, no body and no answer looks complete.
func TestCutAnywhere(t *testing.T) {
	const lines = `C: a UID FETCH 1:2 (UID FLAGS BODY.PEEK[])
! cut %d
S- * 1 FETCH (UID 1 FLAGS () BODY[] {5}\r\nhello)\r\n* 2 FETCH (UID 2 FLAGS (\\Seen) BODY[] {2100}\r\n` + "%s" + `)\r\n
S: a OK`
	body := strings.Repeat("z", 2100)
	total := len("* 1 FETCH (UID 1 FLAGS () BODY[] {5}\r\nhello)\r\n* 2 FETCH (UID 2 FLAGS (\\Seen) BODY[] {2100}\r\n)\r\nA1 OK\r\n") + len(body)
	for n := 1; n < total; n += 1 + n/100*20 {
		conn, _ := dial(t, dialer(), script("", fmt.Sprintf(lines, n, body)))
		cmd := &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 2}}, Items: port.ItemFlags | port.ItemBody}
		cmd.OnMessage = func(m port.Message) error {
			if m.Has&port.ItemBody == 0 {
				t.Fatalf("cut at %d: uid %d without its body", n, m.UID)
			}
			got, err := io.ReadAll(m.Body)
			if err == nil && int64(len(got)) != m.BodySize {
				t.Errorf("cut at %d: %d octets of %d, and no error", n, len(got), m.BodySize)
			}
			return err
		}
		if err := conn.Do(deadline(t), cmd); err == nil || cmd.Err == nil {
			t.Fatalf("cut at %d: %v, %v", n, err, cmd.Err)
		}
		_ = conn.Close()
	}
}

package syntax

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// feed gives in to the framer as far as it wants and returns the next event that is not NeedData.
func feed(t *testing.T, f *Framer, in *[]byte) Event {
	t.Helper()
	for {
		ev, err := f.Next()
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if ev != NeedData {
			return ev
		}
		if len(*in) == 0 {
			return NeedData
		}
		n := copy(f.Reserve(), *in)
		f.Commit(n)
		*in = (*in)[n:]
	}
}

func wantEvent(t *testing.T, f *Framer, in *[]byte, want Event, data string) {
	t.Helper()
	if got := feed(t, f, in); got != want {
		t.Fatalf("event %d, want %d (left: %q)", got, want, *in)
	}
	if got := string(f.Frame().Data); want != NeedData && want != EventChunk && want != EventLiteralEnd && got != data {
		t.Fatalf("frame %q, want %q", got, data)
	}
}

func TestFramerLogin(t *testing.T) {
	f := NewFramer(Commands, PreAuth(), nil)
	in := []byte("A1 LOGIN {3}\r\n")
	wantEvent(t, f, &in, EventLiteral, "A1 LOGIN {3}\r\n")
	if lit := f.Literal(); lit.Size != 3 || lit.NonSync || lit.Binary || lit.Mode != LiteralPending {
		t.Fatalf("literal %+v", lit)
	}
	if !f.Inline() {
		t.Fatal("not inline")
	}
	in = []byte("joe {0+}\r\n")
	wantEvent(t, f, &in, EventLiteral, "A1 LOGIN {3}\r\njoe {0+}\r\n")
	if !f.Inline() {
		t.Fatal("not inline")
	}
	wantEvent(t, f, &in, NeedData, "")
	if !f.InFrame() {
		t.Fatal("not in a frame")
	}
	in = []byte("\r\nA2 NOOP\n")
	wantEvent(t, f, &in, EventFrame, "A1 LOGIN {3}\r\njoe {0+}\r\n")
	if f.InFrame() || f.Buffered() != len("A2 NOOP\n") {
		t.Fatalf("in frame: %v, buffered: %d", f.InFrame(), f.Buffered())
	}
	wantEvent(t, f, &in, EventFrame, "A2 NOOP")
	wantEvent(t, f, &in, NeedData, "")
}

// The literal of a refused command is never read as commands (a defect of go-imap v2 and, reported, of Stalwart).
func TestFramerRefusedLiteralIsNotCommands(t *testing.T) {
	const evil = "A2 CREATE {29+}\r\nx\r\nEVIL CAPABILITY\r\nyyyyyyyyy {3+}\r\nabc\r\nA3 NOOP\r\n"
	f := NewFramer(Commands, PreAuth(), nil)
	in := []byte(evil)
	wantEvent(t, f, &in, EventLiteral, "A2 CREATE {29+}\r\n")
	f.Refuse()
	wantEvent(t, f, &in, EventReject, "A2 CREATE {29+}\r\n")
	if f.Reason() != ReasonRefused || string(f.Frame().Tag()) != "A2" {
		t.Fatalf("reason %v, tag %q", f.Reason(), f.Frame().Tag())
	}
	wantEvent(t, f, &in, EventFrame, "A3 NOOP")
}

// A synchronizing literal that is refused is not part of the stream.
func TestFramerRefuseSynchronizing(t *testing.T) {
	f := NewFramer(Commands, PreAuth(), nil)
	in := []byte("A1 APPEND INBOX {4294967296}\r\nA2 NOOP\r\n")
	wantEvent(t, f, &in, EventLiteral, "A1 APPEND INBOX {4294967296}\r\n")
	if f.Inline() || f.Stream() {
		t.Fatal("4 GiB are accepted before login")
	}
	f.Refuse()
	wantEvent(t, f, &in, EventReject, "A1 APPEND INBOX {4294967296}\r\n")
	wantEvent(t, f, &in, EventFrame, "A2 NOOP")
}

// Sizes that do not fit never wrap to small ones (a defect of gluon: 18446744073709551619 was 3).
func TestFramerLiteralNumbers(t *testing.T) {
	for _, tc := range []struct {
		header string
		size   uint64
		event  Event
		fatal  bool
	}{
		{"{0}", 0, EventLiteral, false},
		{"{0+}", 0, EventLiteral, false},
		{"{007}", 7, EventLiteral, false},
		{"{9223372036854775807}", math.MaxInt64, EventLiteral, false},
		{"~{9223372036854775807+}", math.MaxInt64, EventLiteral, false},
		{"{9223372036854775808}", 0, EventReject, false},
		{"{18446744073709551619}", 0, EventReject, false},
		{"{18446744073709551619+}", 0, NeedData, true},
		{"{00000000000000000000001}", 0, EventReject, false},
		{"{00000000000000000000001+}", 0, NeedData, true},
		{"{}", 0, EventFrame, false},
		{"{+}", 0, EventFrame, false},
		{"{-1}", 0, EventFrame, false},
		{"{1 }", 0, EventFrame, false},
		{"{1}x", 0, EventFrame, false},
		{"{1++}", 0, EventFrame, false},
		{"1}", 0, EventFrame, false},
	} {
		f := NewFramer(Commands, PreAuth(), nil)
		f.Commit(copy(f.Reserve(), "A1 X "+tc.header+"\r\n"))
		ev, err := f.Next()
		var se StreamError
		if ev != tc.event || (err != nil) != tc.fatal || tc.fatal && !errors.As(err, &se) {
			t.Errorf("%s: event %d, error %v", tc.header, ev, err)
		}
		if ev == EventLiteral && f.Literal().Size != tc.size {
			t.Errorf("%s: size %d", tc.header, f.Literal().Size)
		}
		if tc.fatal {
			if _, again := f.Next(); again == nil {
				t.Errorf("%s: the error is not final", tc.header)
			}
		}
	}
}

// An announced size makes nothing grow: memory follows what arrived.
func TestFramerDoesNotAllocateAhead(t *testing.T) {
	lim := PostAuth()
	lim.LiteralInline, lim.Command = 1<<40, 1<<41
	f := NewFramer(Commands, lim, nil)
	f.Commit(copy(f.Reserve(), "A1 X {1099511627776+}\r\n"))
	lim.LiteralNonSync = 1 << 40
	f.SetLimits(lim)
	if ev, _ := f.Next(); ev != EventLiteral || !f.Inline() {
		t.Fatal("not accepted")
	}
	if ev, _ := f.Next(); ev != NeedData {
		t.Fatal("no data needed")
	}
	if n := len(f.Reserve()); n > poolSmallest {
		t.Fatalf("%d octets reserved for a literal of which none has come", n)
	}
}

// Inline literals count for the whole command: several that are small enough each are not accepted together.
func TestFramerInlineWithinCommand(t *testing.T) {
	lim := PreAuth()
	lim.Command, lim.LiteralInline = 100, 60
	f := NewFramer(Commands, lim, nil)
	in := []byte("A1 LOGIN {50+}\r\n" + strings.Repeat("u", 50) + " {27+}\r\n" + strings.Repeat("p", 27) + "\r\nA2 NOOP\r\n")
	if ev := feed(t, f, &in); ev != EventLiteral || !f.Inline() {
		t.Fatalf("event %d", ev)
	}
	if ev := feed(t, f, &in); ev != EventLiteral || f.Inline() {
		t.Fatalf("event %d: 16+50+8+27 octets accepted", ev)
	}
	f.Refuse()
	if ev := feed(t, f, &in); ev != EventReject {
		t.Fatalf("event %d", ev)
	}
	wantEvent(t, f, &in, EventFrame, "A2 NOOP")
}

func TestFramerLongLine(t *testing.T) {
	lim := PreAuth()
	f := NewFramer(Commands, lim, nil)
	in := []byte("A1 LOGIN " + strings.Repeat("x", 3*lim.Line) + " {5+}\r\nA9 \r\n" + strings.Repeat("y", 100) + "\r\nA2 NOOP\r\n")
	if ev := feed(t, f, &in); ev != EventReject || f.Reason() != ReasonLine || string(f.Frame().Tag()) != "A1" {
		t.Fatalf("event %d, reason %v, tag %q", ev, f.Reason(), f.Frame().Tag())
	}
	if n := cap(f.buf); n > 2*lim.Line {
		t.Errorf("a buffer of %d for lines of %d", n, lim.Line)
	}
	wantEvent(t, f, &in, EventFrame, "A2 NOOP")
	endless := bytes.Repeat([]byte("z"), int(lim.Discard)+2*lim.Line)
	for len(endless) > 0 {
		n := copy(f.Reserve(), endless)
		f.Commit(n)
		endless = endless[n:]
		if _, err := f.Next(); err != nil {
			return
		}
	}
	t.Error("a line without end does not end the connection")
}

// A refused frame of exactly Limits.Discard octets is dropped; one more ends the connection.
func TestFramerDiscardLimit(t *testing.T) {
	lim := PreAuth()
	lim.Discard = 100
	for extra, fatal := range []bool{false, true} {
		f := NewFramer(Commands, lim, nil)
		f.Commit(copy(f.Reserve(), "A1 X {90+}\r\n"))
		if ev, _ := f.Next(); ev != EventLiteral {
			t.Fatalf("event %d", ev)
		}
		f.Refuse()
		f.Commit(copy(f.Reserve(), strings.Repeat("x", 90)+strings.Repeat("y", 8+extra)+"\r\n"))
		if ev, err := f.Next(); (err != nil) != fatal || !fatal && ev != EventReject {
			t.Errorf("%d octets: event %d, %v", 100+extra, ev, err)
		}
	}
}

func TestFramerLiteralCount(t *testing.T) {
	f := NewFramer(Commands, PreAuth(), nil)
	in := []byte("A1 X" + strings.Repeat(" {1+}\r\na", 10) + "\r\nA2 NOOP\r\n")
	for range PreAuth().Literals {
		if ev := feed(t, f, &in); ev != EventLiteral || !f.Inline() {
			t.Fatalf("event %d", ev)
		}
	}
	if ev := feed(t, f, &in); ev != EventReject || f.Reason() != ReasonLiterals {
		t.Fatalf("event %d, reason %v", ev, f.Reason())
	}
	wantEvent(t, f, &in, EventFrame, "A2 NOOP")
}

func TestFramerNextLine(t *testing.T) {
	f := NewFramer(Commands, PreAuth(), nil)
	f.Commit(copy(f.Reserve(), "dGVzdA== {5+}\r\n*\r\nDONE\r\nA1 NOOP\r\n"))
	for _, want := range []string{"dGVzdA== {5+}", "*", "DONE"} {
		if ev, err := f.NextLine(); ev != EventFrame || err != nil || string(f.Frame().Data) != want {
			t.Fatalf("event %d, error %v, line %q", ev, err, f.Frame().Data)
		}
	}
	if ev, _ := f.Next(); ev != EventFrame || string(f.Frame().Data) != "A1 NOOP" {
		t.Fatalf("event %d, frame %q", ev, f.Frame().Data)
	}
}

// A line that no literal is looked for in is dropped alone, also when it is too long.
func TestFramerLongPlainLines(t *testing.T) {
	long := strings.Repeat("x", PreAuth().Line) + " {20+}\r\n"
	f := NewFramer(Commands, PreAuth(), nil)
	in := []byte(long + "A1 NOOP\r\n")
	for {
		ev, err := f.NextLine()
		if err != nil {
			t.Fatal(err)
		}
		if ev == EventReject {
			break
		}
		n := copy(f.Reserve(), in)
		f.Commit(n)
		in = in[n:]
	}
	wantEvent(t, f, &in, EventFrame, "A1 NOOP")

	f = NewFramer(Responses, PreAuth(), nil)
	in = []byte("* NO " + long + "* 1 EXISTS\r\n* LIST " + long + strings.Repeat("y", 20) + "\r\n* 2 EXISTS\r\n")
	for _, want := range []string{"* 1 EXISTS", "* 2 EXISTS"} {
		if ev := feed(t, f, &in); ev != EventReject || f.Reason() != ReasonLine {
			t.Fatalf("event %d, %v", ev, f.Reason())
		}
		wantEvent(t, f, &in, EventFrame, want)
	}
}

func TestFramerResponses(t *testing.T) {
	f := NewFramer(Responses, Upstream(), nil)
	in := []byte("* OK it ends in {3}\r\n* 1 FETCH (BODY[] {5}\r\nhello BODY[1] {3}\r\nabc FLAGS ())\r\n+ {2}\r\nA1 NO x {9}\r\nhm {1}\r\n")
	wantEvent(t, f, &in, EventFrame, "* OK it ends in {3}")
	wantEvent(t, f, &in, EventLiteral, "* 1 FETCH (BODY[] {5}\r\n")
	if !f.Stream() || !f.Literal().NonSync {
		t.Fatal("not streamed")
	}
	wantEvent(t, f, &in, EventChunk, "")
	if string(f.Chunk()) != "hello" || f.Remaining() != 0 {
		t.Fatalf("chunk %q", f.Chunk())
	}
	wantEvent(t, f, &in, EventLiteralEnd, "")
	wantEvent(t, f, &in, EventLiteral, "* 1 FETCH (BODY[] {5}\r\n BODY[1] {3}\r\n")
	f.Skip()
	wantEvent(t, f, &in, EventFrame, "* 1 FETCH (BODY[] {5}\r\n BODY[1] {3}\r\n FLAGS ())")
	want := []Literal{
		{Head: 18, Off: 23, Mode: LiteralStreamed, NonSync: true, Size: 5},
		{Head: 32, Off: 37, Mode: LiteralSkipped, NonSync: true, Size: 3},
	}
	if !slices.Equal(f.Frame().Lits, want) {
		t.Fatalf("literals %+v", f.Frame().Lits)
	}
	wantEvent(t, f, &in, EventFrame, "+ {2}")
	wantEvent(t, f, &in, EventFrame, "A1 NO x {9}")
	wantEvent(t, f, &in, EventFrame, "hm {1}")
}

func TestLiteralReader(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 5000)
	stream := append([]byte("A1 APPEND x {50000}\r\n"), body...)
	stream = append(stream, " {4}\r\nabcd\r\nA2 NOOP\r\n"...)
	for name, conn := range map[string]io.Reader{
		"whole":  bytes.NewReader(stream),
		"octets": iotest.OneByteReader(bytes.NewReader(stream)),
		"halves": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		f := NewFramer(Commands, PostAuth(), &BufferPool{})
		next := func() Event {
			for {
				ev, err := f.Next()
				if err != nil {
					t.Fatal(err)
				}
				if ev != NeedData {
					return ev
				}
				n, err := conn.Read(f.Reserve())
				if err != nil {
					t.Fatal(err)
				}
				f.Commit(n)
			}
		}
		if next() != EventLiteral || !f.Stream() {
			t.Fatal("no literal")
		}
		r := f.LiteralReader(conn)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%s: %d octets, %v", name, len(got), err)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("%s: read after the end: %d, %v", name, n, err)
		}
		if next() != EventLiteral || !f.Stream() {
			t.Fatal("no second literal")
		}
		r = f.LiteralReader(conn)
		if n, err := r.Read(make([]byte, 2)); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		first, second := next(), next()
		if first != EventFrame || second != EventFrame || string(f.Frame().Data) != "A2 NOOP" {
			t.Fatalf("%s: frame %q", name, f.Frame().Data)
		}
	}
}

func TestLiteralReaderShort(t *testing.T) {
	f := NewFramer(Commands, PostAuth(), nil)
	f.Commit(copy(f.Reserve(), "A1 APPEND x {10+}\r\nabc"))
	if ev, _ := f.Next(); ev != EventLiteral || !f.Stream() {
		t.Fatal("no literal")
	}
	got, err := io.ReadAll(f.LiteralReader(strings.NewReader("de")))
	if string(got) != "abcde" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%q, %v", got, err)
	}
}

// Between commands a framer holds nothing but itself.
func TestFramerHoldsNothingWhenIdle(t *testing.T) {
	f := NewFramer(Commands, PostAuth(), &BufferPool{})
	in := []byte("A1 SEARCH " + strings.Repeat("UNSEEN ", 1000) + "\r\n")
	if feed(t, f, &in) != EventFrame {
		t.Fatal("no frame")
	}
	if f.box == nil {
		t.Fatal("the test needs a frame that does not fit the small buffer")
	}
	f.Release()
	if f.box != nil || &f.buf[:1][0] != &f.small[0] || f.kept != nil {
		t.Error("a buffer is held")
	}
}

// A command with a literal that was dropped is not in the grammar.
func TestParseSkipped(t *testing.T) {
	f := NewFramer(Commands, PostAuth(), nil)
	in := []byte("A1 LOGIN {3+}\r\njoe x\r\n")
	if ev := feed(t, f, &in); ev != EventLiteral {
		t.Fatalf("event %d", ev)
	}
	f.Skip()
	if ev := feed(t, f, &in); ev != EventFrame {
		t.Fatalf("event %d", ev)
	}
	var c Command
	if err := (&Parser{Limits: PostAuth()}).Parse(f.Frame(), &c); err == nil {
		t.Errorf("accepted: %+v", c.Login)
	}
}

func TestTakeBuffered(t *testing.T) {
	f := NewFramer(Commands, PreAuth(), nil)
	f.Commit(copy(f.Reserve(), "A1 STARTTLS\r\nA2 LOGIN a b\r\n"))
	if ev, _ := f.Next(); ev != EventFrame || f.Buffered() != 14 {
		t.Fatalf("buffered %d", f.Buffered())
	}
	if rest := f.TakeBuffered(); string(rest) != "A2 LOGIN a b\r\n" {
		t.Fatalf("rest %q", rest)
	}
	if ev, _ := f.Next(); ev != NeedData || f.Buffered() != 0 || f.InFrame() {
		t.Fatal("something is left")
	}
}

func TestFrameTag(t *testing.T) {
	for in, want := range map[string]string{
		"A1 NOOP": "A1", "A1": "A1", "": "", " A1": "", "A1\tNOOP": "", "a+b x": "", "]. x": "].", "* OK": "", "\"a\" x": "",
	} {
		if got := (&Frame{Data: []byte(in)}).Tag(); string(got) != want {
			t.Errorf("%q: tag %q, want %q", in, got, want)
		}
	}
}

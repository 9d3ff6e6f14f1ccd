package syntax

import (
	"strings"
	"testing"
)

// Lines of any length that the limits allow come through whole, whatever the buffers that they pass through.
func TestFramerLargeLines(t *testing.T) {
	pool := &BufferPool{}
	f := NewFramer(Responses, Upstream(), pool)
	for _, n := range []int{100, 5000, 70_000, 300_000, 10} {
		line := "* SEARCH" + strings.Repeat(" 1234567", n/8)
		in := []byte(line + "\r\n* 1 EXISTS\r\n")
		wantEvent(t, f, &in, EventFrame, line)
		wantEvent(t, f, &in, EventFrame, "* 1 EXISTS")
		wantEvent(t, f, &in, NeedData, "")
		if cap(f.buf) != smallBuffer {
			t.Errorf("%d octets are held after a line of %d", cap(f.buf), n)
		}
	}
}

// A caller may read on before it decides on a literal: the frame stays what it was.
func TestFramerReadsOnBeforeDeciding(t *testing.T) {
	f := NewFramer(Commands, PostAuth(), nil)
	head := "A1 APPEND " + strings.Repeat("m", smallBuffer-30) + " {2000+}\r\n"
	in := []byte(head)
	wantEvent(t, f, &in, EventLiteral, head)
	body := strings.Repeat("b", 2000)
	for rest := body; rest != ""; {
		n := copy(f.Reserve(), rest)
		f.Commit(n)
		rest = rest[n:]
	}
	if ev, _ := f.Next(); ev != EventLiteral || string(f.Frame().Data) != head || f.Remaining() != 2000 {
		t.Fatalf("event %d, frame %q", ev, f.Frame().Data)
	}
	if !f.Inline() {
		t.Fatal("not inline")
	}
	in = []byte("\r\n")
	wantEvent(t, f, &in, EventFrame, head+body)
}

// One large command does not make a reused Command large for good.
func TestCommandForgetsLargeArenas(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	var c Command
	for _, line := range []string{"a FETCH 1" + strings.Repeat(",3", 5000) + " FLAGS", "a NOOP"} {
		f, _, ok := frameOf(t, p.Limits, []byte(line+"\r\n"))
		if !ok || p.Parse(f, &c) != nil {
			t.Fatal("refused")
		}
	}
	if n := cap(c.arena.ranges); n > arenaKeep {
		t.Errorf("%d ranges are held", n)
	}
}

// The parser is told only what the framer saw: a frame that says otherwise is refused, and Probe needs a literal that is
// pending.
func TestParserChecksLiterals(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	var c Command
	for _, f := range []Frame{
		{Data: []byte("a LOGIN {3}\r\nab")},
		{Data: []byte("a LOGIN {3}\r\nab"), Lits: []Literal{{Head: 8, Off: 13, Mode: LiteralInline, Size: 3}}},
		{Data: []byte("a LOGIN {3}\r\nabc x"), Lits: []Literal{{Head: 7, Off: 13, Mode: LiteralInline, Size: 3}}},
	} {
		if err := p.Parse(&f, &c); err == nil {
			t.Errorf("%q %+v is accepted", f.Data, f.Lits)
		}
	}
	if v, err := p.Probe(&Frame{Data: []byte("a NOOP")}, &c); v != LiteralNotHere || err == nil {
		t.Errorf("verdict %d, %v", v, err)
	}
}

package server

import (
	"bytes"
	"context"
	"testing"

	"imapped/app/session"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/imapwire/syntax"
)

// sink is a connection that takes everything and keeps nothing.
type sink struct{ memConn }

func (*sink) Write(p []byte) (int, error) { return len(p), nil }

// Answering a message costs no allocation: fragments are copied to the output buffer.
func TestFetchAllocates(t *testing.T) {
	s, err := New(Options{Sessions: newFake()})
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(context.Background(), s, &sink{memConn{in: bytes.NewReader(nil)}}, remoteIP(&sink{}), PlainMode)
	raw := bytes.Repeat([]byte("0123456789abcde\n"), 1000)
	m := &session.Message{
		Seq: 7, Row: mailbox.Row{UID: 70, ModSeq: 9, Size: int64(len(raw)), Flags: flag.Parse(`\Seen`, "$Work")},
		EmailID: "E1", ThreadID: "T1", Saved: testDate,
		Fragments: message.Fragments{
			Envelope: []byte("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"), BodyStructure: []byte(`("text" "plain" NIL NIL NIL "7bit" 1 1)`),
			Preview: []byte("preview"),
		},
	}
	body := fakeBytes{bytes.NewReader(raw)}
	var shared session.Bytes = body
	m.Open = func(context.Context) (session.Bytes, error) { return shared, nil }
	parse := func(line string) *syntax.Command {
		f := syntax.NewFramer(syntax.Commands, syntax.PostAuth(), nil)
		f.Commit(copy(f.Reserve(), line))
		if ev, err := f.Next(); ev != syntax.EventFrame || err != nil {
			t.Fatal(ev, err)
		}
		cmd := new(syntax.Command)
		if err := (&syntax.Parser{Limits: syntax.PostAuth()}).Parse(f.Frame(), cmd); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for _, c2 := range []struct {
		items string
		most  float64
	}{
		{"FLAGS", 0}, {"(UID FLAGS RFC822.SIZE MODSEQ)", 0}, {"(FLAGS ENVELOPE BODYSTRUCTURE EMAILID PREVIEW)", 0},
		{"(UID BODY.PEEK[])", 0}, {"(UID BODY.PEEK[]<100.200>)", 0},
	} {
		f := &fetcher{c: c, args: &parse("a FETCH 1 " + c2.items + "\r\n").Fetch, scratch: new(scratch)}
		f.plan(true)
		if got := testing.AllocsPerRun(100, func() {
			if err := f.message(m); err != nil {
				t.Fatal(err)
			}
		}); got > c2.most {
			t.Errorf("%s: %v allocations a message, want at most %v", c2.items, got, c2.most)
		}
	}
}

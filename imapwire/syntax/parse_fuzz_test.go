package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// frameOf returns the first frame of in, all literals inline; ok is false when in does not hold one. used is how many
// octets it took.
func frameOf(t testing.TB, lim Limits, in []byte) (f *Frame, used int, ok bool) {
	t.Helper()
	fr := NewFramer(Commands, lim, nil)
	for fed := 0; ; {
		ev, err := fr.Next()
		if err != nil {
			return nil, 0, false
		}
		switch ev {
		case NeedData:
			if fed == len(in) {
				return nil, 0, false
			}
			n := copy(fr.Reserve(), in[fed:])
			fr.Commit(n)
			fed += n
		case EventLiteral:
			if !fr.Inline() {
				return nil, 0, false
			}
		case EventFrame:
			f = &Frame{}
			f.CopyFrom(fr.Frame())
			return f, fed - fr.Buffered(), true
		default:
			return nil, 0, false
		}
	}
}

// dump returns everything that a command says, as text.
func dump(c *Command) string {
	d := *c
	d.arena = arena{}
	return fmt.Sprintf("%+v", d)
}

// checkCommand holds the oracles over one frame: the slow grammar agrees; what is accepted survives encoding; what is
// refused is refused at a place inside the frame, without any octet of an argument in the text.
func checkCommand(t *testing.T, p *Parser, in []byte) {
	t.Helper()
	f, used, ok := frameOf(t, p.Limits, in)
	if !ok {
		return
	}
	before := bytes.Clone(f.Data)
	var c Command
	err := p.Parse(f, &c)
	if !bytes.Equal(before, f.Data) {
		t.Fatalf("parsing changed the frame: %q to %q", before, f.Data)
	}
	var e Error
	if errors.As(err, &e) {
		if e.Off < 0 || e.Off > len(f.Data) {
			t.Fatalf("%q: error at %d, outside of the frame", f.Data, e.Off)
		}
		if !bytes.Equal(e.Tag, c.Tag) || !bytes.Equal(e.Tag, f.Tag()) {
			t.Fatalf("%q: tags differ: error %q, command %q, frame %q", f.Data, e.Tag, c.Tag, f.Tag())
		}
		if len(e.Error()) > 160 {
			t.Fatalf("error text too long: %q", e.Error())
		}
		if e.Limit {
			return
		}
	}
	if want := slowAccepts(string(f.Data)); want != (err == nil) {
		t.Fatalf("%q: the grammar accepts: %v; the parser says: %v", f.Data, want, err)
	}
	if err != nil {
		return
	}
	if used != len(f.Data)+1 && used != len(f.Data)+2 {
		t.Fatalf("%q took %d octets", f.Data, used)
	}
	again := encodeCommand(&c)
	f2, _, ok := frameOf(t, p.Limits, append(bytes.Clone(again), '\r', '\n'))
	if !ok || !bytes.Equal(f2.Data, again) {
		t.Fatalf("%q: encoded as %q, which is no frame", f.Data, again)
	}
	var c2 Command
	if err := p.Parse(f2, &c2); err != nil {
		t.Fatalf("%q: encoded as %q, which is refused: %v", f.Data, again, err)
	}
	if dump(&c) != dump(&c2) {
		t.Fatalf("%q: encoded as %q, which means something else:\n%s\n%s", f.Data, again, dump(&c), dump(&c2))
	}
}

func FuzzCommand(f *testing.F) {
	for _, line := range commandSeeds {
		f.Add([]byte(line + "\r\n"))
	}
	p := &Parser{Limits: PostAuth()}
	p.Limits.Line, p.Limits.Command = 1000, 2000
	f.Fuzz(func(t *testing.T, in []byte) { checkCommand(t, p, in) })
}

package syntax

import "testing"

// announce returns a framer that reports the literal that line ends in; earlier literals are inline.
func announce(t *testing.T, line string) *Framer {
	t.Helper()
	f := NewFramer(Commands, PostAuth(), nil)
	in := []byte(line)
	for {
		ev := feed(t, f, &in)
		if ev != EventLiteral {
			t.Fatalf("%q: event %d", line, ev)
		}
		if len(in) == 0 && f.Buffered() == int(f.Literal().Off) {
			return f
		}
		if !f.Inline() {
			t.Fatalf("%q: not inline", line)
		}
	}
}

// The grammar is asked before the size: a literal that no production takes there is refused whatever its size.
func TestProbe(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	for line, want := range map[string]LiteralVerdict{
		"a LOGIN {3}\r\n":                            LiteralAsText,
		"a LOGIN joe {3}\r\n":                        LiteralAsText,
		"a LOGIN {3}\r\njoe {6+}\r\n":                LiteralAsText,
		"a LOGIN joe x {3}\r\n":                      LiteralNotHere,
		"a LOGIN joe ~{3}\r\n":                       LiteralNotHere,
		"a NOOP {3}\r\n":                             LiteralNotHere,
		"a NOOP{3}\r\n":                              LiteralNotHere,
		"a XYZZY {3}\r\n":                            LiteralNotHere,
		"{3}\r\n":                                    LiteralNotHere,
		"a {3}\r\n":                                  LiteralNotHere,
		"a LOGIN \"x{3}\r\n":                         LiteralNotHere,
		"a AUTHENTICATE PLAIN {3}\r\n":               LiteralNotHere,
		"a APPEND {5}\r\n":                           LiteralAsText,
		"a APPEND x {5}\r\n":                         LiteralAsData,
		"a APPEND x (\\Seen) {5}\r\n":                LiteralAsData,
		"a APPEND x (\\Seen {5}\r\n":                 LiteralNotHere,
		"a APPEND x ~{5}\r\n":                        LiteralAsData,
		"a APPEND x UTF8 (~{5}\r\n":                  LiteralAsData,
		"a APPEND x UTF8 ({5}\r\n":                   LiteralNotHere,
		"a APPEND x {1}\r\na {5}\r\n":                LiteralAsData,
		"a APPEND x {1}\r\na{5}\r\n":                 LiteralNotHere,
		"a REPLACE 1 x {5}\r\n":                      LiteralAsData,
		"a REPLACE 1 x {1}\r\na {5}\r\n":             LiteralNotHere,
		"a SEARCH SUBJECT {5}\r\n":                   LiteralAsText,
		"a SEARCH OR SUBJECT {1}\r\na (FROM {5}\r\n": LiteralAsText,
		"a SEARCH KEYWORD {5}\r\n":                   LiteralNotHere,
		"a FETCH 1 BODY[HEADER.FIELDS (a {5}\r\n":    LiteralAsText,
		"a FETCH {5}\r\n":                            LiteralNotHere,
		"a LIST \"\" {5}\r\n":                        LiteralAsText,
		"a ID ({5}\r\n":                              LiteralAsText,
		"a UID COPY 1:* {5}\r\n":                     LiteralAsText,
	} {
		f := announce(t, line)
		var c Command
		got, err := p.Probe(f.Frame(), &c)
		if got != want || (err == nil) != (want != LiteralNotHere) {
			t.Errorf("%q: verdict %d, %v", line, got, err)
		}
	}
}

// What stands before the literal is known when the decision is made.
func TestProbeGivesArguments(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	f := announce(t, "a7 APPEND Drafts {1}\r\nx (\\Draft) \" 7-Jul-1996 02:44:25 -0700\" UTF8 (~{100+}\r\n")
	var c Command
	if v, err := p.Probe(f.Frame(), &c); v != LiteralAsData || err != nil {
		t.Fatal(v, err)
	}
	if string(c.Tag) != "a7" || c.Verb != VerbAppend || c.Mailbox.Text() != "Drafts" || len(c.Append) != 2 {
		t.Fatalf("%+v", c)
	}
	if m := c.Append[1]; len(m.Flags) != 1 || m.Flags[0].Bits != FlagDraft || !m.HasDate || m.Date.Year != 1996 || !m.UTF8 ||
		!m.Binary || m.Size != 100 || m.Lit != 1 || m.Mode != LiteralPending {
		t.Errorf("%+v", m)
	}
}

// A streamed message is described by the parsed command; a streamed string argument is refused.
func TestParseStreamed(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	var c Command
	f := NewFramer(Commands, PostAuth(), nil)
	in := []byte("a APPEND x {3}\r\nabc (\\Seen) ~{4+}\r\nde\x00f\r\n")
	var frame Event
	for frame != EventFrame {
		if frame = feed(t, f, &in); frame == EventLiteral && !f.Stream() {
			t.Fatal("not streamed")
		}
	}
	if err := p.Parse(f.Frame(), &c); err != nil {
		t.Fatal(err)
	}
	m := c.Append
	if len(m) != 2 || m[0].Mode != LiteralStreamed || m[0].Size != 3 || m[0].Lit != 0 || m[1].Size != 4 || m[1].Lit != 1 ||
		!m[1].Binary || m[1].Bytes != nil || m[1].Flags[0].Bits != FlagSeen {
		t.Errorf("%+v", m)
	}
	f = announce(t, "a LOGIN {3+}\r\n")
	f.Stream()
	in = []byte("joe x\r\n")
	for frame = EventChunk; frame != EventFrame; {
		frame = feed(t, f, &in)
	}
	if err := p.Parse(f.Frame(), &c); err == nil {
		t.Error("a streamed argument was accepted")
	}
}

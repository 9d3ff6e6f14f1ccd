package syntax

import "testing"

// hotLines are commands as real clients send them all day long.
var hotLines = []string{
	"A1 NOOP",
	"A2 LOGIN joe@example.org \"correct horse \\\"battery\\\" staple\"",
	"A3 LOGIN {15+}\r\njoe@example.org {6+}\r\nsecret",
	"A4 SELECT INBOX",
	"A5 SELECT \"[Gmail]/All Mail\" (CONDSTORE)",
	"A6 SELECT INBOX (QRESYNC (67890007 90060115194045000 41,43:211,214:541))",
	"A7 FETCH 1:50 (UID FLAGS RFC822.SIZE INTERNALDATE BODYSTRUCTURE)",
	"A8 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 90060115194045000)",
	"A9 UID FETCH 4021,4030:4050,4061 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID " +
		"Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
	"A10 UID FETCH 4021 BODY.PEEK[1.2]<0.65536>",
	"A11 STORE 1:5,7 +FLAGS.SILENT (\\Seen \\Answered $Junk)",
	"A12 UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS (\\Deleted)",
	"A13 UID SEARCH RETURN (ALL) CHARSET UTF-8 OR SUBJECT \"hello\" (FROM {5+}\r\nalice SINCE 1-Feb-2024) NOT DELETED UID 1:*",
	"A14 SEARCH UNSEEN",
	"A15 IDLE",
	"A16 STATUS \"Sent Items\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)",
	"A17 LIST (SUBSCRIBED) \"\" (\"INBOX\" \"%\") RETURN (CHILDREN STATUS (UNSEEN MESSAGES))",
	"A18 UID MOVE 42:69 Trash",
}

// Hot commands cost no allocation: neither to parse, nor to take from the stream.
func TestHotCommandsDoNotAllocate(t *testing.T) {
	p := &Parser{Limits: PostAuth()}
	fr := NewFramer(Commands, PostAuth(), nil)
	for _, line := range hotLines {
		f, _, ok := frameOf(t, p.Limits, []byte(line+"\r\n"))
		if !ok {
			t.Fatalf("%q is no frame", line)
		}
		var c Command
		if n := testing.AllocsPerRun(100, func() {
			if err := p.Parse(f, &c); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations to parse", line, n)
		}
		if len(line)+2 > smallBuffer {
			continue
		}
		stream := line + "\r\n"
		if n := testing.AllocsPerRun(100, func() {
			fr.Commit(copy(fr.Reserve(), stream))
			for ev := EventLiteral; ev != EventFrame; {
				var err error
				if ev, err = fr.Next(); err != nil || ev == EventLiteral && !fr.Inline() {
					t.Fatalf("%q: event %d, %v", line, ev, err)
				}
			}
			if err := p.Parse(fr.Frame(), &c); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			fr.Release()
		}); n != 0 {
			t.Errorf("%q: %v allocations to frame and parse", line, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	p := &Parser{Limits: PostAuth()}
	var c Command
	for _, line := range hotLines {
		f, _, _ := frameOf(b, p.Limits, []byte(line+"\r\n"))
		b.Run(p.name(f, &c), func(b *testing.B) {
			b.SetBytes(int64(len(f.Data) + 2))
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Parse(f, &c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (p *Parser) name(f *Frame, c *Command) string {
	if p.Parse(f, c) != nil || !c.UID {
		return c.Verb.String()
	}
	return "UID " + c.Verb.String()
}

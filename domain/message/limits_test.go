package message

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// repeated is a reader of many copies of a text, so that a large message is not in memory.
type repeated struct {
	text string
	n    int
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// allocated returns how many octets f allocates, in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileMessages(t *testing.T) {
	nested := func(head, boundary string) io.Reader {
		var parts []io.Reader
		for i := range 10_000 {
			parts = append(parts, strings.NewReader(fmt.Sprintf(head, i)+fmt.Sprintf(boundary, i)))
		}
		return io.MultiReader(parts...)
	}
	for _, tt := range []struct {
		name     string
		r        io.Reader
		parts    int    // the number of parts, all in all
		mostKB   uint64 // allocated while parsing, rendering included
		maxSteps int
	}{
		{"multiparts 10,000 deep", nested("Content-Type: multipart/mixed; boundary=%d-\r\n\r\n", "--%d-\r\n"),
			maxDepth + 1, 400, 2_000_000},
		{"multiparts 10,000 deep with one boundary", &repeated{text: "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n", n: 10_000},
			10_000, 40_000, 30_000},
		{"messages 10,000 deep", &repeated{text: "Content-Type: message/rfc822\r\n\r\n", n: 10_000}, maxDepth + 1, 500, 1000},
		{"100,000 parts", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=x\r\n\r\n"),
			&repeated{text: "--x\r\n\r\nb\r\n", n: 100_000}), maxParts, 40_000, 20_000},
		{"10 MB of header fields", &repeated{text: "Content-ID: " + strings.Repeat("x", 86) + "\r\n", n: 100_000}, 1, 100, 110_000},
		{"10 MB of addresses", &repeated{text: "To: " + strings.Repeat("a@b,", 24) + "\r\n", n: 100_000}, 1, 30_000, 110_000},
		{"one field of 10 MB", io.MultiReader(strings.NewReader("Subject: "), &repeated{text: strings.Repeat("x", 1000), n: 10_000}),
			1, 4_000, 1000},
		{"one folded field of 10 MB", io.MultiReader(strings.NewReader("Subject: "), &repeated{text: "x\r\n " + strings.Repeat("x", 1000), n: 10_000}),
			1, 4_000, 1000},
		{"10 MB of parameters", io.MultiReader(strings.NewReader("Content-Type: a/b"), &repeated{text: "; a=b", n: 2_000_000}), 1, 4_000, 1000},
		{"10 MB of parameter pieces", io.MultiReader(strings.NewReader("Content-Type: a/b"), &repeated{text: "; a*1=b", n: 1_500_000}), 1, 4_000, 1000},
		{"10 MB of comments", io.MultiReader(strings.NewReader("From: "), &repeated{text: "(", n: 10_000_000}), 1, 4_000, 1000},
		{"10 MB of almost boundaries", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=xx\r\n\r\n"),
			&repeated{text: "--x\r\n", n: 2_000_000}), 1, 100, 2_100_000},
		{"HTML of 1 MB", io.MultiReader(strings.NewReader("Content-Type: text/html\r\n\r\n"), &repeated{text: "<b>", n: 350_000}), 1, 100, 1000},
		{"100 MB in one line", &repeated{text: strings.Repeat("x", 1000), n: 100_000}, 1, 1_000, 1000},
		{"100 MB of text", io.MultiReader(strings.NewReader("\r\n"), &repeated{text: strings.Repeat("x", 78) + "\r\n", n: 1_250_000}), 1, 100, 1000},
	} {
		var p Parser
		var f Fragments
		var err error
		kb := allocated(func() { f, err = p.Parse(tt.r, 0) }) / 1000
		if err != nil {
			t.Fatal(err)
		}
		ix, err := DecodeIndex(f.Parts)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if len(ix.parts) > tt.parts || len(ix.parts) < tt.parts-1 {
			t.Errorf("%s: %d parts, want %d", tt.name, len(ix.parts), tt.parts)
		}
		if kb > tt.mostKB {
			t.Errorf("%s: %d kB allocated, at most %d wanted", tt.name, kb, tt.mostKB)
		}
		if p.walker.steps > tt.maxSteps {
			t.Errorf("%s: %d steps, at most %d wanted", tt.name, p.walker.steps, tt.maxSteps)
		}
		if v, err := read(f.BodyStructure); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if _, err := checkBody(v, true); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		t.Logf("%-42s %6d parts, %6d kB allocated, %8d steps, structure %d kB, envelope %d kB", tt.name, len(ix.parts), kb,
			p.walker.steps, len(f.BodyStructure)/1000, len(f.Envelope)/1000)
	}
}

func TestOpaquePartIsNoMultipart(t *testing.T) {
	raw := []byte(strings.Repeat("Content-Type: message/rfc822\r\n\r\n", maxDepth+5))
	f := mustParse(t, raw)
	if err := check(raw, f); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(f.Body), `"message" "rfc822"`); n != maxDepth {
		t.Errorf("%d enclosed messages", n)
	}
	if !strings.Contains(string(f.Body), `"application" "octet-stream"`) {
		t.Error("the innermost part is not shown as opaque")
	}
}

// TestParserIsReusable parses different messages with one Parser, in turn and again.
func TestParserIsReusable(t *testing.T) {
	var p Parser
	var first []Fragments
	for round := range 2 {
		for i, tt := range structureTests {
			raw := crlfed(tt.raw)
			f, err := p.Parse(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				first = append(first, f)
				continue
			}
			if !bytes.Equal(f.BodyStructure, first[i].BodyStructure) || !bytes.Equal(f.Parts, first[i].Parts) ||
				!bytes.Equal(f.Envelope, first[i].Envelope) || !bytes.Equal(f.Preview, first[i].Preview) {
				t.Errorf("%s: another result the second time", tt.name)
			}
		}
	}
}

func TestParseAllocations(t *testing.T) {
	raw := crlfed("From: Foo Bar <a@b>\nTo: c@d, e@f\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=x\n\n" +
		"--x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nHello\n" +
		"--x\nContent-Type: text/html; charset=utf-8\n\n<p>Hello</p>\n--x--\n")
	var p Parser
	r := bytes.NewReader(raw)
	got := testing.AllocsPerRun(100, func() {
		r.Reset(raw)
		if _, err := p.Parse(r, int64(len(raw))); err != nil {
			t.Fatal(err)
		}
	})
	if got > 12 {
		t.Errorf("%v allocations a message", got)
	}
	t.Logf("%v allocations", got)
}

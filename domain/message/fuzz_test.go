package message

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// fuzzSeeds are small messages that lead into every corner of the walker.
func fuzzSeeds(f *testing.F) {
	for _, tt := range structureTests {
		f.Add(crlfed(tt.raw))
	}
	f.Add(crlfed(nested))
	f.Add([]byte(nested))
	f.Add([]byte("From x\nA: b\n c\n\n\x00\r\r\n"))
}

// FuzzWalk holds what Parse computes against the grammar, against itself, and against the same octets given one by one.
func FuzzWalk(f *testing.F) {
	fuzzSeeds(f)
	var p Parser
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := p.Parse(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := check(raw, got); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(raw, lf) + 1
		if most := lines * (maxDepth + 2); p.walker.steps > most {
			t.Fatalf("%d steps for %d lines", p.walker.steps, lines)
		}
		slow, err := Parse(iotest.HalfReader(iotest.OneByteReader(bytes.NewReader(raw))), 0)
		if err != nil || !bytes.Equal(slow.BodyStructure, got.BodyStructure) || !bytes.Equal(slow.Parts, got.Parts) ||
			!bytes.Equal(slow.Envelope, got.Envelope) || !bytes.Equal(slow.Headers, got.Headers) ||
			!bytes.Equal(slow.Preview, got.Preview) {
			t.Fatalf("octet by octet:\n%q\n%q", slow, got)
		}
		ix, err := DecodeIndex(got.Parts)
		if err != nil {
			t.Fatal(err)
		}
		sections(t, ix, raw, nil)
	})
}

// sections reads every section of the part at path and of what is in it.
func sections(t *testing.T, ix *Index, raw []byte, path []uint32) {
	for kind := SectionWhole; kind <= SectionMIME; kind++ {
		s, ok := ix.Section(path, kind)
		if !ok {
			continue
		}
		content := raw[s.Off : s.Off+s.Len]
		if kind == SectionHeader || kind == SectionMIME {
			FilterHeader(nil, content, []string{"subject"}, len(path)%2 == 0)
		}
		if enc, ok := ix.Encoding(path); ok && kind == SectionWhole {
			if r, err := DecodedReader(bytes.NewReader(content), enc); err == nil {
				if n, _ := io.Copy(io.Discard, r); n > s.Len {
					t.Fatalf("%d octets decoded from %d", n, s.Len)
				}
			}
		}
	}
	if len(path) > 20 {
		return
	}
	for n := uint32(1); n < 20; n++ {
		kid := append(path[:len(path):len(path)], n)
		if _, ok := ix.Section(kid, SectionWhole); !ok {
			return
		}
		sections(t, ix, raw, kid)
	}
}

// FuzzEnvelope renders one field as every field of an envelope, and as text for searching.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		"a@b", "Foo <a@b>, \"x\\\"y\" <@r,@s:c@d> (c (d))", "g: a@b, c;, d@e", "a b c", "<", "\"", "(", "x:;", "a@[1.2", "\r\n a",
		"=?utf-8?q?a?= <\xe9@\x00>", "a . b @ c . d., <....@d>,,",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		var raw []byte
		for _, name := range envelopeNames {
			raw = append(append(append(raw, name...), ": "...), field...)
			raw = append(raw, crlf...)
		}
		got := mustParse(t, raw)
		if err := check(raw, got); err != nil {
			t.Fatal(err)
		}
		var r AddressReader
		text := r.Text(nil, field)
		if len(text) > 60*(len(field)+1) {
			t.Fatalf("%d octets from %d", len(text), len(field))
		}
		ParseDate(field)
		Identify(raw, 1, mustDate)
	})
}

var mustDate, _ = ParseDate([]byte("1 Jan 2000 00:00:00 +0000"))

// FuzzHeaderDecode holds the header decoder to valid UTF-8 and linear output.
func FuzzHeaderDecode(f *testing.F) {
	for _, s := range []string{
		"=?utf-8?q?caf=C3=A9?= =?utf-8?B?Y2Fm6Q==?=", "=?utf-7?q?+AOk-?=", "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "=?", "=?a?q?",
		"a\r\n\tb", "=?gb18030?q?=81=30=81=30?=", "=?utf-16?b?AOk=?=", "=?hz-gb-2312?q?~{VP~}?=", "=?big5?q?=a4?= =?big5?q?=a4?=",
	} {
		f.Add([]byte(s))
	}
	var d HeaderDecoder
	f.Fuzz(func(t *testing.T, value []byte) {
		got := d.Decode(nil, value)
		if !utf8.Valid(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		if len(got) > 3*len(value)+16 {
			t.Fatalf("%d octets from %d", len(got), len(value))
		}
		if again := d.Decode(nil, value); !bytes.Equal(again, got) {
			t.Fatalf("%q, then %q", got, again)
		}
	})
}

// FuzzHTML holds the HTML stripper to the same text however its input is cut.
func FuzzHTML(f *testing.F) {
	for _, s := range []string{
		"<p>a</p>", "<script>x</script>y", "<!-- a -->b", "<a href='>'>c</a>", "&amp;&#33;&x", "< <<a", "</", "<!a>", "<?b?>", "&#x110000;",
		"<style></styl></style x>y", "<!--->a<!---->b",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var whole, pieces htmlText
		got := whole.Write(nil, text)
		var slow []byte
		for i := range text {
			slow = pieces.Write(slow, text[i:i+1])
		}
		if !bytes.Equal(got, slow) {
			t.Fatalf("%q at once, %q octet by octet", got, slow)
		}
		if len(got) > 2*len(text)+maxToken {
			t.Fatalf("%d octets from %d", len(got), len(text))
		}
	})
}

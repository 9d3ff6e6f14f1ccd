package message

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"imapped/domain/fault"
)

// nested is the example of RFC 9051 section 6.4.5.1 with content that names its place.
const nested = `Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=A

--A
Content-Type: text/plain

[1]
--A
Content-Type: application/octet-stream
Content-Transfer-Encoding: Base64

WzJd
--A
Content-Type: message/rfc822

Subject: enclosed
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=B

--B

[3.1]
--B
Content-Type: application/octet-stream
Content-Transfer-Encoding: x-odd

[3.2]
--B--
--A
Content-Type: multipart/mixed; boundary=C

--C
Content-Type: image/gif

[4.1]
--C
Content-Type: message/rfc822

Subject: single

[4.2.1]
--C--
--A--
`

func TestSection(t *testing.T) {
	raw := crlfed(nested)
	ix, err := DecodeIndex(mustParse(t, raw).Parts)
	if err != nil {
		t.Fatal(err)
	}
	after := func(mark string) string { // from mark to the end
		return string(raw[bytes.Index(raw, crlfed(mark)):])
	}
	upTo := func(s, mark string) string { return s[:strings.Index(s, mark)] }
	enclosed := upTo(after("Subject: enclosed"), "--A\r\n") // with the line break after its closing boundary
	for _, tt := range []struct {
		path string
		kind SectionKind
		want string // "-": no such section
	}{
		{"", SectionWhole, string(raw)},
		{"", SectionHeader, upTo(string(raw), "--A")},
		{"", SectionText, after("--A\n")},
		{"", SectionMIME, "-"},
		{"1", SectionWhole, "[1]"},
		{"1", SectionMIME, "Content-Type: text/plain\r\n\r\n"},
		{"1", SectionHeader, "-"},
		{"1", SectionText, "-"},
		{"1.1", SectionWhole, "-"},
		{"2", SectionWhole, "WzJd"},
		{"3", SectionWhole, enclosed},
		{"3", SectionMIME, "Content-Type: message/rfc822\r\n\r\n"},
		{"3", SectionHeader, upTo(enclosed, "--B")},
		{"3", SectionText, enclosed[strings.Index(enclosed, "--B"):]},
		{"3.1", SectionWhole, "[3.1]"},
		{"3.1", SectionMIME, "\r\n"},
		{"3.2", SectionWhole, "[3.2]"},
		{"3.3", SectionWhole, "-"},
		{"4.1", SectionWhole, "[4.1]"},
		{"4.2", SectionWhole, "Subject: single\r\n\r\n[4.2.1]"},
		{"4.2", SectionHeader, "Subject: single\r\n\r\n"},
		{"4.2", SectionText, "[4.2.1]"},
		{"4.2.1", SectionWhole, "[4.2.1]"},
		{"4.2.1", SectionMIME, "Subject: single\r\n\r\n"},
		{"4.2.2", SectionWhole, "-"},
		{"4.2.1.1", SectionWhole, "-"},
		{"5", SectionWhole, "-"},
		{"0", SectionWhole, "-"},
		{"4294967295", SectionWhole, "-"},
	} {
		got := "-"
		if s, ok := ix.Section(path(tt.path), tt.kind); ok {
			got = string(raw[s.Off : s.Off+s.Len])
		}
		if got != tt.want {
			t.Errorf("[%s] kind %d:\n got %q\nwant %q", tt.path, tt.kind, got, tt.want)
		}
	}
	for p, want := range map[string]string{"": "7bit", "1": "7bit", "2": "base64", "3.2": "x-odd", "4": "7bit", "9": "-"} {
		got, ok := ix.Encoding(path(p))
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("encoding of %s: %s, want %s", p, got, want)
		}
	}
}

func path(s string) (p []uint32) {
	for _, n := range strings.Split(s, ".") {
		if v, err := strconv.ParseUint(n, 10, 32); err == nil {
			p = append(p, uint32(v))
		}
	}
	return p
}

func TestSectionOfPlainMessage(t *testing.T) {
	raw := crlfed("Subject: x\n\nbody")
	ix, err := DecodeIndex(mustParse(t, raw).Parts)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := ix.Section([]uint32{1}, SectionWhole); !ok || s != (Span{14, 4}) {
		t.Errorf("[1] is %v, %v", s, ok)
	}
	if s, ok := ix.Section([]uint32{1}, SectionMIME); !ok || s != (Span{0, 14}) {
		t.Errorf("[1.MIME] is %v, %v", s, ok)
	}
	for _, p := range [][]uint32{{2}, {1, 1}} {
		if _, ok := ix.Section(p, SectionWhole); ok {
			t.Errorf("there is a %v", p)
		}
	}
}

func TestDecodeIndexRefusesOthers(t *testing.T) {
	good := mustParse(t, crlfed(nested)).Parts
	for n := range good {
		if _, err := DecodeIndex(good[:n]); !fault.Is(err, fault.Corrupt) {
			t.Errorf("the first %d octets: %v", n, err)
		}
	}
	if _, err := DecodeIndex(append(bytes.Clone(good), 0)); !fault.Is(err, fault.Corrupt) {
		t.Errorf("one octet more: %v", err)
	}
	other := bytes.Clone(good)
	other[0]++
	if _, err := DecodeIndex(other); !fault.Is(err, fault.Corrupt) {
		t.Errorf("another version: %v", err)
	}
}

func TestFilterHeader(t *testing.T) {
	header := crlfed("From: a\nSubject : b\n c\nX: d\nsubject: e\nno colon\n\nbody: f\n")
	for _, tt := range []struct {
		fields string
		not    bool
		want   string
	}{
		{"SUBJECT", false, "Subject : b\n c\nsubject: e\n\n"},
		{"subject,x", true, "From: a\nno colon\n\n"},
		{"none", false, "\n"},
		{"no colon", false, "\n"},
		{"from,from", false, "From: a\n\n"},
	} {
		got := FilterHeader([]byte("-"), header, strings.Split(tt.fields, ","), tt.not)
		if string(got) != "-"+string(crlfed(tt.want)) {
			t.Errorf("%s %v: %q", tt.fields, tt.not, got)
		}
	}
	if got := string(FilterHeader(nil, []byte("A: b"), []string{"a"}, false)); got != "A: b\r\n\r\n" {
		t.Errorf("without line break: %q", got)
	}
}

func TestHeadersFragment(t *testing.T) {
	raw := crlfed("Received: x\nfrom: a\nSubject: b\n c\nX: d\nTO: e\nContent-Type: message/rfc822\n\nCc: inner\n\n")
	if got := string(mustParse(t, raw).Headers); got != string(crlfed("from: a\nSubject: b\n c\nTO: e\nContent-Type: message/rfc822\n")) {
		t.Errorf("got %q", got)
	}
	var long []byte
	for i := range 2000 {
		long = fmt.Appendf(long, "To: %d%s\r\n", i, strings.Repeat("x", 100))
	}
	if got := mustParse(t, long).Headers; len(got) != 0 {
		t.Errorf("%d octets where there are too many", len(got))
	}
}

package message

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// seed returns the seed of a randomised test and prints it: IMAPPED_SEED replays one.
func seed(t testing.TB) uint64 {
	s := uint64(os.Getpid())*1_000_003 + uint64(len(t.Name()))
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return s
}

// crlfed writes a message as people write it: lines with LF become lines with CRLF.
func crlfed(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func mustParse(t testing.TB, raw []byte) Fragments {
	t.Helper()
	f, err := Parse(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

// value is IMAP data as a strict reader sees it.
type value struct {
	kind byte // 'l'ist, 's'tring, 'd'igits, 'n'il
	text string
	list []value
}

func (v value) String() string {
	switch v.kind {
	case 'l':
		var parts []string
		for _, k := range v.list {
			parts = append(parts, k.String())
		}
		return "(" + strings.Join(parts, " ") + ")"
	case 's':
		return strconv.Quote(v.text)
	case 'n':
		return "NIL"
	}
	return v.text
}

// readValue reads one value of the strict grammar and returns the rest. Between the elements of a list stands one
// space, but none between lists inside a list may be missing or doubled: bodies (RFC 9051 "1*body") and addresses
// ("1*address") follow each other without one.
func readValue(b []byte) (v value, rest []byte, err error) {
	switch {
	case len(b) == 0:
		return v, nil, fmt.Errorf("no value")
	case b[0] == '(':
		v.kind = 'l'
		for b = b[1:]; ; {
			var k value
			if k, b, err = readValue(b); err != nil {
				return v, nil, err
			}
			v.list = append(v.list, k)
			switch {
			case len(b) == 0:
				return v, nil, fmt.Errorf("list without end")
			case b[0] == ')':
				return v, b[1:], nil
			case b[0] == '(' && k.kind == 'l':
			case b[0] == ' ':
				b = b[1:]
			default:
				return v, nil, fmt.Errorf("%.20q after a list's element", b)
			}
		}
	case b[0] == '"':
		v.kind = 's'
		for i := 1; i < len(b); i++ {
			switch c := b[i]; {
			case c == '"':
				return v, b[i+1:], nil
			case c == '\\':
				if i++; i == len(b) || b[i] != '"' && b[i] != '\\' {
					return v, nil, fmt.Errorf("bad escape")
				}
				v.text += string(b[i])
			case c == 0 || c == '\r' || c == '\n' || c >= 0x80:
				return v, nil, fmt.Errorf("octet %#x in a quoted string", c)
			default:
				v.text += string(rune(c))
			}
		}
		return v, nil, fmt.Errorf("quoted string without end")
	case b[0] == '{':
		head, body, ok := bytes.Cut(b[1:], []byte("}\r\n"))
		n, err := strconv.Atoi(string(head))
		if !ok || err != nil || n > len(body) || n < 0 {
			return v, nil, fmt.Errorf("bad literal %.20q", b)
		}
		if bytes.IndexByte(body[:n], 0) >= 0 {
			return v, nil, fmt.Errorf("NUL in a literal")
		}
		return value{kind: 's', text: string(body[:n])}, body[n:], nil
	case bytes.HasPrefix(b, []byte("NIL")):
		return value{kind: 'n'}, b[3:], nil
	}
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	if n == 0 || n > 1 && b[0] == '0' {
		return v, nil, fmt.Errorf("no value: %.20q", b)
	}
	return value{kind: 'd', text: string(b[:n])}, b[n:], nil
}

func read(b []byte) (value, error) {
	v, rest, err := readValue(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%.20q after the value", rest)
	}
	return v, err
}

// checkEnvelope holds an envelope against RFC 9051 section 9.
func checkEnvelope(v value) error {
	if v.kind != 'l' || len(v.list) != 10 {
		return fmt.Errorf("envelope of %d fields", len(v.list))
	}
	for i, f := range v.list {
		if i < 2 || i > 7 {
			if f.kind != 's' && f.kind != 'n' {
				return fmt.Errorf("field %d is %v", i, f)
			}
			continue
		}
		if f.kind == 'n' {
			continue
		}
		if f.kind != 'l' || len(f.list) == 0 {
			return fmt.Errorf("field %d is %v", i, f)
		}
		for _, a := range f.list {
			if a.kind != 'l' || len(a.list) != 4 {
				return fmt.Errorf("address %v", a)
			}
			for _, s := range a.list {
				if s.kind != 's' && s.kind != 'n' {
					return fmt.Errorf("address %v", a)
				}
			}
		}
	}
	return nil
}

// checkBody holds a body structure against RFC 9051 section 9 and returns how many parts it shows.
func checkBody(v value, extended bool) (parts int, err error) {
	if v.kind != 'l' || len(v.list) == 0 {
		return 0, fmt.Errorf("body %v", v)
	}
	parts = 1
	kinds := ""
	for _, k := range v.list {
		kinds += string(k.kind)
	}
	if kinds[0] == 'l' {
		n := strings.IndexFunc(kinds, func(r rune) bool { return r != 'l' })
		if n < 0 {
			return 0, fmt.Errorf("multipart without subtype")
		}
		for _, k := range v.list[:n] {
			sub, err := checkBody(k, extended)
			if err != nil {
				return 0, err
			}
			parts += sub
		}
		want := "s"
		if extended {
			want = "splln"
		}
		return parts, fits(kinds[n:], want, v)
	}
	want := "sspNNsd"
	switch {
	case strings.EqualFold(v.list[0].text, "text"):
		want += "d"
	case v.list[0].text == "message" && (v.list[1].text == "rfc822" || v.list[1].text == "global"):
		want += "lld"
		if len(v.list) < 10 {
			return 0, fmt.Errorf("short message %v", v)
		}
		if err := checkEnvelope(v.list[7]); err != nil {
			return 0, err
		}
		sub, err := checkBody(v.list[8], extended)
		if err != nil {
			return 0, err
		}
		parts += sub
	}
	if extended {
		want += "NllN"
	}
	return parts, fits(kinds, want, v)
}

// fits compares kinds with a pattern: p is a list or NIL, N a string or NIL, l a list, n a string or NIL.
func fits(kinds, want string, v value) error {
	ok := len(kinds) == len(want)
	for i := 0; ok && i < len(want); i++ {
		switch k := kinds[i]; want[i] {
		case 'p':
			ok = k == 'l' || k == 'n'
		case 'N', 'n':
			ok = k == 's' || k == 'n'
		case 'l':
			ok = k == 'l' || k == 'n'
		default:
			ok = k == want[i]
		}
	}
	if !ok {
		return fmt.Errorf("kinds %s, want %s, in %.200v", kinds, want, v)
	}
	return nil
}

// checkIndex holds a part index against the message's size and returns how many parts it has.
func checkIndex(ix *Index, size int64) error {
	if p := ix.parts[0]; p.header != 0 || p.end != size {
		return fmt.Errorf("the message is %d to %d of %d", p.header, p.end, size)
	}
	for i, p := range ix.parts {
		if p.header > p.body || p.body > p.end {
			return fmt.Errorf("part %d: header %d, body %d, end %d", i, p.header, p.body, p.end)
		}
		at := p.body
		for _, k := range p.kids {
			kid := ix.parts[k]
			if kid.header < at || kid.end > p.end {
				return fmt.Errorf("part %d: %d to %d inside %d: %d to %d", k, kid.header, kid.end, i, at, p.end)
			}
			at = kid.end
		}
	}
	return nil
}

// check holds everything that is computed from a message against the grammar and against itself.
func check(raw []byte, f Fragments) error {
	v, err := read(f.Envelope)
	if err == nil {
		err = checkEnvelope(v)
	}
	if err != nil {
		return fmt.Errorf("ENVELOPE: %w in %.300q", err, f.Envelope)
	}
	for i, b := range [][]byte{f.Body, f.BodyStructure} {
		v, err := read(b)
		if err == nil {
			_, err = checkBody(v, i == 1)
		}
		if err != nil {
			return fmt.Errorf("structure %d: %w in %.300q", i, err, b)
		}
	}
	ix, err := DecodeIndex(f.Parts)
	if err != nil {
		return err
	}
	if n := len([]rune(string(f.Preview))); n > maxPreview {
		return fmt.Errorf("preview of %d characters", n)
	}
	return checkIndex(ix, int64(len(raw)))
}

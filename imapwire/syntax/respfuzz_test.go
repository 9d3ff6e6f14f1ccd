package syntax

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// referenceFrames counts the complete responses of a stream in the slowest obvious way: line by line, skipping as many
// octets as a line's literal header says. ok is false where a literal's size is no number.
func referenceFrames(stream string) (frames int, ok bool) {
	for stream != "" {
		first := true
		for {
			line, rest, found := strings.Cut(stream, "\n")
			if !found {
				return frames, true
			}
			stream = rest
			line = strings.TrimSuffix(line, "\r")
			if first && referenceText(line) {
				break
			}
			first = false
			open := strings.LastIndexByte(line, '{')
			if open < 0 || !strings.HasSuffix(line, "}") {
				break
			}
			digits := strings.TrimSuffix(line[open+1:len(line)-1], "+")
			if digits == "" || strings.Trim(digits, "0123456789") != "" {
				break
			}
			n, err := strconv.ParseUint(digits, 10, 63)
			if err != nil || len(digits) > 20 {
				return frames, false
			}
			if n > uint64(len(stream)) {
				return frames, true
			}
			stream = stream[n:]
		}
		frames++
	}
	return frames, true
}

func referenceText(line string) bool {
	word, isUntagged := strings.CutPrefix(line, "* ")
	word, _, _ = strings.Cut(word, " ")
	return !isUntagged || slices.Contains([]string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, strings.ToUpper(word))
}

func isFrame(line string) bool {
	return !strings.HasPrefix(line, "body ") && !strings.HasPrefix(line, "error: ") &&
		!strings.Contains(line, " continued")
}

// FuzzResponse: no input makes the parser panic or grow beyond what came; however the octets arrive the responses are
// the same; and as many responses are seen as an independent framer counts, so that no octets of a literal are ever
// read as a response. Its seeds are the transcripts.
func FuzzResponse(f *testing.F) {
	paths, err := filepath.Glob("testdata/responses/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for i, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var stream []byte
		for line := range strings.Lines(string(raw)) {
			if s, ok := strings.CutPrefix(line, "S: "); ok {
				s = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\\`, `\`, `\x00`, "\x00").Replace(strings.TrimSuffix(s, "\n"))
				stream = append(stream, s+"\r\n"...)
			}
		}
		f.Add(stream, uint8(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		if len(stream) > 1<<16 {
			t.Skip("long inputs are the benchmark's")
		}
		const inline = 8
		whole, err := readResponses(stream, max(len(stream), 1), inline, Upstream())
		for _, step := range []int{1, int(cut)%13 + 2} {
			pieces, _ := readResponses(stream, step, inline, Upstream())
			if !slices.Equal(whole, pieces) {
				t.Fatalf("in pieces of %d:\n%s\nwhole:\n%s", step, strings.Join(pieces, "\n"), strings.Join(whole, "\n"))
			}
		}
		if bytes.Contains(stream, []byte(" continued")) {
			return // would confuse the count below
		}
		want, ok := referenceFrames(string(stream))
		got := 0
		for _, line := range whole {
			if isFrame(line) {
				got++
			}
		}
		// The first part of a response whose body was cut short was seen, and the reference does not count it.
		if cutShort := len(whole) > 0 && strings.Contains(strings.Join(whole, "\n"), " more"); err == nil && ok &&
			got != want && (!cutShort || got != want+1) {
			t.Fatalf("%d responses, the reference counts %d:\n%s", got, want, strings.Join(whole, "\n"))
		}
		checkBounds(t, stream)
	})
}

// checkBounds parses the stream once more and looks at how much each response holds.
func checkBounds(t *testing.T, stream []byte) {
	rr := NewRespReader(Upstream(), nil, 8)
	for {
		r, err := rr.Next()
		if err != nil {
			return
		}
		if r == nil {
			if len(stream) == 0 {
				return
			}
			n := copy(rr.Framer().Reserve(), stream)
			rr.Framer().Commit(n)
			stream = stream[n:]
			continue
		}
		size := len(rr.Framer().Frame().Data) + 1
		if n := len(r.Words) + len(r.Nums) + len(r.Fetch.Flags) + len(r.Fetch.GmailLabels) + len(r.Fetch.Sections) +
			len(r.List.Attrs) + len(r.Code.Words) + len(r.Code.Source) + len(r.Code.Dest); n > size {
			t.Fatalf("%d elements from %d octets", n, size)
		}
		if n := len(rr.parser.arena); n > size {
			t.Fatalf("%d unescaped octets from %d", n, size)
		}
	}
}

// TestResponseAllocations: what a mirror reads by the thousand costs no allocation.
func TestResponseAllocations(t *testing.T) {
	for _, line := range []string{
		"* 17 FETCH (UID 4711 FLAGS (\\Seen $Junk) MODSEQ (4711) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 4)\r\n",
		"* SEARCH 1 2 3 4 7 8 9 100 102\r\n",
		"* ESEARCH (TAG \"A1\") UID ALL 1:5,7,9:12\r\n",
		"* STATUS \"a \\\"quoted\\\" name\" (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 7 HIGHESTMODSEQ 8)\r\n",
		"* LIST (\\HasNoChildren) \"/\" \"name\"\r\n",
		"* VANISHED (EARLIER) 1:5,9\r\n",
		"* 5 EXISTS\r\n",
		"A1 OK [HIGHESTMODSEQ 5] done\r\n",
		"* 3 FETCH (UID 3 BODY[HEADER.FIELDS (DATE)] {5}\r\nabcde)\r\n",
	} {
		rr := NewRespReader(Upstream(), nil, 1<<10)
		read := func() {
			rr.Framer().Commit(copy(rr.Framer().Reserve(), line))
			if r, err := rr.Next(); err != nil || r == nil || r.Malformed || r.Kind == RespGarbage {
				t.Fatalf("%q: %v, %v", line, r, err)
			}
		}
		read()
		if n := testing.AllocsPerRun(100, read); n != 0 {
			t.Errorf("%v allocations for %q", n, line)
		}
	}
}

// BenchmarkResponse reads the flags of 1,000 messages.
func BenchmarkResponse(b *testing.B) {
	var stream []byte
	for i := range 1000 {
		stream = fmt.Appendf(stream, "* %d FETCH (UID %d FLAGS (\\Seen $Junk) MODSEQ (%d))\r\n", i+1, 2*i+1, i+70000)
	}
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		rr := NewRespReader(Upstream(), nil, 1<<10)
		for rest := stream; ; {
			r, err := rr.Next()
			if err != nil {
				b.Fatal(err)
			}
			if r == nil {
				if len(rest) == 0 {
					break
				}
				n := copy(rr.Framer().Reserve(), rest)
				rr.Framer().Commit(n)
				rest = rest[n:]
			}
		}
	}
}

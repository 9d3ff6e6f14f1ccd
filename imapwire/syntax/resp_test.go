package syntax

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var updateResponses = flag.Bool("update-responses", false,
	"rewrite the expected lines of testdata/responses; then read the difference, line by line")

// dumpResponse renders everything that a response says in one line.
func dumpResponse(r *Response) string {
	var b strings.Builder
	words := func(name string, ws [][]byte) {
		if len(ws) == 0 {
			return
		}
		fmt.Fprintf(&b, " %s=[", name)
		for i, w := range ws {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(visible(w))
		}
		b.WriteByte(']')
	}
	text := func(name string, v []byte) {
		if v != nil {
			fmt.Fprintf(&b, " %s=%q", name, v)
		}
	}
	num := func(name string, n uint64) {
		if n != 0 {
			fmt.Fprintf(&b, " %s=%d", name, n)
		}
	}
	b.WriteString(respKindNames[r.Kind])
	if len(r.Tag) > 0 {
		fmt.Fprintf(&b, " tag=%s", r.Tag)
	}
	if r.Status != StatusNone {
		fmt.Fprintf(&b, " %v", r.Status)
	}
	if len(r.Code.Name) > 0 {
		fmt.Fprintf(&b, " code=%s", r.Code.Name)
		if r.Code.ID == CodeUnknown {
			b.WriteByte('?')
		}
		if len(r.Code.Arg) > 0 {
			fmt.Fprintf(&b, "(%s)", visible(r.Code.Arg))
		}
		num("code.num", r.Code.Num)
		words("code.words", r.Code.Words)
		if len(r.Code.Source)+len(r.Code.Dest) > 0 {
			fmt.Fprintf(&b, " code.sets=%v,%v", r.Code.Source, r.Code.Dest)
		}
	}
	if len(r.Text) > 0 {
		text("text", r.Text)
	}
	num("num", uint64(r.Num))
	if len(r.Nums) > 0 {
		fmt.Fprintf(&b, " nums=%v", r.Nums)
	}
	num("modseq", r.ModSeq)
	if r.Earlier {
		b.WriteString(" earlier")
	}
	words("words", r.Words)
	switch r.Kind {
	case RespFetch:
		dumpFetch(&b, &r.Fetch, words, text)
	case RespList:
		words("attrs", r.List.Attrs)
		fmt.Fprintf(&b, " delim=%q name=%q", r.List.Delimiter, r.List.Name)
		text("oldname", r.List.OldName)
		fmt.Fprintf(&b, " childinfo=%t lsub=%t", r.List.ChildInfo, r.List.LSub)
	case RespMailbox:
		m := &r.Mailbox
		fmt.Fprintf(&b, " name=%q has=%b messages=%d recent=%d uidnext=%d uidvalidity=%d unseen=%d deleted=%d size=%d"+
			" highestmodseq=%d", m.Name, m.Has, m.Messages, m.Recent, m.UIDNext, m.UIDValidity, m.Unseen, m.Deleted,
			m.Size, m.HighestModSeq)
		text("mailboxid", m.MailboxID)
	case RespESearch:
		e := &r.ESearch
		text("correlator", e.Tag)
		fmt.Fprintf(&b, " uid=%t all=%t count=%d min=%d max=%d", e.UID, e.All, e.Count, e.Min, e.Max)
	case RespNamespace:
		for _, list := range r.Namespaces {
			b.WriteString(" (")
			for _, n := range list {
				fmt.Fprintf(&b, "%q %q;", n.Prefix, n.Delimiter)
			}
			b.WriteString(")")
		}
	}
	if r.Malformed {
		b.WriteString(" MALFORMED")
	}
	return b.String()
}

func dumpFetch(b *strings.Builder, f *FetchData, words func(string, [][]byte), text func(string, []byte)) {
	if f.Continued {
		b.WriteString(" continued")
	}
	show := func(has FetchHas, format string, v any) {
		if f.Has&has != 0 {
			fmt.Fprintf(b, format, v)
		}
	}
	show(HasUID, " uid=%d", f.UID)
	show(HasFlags, " flags(%d)", len(f.Flags))
	words("flags", f.Flags)
	if f.Has&HasDate != 0 {
		t, ok := ParseInternalDate(f.Date)
		fmt.Fprintf(b, " date=%q", f.Date)
		if ok {
			fmt.Fprintf(b, "=%s", t.Format("2006-01-02T15:04:05-0700"))
		}
	}
	show(HasSize, " size=%d", f.Size)
	show(HasModSeq, " modseq=%d", f.ModSeq)
	show(HasEmailID, " emailid=%s", f.EmailID)
	show(HasThreadID, " threadid=%s", f.ThreadID)
	show(HasGmailMessage, " gmmsgid=%d", f.GmailMessage)
	show(HasGmailThread, " gmthrid=%d", f.GmailThread)
	words("gmlabels", f.GmailLabels)
	for i := range f.Sections {
		s := &f.Sections[i]
		fmt.Fprintf(b, " section{%s kind=%d origin=%d size=%d", visible(s.Name), s.Kind, s.Origin, s.Size)
		if s.Nil {
			b.WriteString(" NIL")
		}
		if s.Streamed {
			b.WriteString(" streamed")
		} else {
			text("data", s.Data)
		}
		b.WriteByte('}')
	}
	if f.More {
		b.WriteString(" more")
	}
}

func visible(b []byte) string {
	q := strconv.Quote(string(b))
	if q = q[1 : len(q)-1]; q == "" || strings.Contains(q, " ") {
		return "'" + q + "'"
	}
	return strings.ReplaceAll(q, `\\`, `\`)
}

var respKindNames = map[RespKind]string{
	RespGarbage: "garbage", RespOther: "other", RespContinue: "continue", RespTagged: "tagged", RespStatus: "status",
	RespCapability: "capability", RespEnabled: "enabled", RespList: "list", RespMailbox: "mailbox",
	RespSearch: "search", RespESearch: "esearch", RespFlags: "flags", RespExists: "exists", RespRecent: "recent",
	RespExpunge: "expunge", RespVanished: "vanished", RespFetch: "fetch", RespID: "id", RespNamespace: "namespace",
}

// readResponses feeds the stream in pieces of step octets and renders every response and streamed body.
func readResponses(stream []byte, step, inline int, lim Limits) (lines []string, err error) {
	rr := NewRespReader(lim, nil, inline)
	src := bytes.NewReader(stream)
	for {
		r, err := rr.Next()
		if err != nil {
			return append(lines, "error: "+err.Error()), err
		}
		if r == nil {
			room := rr.Framer().Reserve()
			n, err := src.Read(room[:min(step, len(room))])
			if err != nil {
				return lines, nil // the stream is at its end
			}
			rr.Framer().Commit(n)
			continue
		}
		lines = append(lines, dumpResponse(r))
		if r.Kind == RespFetch && r.Fetch.More {
			body, err := io.ReadAll(rr.Framer().LiteralReader(stepReader{src, step}))
			lines = append(lines, fmt.Sprintf("body %q", body))
			if err != nil {
				return append(lines, "error: "+err.Error()), err
			}
		}
	}
}

type stepReader struct {
	r    io.Reader
	step int
}

func (s stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.step)]) }

// transcript is a recorded piece of a server's side: lines that begin with "S: " are the server's, with CRLF added,
// "S- " without it; \xNN, \r, \n and \\ stand for octets. "E: " is what they are parsed as.
type transcript struct {
	stream []byte
	want   []string
}

func readTranscript(t *testing.T, path string) (tr transcript, source []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "S: "), strings.HasPrefix(line, "S- "):
			tr.stream = append(tr.stream, unescape(t, path, i, line[3:])...)
			if line[1] == ':' {
				tr.stream = append(tr.stream, "\r\n"...)
			}
			source = append(source, line)
		case strings.HasPrefix(line, "E: "):
			tr.want = append(tr.want, line[3:])
		case line == "" || line[0] == '#':
			source = append(source, line)
		default:
			t.Fatalf("%s:%d: not a transcript line: %q", path, i+1, line)
		}
	}
	return tr, source
}

func unescape(t *testing.T, path string, line int, s string) []byte {
	t.Helper()
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		switch i++; s[i] {
		case 'r':
			out = append(out, '\r')
		case 'n':
			out = append(out, '\n')
		case '\\':
			out = append(out, '\\')
		case 'x':
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				t.Fatalf("%s:%d: %v", path, line+1, err)
			}
			out = append(out, byte(v))
			i += 2
		default:
			out = append(out, '\\', s[i])
		}
	}
	return out
}

// TestResponseTranscripts plays every recorded malformation: whole, and cut into pieces of every small size.
func TestResponseTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/responses/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			tr, source := readTranscript(t, path)
			got, _ := readResponses(tr.stream, len(tr.stream), 8, Upstream())
			if *updateResponses {
				out := strings.Join(source, "\n") + "\n"
				for _, l := range got {
					out += "E: " + l + "\n"
				}
				if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compareLines(t, "whole", got, tr.want)
			for step := 1; step <= 7; step++ {
				got, _ := readResponses(tr.stream, step, 8, Upstream())
				compareLines(t, fmt.Sprintf("in pieces of %d", step), got, tr.want)
			}
		})
	}
}

func compareLines(t *testing.T, how string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%s, response %d:\n got  %s\n want %s", how, i+1, g, w)
		}
	}
}

package message

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// corpus returns real mail with CRLF, or skips the test where there is none.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	const dir = "../../../shared/corpus"
	var mails [][]byte
	add := func(b []byte) {
		b = bytes.ReplaceAll(b, crlf, lf)
		mails = append(mails, bytes.ReplaceAll(b, lf, crlf))
	}
	files, err := filepath.Glob(filepath.Join(dir, "mime", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		add(b)
	}
	archive := filepath.Join(dir, "spamassassin.tar.zst")
	if _, err := os.Stat(archive); err != nil {
		t.Skip("no corpus in ../shared/corpus beside the repository")
	}
	plain, err := exec.CommandContext(t.Context(), "zstd", "-dc", archive).Output()
	if err != nil {
		t.Skipf("the corpus cannot be unpacked: %v", err)
	}
	r := tar.NewReader(bytes.NewReader(plain))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return mails
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".eml") {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		add(b)
	}
}

// TestCorpus parses real mail, whole and in odd pieces.
func TestCorpus(t *testing.T) {
	var p Parser
	withPreview := 0
	mails := corpus(t)
	for i, raw := range mails {
		f, err := p.Parse(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := check(raw, f); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
		if len(f.Preview) > 0 {
			withPreview++
		}
		slow, err := Parse(iotest.HalfReader(bytes.NewReader(raw)), 0)
		if err != nil || !bytes.Equal(slow.BodyStructure, f.BodyStructure) || !bytes.Equal(slow.Envelope, f.Envelope) ||
			!bytes.Equal(slow.Parts, f.Parts) || !bytes.Equal(slow.Preview, f.Preview) {
			t.Errorf("message %d: another result in pieces", i)
		}
		header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		if a, b := Identify(header, 1, mustDate), Identify(f.Headers, 1, mustDate); a.Email != b.Email || a.MessageID != b.MessageID {
			t.Errorf("message %d: the stored header lines identify another message", i)
		}
	}
	if withPreview < len(mails)*99/100 {
		t.Errorf("%d of %d messages have a preview", withPreview, len(mails))
	}
	t.Logf("%d messages, %d with a preview", len(mails), withPreview)
}

func BenchmarkParse(b *testing.B) {
	bench := func(mails [][]byte) func(b *testing.B) {
		return func(b *testing.B) {
			size := 0
			for _, m := range mails {
				size += len(m)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var p Parser
			r := bytes.NewReader(nil)
			for b.Loop() {
				for _, m := range mails {
					r.Reset(m)
					if _, err := p.Parse(r, int64(len(m))); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N*len(mails))/b.Elapsed().Seconds(), "msg/s")
		}
	}
	attachment := "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHello\r\n--x\r\nContent-Type: image/png\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 100_000) + "--x--\r\n"
	b.Run("attachment", bench([][]byte{[]byte(attachment)}))
	b.Run("corpus", func(b *testing.B) { bench(corpus(b))(b) })
}

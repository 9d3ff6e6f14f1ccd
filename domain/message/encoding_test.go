package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

func decoded(t *testing.T, encoding, in string) string {
	t.Helper()
	r, err := DecodedReader(strings.NewReader(in), encoding)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	r, _ = DecodedReader(iotest.OneByteReader(strings.NewReader(in)), encoding)
	if slow, _ := io.ReadAll(r); !bytes.Equal(slow, b) {
		t.Errorf("%s %q: %q at once, %q octet by octet", encoding, in, b, slow)
	}
	if n, err := DecodedSize(strings.NewReader(in), encoding); n != int64(len(b)) || err != nil {
		t.Errorf("%s %q: size %d, %v", encoding, in, n, err)
	}
	return string(b)
}

func TestDecodedReader(t *testing.T) {
	for _, tt := range []struct{ encoding, in, want string }{
		{"7bit", "a=20 \r\n", "a=20 \r\n"},
		{"8BIT", "\xe9\x00", "\xe9\x00"},
		{"binary", "x", "x"},
		{"", "x", "x"},
		{"base64", "", ""},
		{"BASE64", "aGVsbG8=", "hello"},
		{"base64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64", "aGVsbG8", "hello"},
		{"base64", "aGVsbA", "hell"},
		{"base64", "a", ""},
		{"base64", "aG*V!s bG8=", "hello"},
		{"base64", "aGVsbG8=\r\n--\r\nList footer", "hello"},
		{"base64", "=", ""},
		{"quoted-printable", "a=20b=3D=\r\nc", "a b=c"},
		{"quoted-printable", "a=e9=E9", "a\xe9\xe9"},
		{"quoted-printable", "a \t\r\nb  \nc  ", "a\r\nb\nc"},
		{"quoted-printable", "a= \t\r\nb=\nc=", "abc"},
		{"quoted-printable", "a=zz=1", "a=zz=1"},
		{"quoted-printable", "a==41=\r", "a=A"},
		{"quoted-printable", "a\rb \rc", "a\rb \rc"},
		{"quoted-printable", "a\r\r\n", "a\r\r\n"},
		{"quoted-printable", "a= b", "a= b"},
	} {
		if got := decoded(t, tt.encoding, tt.in); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.encoding, tt.in, got, tt.want)
		}
	}
	for _, enc := range []string{"x-uuencode", "base65", "quoted printable"} {
		if _, err := DecodedReader(nil, enc); !errors.Is(err, ErrUnknownEncoding) {
			t.Errorf("%s: %v", enc, err)
		}
		if _, err := DecodedSize(nil, enc); !errors.Is(err, ErrUnknownEncoding) {
			t.Errorf("%s: %v", enc, err)
		}
	}
}

func TestDecodedReaderGivesReadErrors(t *testing.T) {
	broken := errors.New("broken")
	r, _ := DecodedReader(io.MultiReader(strings.NewReader("aGVs"), iotest.ErrReader(broken)), "base64")
	if b, err := io.ReadAll(r); string(b) != "hel" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestDecodersUndoEncoders decodes what the standard library encodes.
func TestDecodersUndoEncoders(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 0))
	for range 300 {
		content := make([]byte, r.IntN(300))
		for i := range content {
			content[i] = "abc =\t.\xe9\x00"[r.IntN(9)]
		}
		var b64 strings.Builder
		for s := base64.StdEncoding.EncodeToString(content); s != ""; {
			n := min(len(s), 1+r.IntN(76))
			b64.WriteString(s[:n] + "\r\n")
			s = s[n:]
		}
		if got := decoded(t, "base64", b64.String()); got != string(content) {
			t.Fatalf("base64 of %q: %q", content, got)
		}
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if got := decoded(t, "quoted-printable", qp.String()); got != string(content) {
			t.Fatalf("quoted-printable of %q (%q): %q", content, qp.Bytes(), got)
		}
	}
}

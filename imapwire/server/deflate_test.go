package server

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// chunks yields one chunk each Read and then blocks: a Read too many is an error.
type chunks struct{ parts [][]byte }

var errBlocked = errors.New("read although everything sent could be decoded")

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, errBlocked
	}
	n := copy(p, c.parts[0])
	if c.parts[0] = c.parts[0][n:]; len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	return n, nil
}

func TestInflaterDeliversEveryFlush(t *testing.T) {
	var z bytes.Buffer
	w, _ := flate.NewWriter(&z, flate.BestCompression)
	src := &chunks{}
	r := newInflater(src)
	for i, line := range []string{"a1 NOOP\r\n", "a2 NOOP\r\n", "a3 LIST \"\" *\r\n", "", "a4 NOOP\r\na5 NOOP\r\n"} {
		_, _ = w.Write([]byte(line))
		_ = w.Flush()
		src.parts = append(src.parts, bytes.Clone(z.Bytes()))
		z.Reset()
		got := make([]byte, len(line))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != line {
			t.Fatalf("line %d: %q, %v", i, got, err)
		}
	}
}

// A partial flush ends with an empty block with fixed codes (ten bits) instead of an empty stored one, not on a byte
// boundary: what zlib writes for Z_PARTIAL_FLUSH.
func TestInflaterDeliversPartialFlush(t *testing.T) {
	first := fixedBlock("a1 NOOP\r\n")
	first = first[:len(first)-1] // the flush left the bits of the last byte with the client
	second := fixedBlock("a1 NOOP\r\n", "a2 NOOP\r\n")
	src := &chunks{parts: [][]byte{first}}
	r := newInflater(src)
	got := make([]byte, 9)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "a1 NOOP\r\n" {
		t.Fatalf("first command: %q, %v", got, err)
	}
	src.parts = append(src.parts, second[len(first):])
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "a2 NOOP\r\n" {
		t.Fatalf("second command: %q, %v", got, err)
	}
}

// fixedBlock writes each text as one block with fixed codes and a partial flush behind it, and pads the last byte.
func fixedBlock(texts ...string) []byte {
	var out []byte
	n := uint(0)
	bit := func(b uint) {
		if n%8 == 0 {
			out = append(out, 0)
		}
		out[n/8] |= byte(b << (n % 8))
		n++
	}
	for _, text := range texts {
		bit(0) // not final
		bit(1) // fixed codes
		bit(0)
		for _, c := range []byte(text) {
			code := uint(0x30) + uint(c) // bytes below 144 have 8 bits
			for i := 7; i >= 0; i-- {
				bit(code >> i & 1)
			}
		}
		for range 7 { // end of block
			bit(0)
		}
		bit(0) // the empty block
		bit(1)
		bit(0)
		for range 7 {
			bit(0)
		}
	}
	return out
}

func TestInflaterLevelsAndSplits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 200_000)
	for i := range data {
		data[i] = byte(rnd.IntN(4) * rnd.IntN(60))
	}
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		var z bytes.Buffer
		w, _ := flate.NewWriter(&z, level)
		for part := range bytes.Lines(data) {
			_, _ = w.Write(part)
			if rnd.IntN(4) == 0 {
				_ = w.Flush()
			}
		}
		_ = w.Close()
		for _, src := range []io.Reader{bytes.NewReader(z.Bytes()), iotest.OneByteReader(bytes.NewReader(z.Bytes()))} {
			got, err := io.ReadAll(newInflater(src))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("level %d: %d bytes, %v", level, len(got), err)
			}
		}
	}
}

func TestDeflaterStreamGoesOnAfterFlush(t *testing.T) {
	var wire bytes.Buffer
	pool := newDeflaterPool()
	d := &deflater{dst: &wire, pool: pool}
	var want bytes.Buffer
	for i := range 50 {
		line := bytes.Repeat([]byte("* 1 FETCH (FLAGS (\\Seen))\r\n"), i)
		want.Write(line)
		if _, err := d.Write(line); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
		if d.z != nil {
			t.Fatal("an idle connection holds a compressor")
		}
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(flate.NewReader(&wire), got); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("the standard library reads something else: %v", err)
	}
}

func FuzzInflater(f *testing.F) {
	f.Add(fixedBlock("a1 NOOP\r\n"), uint8(3))
	f.Add([]byte{0, 5, 0, 0xfa, 0xff, 'h', 'e', 'l', 'l', 'o'}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		const limit = 1 << 20
		read := func(src io.Reader) ([]byte, error) {
			r := newInflater(src)
			var out []byte
			buf := make([]byte, int(step)+1)
			for len(out) < limit {
				n, err := r.Read(buf)
				out = append(out, buf[:n]...)
				if err != nil {
					return out, err
				}
			}
			return out, nil
		}
		whole, err1 := read(bytes.NewReader(data))
		split, err2 := read(iotest.OneByteReader(bytes.NewReader(data)))
		if !bytes.Equal(whole, split) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("splitting the input changes the output: %d bytes %v, %d bytes %v", len(whole), err1, len(split), err2)
		}
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), limit))
		if n := min(len(want), len(whole)); !bytes.Equal(want[:n], whole[:n]) {
			t.Fatal("the standard library decodes something else")
		}
		if wantErr == nil && len(want) < limit && (err1 != io.EOF || len(whole) != len(want)) {
			t.Fatalf("the standard library accepts it: %d bytes; we: %d, %v", len(want), len(whole), err1)
		}
	})
}

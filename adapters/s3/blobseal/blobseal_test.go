package blobseal_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"imapped/adapters/s3/blobseal"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

const chunk = 64 << 10

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, fill byte) *blobseal.Key {
	t.Helper()
	k, err := blobseal.New(bytes.Repeat([]byte{fill}, blobseal.KeySize))
	must(t, err)
	return k
}

func message(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b) // it does not fail
	return b
}

func keyOf(b []byte) blob.Key { return sha256.Sum256(b) }

func seal(t testing.TB, k *blobseal.Key, b []byte) []byte {
	t.Helper()
	r, err := k.Seal(keyOf(b), bytes.NewReader(b), int64(len(b)))
	must(t, err)
	out, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	must(t, err)
	if int64(len(out)) != r.Size() || r.Size() != blobseal.SealedSize(int64(len(b))) {
		t.Fatalf("%d bytes became %d, want %d", len(b), len(out), r.Size())
	}
	return out
}

// open opens all of it.
func open(k *blobseal.Key, key blob.Key, sealed []byte) ([]byte, error) {
	o, err := k.Open(key, bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

var sizes = []int{0, 1, 15, 16, 17, chunk - 1, chunk, chunk + 1, 2*chunk - 16, 2 * chunk, 3*chunk + 77}

func TestThereAndBack(t *testing.T) {
	k := newKey(t, 1)
	for _, n := range sizes {
		b := message(n)
		sealed := seal(t, k, b)
		if size, ok := blobseal.PlainSize(int64(len(sealed))); !ok || size != int64(n) {
			t.Errorf("%d sealed bytes: %d, %v; want %d", len(sealed), size, ok, n)
		}
		got, err := open(k, keyOf(b), sealed)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if n > 16 && bytes.Contains(sealed, b[:16]) {
			t.Errorf("%d bytes: the plaintext shows", n)
		}
		if !bytes.Equal(seal(t, k, b), sealed) {
			t.Errorf("%d bytes: sealed again they differ", n)
		}
		if got, err := open(newKey(t, 2), keyOf(b), sealed); !fault.Is(err, fault.Corrupt) || got != nil {
			t.Errorf("%d bytes under another key: %v", n, err)
		}
		if got, err := open(k, keyOf([]byte("another")), sealed); !fault.Is(err, fault.Corrupt) || got != nil {
			t.Errorf("%d bytes as another blob: %v", n, err)
		}
	}
}

// TestNoSuchSize: lengths that no sealed blob has are not taken for one.
func TestNoSuchSize(t *testing.T) {
	lengths := map[int64]bool{}
	for n := range int64(3 * chunk) {
		lengths[blobseal.SealedSize(n)] = true
	}
	for n := int64(-1); n < 2*chunk; n++ {
		if _, ok := blobseal.PlainSize(n); ok != lengths[n] {
			t.Fatalf("%d bytes: %v, want %v", n, ok, lengths[n])
		}
	}
}

// TestAnyRange reads ranges at random, sealed and in the clear.
func TestAnyRange(t *testing.T) {
	seed := rand.Uint64()
	if v := os.Getenv("IMAPPED_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	k := newKey(t, 1)
	for _, n := range sizes {
		b := message(n)
		sealed := seal(t, k, b)
		in, err := k.Seal(keyOf(b), bytes.NewReader(b), int64(n))
		must(t, err)
		out, err := k.Open(keyOf(b), bytes.NewReader(sealed), int64(len(sealed)))
		must(t, err)
		for range 200 {
			reads(t, rng, in, sealed)
			reads(t, rng, out, b)
		}
		must(t, iotest.TestReader(io.NewSectionReader(out, 0, out.Size()), b))
	}
}

func reads(t *testing.T, rng *rand.Rand, r io.ReaderAt, want []byte) {
	t.Helper()
	off := rng.IntN(len(want) + 10)
	p := make([]byte, rng.IntN(rng.IntN(2*chunk)+1))
	n, err := r.ReadAt(p, int64(off))
	rest := want[min(off, len(want)):]
	rest = rest[:min(len(rest), len(p))]
	if !bytes.Equal(p[:n], rest) {
		t.Fatalf("%d bytes at %d of %d: %d bytes, or other ones", len(p), off, len(want), n)
	}
	if n < len(p) && !errors.Is(err, io.EOF) || n == len(p) && err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%d bytes at %d of %d: %d, %v", len(p), off, len(want), n, err)
	}
}

// TestChanges: no change of a sealed blob goes unnoticed by one who reads the part that it is in, or the first one.
func TestChanges(t *testing.T) {
	k := newKey(t, 1)
	b := message(3*chunk + 77)
	sealed := seal(t, k, b)
	const head, full = 16, chunk + 16
	at := func(i int) []byte { return sealed[head+i*full : head+(i+1)*full] }
	for name, bad := range map[string][]byte{
		"empty":               {},
		"only the header":     sealed[:head],
		"cut in the last":     sealed[:len(sealed)-1],
		"without the last":    sealed[:head+3*full],
		"without the two":     sealed[:head+2*full],
		"without the first":   append(bytes.Clone(sealed[:head]), sealed[head+full:]...),
		"longer":              append(bytes.Clone(sealed), 0),
		"a chunk more":        append(bytes.Clone(sealed), at(2)...),
		"two chunks swapped":  bytes.Join([][]byte{sealed[:head], at(1), at(0), sealed[head+2*full:]}, nil),
		"one chunk twice":     bytes.Join([][]byte{sealed[:head], at(0), at(0), sealed[head+2*full:]}, nil),
		"of another, as long": seal(t, k, message(3*chunk+76))[:],
	} {
		if got, err := open(k, keyOf(b), bad); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for i := 0; i < len(sealed); i += 997 {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x10
		if _, err := open(k, keyOf(b), bad); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("a bit of byte %d: %v", i, err)
		}
	}
	// A header that says a smaller size, in a blob cut to fit it.
	short := seal(t, k, b[:2*chunk])
	forged := append(bytes.Clone(short[:head]), sealed[head:len(short)]...)
	if _, err := open(k, keyOf(b), forged); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a forged size: %v", err)
	}
}

// TestBrokenSource: what the source says is passed on, with its kind.
func TestBrokenSource(t *testing.T) {
	k := newKey(t, 1)
	b := message(1000)
	gone := fault.New(fault.Unavailable, "read", "gone")
	if _, err := k.Open(keyOf(b), failing{gone}, blobseal.SealedSize(1000)); !fault.Is(err, fault.Unavailable) || !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	r, err := k.Seal(keyOf(b), bytes.NewReader(b[:500]), 1000)
	must(t, err)
	if _, err := r.ReadAt(make([]byte, 100), 0); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a source that is too short: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestNames(t *testing.T) {
	k, other := newKey(t, 1), newKey(t, 2)
	seen := map[string]bool{}
	for n := range 300 {
		key := keyOf(message(n))
		name := k.Name(key)
		if len(name) != blobseal.NameSize || strings.ToLower(name) != name || seen[name] {
			t.Fatalf("the name %q", name)
		}
		seen[name] = true
		if strings.Contains(name, key.String()[:8]) {
			t.Fatalf("the name %q shows the key", name)
		}
		if got, ok := k.Parse(name); !ok || got != key {
			t.Fatalf("the name %q is taken for that of %v, %v", name, got, ok)
		}
		if _, ok := other.Parse(name); ok || other.Name(key) == name {
			t.Fatal("two data keys share a name")
		}
	}
	name := k.Name(keyOf(nil))
	for i := range name {
		bad := []byte(name)
		bad[i] ^= 1 // another hex digit, or none
		if _, ok := k.Parse(string(bad)); ok {
			t.Fatalf("a changed name is taken: digit %d", i)
		}
	}
	for _, bad := range []string{"", "x", name[1:], name + "0", keyOf(nil).String(), strings.Repeat("z", len(name))} {
		if _, ok := k.Parse(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestKeySize(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := blobseal.New(make([]byte, n)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k, err := blobseal.New(make([]byte, blobseal.KeySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("imb\x01"))
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := open(k, keyOf(nil), b); err == nil || got != nil {
			t.Errorf("%d bytes that nobody sealed open", len(b))
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k, m := newKey(b, 1), message(1<<20)
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		seal(b, k, m)
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{8 << 10, 1 << 20} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			k, m := newKey(b, 1), message(n)
			sealed := seal(b, k, m)
			b.SetBytes(int64(n))
			for b.Loop() {
				_, err := open(k, keyOf(m), sealed)
				must(b, err)
			}
		})
	}
}

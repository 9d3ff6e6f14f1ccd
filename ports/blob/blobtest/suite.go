// Package blobtest is the contract suite of ports/blob: every store of blobs passes it.
//
// Invariants:
//  1. The suite sees a store through the port's interfaces, and damages it only through Harness.Damage.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// Store is everything that a store of blobs implements.
type Store interface {
	blob.Store
	blob.Sweeper
}

// Harness is one empty store under test. The maker closes it when the test ends.
type Harness struct {
	Store Store
	// Reopen makes a new Store on the same data, as a process that starts again does, without an orderly end of the
	// one before.
	Reopen func(t *testing.T) Store
	// Damage changes the bytes of a stored blob behind the store's back: it replaces what is stored with b. Nil: the
	// store's data cannot be reached.
	Damage func(t *testing.T, key blob.Key, b []byte)
	// Age makes a stored blob look as if it had last been stored so long ago. Nil: it cannot be done.
	Age func(t *testing.T, key blob.Key, ago time.Duration)
}

// Run runs the suite. open makes a fresh, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"put and open", testPut},
		{"put many", testPutMany},
		{"put again", testPutAgain},
		{"put does not retain", testPutRetains},
		{"put at once", testPutConcurrent},
		{"write", testWriter},
		{"write a large one", testLarge},
		{"read while writing", testReadWhileWriting},
		{"abandoned", testAbandoned},
		{"writer misuse", testWriterMisuse},
		{"missing", testMissing},
		{"canceled", testCanceled},
		{"reopen", testReopen},
		{"damaged", testDamaged},
		{"damaged after the check", testDamagedLater},
		{"keys", testKeys},
		{"keys of a range", testKeyRanges},
		{"delete", testDelete},
		{"delete beside put", testDeleteBesidePut},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fails(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("error %v, want one of the kind %q", err, kind)
	}
}

func keyOf(b []byte) blob.Key { return sha256.Sum256(b) }

// noise returns n bytes that differ by seed.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i+8 <= n; i += 8 {
		x := rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(x >> (8 * j))
		}
	}
	return b
}

func put(t *testing.T, s Store, blobs ...[]byte) []blob.Key {
	t.Helper()
	keys, err := s.Put(t.Context(), blobs...)
	must(t, err)
	if len(keys) != len(blobs) {
		t.Fatalf("%d keys for %d blobs", len(keys), len(blobs))
	}
	for i, b := range blobs {
		if keys[i] != keyOf(b) {
			t.Fatalf("key %v of blob %d is not its SHA-256", keys[i], i)
		}
	}
	return keys
}

// holds checks that the store gives out exactly want under its key.
func holds(t *testing.T, s Store, want []byte) {
	t.Helper()
	b, err := s.Open(t.Context(), keyOf(want))
	must(t, err)
	if b.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", b.Size(), len(want))
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatal("other bytes than were stored")
	}
	if f, ok := b.(blob.FileBlob); ok {
		if got, err := io.ReadAll(io.NewSectionReader(f.File(), 0, 1<<62)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("the file holds other bytes than the blob: %v", err)
		}
	}
	must(t, b.Close())
}

func testPut(t *testing.T, h Harness) {
	blobs := [][]byte{[]byte("Subject: x\r\n\r\nbody"), {}, {0}, noise(5000, 1), noise(70_000, 2)}
	put(t, h.Store, blobs...)
	for _, b := range blobs {
		holds(t, h.Store, b)
	}
	put(t, h.Store)

	// Reads at any place, as io.ReaderAt has it.
	b, err := h.Store.Open(t.Context(), keyOf(blobs[3]))
	must(t, err)
	p := make([]byte, 10)
	if n, err := b.ReadAt(p, 4990); n != 10 || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p, blobs[3][4990:]) {
		t.Fatalf("ReadAt up to the end: %d, %v", n, err)
	}
	if n, err := b.ReadAt(p, 4995); n != 5 || !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt over the end: %d, %v", n, err)
	}
	if n, err := b.ReadAt(p, 5000); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt at the end: %d, %v", n, err)
	}
	must(t, b.Close())
}

func testPutMany(t *testing.T, h Harness) {
	var blobs [][]byte
	for i := range 700 {
		blobs = append(blobs, fmt.Appendf(nil, "message %d", i))
	}
	put(t, h.Store, blobs...)
	for _, b := range blobs {
		holds(t, h.Store, b)
	}
}

func testPutAgain(t *testing.T, h Harness) {
	a, b := []byte("one"), []byte("two")
	put(t, h.Store, a, b, a)
	put(t, h.Store, b, a)
	holds(t, h.Store, a)
	holds(t, h.Store, b)
	if n := len(list(t, h.Store)); n != 2 {
		t.Fatalf("%d blobs are stored, want 2", n)
	}
}

func testPutRetains(t *testing.T, h Harness) {
	b := []byte("before")
	put(t, h.Store, b)
	copy(b, "after!")
	holds(t, h.Store, []byte("before"))
}

// testPutConcurrent stores the same and different blobs from many goroutines.
func testPutConcurrent(t *testing.T, h Harness) {
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 10 {
				shared, own := noise(3000, uint64(i)), noise(500, uint64(1000+100*g+i))
				if _, err := h.Store.Put(t.Context(), shared, own); err != nil {
					t.Error(err)
				}
				w, err := h.Store.Create(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				_, err = w.Write(shared)
				_, err2 := w.Commit(t.Context())
				if err := errors.Join(err, err2, w.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i := range 10 {
		holds(t, h.Store, noise(3000, uint64(i)))
		holds(t, h.Store, noise(500, uint64(1000+100*7+i)))
	}
	if n := len(list(t, h.Store)); n != 90 {
		t.Fatalf("%d blobs are stored, want 90", n)
	}
}

func testMissing(t *testing.T, h Harness) {
	_, err := h.Store.Open(t.Context(), keyOf([]byte("never stored")))
	fails(t, err, fault.NotFound)
}

func testCanceled(t *testing.T, h Harness) {
	b := []byte("x")
	put(t, h.Store, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Store.Put(ctx, []byte("y"))
	fails(t, err, fault.Canceled)
	_, err = h.Store.Open(ctx, keyOf(b))
	fails(t, err, fault.Canceled)
	_, err = h.Store.Create(ctx)
	fails(t, err, fault.Canceled)
	fails(t, h.Store.Delete(ctx, time.Now().Add(time.Hour), keyOf(b)), fault.Canceled)
	for _, err := range h.Store.Keys(ctx, blob.Key{}, blob.Last()) {
		fails(t, err, fault.Canceled)
		break
	}
	w, err := h.Store.Create(t.Context())
	must(t, err)
	_, err = w.Write([]byte("y"))
	must(t, err)
	_, err = w.Commit(ctx)
	fails(t, err, fault.Canceled)
	must(t, w.Close())
	_, err = h.Store.Open(t.Context(), keyOf([]byte("y")))
	fails(t, err, fault.NotFound)
	holds(t, h.Store, b)
}

func testReopen(t *testing.T, h Harness) {
	a, b := noise(1000, 1), noise(2000, 2)
	put(t, h.Store, a, b)
	w, err := h.Store.Create(t.Context())
	must(t, err)
	_, err = w.Write([]byte("unfinished"))
	must(t, err)
	s := h.Reopen(t)
	holds(t, s, a)
	holds(t, s, b)
	if n := len(list(t, s)); n != 2 {
		t.Fatalf("%d blobs are stored, want 2", n)
	}
	must(t, w.Close())
}

// damages are things that can happen to a blob's bytes.
func damages(b []byte) map[string][]byte {
	flipped := slices.Clone(b)
	flipped[len(b)/2] ^= 1
	return map[string][]byte{
		"a flipped bit": flipped, "cut": b[:len(b)-1], "longer": append(slices.Clone(b), 0), "empty": {},
		"zeroes": make([]byte, len(b)),
	}
}

func testDamaged(t *testing.T, h Harness) {
	if h.Damage == nil {
		t.Skip("this store's data cannot be damaged")
	}
	good := noise(9000, 9)
	for name, bad := range damages(good) {
		t.Run(name, func(t *testing.T) {
			s := h.Reopen(t)
			put(t, s, good)
			h.Damage(t, keyOf(good), bad)
			_, err := s.Open(t.Context(), keyOf(good))
			fails(t, err, fault.Corrupt)
			// From then on it is as if it had never been stored: it can be fetched again.
			_, err = s.Open(t.Context(), keyOf(good))
			fails(t, err, fault.NotFound)
			put(t, s, good)
			holds(t, s, good)
		})
	}
}

// testDamagedLater: after the check of the bytes the size is still looked at, each time, and a store that is opened
// again checks the bytes again.
func testDamagedLater(t *testing.T, h Harness) {
	if h.Damage == nil {
		t.Skip("this store's data cannot be damaged")
	}
	good := noise(9000, 9)
	put(t, h.Store, good)
	holds(t, h.Store, good)
	h.Damage(t, keyOf(good), good[:100])
	_, err := h.Store.Open(t.Context(), keyOf(good))
	fails(t, err, fault.Corrupt)

	put(t, h.Store, good)
	holds(t, h.Store, good)
	h.Damage(t, keyOf(good), damages(good)["a flipped bit"])
	_, err = h.Reopen(t).Open(t.Context(), keyOf(good))
	fails(t, err, fault.Corrupt)
}

package blobtest

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

func testWriter(t *testing.T, h Harness) {
	for _, pieces := range [][]string{nil, {""}, {"a"}, {"Subject: x\r\n", "", "\r\n", "body"}} {
		w, err := h.Store.Create(t.Context())
		must(t, err)
		var all []byte
		for _, p := range pieces {
			n, err := io.WriteString(w, p)
			must(t, err)
			if n != len(p) {
				t.Fatalf("wrote %d of %d", n, len(p))
			}
			all = append(all, p...)
		}
		key, err := w.Commit(t.Context())
		must(t, err)
		if key != keyOf(all) {
			t.Fatalf("key %v is not the SHA-256", key)
		}
		holds(t, h.Store, all)
		got := make([]byte, len(all))
		if n, err := w.ReadAt(got, 0); n != len(all) || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, all) {
			t.Fatalf("after Commit the writer is not readable: %d, %v", n, err)
		}
		must(t, w.Close())
		holds(t, h.Store, all)
	}
}

func testLarge(t *testing.T, h Harness) {
	const piece = 64 << 10
	want := noise(10<<20, 3)
	for range 2 { // the second time it is there already
		w, err := h.Store.Create(t.Context())
		must(t, err)
		for off := 0; off < len(want); off += piece {
			_, err := w.Write(want[off:min(off+piece, len(want))])
			must(t, err)
		}
		_, err = w.Commit(t.Context())
		must(t, err)
		must(t, w.Close())
	}
	holds(t, h.Store, want)
	if n := len(list(t, h.Store)); n != 1 {
		t.Fatalf("%d blobs are stored, want 1", n)
	}
}

// testReadWhileWriting has readers follow a writer: what has been written is there, and nothing else.
func testReadWhileWriting(t *testing.T, h Harness) {
	want := noise(1<<20, 4)
	w, err := h.Store.Create(t.Context())
	must(t, err)
	var written atomic.Int64
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			p := make([]byte, 10_000)
			for off := int64(0); off < int64(len(want)); {
				have := written.Load()
				n, err := w.ReadAt(p, off)
				if err != nil && !errors.Is(err, io.EOF) {
					t.Error(err)
					return
				}
				if off+int64(n) < min(have, off+int64(len(p))) {
					t.Errorf("at %d: %d bytes, but %d were written", off, n, have)
					return
				}
				if !bytes.Equal(p[:n], want[off:off+int64(n)]) {
					t.Errorf("at %d: other bytes than were written", off)
					return
				}
				off += int64(n)
			}
		})
	}
	for off := 0; off < len(want); off += 7000 {
		p := want[off:min(off+7000, len(want))]
		_, err := w.Write(p)
		must(t, err)
		written.Add(int64(len(p)))
	}
	readers.Wait()
	_, err = w.Commit(t.Context())
	must(t, err)
	must(t, w.Close())
	holds(t, h.Store, want)
}

func testAbandoned(t *testing.T, h Harness) {
	w, err := h.Store.Create(t.Context())
	must(t, err)
	_, err = w.Write([]byte("abandoned"))
	must(t, err)
	_, err = h.Store.Open(t.Context(), keyOf([]byte("abandoned")))
	fails(t, err, fault.NotFound)
	must(t, w.Close())
	must(t, w.Close())
	_, err = h.Store.Open(t.Context(), keyOf([]byte("abandoned")))
	fails(t, err, fault.NotFound)
	if n := len(list(t, h.Store)); n != 0 {
		t.Fatalf("%d blobs are stored, want none", n)
	}
}

func testWriterMisuse(t *testing.T, h Harness) {
	w, err := h.Store.Create(t.Context())
	must(t, err)
	_, err = w.Write([]byte("x"))
	must(t, err)
	_, err = w.Commit(t.Context())
	must(t, err)
	_, err = w.Write([]byte("y"))
	fails(t, err, fault.Invalid)
	_, err = w.Commit(t.Context())
	fails(t, err, fault.Invalid)
	must(t, w.Close())
	holds(t, h.Store, []byte("x"))
}

func list(t *testing.T, s Store) map[blob.Key]blob.Stored {
	t.Helper()
	all := map[blob.Key]blob.Stored{}
	for st, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) {
		must(t, err)
		if _, twice := all[st.Key]; twice {
			t.Fatalf("%v is listed twice", st.Key)
		}
		all[st.Key] = st
	}
	return all
}

func testKeys(t *testing.T, h Harness) {
	var blobs [][]byte
	for i := range 300 {
		blobs = append(blobs, noise(8*i, uint64(i)))
	}
	start := time.Now().Add(-2 * time.Second) // file systems round
	put(t, h.Store, blobs...)
	w, err := h.Store.Create(t.Context()) // what is being written is not listed
	must(t, err)
	_, err = w.Write([]byte("x"))
	must(t, err)
	all := list(t, h.Store)
	for _, b := range blobs {
		st, ok := all[keyOf(b)]
		if !ok || st.Size != int64(len(b)) || st.Time.Before(start) || st.Time.After(time.Now().Add(2*time.Second)) {
			t.Fatalf("blob of %d bytes: %+v, listed: %v", len(b), st, ok)
		}
	}
	if len(all) != len(blobs) {
		t.Fatalf("%d blobs are listed, want %d", len(all), len(blobs))
	}
	must(t, w.Close())
	for _, err := range h.Store.Keys(t.Context(), blob.Key{}, blob.Last()) {
		must(t, err)
		break // a listing may end early
	}
}

// testKeyRanges: a listing from one key to another has what is between them, those two included, and nothing else.
func testKeyRanges(t *testing.T, h Harness) {
	var keys []blob.Key
	for i := range 100 {
		b := noise(16, uint64(i))
		put(t, h.Store, b)
		keys = append(keys, keyOf(b))
	}
	slices.SortFunc(keys, func(a, b blob.Key) int { return bytes.Compare(a[:], b[:]) })
	beside := func(k blob.Key, by byte) blob.Key { // the next key, or the one before: these keys' last bytes allow both
		k[len(k)-1] += by
		return k
	}
	for _, r := range [][2]blob.Key{
		{{}, blob.Last()}, {{}, keys[0]}, {keys[99], blob.Last()}, {keys[10], keys[10]}, {keys[10], keys[60]}, {keys[60], keys[10]},
		{beside(keys[10], 1), beside(keys[60], 255)}, {beside(keys[10], 255), beside(keys[60], 1)},
		{{0x80}, {0x80, 1}}, {{0x40}, {0xc0}}, {keys[0], keys[99]}, {{}, {}}, {blob.Last(), blob.Last()},
	} {
		want, got := map[blob.Key]bool{}, map[blob.Key]bool{}
		for _, k := range keys {
			if k.Between(r[0], r[1]) {
				want[k] = true
			}
		}
		for st, err := range h.Store.Keys(t.Context(), r[0], r[1]) {
			must(t, err)
			if got[st.Key] {
				t.Fatalf("%v is listed twice", st.Key)
			}
			got[st.Key] = true
		}
		if !maps.Equal(got, want) {
			t.Fatalf("from %v to %v %d blobs are listed, want %d", r[0], r[1], len(got), len(want))
		}
	}
}

func testDelete(t *testing.T, h Harness) {
	if h.Age == nil {
		t.Skip("this store's times cannot be changed")
	}
	old, again, young := []byte("old"), []byte("old, but stored again"), []byte("young")
	put(t, h.Store, old, again, young)
	hourAgo := time.Now().Add(-time.Hour)
	for _, b := range [][]byte{old, again} {
		h.Age(t, keyOf(b), 2*time.Hour)
	}
	if st := list(t, h.Store)[keyOf(again)]; !st.Time.Before(hourAgo) {
		t.Fatalf("listed time %v", st.Time)
	}
	put(t, h.Store, again)
	if st := list(t, h.Store)[keyOf(again)]; st.Time.Before(hourAgo) {
		t.Fatalf("listed time %v after it was stored again", st.Time)
	}
	reader, err := h.Store.Open(t.Context(), keyOf(old))
	must(t, err)
	must(t, h.Store.Delete(t.Context(), hourAgo, keyOf(old), keyOf(again), keyOf(young), keyOf([]byte("never"))))
	_, err = h.Store.Open(t.Context(), keyOf(old))
	fails(t, err, fault.NotFound)
	holds(t, h.Store, again)
	holds(t, h.Store, young)
	got := make([]byte, len(old))
	if _, err := reader.ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, old) {
		t.Fatalf("a blob that was open when it was deleted: %v", err)
	}
	must(t, reader.Close())

	// What comes back after a deletion is a blob like any other, also through a Writer.
	w, err := h.Store.Create(t.Context())
	must(t, err)
	_, err = w.Write(old)
	must(t, err)
	_, err = w.Commit(t.Context())
	must(t, err)
	must(t, w.Close())
	holds(t, h.Store, old)
	must(t, h.Store.Delete(t.Context(), time.Now().Add(time.Hour), keyOf(old)))
	_, err = h.Store.Open(t.Context(), keyOf(old))
	fails(t, err, fault.NotFound)
}

// testDeleteBesidePut sweeps an old blob while it is stored again: once Put has returned it is there, whichever came
// first.
func testDeleteBesidePut(t *testing.T, h Harness) {
	if h.Age == nil {
		t.Skip("this store's times cannot be changed")
	}
	b := []byte("old")
	for range 50 {
		put(t, h.Store, b)
		h.Age(t, keyOf(b), time.Hour)
		before := time.Now().Add(-time.Minute)
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := h.Store.Put(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := h.Store.Delete(t.Context(), before, keyOf(b)); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		holds(t, h.Store, b)
	}
}

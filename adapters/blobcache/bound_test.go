package blobcache_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"imapped/ports/blob"
)

// TestBoundWhileArriving: what arrives together is bounded too: a download for which it leaves no room is read past the cache.
func TestBoundWhileArriving(t *testing.T) {
	dir, b := t.TempDir(), newBehind(t)
	const size, limit = 3 << 20, 8 << 20
	gate := make(chan struct{})
	b.read = func(_ []byte, off int64) error {
		if off >= size/2 {
			<-gate
		}
		return nil
	}
	c := open(t, dir, limit)
	s := c.Over(b)
	var all [][]byte
	var open []blob.Blob
	for i := range 4 { // all of them are arriving when the last is opened
		all = append(all, message(size, uint64(i)))
		put(t, b.Behind, all[i])
		f, err := s.Open(t.Context(), keyOf(all[i]))
		must(t, err)
		open = append(open, f)
	}
	close(gate)
	for i, f := range open {
		got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		must(t, errors.Join(err, f.Close()))
		if !bytes.Equal(got, all[i]) {
			t.Errorf("blob %d: other bytes than were stored", i)
		}
	}
	if got := cached(t, dir); len(got) != limit/size {
		t.Errorf("%d files of %d bytes, in a cache of %d", len(got), size, limit)
	}
	holds(t, s, all[3])
}

package s3_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"imapped/adapters/s3/s3test"
	"imapped/ports/blob"
)

// TestRanges reads a large blob in all ways at once. Reading on from the beginning takes few requests; a little at a
// random place does not fetch much.
func TestRanges(t *testing.T) {
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			b, rng := s3test.Fake(t).Bucket(t), newRand(t)
			var gets atomic.Int64
			var asked atomic.Int64
			b.Config.Transport = &wire{after: func(r *http.Request, a *http.Response) error {
				if isBlob(r, http.MethodGet) {
					gets.Add(1)
					asked.Add(a.ContentLength)
				}
				return nil
			}}
			want := message(20<<20+5, 7)
			s := f.open(t, b.Config)
			write(t, s, want)
			holds(t, s, want)
			if n := gets.Swap(0); n > 8 {
				t.Errorf("%d requests to read it on and on", n)
			}
			asked.Store(0)
			o, err := s.Open(t.Context(), keyOf(want))
			must(t, err)
			p := make([]byte, 1000)
			for _, off := range []int64{15 << 20, 3 << 20, 9 << 20} {
				if n, err := o.ReadAt(p, off); n != len(p) || err != nil || string(p) != string(want[off:off+1000]) {
					t.Errorf("at %d: %d, %v", off, n, err)
				}
			}
			if n := asked.Load(); n > 2<<20 { // the first part, and three windows
				t.Errorf("%d bytes were asked for", n)
			}
			var all sync.WaitGroup
			for range 4 {
				local := rand.New(rand.NewPCG(rng.Uint64(), 0))
				all.Go(func() {
					for range 30 {
						off := local.Int64N(int64(len(want)))
						p := make([]byte, local.IntN(300_000))
						n, err := o.ReadAt(p, off)
						end := min(off+int64(len(p)), int64(len(want)))
						if string(p[:n]) != string(want[off:end]) || n < len(p) && err != io.EOF || n == len(p) && err != nil {
							t.Errorf("%d at %d: %d, %v", len(p), off, n, err)
						}
					}
				})
			}
			all.Wait()
			must(t, o.Close())
		})
	}
}

// TestMemory writes and reads a blob that is much larger than the memory that this takes.
func TestMemory(t *testing.T) {
	srv := s3test.Real(t)
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			b := srv.Bucket(t)
			s := f.open(t, b.Config)
			const size, limit = 96 << 20, 40 << 20
			var most, before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			look := func() {
				runtime.GC()
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				if now.HeapAlloc > most.HeapAlloc {
					most = now
				}
			}
			w, err := s.Create(t.Context())
			must(t, err)
			sum, piece := sha256.New(), message(1<<20, 8)
			for i := range size >> 20 {
				piece[0] = byte(i)
				sum.Write(piece)
				_, err := w.Write(piece)
				must(t, err)
			}
			var key blob.Key
			done := make(chan error)
			go func() {
				var err error
				key, err = w.Commit(t.Context())
				done <- err
			}()
			for running := true; running; {
				select {
				case err := <-done:
					must(t, err)
					running = false
				default:
					look()
				}
			}
			must(t, w.Close())
			if key != blob.Key(sum.Sum(nil)) {
				t.Fatal("another key")
			}
			o, err := s.Open(t.Context(), key)
			must(t, err)
			sum = sha256.New()
			for off := int64(0); off < size; off += int64(len(piece)) {
				_, err := io.ReadFull(io.NewSectionReader(o, off, int64(len(piece))), piece)
				must(t, err)
				sum.Write(piece)
				if off%(8<<20) == 0 {
					look()
				}
			}
			must(t, o.Close())
			if key != blob.Key(sum.Sum(nil)) {
				t.Fatal("other bytes")
			}
			if grown := int64(most.HeapAlloc) - int64(before.HeapAlloc); grown > limit {
				t.Errorf("the heap grew by %d MB", grown>>20)
			} else {
				t.Logf("the heap grew by %d MB", grown>>20)
			}
		})
	}
}

// BenchmarkPut stores small messages in batches, as first mirroring does.
func BenchmarkPut(b *testing.B) {
	srv := s3test.Real(b)
	for _, group := range []int{1, 16, 64, 256} {
		for _, connections := range []int{8, 32} {
			b.Run(fmt.Sprintf("%d/%d", group, connections), func(b *testing.B) {
				bucket := srv.Bucket(b)
				bucket.Config.Connections = connections
				s := open(b, bucket.Config)
				n := uint64(0)
				b.SetBytes(int64(group) * 8 << 10)
				for b.Loop() {
					var blobs [][]byte
					for range group {
						m := message(8<<10, 1)
						copy(m, fmt.Sprint(n))
						n++
						blobs = append(blobs, m)
					}
					must1(s.Put(b.Context(), blobs...))(b)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
			})
		}
	}
}

// BenchmarkPutPacked stores as many bytes as BenchmarkPut's groups of 64, each group as one object: what packing could
// gain at most.
func BenchmarkPutPacked(b *testing.B) {
	bucket := s3test.Real(b).Bucket(b)
	s := open(b, bucket.Config)
	n := 0
	m := message(64*8<<10, 1)
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		copy(m, fmt.Sprint(n))
		n++
		must1(s.Put(b.Context(), m))(b)
	}
	b.ReportMetric(float64(64*n)/b.Elapsed().Seconds(), "messages/s")
}

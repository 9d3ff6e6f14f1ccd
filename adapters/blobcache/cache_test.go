package blobcache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/adapters/blobcache"
	"imapped/adapters/blobfs"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/blob/blobtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(b []byte) blob.Key { return sha256.Sum256(b) }

// message returns a blob of n bytes that seed determines.
func message(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // it does not fail
	return b
}

// behind is the store behind a cache, which counts and may be held up.
type behind struct {
	blobcache.Behind
	opens atomic.Int64
	read  func(p []byte, off int64) error // before each read; nil: nothing
	bytes func(p []byte, off int64)       // changes what was read
}

func (b *behind) Open(ctx context.Context, key blob.Key) (blob.Blob, error) {
	b.opens.Add(1)
	f, err := b.Behind.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &behindBlob{f, b}, nil
}

type behindBlob struct {
	blob.Blob
	b *behind
}

func (b *behindBlob) ReadAt(p []byte, off int64) (int, error) {
	if b.b.read != nil {
		if err := b.b.read(p, off); err != nil {
			return 0, err
		}
	}
	n, err := b.Blob.ReadAt(p, off)
	if b.b.bytes != nil {
		b.b.bytes(p[:n], off)
	}
	return n, err
}

func newBehind(t testing.TB) *behind {
	t.Helper()
	fs, err := blobfs.Open(filepath.Join(t.TempDir(), "behind"))
	must(t, err)
	t.Cleanup(func() { must(t, fs.Close()) })
	return &behind{Behind: fs}
}

func open(t testing.TB, dir string, size int64) *blobcache.Cache {
	t.Helper()
	c, err := blobcache.New(blobcache.Config{Dir: dir, MaxBytes: size, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func put(t testing.TB, s blob.Store, blobs ...[]byte) {
	t.Helper()
	_, err := s.Put(t.Context(), blobs...)
	must(t, err)
}

func readAll(t testing.TB, s blob.Store, want []byte) blob.Blob {
	t.Helper()
	b, err := s.Open(t.Context(), keyOf(want))
	must(t, err)
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatal("other bytes than were stored")
	}
	return b
}

func holds(t testing.TB, s blob.Store, want []byte) {
	t.Helper()
	must(t, readAll(t, s, want).Close())
}

// cached lists the files of a cache.
func cached(t testing.TB, dir string) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "??", "*"))
	must(t, err)
	return paths
}

func path(dir string, b []byte) string {
	k := keyOf(b).String()
	return filepath.Join(dir, k[:2], k)
}

func TestContract(t *testing.T) {
	for name, size := range map[string]int64{"roomy": 1 << 30, "small": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blobtest.Harness {
				dir := t.TempDir()
				at := func(key blob.Key) string {
					return filepath.Join(dir, "behind", key.String()[:2], key.String())
				}
				reopen := func(t *testing.T) blobtest.Store {
					fs, err := blobfs.Open(filepath.Join(dir, "behind"))
					must(t, err)
					t.Cleanup(func() { must(t, fs.Close()) })
					return open(t, filepath.Join(dir, "cache"), size).Over(fs)
				}
				return blobtest.Harness{
					Store: reopen(t), Reopen: reopen,
					Damage: func(t *testing.T, key blob.Key, b []byte) {
						must(t, os.WriteFile(at(key), b, 0o600))
						must(t, os.RemoveAll(filepath.Join(dir, "cache")))
					},
					Age: func(t *testing.T, key blob.Key, ago time.Duration) {
						then := time.Now().Add(-ago)
						must(t, os.Chtimes(at(key), then, then))
					},
				}
			})
		})
	}
}

// TestOneDownload: many readers of a large blob share one download, and read what has arrived before the rest is there.
func TestOneDownload(t *testing.T) {
	dir, b := t.TempDir(), newBehind(t)
	want := message(5<<20, 1)
	put(t, b.Behind, want)
	half, gate := int64(len(want)/2), make(chan struct{})
	b.read = func(_ []byte, off int64) error {
		if off >= half {
			<-gate
		}
		return nil
	}
	c := open(t, dir, 1<<30)
	s := c.Over(b)
	var early, all sync.WaitGroup
	for range 20 {
		early.Add(1)
		all.Go(func() {
			f, err := s.Open(t.Context(), keyOf(want))
			if err != nil {
				t.Error(err)
				early.Done()
				return
			}
			defer func() { _ = f.Close() }() // only read
			p := make([]byte, 1<<20)
			if n, err := f.ReadAt(p, 1000); n != len(p) || err != nil || !bytes.Equal(p, want[1000:1000+len(p)]) {
				t.Errorf("while the rest arrives: %d, %v", n, err)
			}
			early.Done()
			got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("the whole: %d bytes, %v", len(got), err)
			}
		})
	}
	early.Wait()
	close(gate)
	all.Wait()
	if n := b.opens.Load(); n != 1 {
		t.Errorf("%d downloads, want one", n)
	}
	f := readAll(t, s, want)
	if _, ok := f.(blob.FileBlob); !ok || b.opens.Load() != 1 {
		t.Errorf("afterwards it is a %T, after %d downloads", f, b.opens.Load())
	}
	must(t, f.Close())
	if st := c.Stats(); st.Hits != 1 || st.Misses != 20 || st.Files != 1 || st.Bytes < int64(len(want)) {
		t.Errorf("%+v", st)
	}
}

// TestWrittenThrough: what is stored is here without a download, as a file, small or written in pieces.
func TestWrittenThrough(t *testing.T) {
	b := newBehind(t)
	s := open(t, t.TempDir(), 1<<30).Over(b)
	small, big := message(5000, 1), message(2<<20, 2)
	put(t, s, small)
	w, err := s.Create(t.Context())
	must(t, err)
	_, err = w.Write(big)
	must(t, err)
	_, err = w.Commit(t.Context())
	must(t, err)
	must(t, w.Close())
	for _, want := range [][]byte{small, big} {
		f := readAll(t, s, want)
		if _, ok := f.(blob.FileBlob); !ok {
			t.Errorf("a %T is no file", f)
		}
		must(t, f.Close())
		holds(t, b.Behind, want)
	}
	if n := b.opens.Load(); n != 0 {
		t.Errorf("%d downloads", n)
	}
}

// TestBadArrival: bytes that do not match never make a whole, and are not kept.
func TestBadArrival(t *testing.T) {
	for _, size := range []int{10, 100_000, 3 << 20} {
		dir, b := t.TempDir(), newBehind(t)
		want := message(size, 3)
		put(t, b.Behind, want)
		b.bytes = func(p []byte, off int64) {
			if at := int64(size / 2); off <= at && at < off+int64(len(p)) {
				p[at-off] ^= 1
			}
		}
		s := open(t, dir, 1<<30).Over(b)
		f, err := s.Open(t.Context(), keyOf(want))
		if err == nil {
			last := make([]byte, 1)
			_, err = f.ReadAt(last, f.Size()-1)
			must(t, f.Close())
		}
		if !fault.Is(err, fault.Corrupt) {
			t.Errorf("%d bytes: %v, want a corrupt blob", size, err)
		}
		if got := cached(t, dir); len(got) != 0 {
			t.Errorf("%d bytes: kept %v", size, got)
		}
		b.bytes = nil
		holds(t, s, want)
	}
}

// TestBrokenDownload: a download that breaks off fails for those who wait, and the next one succeeds.
func TestBrokenDownload(t *testing.T) {
	b := newBehind(t)
	want := message(3<<20, 4)
	put(t, b.Behind, want)
	broken := fault.New(fault.Unavailable, "read", "it broke")
	b.read = func(_ []byte, off int64) error {
		if off > 1<<20 {
			return broken
		}
		return nil
	}
	s := open(t, t.TempDir(), 1<<30).Over(b)
	f, err := s.Open(t.Context(), keyOf(want))
	if err == nil { // else it broke before anybody could read
		_, err = io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		must(t, f.Close())
	}
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, broken) {
		t.Errorf("%v, want what broke it", err)
	}
	b.read = nil
	holds(t, s, want)
}

// TestStoredMeanwhile: who opens a blob after it was stored gets it, also when an older search for it is under way.
func TestStoredMeanwhile(t *testing.T) {
	b := newBehind(t)
	at := t.TempDir()
	dir := filepath.Join(at, "file") // no folder: nothing is ever cached
	must(t, os.WriteFile(dir, nil, 0o600))
	want := message(1000, 5)
	entered, gate := make(chan struct{}), make(chan struct{})
	slow := &slowOpen{Behind: b, entered: entered, gate: gate}
	s := open(t, dir, 1<<30).Over(slow)
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := s.Open(t.Context(), keyOf(want)); !fault.Is(err, fault.NotFound) {
			t.Errorf("before it was stored: %v", err)
		}
	})
	<-entered
	put(t, s, want)
	opened := make(chan struct{})
	var second sync.WaitGroup
	second.Go(func() {
		close(opened)
		holds(t, s, want)
	})
	<-opened
	close(gate)
	first.Wait()
	second.Wait()
}

// slowOpen holds its first Open, which has looked already, until the gate opens.
type slowOpen struct {
	blobcache.Behind
	once          sync.Once
	entered, gate chan struct{}
}

func (s *slowOpen) Open(ctx context.Context, key blob.Key) (b blob.Blob, err error) {
	b, err = s.Behind.Open(ctx, key)
	s.once.Do(func() {
		close(s.entered)
		<-s.gate
	})
	return b, err
}

// TestBound: the least recently used blobs leave, and the order survives a restart.
func TestBound(t *testing.T) {
	dir, b := t.TempDir(), newBehind(t)
	const size, files = 8 << 10, 16
	c := open(t, dir, size*files)
	s := c.Over(b)
	var all [][]byte
	for i := range 2 * files {
		all = append(all, message(size, uint64(i)))
		put(t, s, all[i])
		holds(t, s, all[0]) // it is used all the time
	}
	if got := cached(t, dir); len(got) > files {
		t.Fatalf("%d files, want at most %d", len(got), files)
	}
	if _, err := os.Stat(path(dir, all[0])); err != nil {
		t.Errorf("the blob that is used all the time left: %v", err)
	}
	if _, err := os.Stat(path(dir, all[1])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest blob is still there: %v", err)
	}
	must(t, c.Close())

	// After a restart with less room the files with the latest times stay.
	old := time.Now().Add(-time.Hour)
	for i := files + 1; i < 2*files; i++ {
		then := old.Add(-time.Duration(i) * time.Minute) // the higher, the older
		must(t, os.Chtimes(path(dir, all[i]), then, then))
	}
	c = open(t, dir, size*4)
	must(t, c.Close())                                   // waits for the listing
	if st := c.Stats(); st.Files != 0 && st.Files != 4 { // it may have been ended before it listed anything
		t.Errorf("%+v", st)
	}
	for st := c.Stats(); st.Files != 4; st = c.Stats() {
		c = open(t, dir, size*4)
		holds(t, c.Over(b), all[0])
		must(t, c.Close())
	}
	for i, there := range map[int]bool{0: true, files + 1: true, files + 3: true, files + 4: false, 2*files - 1: false} {
		if _, err := os.Stat(path(dir, all[i])); (err == nil) != there {
			t.Errorf("blob %d is there: %v, want %v", i, err == nil, there)
		}
	}
}

// TestDamagedFile: a file that was changed is fetched anew, and so is one whose size changed under the cache's eyes.
func TestDamagedFile(t *testing.T) {
	dir, b := t.TempDir(), newBehind(t)
	want := message(9000, 6)
	put(t, open(t, dir, 1<<30).Over(b), want)
	bad := bytes.Clone(want)
	bad[100] ^= 1
	must(t, os.WriteFile(path(dir, want), bad, 0o600))
	s := open(t, dir, 1<<30).Over(b)
	holds(t, s, want)
	must(t, os.WriteFile(path(dir, want), want[:500], 0o600))
	holds(t, s, want)
	if n := b.opens.Load(); n != 2 {
		t.Errorf("%d downloads, want 2", n)
	}
}

// TestDeletedMeanwhile reads and writes at random while somebody deletes files and the whole folder.
func TestDeletedMeanwhile(t *testing.T) {
	seed := rand.Uint64()
	if v := os.Getenv("IMAPPED_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	at, b := t.TempDir(), newBehind(t)
	dir := filepath.Join(at, "cache")
	s := open(t, dir, 4<<20).Over(b)
	var all [][]byte
	for i := range 40 {
		size := 3000
		if i%10 == 0 {
			size = 3 << 19 // streamed
		}
		all = append(all, message(size, uint64(i)))
	}
	put(t, b.Behind, all...)
	var readers, vandal sync.WaitGroup
	stop := make(chan struct{})
	vandal.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 99))
		for {
			select {
			case <-stop:
				return
			default:
			}
			if rng.IntN(20) == 0 {
				_ = os.RemoveAll(dir) // it may fail: files are being made there
			} else {
				_ = os.Remove(path(dir, all[rng.IntN(len(all))]))
			}
		}
	})
	for g := range 4 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(g)))
			for range 150 {
				want := all[rng.IntN(len(all))]
				if rng.IntN(5) == 0 {
					if _, err := s.Put(t.Context(), want); err != nil {
						t.Error(err)
					}
				}
				f, err := s.Open(t.Context(), keyOf(want))
				if err != nil {
					t.Error(err)
					continue
				}
				got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
				}
				must(t, f.Close())
			}
		})
	}
	readers.Wait()
	close(stop)
	vandal.Wait()
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*")); err != nil || len(left) != 0 {
		t.Errorf("files that were arriving are left: %v, %v", left, err)
	}
}

// TestConfig: what cannot be right is refused.
func TestConfig(t *testing.T) {
	for _, c := range []blobcache.Config{{}, {Dir: "x"}, {MaxBytes: 1}, {Dir: "x", MaxBytes: -1}} {
		if _, err := blobcache.New(c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// BenchmarkOpen opens a blob of 5 KB that is cached, and reads one that is not.
func BenchmarkOpen(b *testing.B) {
	for _, hit := range []bool{true, false} {
		b.Run(fmt.Sprintf("hit=%v", hit), func(b *testing.B) {
			dir := b.TempDir()
			s := open(b, dir, 1<<30).Over(newBehind(b))
			want := message(5000, 1)
			put(b, s, want)
			for b.Loop() {
				if !hit {
					must(b, os.Remove(path(dir, want)))
				}
				f, err := s.Open(context.Background(), keyOf(want))
				must(b, err)
				must(b, f.Close())
			}
		})
	}
}

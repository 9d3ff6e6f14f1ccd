package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapped/adapters/s3"
	"imapped/adapters/s3/s3test"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

func isDeletion(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("delete")
}

func isMarkers(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Query().Get("prefix"), "sweep/")
}

// held holds a node's deletion, when it has looked at everything and is about to delete.
type held struct{ reached, gate chan struct{} }

func hold(b *s3test.Bucket) *held {
	h := &held{make(chan struct{}), make(chan struct{})}
	b.Config.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
		if isDeletion(r) {
			close(h.reached)
			<-h.gate
		}
		return nil, nil //nolint:nilnil // the request is sent
	}}
	return h
}

// TestPutBesideDeletionElsewhere: one node is about to delete an old blob when another one stores it again. The Put does
// not return before the deletion is over, and then the blob is there.
func TestPutBesideDeletionElsewhere(t *testing.T) {
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			b := s3test.Fake(t).Bucket(t)
			old := []byte("old")
			must1(f.open(t, b.Config).Put(t.Context(), old))(t)
			b.Age(t, f.name(keyOf(old)), 3*time.Hour)
			// putter is another node, and tells when it looks for markers.
			putter := func() (*s3.Store, chan struct{}) {
				c, looks := b.Config, make(chan struct{}, 100)
				c.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
					if isMarkers(r) {
						looks <- struct{}{}
					}
					return nil, nil //nolint:nilnil // the request is sent
				}}
				return f.open(t, c), looks
			}
			second, secondLooks := putter()
			third, thirdLooks := putter()
			h := hold(b)
			sweeper := f.open(t, b.Config)
			var both sync.WaitGroup
			both.Go(func() {
				if err := sweeper.Delete(t.Context(), time.Now().Add(-time.Hour), keyOf(old)); err != nil {
					t.Error(err)
				}
			})
			<-h.reached
			var stored atomic.Int64
			put := func(s *s3.Store) {
				if _, err := s.Put(t.Context(), old); err != nil {
					t.Error(err)
				}
				stored.Add(1)
				holds(t, s, old)
			}
			both.Go(func() { put(second) })
			for range 3 { // it looks for the marker again and again
				<-secondLooks
			}
			// What the third one finds is fresh already; the deletion has seen it old.
			both.Go(func() { put(third) })
			for range 3 {
				<-thirdLooks
			}
			if n := stored.Load(); n != 0 {
				t.Errorf("%d Puts returned while a deletion was under way", n)
			}
			close(h.gate)
			both.Wait()
			holds(t, second, old)
		})
	}
}

// TestOneDeletion: while a node deletes, another one gives up.
func TestOneDeletion(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	other := open(t, b.Config)
	must1(other.Put(t.Context(), []byte("a"), []byte("b")))(t)
	h := hold(b)
	var first sync.WaitGroup
	first.Go(func() {
		if err := open(t, b.Config).Delete(t.Context(), time.Now().Add(time.Hour), keyOf([]byte("a"))); err != nil {
			t.Error(err)
		}
	})
	<-h.reached
	if err := other.Delete(t.Context(), time.Now().Add(time.Hour), keyOf([]byte("b"))); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v, want a conflict", err)
	}
	close(h.gate)
	first.Wait()
	must(t, other.Delete(t.Context(), time.Now().Add(time.Hour), keyOf([]byte("b"))))
	if left := b.Names(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestUncertainDeletion: the answer to a deletion is lost. It is not sent again, its marker stays, and when that has aged
// it is in nobody's way.
func TestUncertainDeletion(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	other := open(t, b.Config)
	must1(other.Put(t.Context(), []byte("a"), []byte("b")))(t)
	var sent atomic.Int64
	b.Config.Transport = &wire{after: func(r *http.Request, _ *http.Response) error {
		if isDeletion(r) {
			sent.Add(1)
			return errors.New("the answer is lost")
		}
		return nil
	}}
	err := open(t, b.Config).Delete(t.Context(), time.Now().Add(time.Hour), keyOf([]byte("a")))
	unavailable(t, b, err)
	if sent.Load() != 1 {
		t.Errorf("the deletion was sent %d times", sent.Load())
	}
	marker := ""
	for _, name := range b.Names(t) {
		if strings.HasPrefix(name, "mail/sweep/") {
			marker = name
		}
	}
	if marker == "" {
		t.Fatal("no marker is left")
	}
	if err := other.Delete(t.Context(), time.Now().Add(time.Hour), keyOf([]byte("b"))); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v, want a conflict", err)
	}
	b.Age(t, marker, time.Hour)
	must1(other.Put(t.Context(), []byte("b")))(t)
	must(t, other.Delete(t.Context(), time.Now().Add(time.Hour), keyOf([]byte("b"))))
	if left := b.Names(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestDeletionAfterSleep: a machine that slept after it had looked at the objects deletes none of them: others have stored them
// again meanwhile. The contexts' time stood still.
func TestDeletionAfterSleep(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	var slept atomic.Int64
	b.Config.Transport = &wire{after: func(r *http.Request, _ *http.Response) error {
		if isBlob(r, http.MethodHead) {
			slept.Add(int64(time.Hour))
		}
		return nil
	}}
	s := open(t, b.Config)
	old := []byte("old")
	must1(s.Put(t.Context(), old))(t)
	b.Age(t, "mail/blobs/"+keyOf(old).String(), 3*time.Hour)
	s3.SetClock(s, func() time.Time { return time.Now().Add(time.Duration(slept.Load())) })
	before := time.Now().Add(-time.Hour)
	if err := s.Delete(t.Context(), before, keyOf(old)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after the sleep: %v", err)
	}
	holds(t, s, old)
	s3.SetClock(s, time.Now)
	must(t, s.Delete(t.Context(), before, keyOf(old))) // the marker is gone
	if _, err := s.Open(t.Context(), keyOf(old)); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// TestListsRange: a listing of a few keys costs no more than their page, however many there are before and after them.
func TestListsRange(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	var pages atomic.Int64
	b.Config.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("list-type") == "2" {
			pages.Add(1)
		}
		return nil, nil //nolint:nilnil // the request is sent
	}}
	s := open(t, b.Config)
	var blobs [][]byte
	for i := range 2500 {
		blobs = append(blobs, fmt.Appendf(nil, "message %d", i))
	}
	must1(s.Put(t.Context(), blobs...))(t)
	pages.Store(0)
	found := 0
	for st, err := range s.Keys(t.Context(), blob.Key{0x80}, blob.Key{0x90}) {
		must(t, err)
		if st.Key[0]>>4 != 8 {
			t.Errorf("%v is listed", st.Key)
		}
		found++
	}
	if found == 0 || pages.Load() != 1 {
		t.Errorf("%d keys in %d pages, want them in one", found, pages.Load())
	}
}

// TestRefresh: what is stored again is written again only when it is old, and is young afterwards, also through a Writer.
func TestRefresh(t *testing.T) {
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			b := s3test.Fake(t).Bucket(t)
			var writes atomic.Int64
			b.Config.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
				if isBlob(r, http.MethodPut) && r.Header.Get("If-None-Match") == "" && !r.URL.Query().Has("partNumber") {
					writes.Add(1)
				}
				return nil, nil //nolint:nilnil // the request is sent
			}}
			s := f.open(t, b.Config)
			small := message(1000, 1)
			for _, again := range []func(){
				func() { must1(s.Put(t.Context(), small))(t) },
				func() { write(t, s, small) },
			} {
				again()
				again()
				if n := writes.Swap(0); n != 0 {
					t.Errorf("a young blob was written again %d times", n)
				}
				b.Age(t, f.name(keyOf(small)), time.Hour)
				again()
				if n := writes.Swap(0); n != 1 {
					t.Errorf("an old blob was written again %d times", n)
				}
				for st, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) {
					must(t, err)
					if time.Since(st.Time) > time.Minute {
						t.Errorf("it is from %v", st.Time)
					}
				}
			}
		})
	}
}

// TestManyKeys lists more than a page, and deletes more than a batch.
func TestManyKeys(t *testing.T) { manyKeys(t, s3test.Fake(t)) }

func TestManyKeysReal(t *testing.T) { manyKeys(t, s3test.Real(t)) }

func manyKeys(t *testing.T, srv *s3test.Server) {
	b := srv.Bucket(t)
	s := open(t, b.Config)
	var blobs [][]byte
	for i := range 1234 {
		blobs = append(blobs, fmt.Appendf(nil, "message %d", i))
	}
	keys, err := s.Put(t.Context(), blobs...)
	must(t, err)
	b.Put(t, "mail/blobs/no blob", nil)
	b.Put(t, "mail/other", nil)
	count := func() (n int) {
		seen := map[blob.Key]bool{}
		for st, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) {
			must(t, err)
			seen[st.Key] = true
			n++
		}
		if len(seen) != n {
			t.Errorf("%d keys, %d of them different", n, len(seen))
		}
		return n
	}
	if n := count(); n != len(blobs) {
		t.Fatalf("%d keys, want %d", n, len(blobs))
	}
	must(t, s.Delete(t.Context(), time.Now().Add(time.Hour), keys[:1100]...))
	if n := count(); n != 134 {
		t.Errorf("%d keys are left, want 134", n)
	}
	if n := len(b.Names(t)); n != 136 {
		t.Errorf("%d objects are left, want 136", n)
	}
}

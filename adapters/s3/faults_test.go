package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
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

// wire carries requests, and does to them what a test says.
type wire struct {
	before func(r *http.Request) (*http.Response, error) // both nil: the request is sent
	after  func(r *http.Request, a *http.Response) error // may change the answer, or lose it
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.before != nil {
		if a, err := w.before(r); a != nil || err != nil {
			return a, err
		}
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && w.after != nil {
		if err := w.after(r, a); err != nil {
			_ = a.Body.Close() // the answer is lost
			return nil, err
		}
	}
	return a, err
}

func answer(r *http.Request, status int, code string) *http.Response {
	body := "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code></Error>"
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// changed is a body that something happens to.
type changed struct {
	io.ReadCloser
	read func(r io.Reader, p []byte) (int, error)
}

// Read implements io.Reader.
func (c *changed) Read(p []byte) (int, error) { return c.read(c.ReadCloser, p) }

func message(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // it does not fail
	return b
}

func isBlob(r *http.Request, method string) bool {
	return r.Method == method && strings.Contains(r.URL.Path, "/blobs/")
}

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv("IMAPPED_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func write(t testing.TB, s blob.Store, b []byte) {
	t.Helper()
	w, err := s.Create(t.Context())
	must(t, err)
	_, err = w.Write(b)
	must(t, err)
	key, err := w.Commit(t.Context())
	must(t, err)
	must(t, w.Close())
	if key != keyOf(b) {
		t.Fatal("another key")
	}
}

func holds(t testing.TB, s blob.Store, want []byte) {
	t.Helper()
	b, err := s.Open(t.Context(), keyOf(want))
	must(t, err)
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	must(t, err)
	must(t, b.Close())
	if !bytes.Equal(got, want) {
		t.Fatal("other bytes than were stored")
	}
}

// TestBadNetwork stores and reads through a network on which answers are errors, get lost, and break off.
func TestBadNetwork(t *testing.T) {
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			b, rng := s3test.Fake(t).Bucket(t), newRand(t)
			var mu sync.Mutex
			row := 0 // of failures, so that no request runs out of attempts
			fails := func() int {
				mu.Lock()
				defer mu.Unlock()
				if row++; row > 2 || rng.IntN(3) > 0 {
					row = 0
					return -1
				}
				return rng.IntN(4)
			}
			w := &wire{}
			w.before = func(r *http.Request) (*http.Response, error) {
				switch fails() {
				case 0:
					return answer(r, http.StatusServiceUnavailable, "SlowDown"), nil
				case 1:
					return nil, errors.New("the connection is refused")
				}
				return nil, nil //nolint:nilnil // the request is sent
			}
			w.after = func(r *http.Request, a *http.Response) error {
				switch k := fails(); {
				case k == 2:
					return errors.New("the answer is lost")
				case k == 3 && r.Method == http.MethodGet:
					left := 1000
					a.Body = &changed{a.Body, func(r io.Reader, p []byte) (int, error) {
						if left == 0 {
							return 0, io.ErrUnexpectedEOF
						}
						n, err := r.Read(p[:min(len(p), left)])
						left -= n
						return n, err
					}}
				}
				return nil
			}
			b.Config.Transport = w
			s := f.open(t, b.Config)
			small, large := message(5000, 1), message(9<<20, 2)
			for range 3 {
				_, err := s.Put(t.Context(), small, []byte("another"))
				must(t, err)
			}
			write(t, s, large)
			for range 3 {
				holds(t, s, small)
				holds(t, s, large)
			}
		})
	}
}

// TestLostAnswer: the write was carried out, its answer was lost, and the repeated one finds the object.
func TestLostAnswer(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	var lost atomic.Int64
	b.Config.Transport = &wire{after: func(r *http.Request, _ *http.Response) error {
		if isBlob(r, http.MethodPut) && lost.Add(1) == 1 {
			return errors.New("the answer is lost")
		}
		return nil
	}}
	s := open(t, b.Config)
	_, err := s.Put(t.Context(), []byte("x"))
	must(t, err)
	holds(t, s, []byte("x"))
	if lost.Load() != 2 {
		t.Errorf("%d writes", lost.Load())
	}
}

// TestLostCompletion: the same for an upload in parts.
func TestLostCompletion(t *testing.T) {
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			b := s3test.Fake(t).Bucket(t)
			var lost atomic.Int64
			b.Config.Transport = &wire{after: func(r *http.Request, _ *http.Response) error {
				if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && lost.Add(1) == 1 {
					return errors.New("the answer is lost")
				}
				return nil
			}}
			s := f.open(t, b.Config)
			want := message(9<<20, 1)
			write(t, s, want)
			holds(t, s, want)
			if lost.Load() != 2 {
				t.Errorf("%d completions", lost.Load())
			}
		})
	}
}

// TestConditionalConflict: two conditional writes met (409), and the store wants it to be tried again.
func TestConditionalConflict(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	var asked atomic.Int64
	b.Config.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
		if isBlob(r, http.MethodPut) && asked.Add(1) <= 2 {
			return answer(r, http.StatusConflict, "ConditionalRequestConflict"), nil
		}
		return nil, nil //nolint:nilnil // the request is sent
	}}
	s := open(t, b.Config)
	_, err := s.Put(t.Context(), []byte("x"))
	must(t, err)
	holds(t, s, []byte("x"))
}

// TestDamagedOnTheWay: a bit that changes between the store and here is never given out as part of a whole.
func TestDamagedOnTheWay(t *testing.T) {
	for name, f := range forms(t) {
		for _, size := range []int{1, 5000, 400 << 10, 3 << 20} {
			for _, backwards := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " ", size, " ", backwards), func(t *testing.T) {
					b := s3test.Fake(t).Bucket(t)
					want := message(size, 3)
					must1(f.open(t, b.Config).Put(t.Context(), want))(t)
					w := &wire{after: func(r *http.Request, a *http.Response) error {
						var off int64
						_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &off) // without a range it is 0
						at := a.ContentLength/2 + off
						if !isBlob(r, http.MethodGet) || size > 1<<20 && off == 0 {
							return nil // of a large one only what comes later
						}
						a.Body = &changed{a.Body, func(r io.Reader, p []byte) (int, error) {
							n, err := r.Read(p)
							if off <= at && at < off+int64(n) {
								p[at-off] ^= 1
							}
							off += int64(n)
							return n, err
						}}
						return nil
					}}
					b.Config.Transport = w
					s := f.open(t, b.Config)
					blob, err := s.Open(t.Context(), keyOf(want))
					if err == nil {
						defer func() { _ = blob.Close() }() // only read
						if backwards {
							_, err = blob.ReadAt(make([]byte, 10), blob.Size()-10)
						}
						if err == nil || errors.Is(err, io.EOF) {
							_, err = io.ReadAll(io.NewSectionReader(blob, 0, blob.Size()))
						}
					}
					if !fault.Is(err, fault.Corrupt) {
						t.Errorf("%v, want a corrupt blob", err)
					}
					// The next Put writes it again, although the object is there.
					w.after = nil
					must1(s.Put(t.Context(), want))(t)
					holds(t, s, want)
				})
			}
		}
	}
}

// must1 drops a result and fails on an error.
func must1[T any](_ T, err error) func(t testing.TB) {
	return func(t testing.TB) {
		t.Helper()
		must(t, err)
	}
}

// TestSilence: a store that does not answer, or stops in the middle, fails a request after its deadline.
func TestSilence(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	want := message(3<<20, 4)
	must1(open(t, b.Config).Put(t.Context(), want))(t)
	var silent atomic.Bool
	b.Config.Timeout = 100 * time.Millisecond
	b.Config.Transport = &wire{
		before: func(r *http.Request) (*http.Response, error) {
			if silent.Load() {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return nil, nil //nolint:nilnil // the request is sent
		},
		after: func(r *http.Request, a *http.Response) error {
			if r.Header.Get("If-Match") != "" { // what comes after the first part
				a.Body = &changed{a.Body, func(io.Reader, []byte) (int, error) {
					<-r.Context().Done()
					return 0, r.Context().Err()
				}}
			}
			return nil
		},
	}
	s := open(t, b.Config)
	f, err := s.Open(t.Context(), keyOf(want))
	must(t, err)
	_, err = io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	unavailable(t, b, err)
	must(t, f.Close())

	silent.Store(true)
	_, err = s.Open(t.Context(), keyOf(want))
	unavailable(t, b, err)
	_, err = s.Put(t.Context(), []byte("x"))
	unavailable(t, b, err)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err = s.Open(ctx, keyOf(want)); !fault.Is(err, fault.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
}

func unavailable(t *testing.T, b *s3test.Bucket, err error) {
	t.Helper()
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, want one of the kind unavailable", err)
		return
	}
	for _, hidden := range []string{strings.TrimPrefix(b.Config.Endpoint, "http://"), b.Config.AccessKeyID, b.Config.SecretAccessKey} {
		if strings.Contains(err.Error(), hidden) {
			t.Errorf("%q names %q", err, hidden)
		}
	}
}

// TestRefused: a wrong key, a bucket that is not there and an unreachable store are no missing blobs.
func TestRefused(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	for name, change := range map[string]func(*s3.Config){
		"refused": func(c *s3.Config) {
			c.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
				return answer(r, http.StatusForbidden, "SignatureDoesNotMatch"), nil
			}}
		},
		"no bucket":   func(c *s3.Config) { c.Bucket = "another" },
		"unreachable": func(c *s3.Config) { c.Endpoint, c.Timeout = "http://127.0.0.1:1", 100*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			c := b.Config
			change(&c)
			s := open(t, c)
			_, err := s.Open(t.Context(), keyOf(nil))
			unavailable(t, b, err)
			_, err = s.Put(t.Context(), nil)
			unavailable(t, b, err)
			for _, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) {
				unavailable(t, b, err)
			}
			unavailable(t, b, s.Delete(t.Context(), time.Now(), keyOf(nil)))
			unavailable(t, b, s.Check(t.Context()))
		})
	}
}

func TestCheck(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	must(t, open(t, b.Config).Check(t.Context()))
	if left := b.Names(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	b.Config.Transport = &wire{before: func(r *http.Request) (*http.Response, error) {
		r.Header.Del("If-None-Match") // as a store that does not know it
		return nil, nil               //nolint:nilnil // the request is sent
	}}
	if err := open(t, b.Config).Check(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("a store without conditional writes: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := s3.Config{Endpoint: "https://s3.example.org", Bucket: "mail", AccessKeyID: "id", SecretAccessKey: "a secret"}
	open(t, good)
	for want, change := range map[string]func(*s3.Config){
		"bucket":            func(c *s3.Config) { c.Bucket = "" },
		"access key id":     func(c *s3.Config) { c.AccessKeyID = "" },
		"secret access key": func(c *s3.Config) { c.SecretAccessKey = "" },
		"endpoint":          func(c *s3.Config) { c.Endpoint = "s3.example.org" },
		"region":            func(c *s3.Config) { c.Endpoint, c.Region = "", "auto" },
		"prefix":            func(c *s3.Config) { c.Prefix = "/mail" },
		"timeout":           func(c *s3.Config) { c.Timeout = -1 },
	} {
		c := good
		change(&c)
		_, err := s3.New(c)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "a secret") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

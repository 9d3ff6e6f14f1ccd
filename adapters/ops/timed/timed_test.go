package timed_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"imapped/adapters/ops/timed"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// heard is what an Observe heard.
type heard struct {
	ops  []string
	took []time.Duration
	errs []error
}

func (h *heard) observe(op string, took time.Duration, err error) {
	h.ops, h.took, h.errs = append(h.ops, op), append(h.took, took), append(h.errs, err)
}

// store is a metadata store in which two methods can be used.
type store struct {
	timed.Metadata
	err error
}

func (s store) Mailbox(_ context.Context, acc account.ID, id mailbox.ID) (mailbox.Info, error) {
	return mailbox.Info{Account: acc, ID: id}, s.err
}

func (s store) UpstreamRows(_ context.Context, _ account.ID, _ mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	return errors.Join(s.err, fn(metadata.UpstreamRow{UID: 7}))
}

func TestPassesThrough(t *testing.T) {
	bad := errors.New("bad")
	for _, err := range []error{nil, bad} {
		var h heard
		s := timed.NewMetadata(store{err: err}, h.observe)
		info, got := s.Mailbox(t.Context(), 3, 4)
		if info.Account != 3 || info.ID != 4 || got != err {
			t.Errorf("%+v, %v", info, got)
		}
		var uid mailbox.UID
		got = s.UpstreamRows(t.Context(), 3, 4, func(r metadata.UpstreamRow) error { uid = r.UID; return nil })
		if uid != 7 || !errors.Is(got, err) {
			t.Errorf("%d, %v", uid, got)
		}
		if !slices.Equal(h.ops, []string{"mailbox", "upstream_rows"}) || !errors.Is(h.errs[0], err) || !errors.Is(h.errs[1], err) {
			t.Errorf("heard %v, %v", h.ops, h.errs)
		}
	}
}

// TestEveryMethodIsTimed: a method that a port gained is to be added here. One that is only passed through has no source.
func TestEveryMethodIsTimed(t *testing.T) {
	v := reflect.TypeOf(timed.NewMetadata(store{}, nil))
	want := reflect.TypeFor[timed.Metadata]()
	for i := range want.NumMethod() {
		name := want.Method(i).Name
		m, ok := v.MethodByName(name)
		if !ok {
			t.Fatal(name)
		}
		f := runtime.FuncForPC(m.Func.Pointer())
		if file, _ := f.FileLine(f.Entry()); !regexp.MustCompile(`(metadata|edits)\.go$`).MatchString(file) {
			t.Errorf("%s is not timed", name)
		}
	}
}

// blobs is a blob store with one blob.
type blobs struct{ err error }

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

type writer struct {
	blob.Writer
	s blobs
}

func (w writer) Commit(context.Context) (blob.Key, error) { return blob.Key{1}, w.s.err }
func (w writer) Write(p []byte) (int, error)              { return len(p), nil }

func (s blobs) Put(_ context.Context, all ...[]byte) ([]blob.Key, error) {
	return make([]blob.Key, len(all)), s.err
}
func (s blobs) Create(context.Context) (blob.Writer, error) { return writer{s: s}, nil }
func (s blobs) Open(context.Context, blob.Key) (blob.Blob, error) {
	return content{bytes.NewReader([]byte("x"))}, s.err
}

// For implements blob.Stores: user 1 has the store.
func (s blobs) For(_ context.Context, user account.UserID) (blob.Store, error) {
	if user != 1 {
		return nil, s.err
	}
	return s, nil
}

// storesOnly hides that it is a store, too.
type storesOnly struct{ blob.Stores }

func TestStores(t *testing.T) {
	bad := errors.New("bad")
	for name, next := range map[string]blob.Stores{"shared": blob.Shared{Store: blobs{err: bad}}, "of users": storesOnly{blobs{err: bad}}} {
		var h heard
		all := timed.NewStores(next, h.observe)
		if _, err := blob.Of(all, 1).Put(t.Context(), nil); err != bad || !slices.Equal(h.ops, []string{"put"}) {
			t.Errorf("%s: %v, heard %v", name, err, h.ops)
		}
		_, err := all.For(t.Context(), 2)
		if _, shared := all.(blob.Shared); shared != (name == "shared") || shared != (err == nil) {
			t.Errorf("%s: shared %v, %v", name, shared, err)
		}
	}
}

func TestBlobs(t *testing.T) {
	bad := errors.New("bad")
	for _, want := range []error{nil, bad} {
		var h heard
		s := timed.NewBlobs(blobs{err: want}, h.observe)
		if keys, err := s.Put(t.Context(), nil, nil); len(keys) != 2 || err != want {
			t.Errorf("%v, %v", keys, err)
		}
		if b, err := s.Open(t.Context(), blob.Key{}); b.(content).Len() != 1 || err != want {
			t.Errorf("%v, %v", b, err)
		}
		w, err := s.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := w.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if key, err := w.Commit(t.Context()); key != (blob.Key{1}) || err != want {
			t.Errorf("%v, %v", key, err)
		}
		if !slices.Equal(h.ops, []string{"put", "open", "create", "commit"}) || !slices.Equal(h.errs, []error{want, want, nil, want}) {
			t.Errorf("heard %v, %v", h.ops, h.errs)
		}
	}
}

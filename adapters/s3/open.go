package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// firstRead is how much of an object the first request asks for: most messages are smaller.
const firstRead = 512 << 10

// small is a blob that is held in memory.
type small struct{ *bytes.Reader }

// Close implements io.Closer.
func (small) Close() error { return nil }

// Open implements blob.Store. The blob stays readable when ctx is done; a large one fails when it is deleted meanwhile.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Blob, error) {
	const op = "open a blob"
	if err := ctx.Err(); err != nil {
		return nil, mapErr(ctx, op, err)
	}
	f, head, err := s.begin(ctx, s.object(key))
	if err != nil {
		return nil, mapErr(ctx, op, err)
	}
	if s.bad.has(key, f.version) {
		return nil, fault.New(fault.NotFound, op, "it is damaged, and was not stored again")
	}
	b, err := s.open(key, f, head)
	return b, mapErr(ctx, op, s.note(key, f.version, err))
}

// note remembers an object that did not match.
func (s *Store) note(key blob.Key, v version, err error) error {
	if fault.Is(err, fault.Corrupt) {
		s.checked.remove(key)
		s.bad.add(key, v)
	}
	return err
}

// begin reads the first bytes of an object, all of a small one. It asks again when the answer breaks off.
func (s *Store) begin(ctx context.Context, name string) (f found, head []byte, err error) {
	ctx, cancel := s.within(ctx, firstRead)
	defer cancel()
	for n := 0; ; n++ {
		f, body, err := s.get(ctx, name, "", 0, firstRead)
		if status(err) == http.StatusRequestedRangeNotSatisfiable { // an empty one has no range
			if f, err = s.head(ctx, name); err == nil && f.size != 0 {
				err = errors.New("the object store does not find the beginning of an object")
			}
			return f, nil, err
		}
		if err != nil {
			return f, nil, err
		}
		head = make([]byte, min(f.size, firstRead))
		_, err = io.ReadFull(body, head)
		_ = body.Close() // only read
		if err == nil || n == attempts {
			return f, head, err
		}
		if err := pause(ctx, n); err != nil {
			return f, nil, err
		}
	}
}

// open makes the blob of an object whose beginning is known.
func (s *Store) open(key blob.Key, f found, head []byte) (blob.Blob, error) {
	if f.size <= firstRead {
		b, err := s.openSmall(key, head)
		if err != nil {
			return nil, err
		}
		return small{bytes.NewReader(b)}, nil
	}
	o := newReader(s.bucket, s.object(key), f, head)
	if form, ok := s.form.(sealed); ok {
		opened, err := form.key.Open(key, o, f.size)
		if err != nil {
			_ = o.Close() // it holds nothing yet that could fail
			return nil, err
		}
		return &large{ReaderAt: opened, size: opened.Size(), of: o, store: s, key: key}, nil
	}
	l := &large{ReaderAt: o, size: f.size, of: o, store: s, key: key}
	if !s.checked.has(key, f.version) {
		l.ReaderAt = newChecking(key, o, f.size, func() { s.checked.add(key, f.version) })
	}
	return l, nil
}

// openSmall returns the bytes of a small blob, checked.
func (s *Store) openSmall(key blob.Key, object []byte) ([]byte, error) {
	if form, ok := s.form.(sealed); ok {
		opened, err := form.key.Open(key, bytes.NewReader(object), int64(len(object)))
		if err != nil {
			return nil, err
		}
		object = make([]byte, opened.Size())
		if n, err := opened.ReadAt(object, 0); n < len(object) {
			return nil, err
		}
	}
	if blob.Key(sha256.Sum256(object)) != key {
		return nil, mismatch(key)
	}
	return object, nil
}

func mismatch(key blob.Key) error {
	return fault.Newf(fault.Corrupt, "", "blob %v does not match its key", key)
}

// large is a blob that is read from the store as it is wanted.
type large struct {
	io.ReaderAt // of the plain bytes, checked
	size        int64
	of          *reader
	store       *Store
	key         blob.Key
}

// ReadAt implements io.ReaderAt.
func (l *large) ReadAt(p []byte, off int64) (int, error) {
	const op = "read a blob"
	if off < 0 {
		return 0, fault.New(fault.Invalid, op, "negative offset")
	}
	if off >= l.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), l.size-off)]
	n, err := l.ReaderAt.ReadAt(want, off)
	switch {
	case n == len(want) && len(want) < len(p):
		return n, io.EOF
	case n == len(want):
		return n, nil
	}
	return n, mapErr(l.of.ctx, op, l.store.note(l.key, l.of.version, err))
}

// Size implements blob.Blob.
func (l *large) Size() int64 { return l.size }

// Close implements io.Closer.
func (l *large) Close() error { return l.of.Close() }

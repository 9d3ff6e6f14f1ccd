package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"time"

	"imapped/adapters/s3/blobseal"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

var (
	_ blob.Store   = (*Store)(nil)
	_ blob.Sweeper = (*Store)(nil)
)

const (
	// fresh is the age up to which a stored object needs no refresh when it is stored again.
	fresh = 10 * time.Minute
	// spared is by how much a deletion moves its limit back. It exceeds fresh by the difference of clocks allowed for.
	spared = fresh + 5*time.Minute
)

// Store is a bucket, or a part of one, with blobs in it. Its methods may be called by any number of goroutines, on any
// number of nodes.
type Store struct {
	*bucket
	spool  string
	prefix string
	form   form

	now func() time.Time // of the deletions of this process

	checked *memory // large blobs that matched
	bad     *memory // objects that did not match
}

// New returns the Store of a bucket; fault.Invalid when the configuration cannot be right. It makes no request: see
// Check.
func New(c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &bucket{client: c.client(), name: &c.Bucket, timeout: c.Timeout, slots: make(chan struct{}, c.Connections)}
	return newStore(b, c.SpoolDir, c.Prefix, plain{}), nil
}

func newStore(b *bucket, spool, prefix string, form form) *Store {
	return &Store{bucket: b, spool: spool, prefix: prefix, form: form, now: time.Now, checked: newMemory(), bad: newMemory()}
}

// Sealed returns a Store beside s in which blobs are sealed under a data key; the names of its objects begin with the
// Store's prefix and area, for example "users/7/". Nothing else has that area.
func (s *Store) Sealed(area string, key *blobseal.Key) *Store {
	return newStore(s.bucket, s.spool, s.prefix+area, sealed{key})
}

// form is how blobs look as objects.
type form interface {
	// name returns a blob's name in the folder of blobs, and parse the blob of a name.
	name(key blob.Key) string
	parse(name string) (blob.Key, bool)
	// ordered says whether names are in the order of the keys.
	ordered() bool
	// size returns the blob's size of an object's; false when no blob has such an object.
	size(object int64) (int64, bool)
	// object returns what is stored of a blob. It is for one goroutine.
	object(key blob.Key, src io.ReaderAt, size int64) (r io.ReaderAt, n int64, err error)
}

type plain struct{}

func (plain) name(key blob.Key) string { return key.String() }

func (plain) parse(name string) (key blob.Key, ok bool) {
	if len(name) != hex.EncodedLen(len(key)) {
		return key, false
	}
	n, err := hex.Decode(key[:], []byte(name))
	return key, n == len(key) && err == nil
}

func (plain) ordered() bool { return true }

func (plain) size(object int64) (int64, bool) { return object, true }

func (plain) object(_ blob.Key, src io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	return src, size, nil
}

type sealed struct{ key *blobseal.Key }

func (s sealed) name(key blob.Key) string           { return s.key.Name(key) }
func (s sealed) parse(name string) (blob.Key, bool) { return s.key.Parse(name) }
func (s sealed) ordered() bool                      { return false }
func (s sealed) size(object int64) (int64, bool)    { return blobseal.PlainSize(object) }

func (s sealed) object(key blob.Key, src io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	r, err := s.key.Seal(key, src, size)
	if err != nil {
		return nil, 0, err
	}
	return r, r.Size(), nil
}

func (s *Store) blobs() string                   { return s.prefix + "blobs/" }
func (s *Store) object(key blob.Key) string      { return s.blobs() + s.form.name(key) }
func (s *Store) deletions() string               { return s.prefix + "sweep/" }
func age(v version, now time.Time) time.Duration { return now.Sub(v.time) }

// Check makes sure that the bucket is there, that it can be written to, and that the store knows conditional writes.
func (s *Store) Check(ctx context.Context) (err error) {
	const op = "check the object store"
	name := s.prefix + "check/" + random()
	if err := s.put(ctx, name, bytes.NewReader([]byte("imapped")), 7, true); err != nil {
		return mapErr(ctx, op, err)
	}
	again := s.put(ctx, name, bytes.NewReader([]byte("imapped")), 7, true)
	if err := s.remove(ctx, name); err != nil {
		return mapErr(ctx, op, err)
	}
	if again == nil {
		return fault.New(fault.Invalid, op, "it does not know conditional writes (If-None-Match)")
	}
	if !isThere(again) {
		return mapErr(ctx, op, again)
	}
	return nil
}

// Put implements blob.Store. The blobs are written beside one another.
func (s *Store) Put(ctx context.Context, blobs ...[]byte) ([]blob.Key, error) {
	const op = "store blobs"
	if err := ctx.Err(); err != nil {
		return nil, mapErr(ctx, op, err)
	}
	keys := make([]blob.Key, len(blobs))
	seen := make(map[blob.Key]bool, len(blobs))
	var todo []upload
	for i, b := range blobs {
		keys[i] = sha256.Sum256(b)
		if !seen[keys[i]] {
			seen[keys[i]] = true
			todo = append(todo, upload{keys[i], bytes.NewReader(b), int64(len(b))})
		}
	}
	if err := s.store(ctx, todo); err != nil {
		return nil, mapErr(ctx, op, err)
	}
	return keys, nil
}

// memory remembers a version of each of a bounded number of objects.
type memory struct {
	mu sync.Mutex
	m  map[blob.Key]version
}

// remembered is how many objects a memory holds: about 1 MB.
const remembered = 8192

func newMemory() *memory { return &memory{m: map[blob.Key]version{}} }

func (m *memory) has(key blob.Key, v version) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.m[key]
	return ok && known.etag == v.etag && known.time.Equal(v.time)
}

// add remembers the object, and forgets any other when there are too many.
func (m *memory) add(key blob.Key, v version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.m) >= remembered {
		for other := range m.m {
			delete(m.m, other)
			break
		}
	}
	m.m[key] = v
}

func (m *memory) remove(key blob.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, key)
}

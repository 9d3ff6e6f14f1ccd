package s3

import (
	"context"
	"io"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// rounds bounds how often a blob is written because it was deleted, or is being written, by others meanwhile.
const rounds = 20

// upload is a blob that is to be stored.
type upload struct {
	key  blob.Key
	src  io.ReaderAt // may be read by several goroutines
	size int64
}

// store makes blobs durable: invariant 3 of the package.
func (s *Store) store(ctx context.Context, todo []upload) error {
	var mu sync.Mutex
	var there []upload
	err := s.group(ctx, todo, func(ctx context.Context, u upload) error {
		made, err := s.create(ctx, u)
		if !made && err == nil {
			mu.Lock()
			defer mu.Unlock()
			there = append(there, u)
		}
		return err
	})
	// Each blob that was found is looked at, or written, before a moment when no deletion is running, and looked at again
	// after it.
	for n := 0; err == nil && len(there) > 0; n++ {
		if n == rounds {
			return fault.New(fault.Unavailable, "", "what was stored was deleted again and again")
		}
		if n > 0 {
			if err := s.awaitDeletions(ctx); err != nil {
				return err
			}
		}
		var again []upload
		err = s.group(ctx, there, func(ctx context.Context, u upload) error {
			wrote, err := s.refresh(ctx, u)
			if (wrote || n == 0) && err == nil {
				mu.Lock()
				defer mu.Unlock()
				again = append(again, u)
			}
			return err
		})
		there = again
	}
	return err
}

// group calls fn for each blob: the small ones beside one another, the large ones one after another, because each is
// uploaded in parts beside one another.
func (s *Store) group(ctx context.Context, todo []upload, fn func(context.Context, upload) error) error {
	var small []upload
	for _, u := range todo {
		if u.size <= partSize {
			small = append(small, u)
		} else if err := fn(ctx, u); err != nil {
			return err
		}
	}
	return s.each(ctx, len(small), cap(s.slots), func(ctx context.Context, i int) error { return fn(ctx, small[i]) })
}

// create writes the object where there is none. Of a large one it looks first, so that it is not sent in vain.
func (s *Store) create(ctx context.Context, u upload) (made bool, err error) {
	if u.size > partSize {
		if _, err := s.head(ctx, s.object(u.key)); !isMissing(err) {
			return false, err
		}
	}
	err = s.write(ctx, u, true)
	if isThere(err) {
		return false, nil
	}
	return err == nil, err
}

// refresh writes the object again unless it is there, fresh, and not known to be damaged.
func (s *Store) refresh(ctx context.Context, u upload) (wrote bool, err error) {
	f, err := s.head(ctx, s.object(u.key))
	if err != nil && !isMissing(err) {
		return false, err
	}
	if err == nil && age(f.version, time.Now()) < fresh && !s.bad.has(u.key, f.version) {
		if size, ok := s.form.size(f.size); ok && size == u.size {
			return false, nil
		}
	}
	if err := s.write(ctx, u, false); err != nil {
		return false, err
	}
	s.bad.remove(u.key)
	return true, nil
}

// write writes the object, again where the store says that others are at it too.
func (s *Store) write(ctx context.Context, u upload, fresh bool) error {
	for n := 0; ; n++ {
		err := s.tryWrite(ctx, u, fresh)
		if !isRace(err) || n == rounds {
			return err
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
}

func (s *Store) tryWrite(ctx context.Context, u upload, fresh bool) error {
	body := func(off, n int64) (io.ReadSeeker, error) {
		r, _, err := s.form.object(u.key, u.src, u.size)
		return io.NewSectionReader(r, off, n), err
	}
	_, n, err := s.form.object(u.key, u.src, u.size)
	if err != nil {
		return err
	}
	if u.size > partSize {
		return s.putParts(ctx, s.object(u.key), body, n, fresh)
	}
	whole, err := body(0, n)
	if err != nil {
		return err
	}
	return s.put(ctx, s.object(u.key), whole, n, fresh)
}

package blobcache

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"imapped/adapters/blobfile"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

const (
	// streamed is the size from which on a blob is read while it arrives.
	streamed = 1 << 20
	// touchEvery is how exact the modification times are.
	touchEvery = 10 * time.Minute
	// warnEvery bounds how often trouble with the disk is logged.
	warnEvery = time.Minute
)

// Config says where the cache is.
type Config struct {
	Dir      string
	MaxBytes int64
	Log      *slog.Logger // nil: slog.Default
	// OnLookup hears what became of each opening: of cache "blob" "hit" or "miss". It must not block. nil: nobody wants to know.
	OnLookup func(cache, result string)
}

// Cache is a folder of blobs. One process uses it at a time; a second one only costs hits.
type Cache struct {
	Config
	checked blobfile.Checked

	ctx    context.Context // until Close
	cancel context.CancelFunc
	work   sync.WaitGroup // the listing and the downloads

	hits, misses atomic.Int64

	flying  sync.Mutex // guards flights; before mu and a flight's
	flights map[blob.Key]*flight

	mu       sync.Mutex // guards what follows; a leaf
	index    *index
	arriving int64 // bytes of files that are being written
	warned   time.Time
	closed   bool
}

// Stats says how a cache is doing.
type Stats struct {
	Hits, Misses int64 // openings
	Files, Bytes int64 // Bytes is rounded up to blocks
}

// New returns the cache in a folder, and lists what is there in the background. A folder that cannot be used is no
// error; a configuration that cannot be right is fault.Invalid. The caller closes the Cache.
func New(c Config) (*Cache, error) {
	if c.Dir == "" || c.MaxBytes <= 0 {
		return nil, fault.New(fault.Invalid, "configure the blob cache", "it needs a folder and a size")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	k := &Cache{Config: c, flights: map[blob.Key]*flight{}, index: newIndex()}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.cleanUp()
	k.work.Go(k.scan)
	return k, nil
}

// Close ends the downloads. Files stay.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	return nil
}

// Stats returns how the cache is doing.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{c.hits.Load(), c.misses.Load(), int64(len(c.index.nodes)), c.index.total}
}

// looked counts an opening and tells Config.OnLookup.
func (c *Cache) looked(count *atomic.Int64, result string) {
	count.Add(1)
	if c.OnLookup != nil {
		c.OnLookup("blob", result)
	}
}

// start runs fn until it returns; false after Close.
func (c *Cache) start(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Go(fn)
	}
	return !c.closed
}

// locked calls fn with the lock held.
func (c *Cache) locked(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
}

// open returns the blob if its file, which has the name, is here and good; nil otherwise.
func (c *Cache) open(ctx context.Context, name, key blob.Key) blob.Blob {
	f, err := os.Open(c.path(name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			c.locked(func() { c.index.remove(name) })
		} else {
			c.trouble("open a file", err)
		}
		return nil
	}
	size, err := c.checked.CheckAs(ctx, name, key, f)
	if err != nil {
		_ = f.Close() // only read
		if fault.Is(err, fault.Corrupt) {
			c.Log.WarnContext(ctx, "a file of the blob cache was damaged", "blob", key.String())
			c.forget(name)
		}
		return nil
	}
	c.use(name, size)
	return blobfile.New(f, size)
}

// use notes that a file was used.
func (c *Cache) use(name blob.Key, size int64) {
	now, touch := time.Now(), false
	var gone []blob.Key
	c.locked(func() {
		n := c.index.use(name, size)
		if touch = now.Sub(n.touched) >= touchEvery; touch {
			n.touched = now
		}
		gone = c.index.shrink(c.MaxBytes - c.arriving)
	})
	if touch {
		_ = os.Chtimes(c.path(name), now, now) // its age is a hint for the next start
	}
	c.removeFiles(gone)
}

// forget removes a file.
func (c *Cache) forget(name blob.Key) {
	c.checked.Remove(name)
	c.locked(func() { c.index.remove(name) })
	c.removeFiles([]blob.Key{name})
}

// trouble tells of a disk that does not do what it should.
func (c *Cache) trouble(what string, err error) {
	now := time.Now()
	say := false
	c.locked(func() {
		if say = now.Sub(c.warned) >= warnEvery; say {
			c.warned = now
		}
	})
	if say {
		c.Log.Warn("the blob cache cannot be used, its blobs are read from the store behind it", "doing", what,
			"err", pathErr(err))
	}
}

package blobcache

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"imapped/ports/blob"
)

// pathErr is an error of the file system without the path, for the log.
func pathErr(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

func (c *Cache) folder(i byte) string { return filepath.Join(c.Dir, fmt.Sprintf("%02x", i)) }

func (c *Cache) path(name blob.Key) string { return filepath.Join(c.folder(name[0]), name.String()) }

func (c *Cache) tmp() string { return filepath.Join(c.Dir, "tmp") }

// removeFiles removes files that the index has forgotten. Those that stay are found by the next listing, or when they
// are opened.
func (c *Cache) removeFiles(names []blob.Key) {
	for _, name := range names {
		if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.trouble("remove a file", err)
		}
	}
}

// arrival is a file that is being written.
type arrival struct {
	cache *Cache
	f     *os.File
	size  int64 // that it will have
	ended bool
}

// begin makes room for a blob and a file for it; nil when it cannot be cached, or what is arriving leaves no room.
func (c *Cache) begin(size int64) *arrival {
	if size > c.MaxBytes/2 {
		return nil
	}
	var gone []blob.Key
	room := false
	c.locked(func() {
		if room = c.arriving+rounded(size) <= c.MaxBytes; room {
			c.arriving += rounded(size)
			gone = c.index.shrink(c.MaxBytes - c.arriving)
		}
	})
	if !room {
		return nil
	}
	c.removeFiles(gone)
	a := &arrival{cache: c, size: size}
	var err error
	for range 2 {
		if a.f, err = os.CreateTemp(c.tmp(), ""); err == nil {
			return a
		}
		if err = os.MkdirAll(c.tmp(), 0o700); err != nil {
			break
		}
	}
	a.abandon("make a file", err)
	return nil
}

// abandon gives the room back and removes the file. The caller has closed it, or goes on reading it. err may be nil.
func (a *arrival) abandon(what string, err error) {
	if a.ended {
		return
	}
	a.ended = true
	if a.f != nil {
		_ = os.Remove(a.f.Name()) // the next start removes it
	}
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	var gone []blob.Key
	a.cache.locked(func() {
		a.cache.arriving -= rounded(a.size)
		if full { // others fill the disk: keep less than allowed
			x := a.cache.index
			gone = x.shrink(x.total - max(rounded(a.size), x.total/16))
		}
	})
	a.cache.removeFiles(gone)
	if err != nil {
		a.cache.trouble(what, err)
	}
}

// land gives the file its name. Its bytes are not waited for: after a crash of the machine the check finds what is
// missing.
func (a *arrival) land(name blob.Key) {
	c := a.cache
	var err error
	for range 2 {
		if err = os.Rename(a.f.Name(), c.path(name)); err == nil {
			break
		}
		if mkErr := os.MkdirAll(c.folder(name[0]), 0o700); mkErr != nil {
			err = mkErr
			break
		}
	}
	if err != nil {
		a.abandon("name a file", err)
		return
	}
	a.ended = true
	c.locked(func() {
		c.arriving -= rounded(a.size)
		c.index.use(name, a.size).touched = time.Now()
	})
}

// cleanUp removes what a process that died was writing.
func (c *Cache) cleanUp() {
	entries, _ := os.ReadDir(c.tmp())
	for _, e := range entries {
		_ = os.Remove(filepath.Join(c.tmp(), e.Name())) // what stays is tried again at the next start
	}
}

// scan takes the files that are there into the index.
func (c *Cache) scan() {
	type file struct {
		name blob.Key
		size int64
		used time.Time
	}
	var all []file
	for i := range 256 {
		entries, err := os.ReadDir(c.folder(byte(i)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.trouble("list files", err)
		}
		for _, e := range entries {
			if c.ctx.Err() != nil {
				return
			}
			var f file
			if n, err := hex.Decode(f.name[:min(len(f.name), hex.DecodedLen(len(e.Name())))], []byte(e.Name())); err != nil ||
				n != len(f.name) || len(e.Name()) != hex.EncodedLen(n) {
				continue // not ours
			}
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue // gone meanwhile, or not ours
			}
			f.size, f.used = info.Size(), info.ModTime()
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Or(b.used.Compare(a.used), slices.Compare(a.name[:], b.name[:])) })
	var gone []blob.Key
	c.locked(func() {
		for _, f := range all {
			c.index.addOld(f.name, f.size, f.used)
		}
		gone = c.index.shrink(c.MaxBytes - c.arriving)
	})
	c.removeFiles(gone)
}

// add writes the file of a blob that was stored, if there is none. Its bytes are checked when it is opened.
func (c *Cache) add(name blob.Key, src io.ReaderAt, size int64) {
	known := false
	c.locked(func() { known = c.index.has(name) })
	if known {
		return
	}
	a := c.begin(size)
	if a == nil {
		return
	}
	_, err := io.Copy(a.f, io.NewSectionReader(src, 0, size))
	if err = errors.Join(err, a.f.Close()); err != nil {
		a.abandon("write a file", err)
		return
	}
	a.land(name)
}

package blobfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"imapped/adapters/blobfile"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

var (
	_ blob.Store   = (*Store)(nil)
	_ blob.Sweeper = (*Store)(nil)
)

// What is beside the 256 folders that hold blobs, and OwnerFile.
const (
	tmpDir     = "tmp"
	corruptDir = "corrupt"
	lockFile   = "lock"
)

// groupMax bounds how many files of one Put are open at a time. Larger groups were not measured faster.
const groupMax = 64

// Store is a folder of blobs. Its methods may be called by any number of goroutines; several processes may have the
// folder open, one of them may sweep.
type Store struct {
	dir     string
	tmp     string   // this process's own folder in tmp
	lock    *os.File // keeps tmp from being cleaned up by others
	next    atomic.Uint64
	syncer  syncer
	checked blobfile.Checked
}

// Open opens the folder, creates it where it does not exist, and removes what crashed processes left in it.
func Open(dir string) (*Store, error) {
	op := "open the blob store " + dir
	s := &Store{dir: dir}
	if err := s.makeDirs(); err != nil {
		return nil, mapErr(op, err)
	}
	cleanUp(filepath.Join(dir, tmpDir))
	var err error
	if s.tmp, s.lock, err = lockedDir(filepath.Join(dir, tmpDir)); err != nil {
		return nil, mapErr(op, err)
	}
	s.syncer = newSyncer(dir)
	return s, nil
}

// makeDirs makes the folders and their names durable.
func (s *Store) makeDirs() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	names := []string{tmpDir, corruptDir}
	for i := range 256 {
		names = append(names, fmt.Sprintf("%02x", i))
	}
	made := false
	for _, name := range names {
		err := os.Mkdir(filepath.Join(s.dir, name), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = made || err == nil
	}
	// Now, so that a full disk keeps nobody from deleting.
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil || !made {
		return err
	}
	return errors.Join(syncDir(s.dir), syncDir(filepath.Dir(s.dir)))
}

// Close removes what this process was writing. Blobs and Writers are closed by those who opened them.
func (s *Store) Close() error {
	return mapErr("close the blob store", errors.Join(os.RemoveAll(s.tmp), s.lock.Close()))
}

func (s *Store) folder(key blob.Key) string {
	return filepath.Join(s.dir, fmt.Sprintf("%02x", key[0]))
}

func (s *Store) path(key blob.Key) string { return filepath.Join(s.folder(key), key.String()) }

// temp creates a file for writing.
func (s *Store) temp() (*os.File, error) {
	name := filepath.Join(s.tmp, fmt.Sprint(s.next.Add(1)))
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// touch says whether the blob is there with the size, and notes that it was stored again.
func (s *Store) touch(ctx context.Context, key blob.Key, size int64) (bool, error) {
	if _, err := os.Stat(s.path(key)); errors.Is(err, fs.ErrNotExist) {
		return false, nil // most are new: nobody is waited for
	}
	release, err := s.hold(ctx, shared)
	if err != nil {
		return false, err
	}
	defer release()
	info, err := os.Stat(s.path(key))
	switch {
	case err == nil && info.Size() != size:
		return false, nil // damaged: it is written again
	case err == nil:
		now := time.Now()
		err = os.Chtimes(s.path(key), now, now)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// name gives files that are durable the names of their blobs, in place of damaged ones perhaps, and returns how many got theirs.
func (s *Store) name(ctx context.Context, files []pending) (named int, err error) {
	release, err := s.hold(ctx, shared)
	if err != nil {
		return 0, err
	}
	defer release()
	for i, p := range files {
		if err := os.Rename(p.f.Name(), s.path(p.key)); err != nil {
			return i, err
		}
	}
	return len(files), nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, blobs ...[]byte) ([]blob.Key, error) {
	keys := make([]blob.Key, len(blobs))
	g := group{store: s, seen: make(map[blob.Key]bool, min(len(blobs), groupMax))}
	defer g.discard()
	for i, b := range blobs {
		if err := ctx.Err(); err != nil {
			return nil, mapErr("store blobs", err)
		}
		keys[i] = sha256.Sum256(b)
		if err := g.add(ctx, keys[i], b); err != nil {
			return nil, mapErr("store blobs", err)
		}
		if len(g.files) == groupMax {
			if err := g.commit(ctx); err != nil {
				return nil, mapErr("store blobs", err)
			}
		}
	}
	if err := g.commit(ctx); err != nil {
		return nil, mapErr("store blobs", err)
	}
	return keys, nil
}

// group is blobs that become durable together.
type group struct {
	store *Store
	seen  map[blob.Key]bool
	files []pending
}

// pending is a written file without its final name.
type pending struct {
	key blob.Key
	f   *os.File
}

// add writes a blob that is not there yet to a temporary file.
func (g *group) add(ctx context.Context, key blob.Key, b []byte) error {
	if g.seen[key] {
		return nil
	}
	g.seen[key] = true
	there, err := g.store.touch(ctx, key, int64(len(b)))
	if err != nil || there {
		return err
	}
	f, err := g.store.temp()
	if err != nil {
		return err
	}
	g.files = append(g.files, pending{key, f})
	_, err = f.Write(b)
	return err
}

// commit makes the files durable, gives them their names, and makes those durable.
func (g *group) commit(ctx context.Context) error {
	if len(g.files) == 0 {
		return nil
	}
	files := make([]*os.File, len(g.files))
	for i, p := range g.files {
		files[i] = p.f
	}
	if err := g.store.syncer.files(files); err != nil {
		return err
	}
	named, err := g.store.name(ctx, g.files)
	var dirs []string
	seen := [256]bool{}
	for _, p := range g.files[:named] {
		err = errors.Join(err, p.f.Close())
		if !seen[p.key[0]] {
			seen[p.key[0]] = true
			dirs = append(dirs, g.store.folder(p.key))
		}
	}
	g.files = g.files[named:]
	if err != nil {
		return err
	}
	return g.store.syncer.dirs(dirs)
}

// discard removes the files that were not committed.
func (g *group) discard() {
	for _, p := range g.files {
		_ = p.f.Close() // may be closed; an error would only hide the first one
		_ = os.Remove(p.f.Name())
	}
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// cause is an error of the file system in our words: what a client is told names no path of this machine.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string { return c.text }
func (c *cause) Unwrap() error { return c.err }

// mapErr gives an error of the file system its kind, in words.
func mapErr(op string, err error) error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(op, err)
	case isFull(err):
		return fault.As(fault.Unavailable, op, &cause{"the disk is full", err})
	case isReadOnly(err):
		return fault.As(fault.Unavailable, op, &cause{"the data directory cannot be written to", err})
	case errors.Is(err, fs.ErrNotExist):
		return fault.As(fault.NotFound, op, &cause{"it does not exist", err})
	}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = &cause{path.Err.Error(), err}
	case errors.As(err, &link):
		err = &cause{link.Err.Error(), err}
	}
	return fault.As(fault.Unavailable, op, err)
}

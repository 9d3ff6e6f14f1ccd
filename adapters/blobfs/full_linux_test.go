package blobfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imapped/adapters/blobfs"
	"imapped/domain/fault"
	"imapped/ports/blob"
)

// openSmall opens a store on a file system of 2 MB of its own, with one blob in it.
func openSmall(t *testing.T) (dir string, s *blobfs.Store, small []byte) {
	t.Helper()
	dir, small = t.TempDir(), []byte("small")
	if err := unix.Mount("imapped-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a file system of 2 MB cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	s, err := blobfs.Open(filepath.Join(dir, "blobs"))
	must(t, err)
	_, err = s.Put(t.Context(), small)
	must(t, err)
	return dir, s, small
}

// TestDiskFull fills a small file system: the error says so, nothing half is visible, and what was there stays.
func TestDiskFull(t *testing.T) {
	dir, s, small := openSmall(t)

	big := make([]byte, 3<<20)
	full := func(err error) {
		t.Helper()
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the disk is full") {
			t.Fatalf("%v, want that the disk is full", err)
		}
	}
	_, err := s.Put(t.Context(), []byte("another"), big)
	full(err)
	w, err := s.Create(t.Context())
	must(t, err)
	_, err = w.Write(big)
	full(err)
	_, err = w.Commit(t.Context()) // what was written before the error is no blob
	full(err)
	must(t, w.Close())

	n := 0
	for st, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) {
		must(t, err)
		n++
		if st.Size == int64(len(big)) {
			t.Error("a part of the large blob is visible")
		}
	}
	if n < 1 || n > 2 {
		t.Errorf("%d blobs, want the small one and at most the one before the large one", n)
	}
	b, err := s.Open(t.Context(), blobKey(small))
	must(t, err)
	must(t, b.Close())
	must(t, filepath.WalkDir(filepath.Join(dir, "blobs", "tmp"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	}))
	must(t, s.Close())
}

// TestReadOnly makes the file system read-only under an open store: what is there can be read, what is new is refused in
// words that name no path, and works again afterwards.
func TestReadOnly(t *testing.T) {
	dir, s, small := openSmall(t)

	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	refused := func(err error) {
		t.Helper()
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "cannot be written to") || strings.Contains(err.Error(), dir) {
			t.Errorf("%v, want that the directory cannot be written to, without its name", err)
		}
	}
	_, err := s.Put(t.Context(), []byte("another"))
	refused(err)
	_, err = s.Create(t.Context())
	refused(err)
	_, err = blobfs.Open(filepath.Join(dir, "blobs"))
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), dir) {
		t.Errorf("opening it: %v, want that the directory, by its name, cannot be written to", err)
	}
	b, err := s.Open(t.Context(), blobKey(small))
	must(t, err)
	must(t, b.Close())

	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	_, err = s.Put(t.Context(), []byte("another"))
	must(t, err)
	must(t, s.Close())
}

// TestOpenErrors: a folder that cannot be used is said to be so.
func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := blobfs.Open(filepath.Join(file, "blobs")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a folder within a file: %v", err)
	}
	if _, err := blobfs.Open(file); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file: %v", err)
	}
}

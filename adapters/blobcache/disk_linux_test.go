package blobcache_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of 2 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("imapped-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a file system of 2 MB cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// TestFullDisk: the cache is allowed more than the disk has. Everybody gets every blob, and newer ones push out older
// ones all the same.
func TestFullDisk(t *testing.T) {
	dir, b := smallDisk(t), newBehind(t)
	s := open(t, filepath.Join(dir, "cache"), 1<<30).Over(b)
	var all [][]byte
	for i := range 60 {
		all = append(all, message(100_000, uint64(i)))
	}
	all = append(all, message(5<<20, 99)) // streamed, and more than the disk
	put(t, s, all...)
	for range 2 {
		for _, want := range all {
			holds(t, s, want)
		}
	}
	for _, want := range all[10:12] { // what is used again and again comes in
		for range 8 {
			holds(t, s, want)
		}
		if _, err := os.Stat(path(filepath.Join(dir, "cache"), want)); err != nil {
			t.Errorf("it is not cached: %v", err)
		}
	}
}

// TestReadOnlyDisk: what is cached is read from there, all else from behind; and it heals.
func TestReadOnlyDisk(t *testing.T) {
	dir, b := smallDisk(t), newBehind(t)
	s := open(t, filepath.Join(dir, "cache"), 1<<30).Over(b)
	here, there, late := message(1000, 1), message(2000, 2), message(2<<20, 3)
	put(t, s, here)
	put(t, b.Behind, there, late)
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, want := range [][]byte{here, there, late} {
		holds(t, s, want)
	}
	if n := b.opens.Load(); n != 2 {
		t.Errorf("%d downloads, want 2", n)
	}
	put(t, s, message(500, 4))
	holds(t, s, message(500, 4))
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	holds(t, s, there)
	if _, err := os.Stat(path(filepath.Join(dir, "cache"), there)); err != nil {
		t.Errorf("afterwards it is cached: %v", err)
	}
}

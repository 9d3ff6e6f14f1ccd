package blobfs

import (
	"os"
	"path/filepath"
	"testing"
)

// Lock has the lock of a folder until release, as a process has it that deletes.
func Lock(t *testing.T, dir string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err == nil {
		err = lock(f, exclusive|atOnce)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

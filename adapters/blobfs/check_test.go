package blobfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"imapped/adapters/blobfs"
	"imapped/domain/fault"
)

// TestCheck: a store whose folder is gone, or has no room to write in, says so, and leaves nothing behind where all is well.
func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	s, err := blobfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "check*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without its folder: %v", err)
	}
}

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"imapped/domain/fault"
)

// TestSecondServerTouchesNothing: a server on the data directory of another one opens nothing there.
func TestSecondServerTouchesNothing(t *testing.T) {
	conf := testConfig(t.TempDir())
	unlock, err := lockDir(filepath.Join(conf.Data, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if in, err := openServer(t.Context(), conf, logger(conf)); !fault.Is(err, fault.Conflict) {
		t.Fatalf("%v, %v", in, err)
	}
	if left, err := os.ReadDir(conf.Data); err != nil || len(left) != 1 {
		t.Errorf("the second server made %v, %v", left, err)
	}
	unlock()
	in, err := openServer(t.Context(), conf, logger(conf))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.close(); err != nil {
		t.Error(err)
	}
	if unlock, err = lockDir(filepath.Join(conf.Data, "lock")); err != nil {
		t.Fatalf("closing does not unlock: %v", err)
	}
	unlock()
}

// TestReadinessSeesTheFolder: a server whose messages' folder is gone is not ready.
func TestReadinessSeesTheFolder(t *testing.T) {
	conf := testConfig(t.TempDir())
	in, err := openServer(t.Context(), conf, logger(conf))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.close() })
	if err := in.blobsAnswer(t.Context()); err != nil {
		t.Error(err)
	}
	dir := filepath.Join(conf.Data, "blobs")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := in.blobsAnswer(t.Context()); err == nil {
		t.Error("ready without the folder of messages")
	}
}

package blobfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/blob/blobtest"
)

func TestClaims(t *testing.T) {
	blobtest.RunClaims(t, func(t *testing.T) (func(t *testing.T) blob.Claimable, func(t *testing.T)) {
		dir := t.TempDir()
		return func(t *testing.T) blob.Claimable { return open(t, dir) },
			func(t *testing.T) { must(t, os.Remove(filepath.Join(dir, blobfs.OwnerFile))) }
	})
}

// TestSpoiledClaim: an owner that cannot be read is not taken for nobody.
func TestSpoiledClaim(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, blobfs.OwnerFile), nil, 0o600))
	if err := s.Claim(t.Context(), blob.Installation{}); !fault.Is(err, fault.Forbidden) {
		t.Error(err)
	}
}

// TestSharedDirectory: what one process stores again while another one sweeps the same directory is there afterwards.
func TestSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	storing, sweeping := open(t, dir), open(t, dir)
	old := time.Now().Add(-2 * time.Hour)
	for n := range 3000 {
		msg := message(n % 7)
		keys, err := storing.Put(t.Context(), msg)
		must(t, err)
		must(t, os.Chtimes(find(t, dir, keys[0]), old, old))
		if n%3 == 0 { // too short: it is written again, in its place
			must(t, os.Truncate(find(t, dir, keys[0]), 1))
			must(t, os.Chtimes(find(t, dir, keys[0]), old, old))
		}
		var both sync.WaitGroup
		both.Go(func() {
			if err := sweeping.Delete(t.Context(), time.Now().Add(-time.Hour), keys...); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if _, err := storing.Put(t.Context(), msg); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		b, err := storing.Open(t.Context(), keys[0])
		if err != nil {
			t.Fatalf("round %d: what was stored again is gone: %v", n, err)
		}
		must(t, b.Close())
	}
}

// TestHeldDirectory: whoever waits for another process that has the directory's lock goes on when it is free, or gives up.
func TestHeldDirectory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	keys, err := s.Put(t.Context(), []byte("there"))
	must(t, err)
	release := blobfs.Lock(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() {
		_, err := s.Put(ctx, []byte("there"))
		ended <- err
	}()
	go func() { ended <- s.Delete(ctx, time.Now().Add(time.Hour), keys...) }()
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want to be canceled", err)
		}
	}
	if _, err := os.Stat(find(t, dir, keys[0])); err != nil {
		t.Error(err)
	}
	release()
	_, err = s.Put(t.Context(), []byte("there"))
	must(t, err)
}

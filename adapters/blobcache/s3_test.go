package blobcache_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imapped/adapters/s3"
	"imapped/adapters/s3/blobseal"
	"imapped/adapters/s3/s3test"
	"imapped/ports/blob"
	"imapped/ports/blob/blobtest"
)

// TestContractS3 runs the suite as a node has it: over sealed blobs in an object store.
func TestContractS3(t *testing.T) {
	srv := s3test.Fake(t)
	k, err := blobseal.New(bytes.Repeat([]byte{1}, blobseal.KeySize))
	must(t, err)
	blobtest.Run(t, func(t *testing.T) blobtest.Harness {
		b, dir := srv.Bucket(t), filepath.Join(t.TempDir(), "cache")
		name := func(key blob.Key) string { return "mail/users/7/blobs/" + k.Name(key) }
		reopen := func(t *testing.T) blobtest.Store {
			s, err := s3.New(b.Config)
			must(t, err)
			return open(t, dir, 1<<30).Over(s.Sealed("users/7/", k))
		}
		return blobtest.Harness{
			Store: reopen(t), Reopen: reopen,
			Damage: func(t *testing.T, key blob.Key, data []byte) {
				b.Put(t, name(key), data)
				must(t, os.RemoveAll(dir))
			},
			Age: func(t *testing.T, key blob.Key, ago time.Duration) { b.Age(t, name(key), ago) },
		}
	})
}

// TestStreamsS3: a large message in the object store is read through the cache while it arrives, and is here afterwards.
func TestStreamsS3(t *testing.T) {
	b, dir := s3test.Fake(t).Bucket(t), t.TempDir()
	s, err := s3.New(b.Config)
	must(t, err)
	want := message(30<<20, 1)
	put(t, s, want)
	c := open(t, dir, 1<<30)
	through := c.Over(s)
	f := readAll(t, through, want)
	if _, ok := f.(blob.FileBlob); ok {
		t.Error("it was not streamed")
	}
	must(t, f.Close())
	f = readAll(t, through, want)
	if _, ok := f.(blob.FileBlob); !ok {
		t.Error("it is not cached")
	}
	must(t, f.Close())
}

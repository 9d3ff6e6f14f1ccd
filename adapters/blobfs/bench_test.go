package blobfs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"

	"imapped/ports/blob"
)

func blobKey(b []byte) blob.Key { return sha256.Sum256(b) }

// BenchmarkPut stores as many bytes in as many messages as a small mailbox has (3,250 messages, 17 MB), in groups.
func BenchmarkPut(b *testing.B) {
	for _, group := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(group), func(b *testing.B) {
			const messages, size = 3250, 5230
			b.SetBytes(messages * size)
			for round := 0; b.Loop(); round++ {
				b.StopTimer()
				s := open(b, filepath.Join(b.TempDir(), "blobs"))
				var blobs [][]byte
				for i := range messages {
					blobs = append(blobs, bytes.Repeat(fmt.Appendf(nil, "%d/%-8d\r\n", round, i), size/12))
				}
				b.StartTimer()
				for i := 0; i < messages; i += group {
					_, err := s.Put(context.Background(), blobs[i:min(i+group, messages)]...)
					must(b, err)
				}
			}
		})
	}
}

// BenchmarkOpen opens a blob of 5 KB: the first time in a process, and again.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "blobs")
	s := open(b, dir)
	keys, err := s.Put(context.Background(), bytes.Repeat([]byte("0123456789"), 523))
	must(b, err)
	for b.Loop() {
		f, err := s.Open(context.Background(), keys[0])
		must(b, err)
		must(b, f.Close())
	}
}

package blobfs_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/blob/blobtest"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, dir string) *blobfs.Store {
	tb.Helper()
	s, err := blobfs.Open(dir)
	must(tb, err)
	tb.Cleanup(func() { must(tb, s.Close()) })
	return s
}

// find returns the file of a blob, wherever it is.
func find(t *testing.T, dir string, key blob.Key) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "??", key.String()))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("files of blob %v: %v", key, found)
	}
	return found[0]
}

func TestContract(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blobtest.Harness {
		dir := filepath.Join(t.TempDir(), "blobs")
		return blobtest.Harness{
			Store:  open(t, dir),
			Reopen: func(t *testing.T) blobtest.Store { return open(t, dir) },
			Damage: func(t *testing.T, key blob.Key, b []byte) {
				must(t, os.WriteFile(find(t, dir, key), b, 0o600))
			},
			Age: func(t *testing.T, key blob.Key, ago time.Duration) {
				then := time.Now().Add(-ago)
				must(t, os.Chtimes(find(t, dir, key), then, then))
			},
		}
	})
}

// TestCorruptIsKept: a damaged blob is moved aside, for a person to look at.
func TestCorruptIsKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	keys, err := s.Put(t.Context(), []byte("good"))
	must(t, err)
	must(t, os.WriteFile(find(t, dir, keys[0]), []byte("evil"), 0o600))
	if _, err := s.Open(t.Context(), keys[0]); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("%v, want a corrupt blob", err)
	}
	aside, err := filepath.Glob(filepath.Join(dir, "corrupt", keys[0].String()+".*"))
	must(t, err)
	if len(aside) != 1 {
		t.Fatalf("set aside: %v", aside)
	}
	if b, err := os.ReadFile(aside[0]); err != nil || string(b) != "evil" {
		t.Fatalf("set aside: %q, %v", b, err)
	}
}

// TestPrivate: nobody else on the machine can read mail.
func TestPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	s := open(t, dir)
	_, err := s.Put(t.Context(), []byte("secret"))
	must(t, err)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	}))
}

// writerDir makes this test binary a process that writes blobs there until it is killed.
const writerDir = "BLOBFS_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		writeForever(dir)
	}
	os.Exit(m.Run())
}

// message returns a blob that n determines.
func message(n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "line of message %d\r\n", n), n%500+1)
}

// writeForever stores messages in groups and says on the standard output up to which they are stored.
func writeForever(dir string) {
	s, err := blobfs.Open(dir)
	if err != nil {
		panic(err)
	}
	for n := 0; ; n += 10 {
		var group [][]byte
		for i := range 10 {
			group = append(group, message(n+i))
		}
		w, err := s.Create(context.Background())
		if err != nil {
			panic(err)
		}
		if _, err := w.Write(group[0]); err != nil { // never committed: garbage for the next Open
			panic(err)
		}
		if _, err := s.Put(context.Background(), group...); err != nil {
			panic(err)
		}
		fmt.Println(n + 10)
	}
}

// TestKill kills a writing process at random moments: what it said was stored is there, whole, and its temporary files
// go at the next Open, while those of a living process stay.
func TestKill(t *testing.T) {
	seed := rand.Uint64()
	if v := os.Getenv("IMAPPED_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	alive := open(t, dir)
	w, err := alive.Create(t.Context())
	must(t, err)
	_, err = w.Write([]byte("of the living"))
	must(t, err)

	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		stored := runWriter(t, dir, rng.IntN(30)+1, time.Duration(rng.IntN(3000))*time.Microsecond)
		s, err := blobfs.Open(dir)
		must(t, err)
		for n := range stored {
			b, err := s.Open(t.Context(), blobKey(message(n)))
			must(t, err)
			must(t, b.Close())
		}
		for st, err := range s.Keys(t.Context(), blob.Key{}, blob.Last()) { // and nothing that is there is less than whole
			must(t, err)
			b, err := s.Open(t.Context(), st.Key)
			must(t, err)
			must(t, b.Close())
		}
		must(t, s.Close())
		folders, err := os.ReadDir(filepath.Join(dir, "tmp"))
		must(t, err)
		if len(folders) != 1 {
			t.Fatalf("%d folders of temporary files, want one: that of the living", len(folders))
		}
	}
	_, err = w.Commit(t.Context())
	must(t, err)
	must(t, w.Close())
}

// runWriter runs a writing process, kills it some time after it has stored so many groups, and returns how many
// messages it said it stored.
func runWriter(t *testing.T, dir string, groups int, delay time.Duration) (stored int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		stored, err = strconv.Atoi(lines.Text())
		must(t, err)
		if i == groups {
			time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return stored
}

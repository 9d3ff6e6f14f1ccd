package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/adapters/s3"
	"imapped/adapters/s3/s3test"
	"imapped/app/sweep"
	"imapped/domain/fault"
)

// storedFiles returns the files of a directory's messages, all of which were stored long ago from now on.
func storedFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) != 64 {
			return err
		}
		names = append(names, path)
		return os.Chtimes(path, old, old)
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// refuses checks that a server does not start with the settings, nor a command that reads or writes messages, and that what is said
// names all of want.
func (f *fleet) refuses(want ...string) {
	f.t.Helper()
	environ := append([]string{"IMAPPED_DATA=" + f.t.TempDir(), "IMAP_PLAINTEXT_BIND=127.0.0.1:0"}, f.environ...)
	failing(f.t, 2, environ, "run")
	failing(f.t, 2, environ, "restore", "--account-email", "#1", "--since", "1h")
	failing(f.t, 2, environ, "force-sync", "--account-email", "#1")
	conf := configOf(f.t, environ...)
	in, err := openServer(f.t.Context(), conf, logger(conf))
	if !fault.Is(err, fault.Forbidden) {
		f.t.Fatalf("a server on the messages of another database: %v, %v", in, err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			f.t.Errorf("it says %q, not %q", err, w)
		}
	}
}

// TestOtherDatabase: nothing reads, writes or deletes messages that belong to another database, be it that a setting is wrong or that
// the database was lost and made anew, until an operator gives them over.
func TestOtherDatabase(t *testing.T) {
	up, dir := startUpstream(t), t.TempDir()
	ours := newFleet(t, database.URL(t), "OBJECT_STORE_PATH="+dir)
	ours.addAccount(up)
	n := ours.start()
	n.mirrors(t)
	c := dialMail(t, n.imap, "")
	c.ok("%s", appendLine("INBOX", "Subject: stored\r\n\r\nThis is.\r\n"))
	n.stop()
	before := storedFiles(t, dir)
	if len(before) == 0 {
		t.Fatal("nothing is stored")
	}

	fresh := newFleet(t, database.URL(t), "OBJECT_STORE_PATH="+dir)
	fresh.addAccount(up)
	owner := filepath.Join(dir, blobfs.OwnerFile)
	fresh.refuses("DATABASE_URL", "OBJECT_STORE_PATH", owner, "is then deleted")
	if after := storedFiles(t, dir); len(after) != len(before) {
		t.Errorf("%d of %d messages are left", len(after), len(before))
	}
	ours.sweep() // whose they still are
	n = ours.start()
	n.mirrors(t)

	// The server that runs is not the owner any more: it deletes nothing, whatever it finds.
	conf := configOf(t, append(ours.environ, "IMAPPED_DATA="+t.TempDir())...)
	in, err := openServer(t.Context(), conf, logger(conf))
	if err != nil {
		t.Fatal(err)
	}
	garbage, err := in.source.Put(t.Context(), []byte("which nothing names"))
	if err != nil {
		t.Fatal(err)
	}
	before = storedFiles(t, dir)
	if err := os.Remove(owner); err != nil {
		t.Fatal(err)
	}
	if _, err := sweep.Sweep(t.Context(), in.swept()); !fault.Is(err, fault.NotFound) {
		t.Errorf("a sweep of what is nobody's: %v", err)
	}
	n.stop()
	m := fresh.start()
	m.mirrors(t)
	if _, err := sweep.Sweep(t.Context(), in.swept()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a sweep of what is another's: %v", err)
	}
	if after := storedFiles(t, dir); len(after) < len(before) {
		t.Errorf("%d messages are left of %d, and of %v", len(after), len(before), garbage)
	}
	if err := in.close(); err != nil {
		t.Error(err)
	}
	m.stop()
	ours.refuses(owner)
}

// TestOtherBucket is TestOtherDatabase for an object store.
func TestOtherBucket(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	for _, encrypted := range []string{"S3_ENCRYPT=false", "S3_ENCRYPT=true"} {
		ours := newFleet(t, database.URL(t), append(storedIn(b), encrypted)...)
		ours.sweep() // as a node that starts
		fresh := newFleet(t, database.URL(t), append(storedIn(b), encrypted)...)
		fresh.addAccount(startUpstream(t))
		fresh.refuses("DATABASE_URL", "R2_BUCKET", `"`+s3.OwnerObject+`"`)
		b.Delete(t, s3.OwnerObject)
		b.Delete(t, "form")
	}
}

// TestLostDatabase: a data directory whose database is gone keeps its messages, and says what to do.
func TestLostDatabase(t *testing.T) {
	data := t.TempDir()
	m := startMirrorWith(t, testConfig(data), startUpstream(t))
	if err := m.in.checkBlobs(t.Context()); err != nil { // as run does
		t.Fatal(err)
	}
	m.stop()
	for _, name := range []string{"imapped.db", "imapped.db-wal", "imapped.db-shm"} {
		if err := os.Remove(filepath.Join(data, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	in, err := openServer(t.Context(), testConfig(data), logger(testConfig(data)))
	if !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "IMAPPED_DATA") {
		t.Errorf("it starts: %v, %v", in, err)
	}
}

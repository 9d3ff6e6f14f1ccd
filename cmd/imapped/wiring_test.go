package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"imapped/adapters/s3/s3test"
	"imapped/app/sweep"
)

// TestKeepRemoved: a sweep leaves what was removed for as long as KEEP_REMOVED says.
func TestKeepRemoved(t *testing.T) {
	up := startUpstream(t)
	for keep, want := range map[string]int{"0": 0, "1h": 1} {
		data := filepath.Join(t.TempDir(), "data")
		conf := configOf(t, "IMAPPED_DATA="+data, "KEEP_REMOVED="+keep)
		m := startMirrorWith(t, conf, up)
		c := dialMail(t, m.addr, "")
		c.ok("CREATE Plans%s", keep)
		c.ok("%s", appendLine("Plans"+keep, "Subject: a plan\r\n\r\nIn writing.\r\n"))
		c.ok("DELETE Plans%s", keep)
		if err := m.in.checkBlobs(t.Context()); err != nil { // as a server does at its start
			t.Fatal(err)
		}
		if _, err := sweep.Sweep(t.Context(), m.in.swept()); err != nil {
			t.Fatal(err)
		}
		var r restoredRow
		decode(t, cliRun(t, data, 0, "restore", "--account-email", m.account.Email, "--json", "--since", "30m", "--dry-run"), &r)
		if r.Messages != want {
			t.Errorf("with KEEP_REMOVED=%s %d messages can be restored, want %d", keep, r.Messages, want)
		}
		m.stop()
	}
}

// TestCacheSize: a blob that is too large for the cache of BLOB_CACHE_SIZE_BYTES is not kept there.
func TestCacheSize(t *testing.T) {
	message := bytes.Repeat([]byte("in the cache or not\r\n"), 12<<20/21)
	for size, cached := range map[string]bool{"16777216": false, "67108864": true} {
		data := t.TempDir()
		conf := configOf(t, append(storedIn(s3test.Fake(t).Bucket(t)), "IMAPPED_DATA="+data, "DATABASE_URL="+database.URL(t),
			"APPLY_MIGRATIONS=true", "ENCRYPTION_MASTER_KEY="+oneKey, "BLOB_CACHE_SIZE_BYTES="+size)...)
		in, err := openServer(t.Context(), conf, logger(conf))
		if err != nil {
			t.Fatal(err)
		}
		store, err := in.blobs.For(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := store.Put(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		b, err := store.Open(t.Context(), keys[0])
		if err != nil {
			t.Fatal(err)
		}
		read, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil || !bytes.Equal(read, message) {
			t.Errorf("the message comes back as %d octets, %v", len(read), err)
		}
		for _, err := range []error{b.Close(), in.close()} {
			if err != nil {
				t.Error(err)
			}
		}
		var held int64
		if err := filepath.WalkDir(filepath.Join(data, "cache"), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			held += info.Size()
			return err
		}); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is made for the first blob
			t.Fatal(err)
		}
		if held >= int64(len(message)) != cached {
			t.Errorf("with BLOB_CACHE_SIZE_BYTES=%s the cache holds %d octets", size, held)
		}
	}
}

// TestRegion: requests to the object store are signed for the region of R2_REGION, and for "us-east-1" where it is "auto".
func TestRegion(t *testing.T) {
	signed := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case signed <- r.Header.Get("Authorization"):
		default:
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	for region, want := range map[string]string{"eu-test-9": "/eu-test-9/s3/", "auto": "/us-east-1/s3/"} {
		conf := configOf(t, "IMAPPED_DATA="+t.TempDir(), "R2_ENDPOINT="+s.URL, "R2_BUCKET=mail", "R2_ACCESS_KEY_ID=key",
			"R2_SECRET_ACCESS_KEY=secret", "R2_REGION="+region, "DATABASE_URL="+database.URL(t), "APPLY_MIGRATIONS=true",
			"ENCRYPTION_MASTER_KEY="+oneKey)
		if in, err := openServer(t.Context(), conf, logger(conf)); err == nil {
			t.Errorf("a server starts on an object store that refuses it: %v", in.close())
		}
		if got := <-signed; !strings.Contains(got, want) {
			t.Errorf("with R2_REGION=%s a request is signed %q", region, got)
		}
		for len(signed) > 0 {
			<-signed
		}
	}
}

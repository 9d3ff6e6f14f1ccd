// Package s3test gives tests an S3 server: one within the process, and a real one where there is one.
//
// Invariants:
//  1. A server listens on loopback only and ends with the test that started it.
//  2. A test that needs a real server skips where there is none, and says how to get one.
package s3test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"imapped/adapters/s3"
)

const (
	accessKey = "imapped"
	secretKey = "not a secret"
)

// Server is a running S3 server.
type Server struct {
	endpoint, access, secret string

	clock *clock         // of a server within the process
	mem   *s3mem.Backend // where that keeps its objects
	dir   string         // where a process that was started here keeps them
}

// clock is the time, moved back by what a test says.
type clock struct {
	mu   sync.Mutex
	back time.Duration
}

// Now returns the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(-c.back)
}

// Since returns how long ago t was.
func (c *clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *clock) set(back time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back = back
}

// Fake starts a server within the process.
func Fake(t testing.TB) *Server {
	t.Helper()
	c := &clock{}
	mem := s3mem.New(s3mem.WithTimeSource(c))
	srv := httptest.NewServer(gofakes3.New(mem, gofakes3.WithoutVersioning()).Server())
	t.Cleanup(srv.Close)
	return &Server{endpoint: srv.URL, access: accessKey, secret: secretKey, clock: c, mem: mem}
}

// Real returns the server that IMAPPED_TEST_S3 names (http://KEY:SECRET@HOST:PORT; it must allow to create buckets), or
// starts versitygw where it is in the PATH, or skips the test.
func Real(t testing.TB) *Server {
	t.Helper()
	if v := os.Getenv("IMAPPED_TEST_S3"); v != "" {
		u, err := url.Parse(v)
		if err != nil || u.User == nil {
			t.Fatal("IMAPPED_TEST_S3 is not of the form http://KEY:SECRET@HOST:PORT")
		}
		secret, _ := u.User.Password()
		return &Server{endpoint: u.Scheme + "://" + u.Host, access: u.User.Username(), secret: secret}
	}
	bin, err := exec.LookPath("versitygw")
	if err != nil {
		absent := t.Skip
		if os.Getenv("CI") == "true" {
			absent = t.Fatal
		}
		absent("no S3 server: set IMAPPED_TEST_S3, or put versitygw into the PATH " +
			"(go install github.com/versity/versitygw/cmd/versitygw@v1.8.0)")
	}
	return start(t, bin)
}

func start(t testing.TB, bin string) *Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	dir := t.TempDir()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin, "--access", accessKey, "--secret", secretKey, "--quiet",
		"--health", "/health", "--port", addr, "posix", dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw said: %s", out.Bytes())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr); err == nil {
			must(t, c.Close())
			return &Server{endpoint: "http://" + addr, access: accessKey, secret: secretKey, dir: dir}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("versitygw does not listen")
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Bucket is an empty bucket.
type Bucket struct {
	// Config is how a Store reaches it.
	Config s3.Config

	server *Server
	client *awss3.Client
}

// Bucket makes a bucket of its own for a test.
func (s *Server) Bucket(t testing.TB) *Bucket {
	t.Helper()
	b := &Bucket{server: s, Config: s3.Config{
		Endpoint: s.endpoint, Bucket: "b" + strings.ToLower(rand.Text()), Region: "auto", Prefix: "mail/",
		AccessKeyID: s.access, SecretAccessKey: s.secret, SpoolDir: t.TempDir(), Timeout: 10 * time.Second,
	}}
	b.client = awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &b.Config.Endpoint, UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.access, SecretAccessKey: s.secret}, nil
		}),
	})
	_, err := b.client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &b.Config.Bucket})
	must(t, err)
	return b
}

// Get returns an object's bytes.
func (b *Bucket) Get(t testing.TB, object string) []byte {
	t.Helper()
	out, err := b.client.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &b.Config.Bucket, Key: &object})
	must(t, err)
	defer func() { _ = out.Body.Close() }() // only read
	data, err := io.ReadAll(out.Body)
	must(t, err)
	return data
}

// Put writes an object, whatever was there.
func (b *Bucket) Put(t testing.TB, object string, data []byte) {
	t.Helper()
	_, err := b.client.PutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: &b.Config.Bucket, Key: &object, Body: bytes.NewReader(data),
	})
	must(t, err)
}

// Delete deletes an object.
func (b *Bucket) Delete(t testing.TB, object string) {
	t.Helper()
	_, err := b.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &b.Config.Bucket, Key: &object})
	must(t, err)
}

// Names lists the objects.
func (b *Bucket) Names(t testing.TB) (names []string) {
	t.Helper()
	for p := awss3.NewListObjectsV2Paginator(b.client, &awss3.ListObjectsV2Input{Bucket: &b.Config.Bucket}); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		must(t, err)
		for _, o := range page.Contents {
			names = append(names, *o.Key)
		}
	}
	return names
}

// Ages says whether Age works with the server.
func (b *Bucket) Ages() bool { return b.server.mem != nil || b.server.dir != "" }

// Age makes an object look as if it had been written so long ago. Nothing else writes meanwhile.
func (b *Bucket) Age(t testing.TB, object string, ago time.Duration) {
	t.Helper()
	if b.server.mem == nil {
		then := time.Now().Add(-ago)
		must(t, os.Chtimes(filepath.Join(b.server.dir, b.Config.Bucket, filepath.FromSlash(object)), then, then))
		return
	}
	data := b.Get(t, object)
	b.server.clock.set(ago)
	defer b.server.clock.set(0)
	meta := map[string]string{"Last-Modified": b.server.clock.Now().UTC().Format(http.TimeFormat)}
	_, err := b.server.mem.PutObject(b.Config.Bucket, object, meta, bytes.NewReader(data), int64(len(data)), nil)
	must(t, err)
}

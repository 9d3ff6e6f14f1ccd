package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/redis"
	"imapped/adapters/s3"
	"imapped/ports/blob"
	"imapped/ports/events"
)

// started is what names a server that is started here, in place of its URL.
const started = "start"

// outside is where blobs and hints are when they are not in this process.
type outside struct {
	blobs blob.Store // nil: each history has its own, in memory
	redis string     // its URL; empty: hints stay in their process
	stops []func() error
}

// openOutside returns what -s3 and -redis name: http://KEY:SECRET@HOST:PORT/BUCKET and redis://HOST:PORT, or started.
func openOutside(s3URL, redisURL string) (o *outside, err error) {
	o = &outside{redis: redisURL}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	if s3URL == started {
		if s3URL, err = o.startS3(); err != nil {
			return o, err
		}
	}
	if redisURL == started {
		if o.redis, err = o.startRedis(); err != nil {
			return o, err
		}
	}
	if s3URL == "" {
		return o, nil
	}
	u, err := url.Parse(s3URL)
	if err != nil || u.User == nil {
		return o, errors.New("-s3 is http://KEY:SECRET@HOST:PORT/BUCKET")
	}
	secret, _ := u.User.Password()
	store, err := s3.New(s3.Config{
		Endpoint: u.Scheme + "://" + u.Host, Bucket: strings.Trim(u.Path, "/"), Region: "auto",
		AccessKeyID: u.User.Username(), SecretAccessKey: secret,
	})
	if err != nil {
		return o, err
	}
	o.blobs = store
	return o, nil
}

func (o *outside) close() error {
	var errs []error
	for _, stop := range o.stops {
		errs = append(errs, stop())
	}
	o.stops = nil
	return errors.Join(errs...)
}

// startS3 starts versitygw with one bucket, in memory where the system has a place for that.
func (o *outside) startS3() (string, error) {
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "convergence")
	if err != nil {
		return "", err
	}
	o.stops = append(o.stops, func() error { return os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		return "", err
	}
	const key, secret = "convergence", "not a secret"
	addr, err := o.launch(func(addr, _ string) *exec.Cmd {
		return exec.CommandContext(context.Background(), "versitygw", "--access", key, "--secret", secret, "--quiet", "--port", addr, "posix", dir)
	})
	u := url.URL{Scheme: "http", User: url.UserPassword(key, secret), Host: addr, Path: "/mail"}
	return u.String(), err
}

// startRedis starts a redis-server that keeps nothing.
func (o *outside) startRedis() (string, error) {
	addr, err := o.launch(func(_, port string) *exec.Cmd {
		return exec.CommandContext(context.Background(), "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	})
	return "redis://" + addr, err
}

// launch starts a server on a port of its own and waits until it listens.
func (o *outside) launch(command func(addr, port string) *exec.Cmd) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	cmd := command(addr, port)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	o.stops = append([]func() error{func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return nil
	}}, o.stops...)
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		if err == nil {
			return addr, c.Close()
		}
		if time.Now().After(until) {
			return "", fmt.Errorf("%s does not start: %w", cmd.Path, err)
		}
	}
}

// store returns where the blobs of a history are.
func (o *outside) store() blob.Store {
	if o.blobs != nil {
		return o.blobs
	}
	return &disk{blobs: map[blob.Key][]byte{}}
}

// bus returns how a process hears of what others do. It is to be closed.
func (o *outside) bus(log *slog.Logger) (events.Bus, io.Closer, error) {
	if o.redis == "" {
		return new(memory.Bus), io.NopCloser(nil), nil
	}
	c, err := redis.Open(redis.Options{URL: o.redis, Prefix: "convergence:", Log: log})
	if err != nil {
		return nil, nil, err
	}
	return redis.NewBus(c, new(memory.Bus)), c, nil
}

package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/testcontainers/testcontainers-go"
)

const (
	postgresImage = "imapped-e2e/postgres"
	redisImage    = "imapped-e2e/redis"
	s3Image       = "imapped-e2e/s3"
	serverUser    = "imapped"
	serverSecret  = "not-a-secret"
)

// Servers is what an installation of many nodes keeps its data in: Postgres, an S3 store, Redis. Any number of
// installations use them, each apart from the others.
type Servers struct {
	Postgres, S3, Redis running
	postgres, s3, redis string // their addresses

	mu    sync.Mutex
	count int
}

// StartServers starts them.
func StartServers(ctx context.Context) (_ *Servers, err error) {
	s := &Servers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, one := range []struct {
		at    *running
		addr  *string
		image string
		ready string
		env   map[string]string
	}{
		{&s.Postgres, &s.postgres, postgresImage, "", map[string]string{
			"POSTGRES_USER": serverUser, "POSTGRES_PASSWORD": serverSecret,
		}},
		{&s.S3, &s.s3, s3Image, "", map[string]string{
			"S3_ACCESS_KEY_ID": serverUser, "S3_SECRET_ACCESS_KEY": serverSecret,
		}},
		{&s.Redis, &s.redis, redisImage, "", nil},
	} {
		var opts []testcontainers.ContainerCustomizer
		if one.image == postgresImage { // statements are counted
			opts = append(opts, testcontainers.WithCmd("postgres", "-c", "shared_preload_libraries=pg_stat_statements"))
		}
		if *one.at, err = start(ctx, one.image, one.ready, one.env, opts...); err != nil {
			return nil, err
		}
		if *one.addr, err = one.at.ContainerIP(ctx); err != nil {
			return nil, fmt.Errorf("start %s: %w", one.image, err)
		}
	}
	for _, addr := range []string{s.postgres + ":5432", s.s3 + ":7070", s.redis + ":6379"} {
		if err := Eventually(ctx, time.Minute, "a server listens on "+addr, func() (bool, error) {
			c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return false, err
			}
			return true, c.Close()
		}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close ends them.
func (s *Servers) Close() error {
	var errs []error
	for _, c := range []running{s.Postgres, s.S3, s.Redis} {
		if c.Container != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Installation makes a database, a bucket and a Redis for one installation, and returns the settings that name them, as
// NAME=value.
func (s *Servers) Installation(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	s.count++
	n := s.count
	s.mu.Unlock()
	name := fmt.Sprintf("mail%d", n)
	if _, err := s.Postgres.Exec(ctx, "createdb -U "+serverUser+" "+name); err != nil {
		return nil, fmt.Errorf("make a database: %w", err)
	}
	if _, err := s.S3.Exec(ctx, "mkdir /srv/objects/"+name); err != nil {
		return nil, fmt.Errorf("make a bucket: %w", err)
	}
	port := 6379 + n
	if _, err := s.Redis.Exec(ctx, fmt.Sprintf(
		"redis-server --port %d --bind '*' --protected-mode no --save '' --appendonly no --daemonize yes", port)); err != nil {
		return nil, fmt.Errorf("start a redis: %w", err)
	}
	return []string{
		fmt.Sprintf("DATABASE_URL=postgres://%s:%s@%s:5432/%s", serverUser, serverSecret, s.postgres, name),
		"APPLY_MIGRATIONS=true",
		fmt.Sprintf("REDIS_URL=redis://%s:%d/0", s.redis, port),
		"R2_ENDPOINT=http://" + s.s3 + ":7070", "R2_BUCKET=" + name, "R2_REGION=us-east-1",
		"R2_ACCESS_KEY_ID=" + serverUser, "R2_SECRET_ACCESS_KEY=" + serverSecret,
	}, nil
}

package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Servers is what installations of many nodes keep their data in: Postgres, an S3 store, Redis. Any number of
// installations use them, each apart from the others.
type Servers struct {
	Postgres, S3, Redis *Service

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
	if s.Postgres, err = StartPostgres(ctx); err != nil {
		return nil, err
	}
	if s.S3, err = StartS3(ctx); err != nil {
		return nil, err
	}
	if s.Redis, err = StartRedis(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends them.
func (s *Servers) Close() error {
	var errs []error
	for _, c := range []*Service{s.Postgres, s.S3, s.Redis} {
		if c != nil {
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
	if _, err := s.Postgres.SQL(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, fmt.Errorf("make a database: %w", err)
	}
	if _, err := s.S3.Exec(ctx, "mkdir /srv/objects/"+name); err != nil { // a bucket is a folder
		return nil, fmt.Errorf("make a bucket: %w", err)
	}
	port := 6379 + n
	if _, err := s.Redis.Exec(ctx, fmt.Sprintf(
		`redis-server --port %d --bind "*" --protected-mode no --save "" --appendonly no --daemonize yes`, port)); err != nil {
		return nil, fmt.Errorf("start a redis: %w", err)
	}
	at := map[*Service]string{}
	for _, c := range []*Service{s.Postgres, s.S3, s.Redis} {
		addr, err := c.Addr(ctx)
		if err != nil {
			return nil, err
		}
		at[c] = addr
	}
	host, _, err := net.SplitHostPort(at[s.Redis])
	if err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("DATABASE_URL=postgres://%s:%s@%s/%s", databaseUser, databaseUser, at[s.Postgres], name),
		"APPLY_MIGRATIONS=true",
		fmt.Sprintf("REDIS_URL=redis://%s:%d/0", host, port),
		"R2_ENDPOINT=http://" + at[s.S3], "R2_BUCKET=" + name, "R2_REGION=us-east-1",
		"R2_ACCESS_KEY_ID=" + bucketKey, "R2_SECRET_ACCESS_KEY=" + bucketSecret,
	}, nil
}

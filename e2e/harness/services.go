package harness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

const (
	postgresImage = "imapped-e2e/postgres"
	redisImage    = "imapped-e2e/redis"
	s3Image       = "imapped-e2e/s3"
)

// What the services of a cluster know each other by.
const (
	databaseUser = "imapped" // and its password, and the database
	bucket       = "mail"
	bucketKey    = "imapped"
	bucketSecret = "imapped-imapped"
)

// Service is a container that nodes depend on: Postgres, Redis or an S3 store.
type Service struct {
	running
	port  string
	ready func(ctx context.Context, s *Service) error
}

// Addr is host:port; it may be another one after a restart.
func (s *Service) Addr(ctx context.Context) (string, error) {
	ip, err := s.ContainerIP(ctx)
	if err != nil {
		return "", fmt.Errorf("find the container: %w", err)
	}
	return net.JoinHostPort(ip, s.port), nil
}

// Ready waits until the service does what it is for.
func (s *Service) Ready(ctx context.Context) error {
	return Eventually(ctx, time.Minute, "the service is ready", func() (bool, error) {
		err := s.ready(ctx, s)
		return err == nil, err
	})
}

// Restart ends the service, by kill -9 where hard, and starts it again with what it had on disk. It does not wait until it
// is ready.
func (s *Service) Restart(ctx context.Context, hard bool) error {
	how := []string{"stop", "-t", "20", s.GetContainerID()}
	if hard {
		how = []string{"kill", s.GetContainerID()}
	}
	if _, err := docker(ctx, how...); err != nil {
		return err
	}
	_, err := docker(ctx, "start", s.GetContainerID())
	return err
}

func service(ctx context.Context, image, port string, env map[string]string, ready func(context.Context, *Service) error) (*Service, error) {
	c, err := start(ctx, image, "", env)
	if err != nil {
		return nil, err
	}
	s := &Service{c, port, ready}
	if err := s.Ready(ctx); err != nil {
		_ = s.Close() // the first error says more
		return nil, fmt.Errorf("start %s: %w", image, err)
	}
	return s, nil
}

// StartPostgres starts an empty database server.
func StartPostgres(ctx context.Context) (*Service, error) {
	return service(ctx, postgresImage, "5432", map[string]string{
		"POSTGRES_USER": databaseUser, "POSTGRES_PASSWORD": databaseUser, "POSTGRES_DB": databaseUser,
	}, func(ctx context.Context, s *Service) error {
		_, err := s.Exec(ctx, "pg_isready -q -h 127.0.0.1 -t 2")
		return err
	})
}

// SQL runs statements in a database server, without single quotes in them, and returns the rows, columns parted by "|".
func (s *Service) SQL(ctx context.Context, text string) (string, error) {
	return s.Exec(ctx, "psql -qAtX -v ON_ERROR_STOP=1 -U "+databaseUser+" -h /var/run/postgresql "+databaseUser+" -c '"+text+"'")
}

// StartRedis starts a Redis that keeps nothing on disk.
func StartRedis(ctx context.Context) (*Service, error) {
	return service(ctx, redisImage, "6379", nil, func(ctx context.Context, s *Service) error {
		_, err := s.Exec(ctx, "redis-cli -e ping")
		return err
	})
}

// StartS3 starts an object store with a bucket.
func StartS3(ctx context.Context) (*Service, error) {
	return service(ctx, s3Image, "7070", map[string]string{
		"S3_BUCKET": bucket, "S3_ACCESS_KEY_ID": bucketKey, "S3_SECRET_ACCESS_KEY": bucketSecret,
	}, func(ctx context.Context, s *Service) error {
		addr, err := s.Addr(ctx)
		if err != nil {
			return err
		}
		return answers(ctx, "http://"+addr+"/health")
	})
}

// answers returns nil when a GET is answered with 200, within a few seconds.
func answers(ctx context.Context, url string) error {
	_, err := Get(ctx, url)
	return err
}

// Get returns what a GET is answered with, within a few seconds.
func Get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %.500s", url, answer.Status, text.String())
	}
	return text.String(), nil
}

// docker runs the command line of the engine and returns what it printed.
func docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(problems.String()))
	}
	return out.String(), nil
}

// Have returns nil when the engine has the images of a cluster, else what is missing.
func Have(ctx context.Context) error {
	for _, image := range []string{postgresImage, redisImage, s3Image, nodeImage} {
		if _, err := docker(ctx, "image", "inspect", image); err != nil {
			return fmt.Errorf("the image %s is missing; `make images` builds it: %w", image, err)
		}
	}
	return nil
}

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"
)

// Label marks the containers of these suites with the process that started them, so that those of a killed run can be
// told from others'.
const Label = "imapped.e2e"

// Engine returns nil when a Docker engine answers and has the images, else the reason why the suites cannot run.
func Engine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := exec.CommandContext(ctx, "docker", "info").Run(); err != nil {
		return fmt.Errorf("no Docker engine answers (docker info: %w); `make test` as root starts one", err)
	}
	for _, image := range []string{dovecotImage, clientImage} {
		if err := exec.CommandContext(ctx, "docker", "image", "inspect", image).Run(); err != nil {
			return fmt.Errorf("the image %s is missing; `make images` builds it", image)
		}
	}
	tclog.SetDefault(quiet{})
	// The suites end their own containers, and a port need not be looked for on a gateway.
	for name, value := range map[string]string{
		"TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
	} {
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// CI says whether this is a run where nothing may be skipped for want of an engine.
func CI() bool { return os.Getenv("CI") == "true" }

// Size returns a size of a suite: the environment's, else home or, under CI, ci.
func Size(name string, home, ci int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	if CI() {
		return ci
	}
	return home
}

// Seed returns the seed of randomised tests: IMAPPED_SEED, else one that changes.
func Seed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano())
}

// label is the value of Label.
func label() string { return strconv.Itoa(os.Getpid()) }

// running is a container that runs.
type running struct{ testcontainers.Container }

func start(ctx context.Context, image, ready string, env map[string]string, opts ...testcontainers.ContainerCustomizer) (running, error) {
	all := append([]testcontainers.ContainerCustomizer{
		testcontainers.WithEnv(env),
		testcontainers.WithLabels(map[string]string{Label: label()}),
	}, opts...)
	if ready != "" {
		all = append(all, testcontainers.WithWaitStrategy(wait.ForLog(ready).WithStartupTimeout(time.Minute)))
	}
	c, err := testcontainers.Run(ctx, image, all...)
	if err != nil {
		if c != nil {
			_ = c.Terminate(ctx) // the first error says more
		}
		return running{}, fmt.Errorf("start %s: %w", image, err)
	}
	return running{c}, nil
}

// quiet drops what testcontainers has to say about its progress.
type quiet struct{}

// Printf implements testcontainers' log.Logger.
func (quiet) Printf(string, ...any) {}

// Exec runs a shell script in the container and returns what it printed.
func (c running) Exec(ctx context.Context, script string) (string, error) {
	code, out, err := c.Container.Exec(ctx, []string{"sh", "-euc", script}, tcexec.Multiplexed())
	if err != nil {
		return "", fmt.Errorf("exec: %w", err)
	}
	text, err := io.ReadAll(out)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit status %d of %q: %s", code, script, strings.TrimSpace(string(text)))
	}
	return string(text), err
}

// Log returns all that the container has printed.
func (c running) Log(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := c.Logs(ctx)
	if err != nil {
		return "", fmt.Errorf("read the log of a container: %w", err)
	}
	defer out.Close()
	text, err := io.ReadAll(out)
	return string(text), err
}

// Close ends the container.
func (c running) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.Terminate(ctx, testcontainers.StopTimeout(0))
}

// ErrNever is wrapped by errors after which Eventually waits no longer.
var ErrNever = errors.New("cannot come")

// Eventually calls ok until it returns true, at most for the time given; it returns the last error, or that it took
// too long.
func Eventually(ctx context.Context, within time.Duration, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if done && err == nil {
			return nil
		}
		if errors.Is(err, ErrNever) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return fmt.Errorf("%s: not within %s: %w", what, within, err)
		}
	}
}

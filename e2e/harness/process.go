package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"imapped/e2e/imapc"
)

// Build returns the program under test: IMAPPED_E2E_BINARY, else it is built into dir.
func Build(ctx context.Context, dir string) (string, error) {
	if b := os.Getenv("IMAPPED_E2E_BINARY"); b != "" {
		return filepath.Abs(b)
	}
	binary := filepath.Join(dir, "imapped")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/imapped")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build imapped: %w\n%s", err, out)
	}
	return binary, nil
}

// Mirror says how to run "imapped mirror".
type Mirror struct {
	Binary   string
	Data     string // directory
	Upstream string // host:port, plain
	User     string
	Listen   string   // 127.0.0.1:0 by default
	Args     []string // more arguments
	Env      []string // more settings, as NAME=value: see Servers.Installation
}

// Process is a running "imapped mirror".
type Process struct {
	Mirror
	Addr string // where clients connect
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed when the process has ended
	err  error         // of Wait, after done
}

var portLine = regexp.MustCompile(`(?m)^\s*Port\s+(\d+)`)

// Spawn starts the program without waiting for anything.
func (m Mirror) Spawn(ctx context.Context) (*Process, error) {
	if m.Listen == "" {
		m.Listen = "127.0.0.1:0"
	}
	file := m.Data + ".password"
	if err := os.WriteFile(file, []byte(Password+"\n"), 0o600); err != nil {
		return nil, err
	}
	args := append([]string{
		"mirror", "imap://" + m.User + "@" + m.Upstream, "--insecure", "--password-file", file, "--data", m.Data, "--listen", m.Listen,
	}, m.Args...)
	p := &Process{Mirror: m, cmd: exec.CommandContext(ctx, m.Binary, args...), log: &tail{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p.log, p.log, append(os.Environ(), m.Env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Start starts the program and waits until it accepts clients.
func (m Mirror) Start(ctx context.Context) (*Process, error) {
	p, err := m.Spawn(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.Ready(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// Ready waits until clients can connect, and learns the port.
func (p *Process) Ready(ctx context.Context) error {
	err := Eventually(ctx, 90*time.Second, "imapped listens", func() (bool, error) {
		select {
		case <-p.done:
			return false, p.ending()
		default:
		}
		if port := portLine.FindStringSubmatch(p.log.String()); port != nil {
			p.Addr = net.JoinHostPort("127.0.0.1", port[1])
			return true, nil
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.log)
	}
	return nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the last part of what the process printed.
func (p *Process) Log() string { return p.log.String() }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// ending says how a process ended that should not have.
func (p *Process) ending() error {
	if p.err == nil {
		return fmt.Errorf("%w: imapped ended by itself", ErrNever)
	}
	return fmt.Errorf("%w: imapped ended: %w", ErrNever, p.err)
}

// Kill ends the process without giving it a say.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Stop asks the process to end, and waits; it must end well.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
		return fmt.Errorf("imapped did not end within 30s of SIGTERM\n%s", p.log)
	}
	if p.err != nil {
		return fmt.Errorf("imapped ended with %w\n%s", p.err, p.log)
	}
	return nil
}

// Login logs the user in at the program.
func (p *Process) Login(ctx context.Context) (*imapc.Client, error) {
	return imapc.Login(ctx, p.Addr, p.User, Password)
}

// Run runs another command of the program on the same data and returns its standard output.
func (m Mirror) Run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.Binary, append(args, "--data", m.Data)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &problems, append(os.Environ(), m.Env...)
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("imapped %s: %w: %s", args[0], err, problems.String())
	}
	return out.String(), nil
}

// Account is the address that the program knows the account by.
func (m Mirror) Account() string {
	host, _, err := net.SplitHostPort(m.Upstream)
	if err != nil || strings.Contains(m.User, "@") {
		return m.User
	}
	return m.User + "@" + host
}

// Status is what show-sync-status says about an account.
type Status struct {
	Account   string    `json:"account"` // its address
	ID        int64     `json:"id"`
	State     string    `json:"state"`
	Text      string    `json:"text"`
	LastSync  time.Time `json:"last_sync"`
	Messages  int       `json:"messages"`
	Bodies    int       `json:"bodies"`
	Queue     Queue     `json:"queue"`
	Mailboxes []struct {
		Name     string `json:"name"`
		Messages int    `json:"messages"`
		Bodies   int    `json:"bodies"`
	} `json:"mailboxes"`
}

// Queue counts the changes that the upstream does not have yet.
type Queue struct {
	Waiting int        `json:"waiting"`
	Sent    int        `json:"sent"`
	Parked  int        `json:"parked"`
	Oldest  *time.Time `json:"oldest"`
}

// Status asks show-sync-status.
func (m Mirror) Status(ctx context.Context) (Status, error) {
	out, err := m.Run(ctx, "show-sync-status", "--json")
	if err != nil {
		return Status{}, err
	}
	rows, err := statuses(out)
	if err != nil {
		return Status{}, err
	}
	if len(rows) != 1 {
		return Status{}, fmt.Errorf("show-sync-status knows %d accounts", len(rows))
	}
	return rows[0], nil
}

func statuses(out string) (rows []Status, err error) {
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, fmt.Errorf("show-sync-status: %w in %q", err, out)
	}
	return rows, nil
}

// Force runs force-sync: it returns when the account is in step.
func (p *Process) Force(ctx context.Context) error {
	_, err := p.Run(ctx, "force-sync", "--account-email", p.Account())
	if err != nil {
		return fmt.Errorf("%w\nlog of the server:\n%s", err, p.log)
	}
	return nil
}

// Synced waits until the mirror has that many messages, all with bodies.
func (p *Process) Synced(ctx context.Context, messages int, within time.Duration) error {
	var last Status
	err := Eventually(ctx, within, fmt.Sprintf("%d messages are mirrored", messages), func() (bool, error) {
		select {
		case <-p.done:
			return false, p.ending()
		default:
		}
		var err error
		last, err = p.Status(ctx)
		return last.Messages == messages && last.Bodies == messages, err
	})
	if err != nil {
		return fmt.Errorf("%w; last status: %+v\n%s", err, last, p.log)
	}
	return nil
}

// Memory returns the present and the highest resident size of the process in bytes.
func (p *Process) Memory() (now, peak int64, err error) { return Memory(p.PID()) }

// Memory reads VmRSS and VmHWM of a process.
func Memory(pid int) (now, peak int64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			now = n << 10
		case name == "VmHWM":
			peak = n << 10
		}
	}
	return now, peak, nil
}

// tail keeps the first and the last part of what is written to it.
type tail struct {
	mu         sync.Mutex
	head, rest []byte
}

const tailSize = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(b), tailSize-len(t.head))
	t.head = append(t.head, b[:n]...)
	t.rest = append(t.rest, b[n:]...)
	if over := len(t.rest) - tailSize; over > 0 {
		t.rest = append(t.rest[:0], t.rest[over:]...)
	}
	return len(b), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.head) + string(t.rest)
}

var _ io.Writer = (*tail)(nil)

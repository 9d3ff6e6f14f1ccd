package harness

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"

	"imapped/e2e/imapc"
)

// nodeImage is what the program runs in: any Linux would do, it is one static binary.
const nodeImage = "debian:bookworm-slim"

// UpstreamName is the name that the upstream has on every node.
const UpstreamName = "upstream"

// NodeOptions says how to run a node of a cluster.
type NodeOptions struct {
	Binary string // the program
	// Host is the address that the node listens on: each node has one of its own of 127.0.0.0/8.
	Host string
	// Database, Redis, S3 are host:port, as the node is to reach them; Upstream is the IP address that UpstreamName has there.
	Database, Redis, S3, Upstream string
	Env                           map[string]string // more settings
}

// Node is a container that runs the program. It shares the host's network, so that what is between it and what it depends
// on can be in this process, and its address stays the same.
type Node struct {
	running
	NodeOptions
	// Addr is where clients connect.
	Addr string
}

const (
	imapPort = "1143"
	httpPort = "8080"
)

// databaseURL names the database behind an address.
func databaseURL(addr string) string {
	return "postgres://" + databaseUser + ":" + databaseUser + "@" + addr + "/" + databaseUser + "?sslmode=disable"
}

// NewNode makes a node's container without starting it.
func NewNode(ctx context.Context, o NodeOptions) (*Node, error) {
	env := map[string]string{
		"DATABASE_URL": databaseURL(o.Database), "REDIS_URL": "redis://" + o.Redis + "/0",
		"S3_ENDPOINT": "http://" + o.S3, "S3_BUCKET": bucket, "S3_ACCESS_KEY_ID": bucketKey, "S3_SECRET_ACCESS_KEY": bucketSecret,
		"ENCRYPTION_MASTER_KEY": "the master key of a cluster that is tested",
		"IMAPPED_DATA":          "/data", "LOG_LEVEL": "debug", "LOG_FORMAT": "text",
		"IMAP_PLAINTEXT_BIND": net.JoinHostPort(o.Host, imapPort),
		"HTTP_BIND":           net.JoinHostPort(o.Host, httpPort), "METRICS_BIND": net.JoinHostPort(o.Host, httpPort),
	}
	for name, value := range o.Env {
		env[name] = value
	}
	c, err := start(ctx, nodeImage, "", env, testcontainers.WithNoStart(),
		testcontainers.WithConfigModifier(func(c *container.Config) { c.Cmd = []string{"/imapped", "run"} }),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			h.NetworkMode = "host"
			h.ExtraHosts = []string{UpstreamName + ":" + o.Upstream}
		}),
		testcontainers.WithFiles(testcontainers.ContainerFile{HostFilePath: o.Binary, ContainerFilePath: "/imapped", FileMode: 0o755}))
	if err != nil {
		return nil, err
	}
	return &Node{running: c, NodeOptions: o, Addr: env["IMAP_PLAINTEXT_BIND"]}, nil
}

// Start starts the program, again where it has ended. It does not wait until it is ready.
func (n *Node) Start(ctx context.Context) error {
	_, err := docker(ctx, "start", n.GetContainerID())
	return err
}

// Signal sends a signal to the program: KILL, STOP, CONT.
func (n *Node) Signal(ctx context.Context, name string) error {
	_, err := docker(ctx, "kill", "--signal", name, n.GetContainerID())
	return err
}

// Stop asks the program to end and returns the status that it ended with.
func (n *Node) Stop(ctx context.Context) (status string, err error) {
	if _, err := docker(ctx, "stop", "-t", "40", n.GetContainerID()); err != nil {
		return "", err
	}
	return n.inspect(ctx, "{{.State.ExitCode}}")
}

// Runs says whether the program runs, and since when: that changes with every start.
func (n *Node) Runs(ctx context.Context) (runs bool, since string, err error) {
	text, err := n.inspect(ctx, "{{.State.Running}} {{.State.StartedAt}}")
	state, since, _ := strings.Cut(text, " ")
	return state == "true", since, err
}

func (n *Node) inspect(ctx context.Context, format string) (string, error) {
	text, err := docker(ctx, "inspect", "-f", format, n.GetContainerID())
	return strings.TrimSpace(text), err
}

// Ready returns nil when the node says that it is ready.
func (n *Node) Ready(ctx context.Context) error { return answers(ctx, n.url("/readyz")) }

// Metrics returns what the node tells Prometheus.
func (n *Node) Metrics(ctx context.Context) (string, error) { return Get(ctx, n.url("/metrics")) }

func (n *Node) url(path string) string { return "http://" + net.JoinHostPort(n.Host, httpPort) + path }

var lagLine = regexp.MustCompile(`(?m)^imapped_account_sync_lag_seconds\{account="(\d+)"\}`)

// Owned returns the numbers of the accounts that the node mirrors at this moment and has seen the whole of.
func (n *Node) Owned(ctx context.Context) ([]int64, error) {
	text, err := n.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, m := range lagLine.FindAllStringSubmatch(text, -1) {
		id, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Login logs a user in whose password is Password.
func (n *Node) Login(ctx context.Context, user string) (*imapc.Client, error) {
	return imapc.Login(ctx, n.Addr, user, Password)
}

// Run runs another command of the program beside it.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	return n.Exec(ctx, "echo "+Password+" | timeout 120 /imapped "+strings.Join(args, " "))
}

// Statuses asks show-sync-status about all accounts.
func (n *Node) Statuses(ctx context.Context) ([]Status, error) {
	out, err := n.Run(ctx, "show-sync-status", "--json")
	if err != nil {
		return nil, err
	}
	return statuses(out)
}

// Migrate brings the database up to date.
func (n *Node) Migrate(ctx context.Context) error {
	_, err := docker(ctx, "run", "--rm", "--network", "host", "--label", Label+"="+label(),
		"--volume", n.Binary+":/imapped:ro", "--env", "DATABASE_URL="+databaseURL(n.Database), nodeImage, "/imapped", "run-migrations")
	return err
}

package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"imapped/domain/fault"
)

// Options says where Redis is. A zero field takes its default.
type Options struct {
	// URL is redis://, rediss:// (TLS) or unix://, with name, password and database number; of one server, or of a
	// proxy in front of several.
	URL string
	// Prefix begins every key and channel, so that several installations can share a server; "imapped:".
	Prefix string
	Log    *slog.Logger // nil: slog.Default
	// Timeout is how long an answer may take; 500 ms. A login waits no longer than that for a Redis that hangs.
	Timeout time.Duration
	// Heartbeat is how often the server is asked whether it is there; 1 s. One that is silent for twice as long is away.
	Heartbeat time.Duration
}

// Client is the connection to Redis that everything in this package shares. Any number of goroutines may use it.
type Client struct {
	rdb               *goredis.Client
	prefix, origin    string
	log               *slog.Logger
	timeout, interval time.Duration
	stop              context.CancelFunc
	running           sync.WaitGroup
	out               outbox

	mu      sync.Mutex
	ears    map[string]*ear
	changed chan struct{}           // capacity 1: ears changed
	live    chan struct{}           // closed while connected
	cut     context.CancelCauseFunc // ends the present link; nil without one
	away    time.Time               // since when it is away; zero: it is connected, or was never tried
}

// Dialing and waiting for a free connection are bounded by these; an answer by Options.Timeout.
const (
	dialTimeout = time.Second
	poolTimeout = 250 * time.Millisecond
	poolSize    = 16
	bufferSize  = 8 << 10
)

// Open returns a client that connects by itself, now and whenever the connection was lost. It fails only for a URL that
// makes no sense (fault.Invalid): a server that is not there is no error. The caller closes the client.
func Open(o Options) (*Client, error) {
	opt, err := goredis.ParseURL(o.URL)
	if err != nil {
		// The cause is left out: it may quote the URL, with the password in it.
		return nil, fault.New(fault.Invalid, "connect to Redis", "the URL cannot be read: redis://[[name]:password@]host[:port][/number]")
	}
	if o.Prefix == "" {
		o.Prefix = "imapped:"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Timeout <= 0 {
		o.Timeout = 500 * time.Millisecond
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = time.Second
	}
	logging.Disable() // the library writes to standard error on every failed attempt
	opt.Protocol = 2
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.MaxRetries, opt.DialerRetries = -1, 1 // whether to try again is decided here: an INCR is not repeated
	opt.ContextTimeoutEnabled = true
	opt.DialTimeout, opt.PoolTimeout = dialTimeout, poolTimeout
	opt.ReadTimeout, opt.WriteTimeout = o.Timeout, o.Timeout
	opt.PoolSize, opt.PipelinePoolSize, opt.MaxActiveConns = poolSize, -1, poolSize
	opt.MinIdleConns = 0
	opt.ReadBufferSize, opt.WriteBufferSize = bufferSize, bufferSize
	c := &Client{
		rdb: goredis.NewClient(opt), prefix: o.Prefix, origin: rand.Text()[:12], log: o.Log,
		timeout: o.Timeout, interval: o.Heartbeat,
		out: outbox{kick: make(chan struct{}, 1), calls: map[string]struct{}{}}, ears: map[string]*ear{},
		changed: make(chan struct{}, 1), live: make(chan struct{}),
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.running.Go(func() { c.keep(ctx) })
	c.running.Go(func() { c.send(ctx) })
	return c, nil
}

// Close sends what is still to be sent, if that takes no longer than an answer may, and ends everything. What uses the
// client is ended first.
func (c *Client) Close() error {
	c.stop()
	c.running.Wait()
	return c.rdb.Close()
}

// Connected says whether Redis is there, so that hints from other nodes come at once. While it is not, who waits for
// news looks for itself now and then.
func (c *Client) Connected() bool {
	select {
	case <-c.whenLive():
		return true
	default:
		return false
	}
}

// Check is Connected as an error, fault.Unavailable, for a readiness check. It does not wait.
func (c *Client) Check(context.Context) error {
	if c.Connected() {
		return nil
	}
	return errAway
}

var errAway = fault.New(fault.Unavailable, "Redis", "it is away")

// whenLive returns a channel that is closed while Redis is there.
func (c *Client) whenLive() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// arrived notes that Redis is there.
func (c *Client) arrived() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.live:
		return
	default:
	}
	close(c.live)
	if c.away.IsZero() {
		c.log.Info("connected to Redis")
	} else {
		c.log.Info("Redis is back", "after", time.Since(c.away).Round(time.Millisecond))
	}
	c.away = time.Time{}
}

// fail notes that Redis is away, because of err, and ends the present link.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.live:
		c.live = make(chan struct{})
	default:
	}
	if c.cut != nil {
		c.cut(err)
		c.cut = nil
	}
	if c.away.IsZero() {
		c.away = time.Now()
		c.log.Warn("Redis is away: hints from other nodes come later, failed logins are counted by each node for itself",
			"error", err)
	}
}

// over returns why a caller does not wait any more. A read from a connection ends at the deadline, too, and may do so a
// moment before the context says that it is over.
func over(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// broken says whether an error means that Redis cannot be used, as opposed to a key that holds something else. The caller
// still waits.
func broken(err error) bool {
	var reply goredis.Error
	switch {
	case errors.Is(err, goredis.ErrPoolTimeout):
		return false // so many at once: it says nothing of the server
	case errors.As(err, &reply):
		return !goredis.HasErrorPrefix(err, "WRONGTYPE") && !goredis.HasErrorPrefix(err, "ERR")
	}
	return true
}

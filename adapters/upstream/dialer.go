package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// Dialer opens connections to IMAP servers. Its zero value is ready; fields are set before the first Dial and not
// changed. It is safe for concurrent use.
type Dialer struct {
	// Silence is how long a server may be silent while it owes something; 0: two minutes, for searches of large
	// mailboxes are slow. TCP and TLS get no more than half a minute each.
	Silence time.Duration
	// Stall is how long a server may be silent in the middle of a line or a literal, whether it owes something or not; 0:
	// half a minute. More than Silence means Silence.
	Stall time.Duration
	// KeepAlive is how long an IDLE lasts before it is issued again; 0: nine minutes. It must be below 29 minutes
	// (RFC 2177).
	KeepAlive time.Duration
	// Drain is how long the answers of a cancelled command may take before the connection is closed instead; 0: ten
	// seconds.
	Drain time.Duration
	// Roots are the certificate authorities trusted; nil: the machine's.
	Roots *x509.CertPool
	// Log gets what servers say that no command asked for (ALERT, BYE); nil: nobody.
	Log *slog.Logger
	// OnCommand hears of every command that was answered, or was lost with its connection, but IDLE and those of
	// connecting: its name, how long since it was given to its connection, and its error. It must not block. nil: nobody
	// wants to know.
	OnCommand func(verb string, took time.Duration, err error)

	total   meter // of all connections
	lines   syntax.BufferPool
	buffers sync.Pool
	once    sync.Once
}

var _ upstream.Dialer = (*Dialer)(nil)

func (d *Dialer) init() {
	d.once.Do(func() {
		d.buffers.New = func() any { return new([readBuffer]byte) }
	})
}

// Usage returns what all connections together have used.
func (d *Dialer) Usage() upstream.Usage { return d.total.usage() }

func (d *Dialer) silence() time.Duration { return orDefault(d.Silence, 2*time.Minute) }

func (d *Dialer) stall() time.Duration { return min(orDefault(d.Stall, 30*time.Second), d.silence()) }

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// Dial connects as ports/upstream.Dialer says. Round trips after TCP and TLS, with a server that says what it offers
// in its greeting and after login: one for the login, one for ID and ENABLE together.
func (d *Dialer) Dial(ctx context.Context, t upstream.Target) (upstream.Conn, error) {
	d.init()
	nc, err := d.connect(ctx, t)
	if err != nil {
		return nil, err
	}
	// The context ends every read and write of connecting. A deadline would not do: the next read sets its own.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	h := &handshake{dialer: d, target: t, ctx: ctx}
	h.evidence.host = strings.ToLower(t.Host)
	h.evidence.caps = map[string]bool{}
	w, err := h.run(nc)
	if !stop() && err == nil {
		err = &upstream.StepError{Step: h.step, Err: fault.Wrap("connect", ctx.Err())}
	}
	if err != nil {
		_ = nc.Close()
		if h.conn != nil {
			_ = h.conn.Close()
		}
		return nil, err
	}
	return newConn(d, w, h), nil
}

// maxConnect bounds TCP's connecting and the TLS handshake.
const maxConnect = 30 * time.Second

// connect resolves and connects; name resolution and the choice among addresses (RFC 8305) are net.Dialer's.
func (d *Dialer) connect(ctx context.Context, t upstream.Target) (net.Conn, error) {
	dialer := net.Dialer{Timeout: min(d.silence(), maxConnect), KeepAlive: 30 * time.Second}
	nc, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))))
	if err == nil {
		return nc, nil
	}
	step := upstream.StepTCP
	var dns *net.DNSError
	if errors.As(err, &dns) {
		step = upstream.StepDNS
	}
	if ctx.Err() != nil {
		return nil, &upstream.StepError{Step: step, Err: fault.As(fault.Canceled, "connect", ctx.Err())}
	}
	return nil, &upstream.StepError{Step: step, Err: fault.As(fault.Unavailable, "connect", err)}
}

// secure does the TLS handshake over nc.
func (h *handshake) secure(nc net.Conn) (net.Conn, error) {
	cfg := &tls.Config{
		ServerName: h.target.Host, MinVersion: tls.VersionTLS12, RootCAs: h.dialer.Roots,
		InsecureSkipVerify: h.target.Insecure, //nolint:gosec // the operator's explicit wish for this endpoint
	}
	tc := tls.Client(nc, cfg)
	ctx, cancel := context.WithTimeout(h.ctx, min(h.dialer.silence(), maxConnect))
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fault.As(fault.Unavailable, "TLS handshake", err)
	}
	return tc, nil
}

// run takes a TCP connection to a logged-in wire; h.step is the step it is in.
func (h *handshake) run(nc net.Conn) (*wire, error) {
	err := func() (err error) {
		h.conn = nc
		if h.target.TLS == account.TLSImplicit || h.target.TLS == "" {
			h.step = upstream.StepTLS
			if h.conn, err = h.secure(nc); err != nil {
				return err
			}
		}
		h.wire = newWire(h.conn, h.dialer)
		h.step = upstream.StepGreeting
		if err := h.greet(); err != nil {
			return err
		}
		if h.target.TLS == account.TLSStart {
			h.step = upstream.StepTLS
			if err := h.startTLS(nc); err != nil {
				return err
			}
		}
		h.step = upstream.StepLogin
		return h.login()
	}()
	if err == nil {
		return h.wire, nil
	}
	if h.ctx.Err() != nil {
		err = fault.As(fault.Canceled, "connect", h.ctx.Err())
	}
	return nil, &upstream.StepError{Step: h.step, Err: lost("connect", err)}
}

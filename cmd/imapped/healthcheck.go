package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// healthcheckTime is how long a server has to answer healthcheck.
const healthcheckTime = 4 * time.Second

// maxHealthAnswer bounds what is read of an answer, in bytes.
const maxHealthAnswer = 4 << 10

type healthcheckCmd struct {
	serverFlags
	Ready bool `help:"Ask for readiness too; needs HTTP_BIND."`
}

// Run asks the server that runs under the same settings on this machine: /healthz or /readyz where it serves HTTP, else
// its IMAP listener for a greeting. The exit status is 3 when it does not answer, or not well.
func (c healthcheckCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	const op = "check health"
	ctx, cancel := context.WithTimeout(ctx, healthcheckTime)
	defer cancel()
	var said string
	var err error
	switch {
	case conf.HTTPBind != "" && c.Ready:
		said, err = askHTTP(ctx, conf.HTTPBind, "/readyz")
	case conf.HTTPBind != "":
		said, err = askHTTP(ctx, conf.HTTPBind, "/healthz")
	case c.Ready:
		return fault.New(fault.Invalid, op, "HTTP_BIND is not set: readiness is told there alone")
	case conf.IMAPPlaintextBind != "":
		said, err = askIMAP(ctx, &net.Dialer{}, conf.IMAPPlaintextBind)
	case conf.IMAPTLSBind != "":
		// Nothing secret is sent, and the certificate names the outside: it says nothing about this address.
		said, err = askIMAP(ctx, &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}, conf.IMAPTLSBind) //nolint:gosec // see above
	default:
		return fault.New(fault.Invalid, op, "the server listens nowhere: none of HTTP_BIND, IMAP_PLAINTEXT_BIND and IMAP_TLS_BIND is set")
	}
	if err != nil {
		return fault.As(fault.Unavailable, op, err)
	}
	return say(out, "%s\n", printable(said))
}

// askHTTP gets a path of the server at a bind address, and returns the answer's text. An unspecified address dials this
// machine (net.Dial).
func askHTTP(ctx context.Context, bind, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+bind+path, nil)
	if err != nil {
		return "", err
	}
	t := &http.Transport{DisableKeepAlives: true} // its own: no proxy of the environment's
	resp, err := t.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealthAnswer))
	text := strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; ")
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", path, resp.Status, printable(text))
	}
	return text, err
}

// contextDialer is a dialer with or without TLS.
type contextDialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// askIMAP reads the greeting of the server at a bind address (RFC 9051 section 7.1).
func askIMAP(ctx context.Context, d contextDialer, bind string) (string, error) {
	nc, err := d.DialContext(ctx, "tcp", bind)
	if err != nil {
		return "", err
	}
	defer func() { _ = nc.Close() }() // nothing was sent
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	line, err := bufio.NewReader(io.LimitReader(nc, maxHealthAnswer)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no greeting from %s: %w", bind, err)
	}
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "* OK") {
		return "", fmt.Errorf("%s greets with %q", bind, line)
	}
	return line, nil
}

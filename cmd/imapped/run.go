package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"imapped/adapters/sqlite"
	"imapped/domain/fault"
	"imapped/imapwire/server"
)

type runCmd struct {
	dataFlags
	syncFlags
	IMAPPlaintextBind string `help:"Address for plain connections and STARTTLS; empty: none." default:"127.0.0.1:1143" env:"IMAP_PLAINTEXT_BIND"`
	IMAPTLSBind       string `name:"imap-tls-bind" help:"Address for TLS connections; needs a certificate." env:"IMAP_TLS_BIND"`
	IMAPTLSCertPath   string `name:"imap-tls-cert-path" help:"The certificate chain, PEM." env:"IMAP_TLS_CERT_PATH" type:"path"`
	IMAPTLSKeyPath    string `name:"imap-tls-key-path" help:"Its private key, PEM." env:"IMAP_TLS_KEY_PATH" type:"path"`
	AllowPlainAuth    bool   `help:"Let clients log in without TLS from other machines too."`
}

// Run serves until it is told to stop.
func (c runCmd) Run(ctx context.Context, lf *logFlags) (err error) {
	conf, err := c.tlsConfig()
	if err != nil {
		return err
	}
	in, err := openInstance(ctx, c.dataFlags, lf.logger())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	var listeners []listener
	for _, a := range []struct {
		addr string
		mode server.Mode
	}{{c.IMAPPlaintextBind, server.PlainMode}, {c.IMAPTLSBind, server.TLSMode}} {
		if a.addr == "" {
			continue
		}
		l, err := listen(ctx, a.addr)
		if err != nil {
			return err
		}
		in.log.Info("listening", "address", l.Addr().String(), "tls", a.mode == server.TLSMode)
		listeners = append(listeners, listener{l, a.mode})
	}
	s, err := newServing(in, c.syncFlags, conf, c.AllowPlainAuth)
	if err != nil {
		return err
	}
	return s.run(ctx, listeners)
}

func (c runCmd) tlsConfig() (*tls.Config, error) {
	const op = "set up TLS"
	switch {
	case (c.IMAPTLSCertPath == "") != (c.IMAPTLSKeyPath == ""):
		return nil, fault.New(fault.Invalid, op, "--imap-tls-cert-path and --imap-tls-key-path go together")
	case c.IMAPTLSCertPath == "" && c.IMAPTLSBind != "":
		return nil, fault.New(fault.Invalid, op, "--imap-tls-bind needs --imap-tls-cert-path and --imap-tls-key-path")
	case c.IMAPPlaintextBind == "" && c.IMAPTLSBind == "":
		return nil, fault.New(fault.Invalid, "start", "there is no address to listen on: --imap-plaintext-bind, --imap-tls-bind")
	case c.IMAPTLSCertPath == "":
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.IMAPTLSCertPath, c.IMAPTLSKeyPath)
	if err != nil {
		return nil, fault.As(fault.Invalid, op, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, nil
}

type runMigrationsCmd struct {
	dataFlags
	Check bool `help:"Only say whether there is something to do; the exit status is 3 when there is."`
}

// Run applies what is pending.
func (c runMigrationsCmd) Run(ctx context.Context, out output) error {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fault.As(fault.Unavailable, "open data directory", err)
	}
	in := instance{dir: c.Data}
	pending, err := sqlite.Pending(ctx, in.path("imapped.db"))
	if err != nil {
		return err
	}
	if c.Check && pending > 0 {
		return fault.Newf(fault.Unavailable, "check database", "%d migrations are pending: run-migrations applies them", pending)
	}
	if err := sqlite.Migrate(ctx, in.path("imapped.db")); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The database is up to date; %d migrations were applied.\n", pending)
	return err
}

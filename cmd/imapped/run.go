package main

import (
	"context"
	"errors"
	"log/slog"

	"imapped/cmd/imapped/config"
	"imapped/imapwire/server"
)

// serverFlags are the settings of run that have a flag.
type serverFlags struct {
	dataFlags
	syncFlags
	IMAPPlaintextBind string `setting:"IMAP_PLAINTEXT_BIND" help:"Address for plain connections and STARTTLS; empty: none."`
	IMAPTLSBind       string `setting:"IMAP_TLS_BIND" name:"imap-tls-bind" help:"Address for TLS connections; needs a certificate."`
	IMAPTLSCertPath   string `setting:"IMAP_TLS_CERT_PATH" name:"imap-tls-cert-path" help:"The certificate chain, PEM." type:"path"`
	IMAPTLSKeyPath    string `setting:"IMAP_TLS_KEY_PATH" name:"imap-tls-key-path" help:"Its private key, PEM." type:"path"`
	AllowPlainAuth    bool   `setting:"ALLOW_PLAIN_AUTH" help:"Let clients log in without TLS from other machines too."`
}

type runCmd struct {
	serverFlags
	sweepFlags
}

// Run serves until it is told to stop.
func (c runCmd) Run(ctx context.Context, conf *config.Config) error {
	return c.serve(ctx, conf, logger(conf))
}

func (c runCmd) serve(ctx context.Context, conf *config.Config, log *slog.Logger) (err error) {
	tlsConf, err := conf.TLS(readFile)
	if err != nil {
		return err
	}
	in, err := openServer(ctx, conf, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	if err := in.createFirst(ctx); err != nil {
		return err
	}
	var listeners []listener
	for _, a := range []struct {
		addr string
		mode server.Mode
	}{{conf.IMAPPlaintextBind, server.PlainMode}, {conf.IMAPTLSBind, server.TLSMode}} {
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
	s, err := newServing(in, c.sweepFlags, tlsConf, conf.AllowPlainAuth)
	if err != nil {
		return err
	}
	return s.run(ctx, listeners)
}

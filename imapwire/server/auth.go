package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"unicode/utf8"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// StartTLS answers STARTTLS (RFC 9051 section 6.2.1).
func (c *conn) StartTLS(*job) answer {
	if c.tls {
		return bad("TLS is active already")
	}
	a := ok("Begin TLS negotiation now")
	a.then = func() error {
		// What came in the clear behind STARTTLS was put there by somebody who wants it to be taken for protected.
		if len(c.fr.TakeBuffered()) > 0 {
			return errors.New("octets in the clear after STARTTLS")
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		if !c.startTLS() {
			return errors.New("TLS handshake failed")
		}
		return nil
	}
	return a
}

// Login answers LOGIN.
func (c *conn) Login(j *job) answer {
	return c.login(j.cmd, j.args.Login.User.Bytes, j.args.Login.Password.Bytes)
}

// Authenticate answers AUTHENTICATE with PLAIN (RFC 4616), with and without an initial response (RFC 4959).
func (c *conn) Authenticate(j *job) answer {
	args := &j.args.Auth
	if !syntax.EqualFold(args.Mechanism.Bytes, "PLAIN") || !c.srv.caps.Has(fsm.CapAuthPlain) {
		return no("CANNOT", "Unknown authentication mechanism")
	}
	response := args.Initial
	if !args.HasInitial {
		c.out.begin()
		c.out.text("+ \r\n")
		c.out.end()
		line, fits, err := c.line()
		switch {
		case err != nil:
			c.readErr = err
			return answer{silent: true}
		case !fits:
			return bad("Authentication response too long")
		case string(line) == "*":
			c.fr.Release()
			return bad("Authentication cancelled")
		}
		response = line
	}
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(response)))
	n, err := base64.StdEncoding.Decode(plain, response)
	if !args.HasInitial {
		c.fr.Release()
	}
	if err != nil {
		return bad("Authentication response is not base64")
	}
	parts := bytes.Split(plain[:n], []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return bad("Authentication response is not PLAIN")
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return no("AUTHORIZATIONFAILED", "Acting for somebody else is not supported")
	}
	return c.login(j.cmd, parts[1], parts[2])
}

// login lets the client in.
func (c *conn) login(cmd fsm.Command, user, password []byte) answer {
	if !utf8.Valid(user) || !utf8.Valid(password) {
		return no("AUTHENTICATIONFAILED", "Authentication failed")
	}
	ctx, cancel := context.WithDeadline(c.ctx, c.opened.Add(c.srv.opt.LoginTimeout))
	defer cancel()
	s, err := c.srv.opt.Sessions.Login(ctx, session.Credentials{
		User: string(user), Password: string(password), Remote: c.ip.String(), Session: c.id,
	})
	switch {
	case fault.Is(err, fault.Denied):
		return no("AUTHENTICATIONFAILED", "Authentication failed")
	case fault.Is(err, fault.Forbidden):
		return no("AUTHORIZATIONFAILED", "This user may not log in")
	case err != nil:
		return c.failure(cmd, err)
	}
	c.sess = s
	c.log = c.log.With("user", s.User())
	c.log.Info("logged in", "tls", c.tls)
	c.fr.SetLimits(*c.srv.opt.PostAuth)
	return okCode("CAPABILITY "+c.capabilities(), "Logged in")
}

package main

import (
	"fmt"
	"net/url"
	"strconv"

	"imapped/domain/account"
	"imapped/domain/fault"
)

// mirrorTarget is an imap(s) URL taken apart: imaps://me@imap.example.org, imap://me@host:143.
type mirrorTarget struct {
	account.Endpoint
	User string
}

// parseTarget reads the URL. Without insecure, imap:// means STARTTLS and certificates are checked.
func parseTarget(text string, insecure bool) (mirrorTarget, error) {
	const op = "read upstream address"
	u, err := url.Parse(text)
	if err != nil {
		return mirrorTarget{}, fault.New(fault.Invalid, op, "it does not look like imaps://me@imap.example.org")
	}
	t := mirrorTarget{Endpoint: account.Endpoint{Host: u.Hostname(), Insecure: insecure}, User: u.User.Username()}
	port := "143"
	switch {
	case u.Scheme == "imaps":
		t.TLS, port = account.TLSImplicit, "993"
	case u.Scheme == "imap" && insecure:
		t.TLS = account.TLSPlain
	case u.Scheme == "imap":
		t.TLS = account.TLSStart
	default:
		return t, fault.New(fault.Invalid, op, "it begins with imaps:// or imap://")
	}
	if _, has := u.User.Password(); has {
		return t, fault.New(fault.Invalid, op,
			"leave the password out of the address: it would be visible to others; you will be asked for it")
	}
	if t.User == "" || t.Host == "" {
		return t, fault.New(fault.Invalid, op, "it needs a user and a host: imaps://me@imap.example.org (write an @ in the user as %40)")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return t, fault.Newf(fault.Invalid, op, "the port %q is not a number from 1 to 65535", port)
	}
	t.Port = uint16(n)
	return t, nil
}

// email returns the address that the account is known by: the user name itself when it is one.
func (t mirrorTarget) email() string {
	for i := range t.User {
		if t.User[i] == '@' {
			return t.User
		}
	}
	return fmt.Sprintf("%s@%s", t.User, t.Host)
}

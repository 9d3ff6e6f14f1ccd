package main

import (
	"strings"
	"testing"

	"imapped/domain/account"
	"imapped/domain/fault"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		text     string
		insecure bool
		want     mirrorTarget
		email    string
	}{
		{"imaps://me@imap.example.org", false,
			mirrorTarget{account.Endpoint{Host: "imap.example.org", Port: 993, TLS: account.TLSImplicit}, "me"}, "me@imap.example.org"},
		{"imap://ann%40example.org@[::1]:1143", false,
			mirrorTarget{account.Endpoint{Host: "::1", Port: 1143, TLS: account.TLSStart}, "ann@example.org"}, "ann@example.org"},
		{"imap://demo@127.0.0.1:2143", true,
			mirrorTarget{account.Endpoint{Host: "127.0.0.1", Port: 2143, TLS: account.TLSPlain, Insecure: true}, "demo"}, "demo@127.0.0.1"},
	} {
		got, err := parseTarget(c.text, c.insecure)
		if err != nil || got != c.want || got.email() != c.email {
			t.Errorf("parseTarget(%q) = %+v, %v; email %q", c.text, got, err, got.email())
		}
	}
	for text, says := range map[string]string{
		"imap.example.org":       "imaps://",
		"https://me@example.org": "imaps://",
		"imaps://example.org":    "needs a user",
		"imaps://me:pw@host":     "leave the password out",
		"imaps://me@host:99999":  "port",
		"imaps://me@host:0":      "port",
		"imaps://me@":            "needs a user",
		"imaps://me@ho st":       "does not look",
	} {
		if _, err := parseTarget(text, false); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("parseTarget(%q): %v, want it to say %q", text, err, says)
		}
		if _, err := parseTarget(text, false); err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

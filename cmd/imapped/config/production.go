package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkProduction reports what APP_ENV=production refuses.
func (c *Config) checkProduction(chosen map[string]choice, ts *troubles) {
	const master = "ENCRYPTION_MASTER_KEY"
	switch {
	case chosen[master].wrong: // said already
	case !c.MasterKey.IsSet():
		ts.add(master, "APP_ENV is production, and it is not set: make one with \"openssl rand -base64 32\"")
	case guessable(c.MasterKey.Reveal()):
		ts.add(chosen[master].name, "APP_ENV is production, and its value is one from an example: make one with \"openssl rand -base64 32\"")
	}
	if b := c.Bootstrap; b.Password.IsSet() {
		p := b.Password.Reveal()
		if len(p) < 8 || guessable(p) || strings.EqualFold(p, b.Username) {
			ts.add(chosen["BOOTSTRAP_IMAP_PASSWORD"].name,
				"APP_ENV is production, and the value is shorter than 8 characters, the user's name, or one from an example")
		}
	}
	if c.IMAPPlaintextBind != "" && !loopback(c.IMAPPlaintextBind) && c.IMAPTLSCertPath == "" && !c.AllowPlainAuth {
		ts.add(chosen["IMAP_PLAINTEXT_BIND"].name, "APP_ENV is production, and other machines reach %s without STARTTLS: set IMAP_TLS_CERT_PATH and "+
			"IMAP_TLS_KEY_PATH, or ALLOW_PLAIN_AUTH where a proxy in front does TLS", c.IMAPPlaintextBind)
	}
	if u, err := url.Parse(c.BaseURL); err == nil && u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "80")) {
		ts.add(chosen["APP_BASE_URL"].name, "APP_ENV is production, and it begins with http://: use https://")
	}
}

// guessable says whether a secret is one that stands in examples.
func guessable(text string) bool {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, lower(text))
	// Words of 7 letters and more: chance does not put them into 32 random bytes.
	return slices.ContainsFunc([]string{
		"changeme", "changethis", "replaceme", "replacethis", "development", "example", "placeholder", "insecure", "donotuse", "notsecret",
		"supersecret", "yoursecret", "secretkey", "masterkey", "password", "passphrase", "correcthorse", "0123456789", "1234567890",
	}, func(word string) bool { return strings.Contains(plain, word) })
}

// loopback says whether an address that bind has let pass is reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

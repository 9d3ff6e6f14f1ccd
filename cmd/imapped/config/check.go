package config

import (
	"crypto/tls"
	"net"

	"imapped/domain/fault"
)

// check reports settings that do not go together. The keys of troubles are those under which the settings were given.
func (c *Config) check(chosen map[string]choice, ts *troubles) {
	name := func(key string) string {
		if n := chosen[key].name; n != "" {
			return n
		}
		return key
	}
	given := func(key string) bool { return chosen[key].given() }
	// needs reports what is given without what it is nothing without.
	needs := func(key string, others ...string) {
		for _, o := range others {
			if given(key) && !given(o) {
				ts.add(name(key), "it needs %s, which is not set", o)
			}
		}
	}
	const cert, key = "IMAP_TLS_CERT_PATH", "IMAP_TLS_KEY_PATH"
	needs(cert, key)
	needs(key, cert)
	if !given(cert) && !given(key) {
		needs("IMAP_TLS_BIND", cert, key)
	}
	const plainBind, tlsBind = "IMAP_PLAINTEXT_BIND", "IMAP_TLS_BIND"
	if c.IMAPPlaintextBind == "" && c.IMAPTLSBind == "" {
		ts.add(name(plainBind), "there is no address to listen on: it is empty, and %s is not set", tlsBind)
	}
	binds := []string{plainBind, tlsBind, "HTTP_BIND", "METRICS_BIND"}
	for i, a := range binds {
		for _, b := range binds[i+1:] {
			shared := a == "HTTP_BIND" && b == "METRICS_BIND" // one listener may serve both
			if text := chosen[a].text; text != "" && text == chosen[b].text && !shared && port(text) != "0" {
				ts.add(name(b), "it and %s are the same address, %s", name(a), text)
			}
		}
	}
	const master, previous = "ENCRYPTION_MASTER_KEY", "ENCRYPTION_MASTER_KEY_PREVIOUS"
	const region, endpoint, bucket, id, secret = "R2_REGION", "R2_ENDPOINT", "R2_BUCKET", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"
	group := []string{endpoint, bucket, id, secret}
	for _, k := range append(group, region) {
		if given(k) && (k != region || c.S3.Region != "auto") { // the default, written out, is nothing
			for _, o := range group {
				if !given(o) {
					ts.add(name(k), "it needs %s, which is not set", o)
				}
			}
			break // the first of the group says what is missing
		}
	}
	if c.S3.Encrypt {
		needs(encryptKey, endpoint, master)
	}
	c.checkStores(chosen)
	needs("REDIS_URL", "DATABASE_URL") // nodes that share no database have nothing to tell each other
	if c.MaxMessageSize > c.MaxLiteralSize && !chosen[messageKey].wrong && !chosen[literalKey].wrong {
		ts.add(name(messageKey), "it is %d and %s is %d: a message is a literal, and cannot be larger than one may be",
			c.MaxMessageSize, name(literalKey), c.MaxLiteralSize)
	}
	const user, pass, hash = "BOOTSTRAP_IMAP_USERNAME", "BOOTSTRAP_IMAP_PASSWORD", "BOOTSTRAP_IMAP_PASSWORD_HASH"
	needs(pass, user)
	needs(hash, user)
	switch {
	case given(pass) && given(hash):
		ts.add(name(pass), "it and %s are both set: set one of them", name(hash))
	case given(user) && !given(pass) && !given(hash):
		ts.add(name(user), "it needs %s or %s, and neither is set", pass, hash)
	}
	if given(previous) && chosen[previous].text == chosen[master].text {
		ts.add(name(previous), "it is the same as %s: take it away", name(master))
	}
}

// checkStores notes what Stores reports.
func (c *Config) checkStores(chosen map[string]choice) {
	const database, endpoint, folder = "DATABASE_URL", "R2_ENDPOINT", "OBJECT_STORE_PATH"
	chose := func(key string) bool { return chosen[key].given() }
	switch {
	case chose(folder) && chose(endpoint):
		c.stores.add(chosen[folder].name, "it and %s are both set: messages are kept in one place", chosen[endpoint].name)
	case chose(database) && !chose(folder) && !chose(endpoint):
		c.stores.add(chosen[database].name, "it needs R2_ENDPOINT with its bucket and keys, or OBJECT_STORE_PATH: messages would be kept in "+
			"the data directory of one node, where others do not find them")
	}
}

// port returns the port of an address that bind has let pass.
func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// TLS returns what listeners use, from the certificate's files; nil when there is none. Errors: fault.Invalid, naming both
// keys.
func (c *Config) TLS(readFile func(path string) ([]byte, error)) (*tls.Config, error) {
	if c.IMAPTLSCertPath == "" {
		return nil, nil
	}
	const op = "IMAP_TLS_CERT_PATH, IMAP_TLS_KEY_PATH"
	chain, err := readFile(c.IMAPTLSCertPath)
	if err != nil {
		return nil, fault.As(fault.Invalid, op, err)
	}
	key, err := readFile(c.IMAPTLSKeyPath)
	if err != nil {
		return nil, fault.As(fault.Invalid, op, err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fault.As(fault.Invalid, op, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, nil
}

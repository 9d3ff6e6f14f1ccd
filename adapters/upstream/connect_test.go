package upstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"imapped/adapters/upstream"
	"imapped/adapters/upstream/upstreamtest"
	"imapped/domain/account"
	"imapped/domain/fault"
	port "imapped/ports/upstream"
)

// hello is a login that takes one round trip and leaves nothing to ask or enable.
const hello = `S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
C: l AUTHENTICATE PLAIN AHUAcA==
S: l OK [CAPABILITY IMAP4rev1 %CAPS%] in
`

// script is hello with more capabilities after login, and then the lines.
func script(caps, lines string) string {
	return strings.Replace(hello, "%CAPS%", caps, 1) + lines
}

func dialer() *upstream.Dialer {
	return &upstream.Dialer{Silence: 5 * time.Second}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dial connects to a server that plays the scripts.
func dial(t *testing.T, d *upstream.Dialer, scripts ...string) (port.Conn, *upstreamtest.Server) {
	t.Helper()
	s := upstreamtest.New(t, scripts...)
	conn, err := d.Dial(deadline(t), s.Target())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, s
}

func usage(c port.Conn) port.Usage { return c.(port.Meter).Usage() }

func TestLogin(t *testing.T) {
	for _, tc := range []struct {
		name, auth, user, password, script string
	}{
		{name: "PLAIN in one round trip", script: script("IDLE", "")},
		{name: "PLAIN without SASL-IR", script: `S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready
C: l AUTHENTICATE PLAIN
S: +
c: AHUAcA==
S: l OK [CAPABILITY IMAP4rev1] in`},
		{name: "LOGIN, no capabilities anywhere", script: `S: * OK ready
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1
S: c OK
C: l LOGIN u "p"
S: l OK in
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1
S: c OK`},
		{name: "LOGIN with a literal that waits", user: "us er", password: "pä\"", script: `S: * OK [CAPABILITY IMAP4rev1 LOGIN-REFERRALS] ready
C: l LOGIN "us er" {4}
S: + go on
c: pä"
S: * CAPABILITY IMAP4rev1 IDLE
S: l OK in`},
		{name: "LOGIN with a literal that does not", password: "pä\"", script: `S: * OK [CAPABILITY IMAP4rev1 LITERAL+] ready
C: l LOGIN u {4+}
c: pä"
S: l OK [CAPABILITY IMAP4rev1] in`},
		{name: "LOGIN by choice", auth: "login", script: `S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready
C: l LOGIN u "p"
S: l OK [CAPABILITY IMAP4rev1] in`},
		{name: "PREAUTH", script: `S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] in already`},
		{name: "noise before the greeting", script: "S: \nS: \\x00\\x00" + strings.TrimPrefix(script("IDLE", ""), "S: ")},
		{name: "capabilities, ID and ENABLE in as few round trips as can be", script: script("ID ENABLE CONDSTORE QRESYNC UTF8=ACCEPT", `
C: i ID ("name" "imapped")
C: e ENABLE QRESYNC UTF8=ACCEPT
S: * ID ("name" "Dovecot")
S: i OK
S: * ENABLED QRESYNC
S: e OK`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := upstreamtest.New(t, tc.script)
			target := s.Target()
			target.Auth = tc.auth
			if tc.user != "" {
				target.Username = tc.user
			}
			if tc.password != "" {
				target.Password = []byte(tc.password)
			}
			conn, err := dialer().Dial(deadline(t), target)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerAfterLogin(t *testing.T) {
	conn, _ := dial(t, dialer(), script("ID ENABLE CONDSTORE QRESYNC UTF8=ACCEPT IDLE ESEARCH LIST-STATUS MOVE UIDPLUS", `
C: i ID ("name" "imapped")
C: e ENABLE QRESYNC UTF8=ACCEPT
S: * ID ("name" "Dovecot" "vendor" NIL)
S: i OK
S: * ENABLED QRESYNC
S: e OK`))
	s := conn.Server()
	if !s.CondStore || !s.QResync || !s.ListStatus || !s.Idle || !s.UIDPlus || !s.Move || !s.ESearch || s.UTF8 || s.SpecialUse {
		t.Errorf("server: %+v", s)
	}
	if s.ID["name"] != "Dovecot" || s.Greeting != "ready" || len(s.Quirks) != 0 {
		t.Errorf("server: %+v", s)
	}
	if u := usage(conn); u.Commands != 3 || u.Sent == 0 || u.Received == 0 {
		t.Errorf("usage: %+v", u)
	}
}

func TestDialFailures(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		step         port.Step
		kind         fault.Kind
		text         string
		retry        time.Duration
	}{
		{"turned away", "S: * BYE [UNAVAILABLE] too busy", port.StepGreeting, fault.Unavailable, "too busy", 0},
		{"no greeting", "! close", port.StepGreeting, fault.Unavailable, "closed", 0},
		{"cut greeting", "! cut 7\nS: * OK ready", port.StepGreeting, fault.Unavailable, "closed", 0},
		{"silence", "! silent", port.StepGreeting, fault.Unavailable, "in time", 0},
		{"no IMAP", strings.Repeat("S: HTTP/1.1 400 Bad Request\n", 64) + "! close", port.StepGreeting, fault.Unavailable,
			"does not speak IMAP", 0},
		{"wrong password", "S: * OK [CAPABILITY IMAP4rev1] hi\nC: l LOGIN u \"p\"\nS: l NO [AUTHENTICATIONFAILED] wrong",
			port.StepLogin, fault.Denied, "AUTHENTICATIONFAILED", 0},
		{"wrong password without a code", "S: * OK [CAPABILITY IMAP4rev1] hi\nC: l LOGIN u \"p\"\nS: l NO LOGIN failed",
			port.StepLogin, fault.Denied, "LOGIN failed", 0},
		{"too many connections", "S: * OK [CAPABILITY IMAP4rev1] hi\nC: l LOGIN u \"p\"\n" +
			"S: l NO [ALERT] Too many simultaneous connections. (Failure)",
			port.StepLogin, fault.Unavailable, "Too many", 10 * time.Second},
		{"temporary", "S: * OK [CAPABILITY IMAP4rev1] hi\nC: l LOGIN u \"p\"\nS: l NO [UNAVAILABLE] later",
			port.StepLogin, fault.Unavailable, "UNAVAILABLE", 0},
		{"Exchange throttles", "S: * OK [CAPABILITY IMAP4rev1] hi\nC: l LOGIN u \"p\"\n" +
			"S: l BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds",
			port.StepLogin, fault.Unavailable, "throttled", 299961 * time.Millisecond},
		{"BYE at login", "S: * OK [CAPABILITY IMAP4rev1] hi\nC: l LOGIN u \"p\"\nS: * BYE not today",
			port.StepLogin, fault.Unavailable, "not today", 0},
		{"no way to log in", "S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2] hi\n! may-end\nC: never x",
			port.StepLogin, fault.Denied, "no way", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := upstreamtest.New(t, tc.script)
			d := dialer()
			if tc.name == "silence" {
				d.Silence = 50 * time.Millisecond
			}
			_, err := d.Dial(deadline(t), s.Target())
			var step *port.StepError
			if !errors.As(err, &step) || step.Step != tc.step || fault.KindOf(err) != tc.kind ||
				!strings.Contains(err.Error(), tc.text) {
				t.Fatalf("%v (kind %v)", err, fault.KindOf(err))
			}
			var refused *port.Refusal
			if errors.As(err, &refused) && refused.Retry != tc.retry {
				t.Errorf("retry after %v, want %v", refused.Retry, tc.retry)
			}
			if strings.Contains(err.Error(), `"p"`) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestDialUnreachable(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port0 := uint16(ln.Addr().(*net.TCPAddr).Port)
	_ = ln.Close()
	target := port.Target{Endpoint: account.Endpoint{Host: "127.0.0.1", Port: port0, TLS: account.TLSPlain}}
	var step *port.StepError
	if _, err := dialer().Dial(deadline(t), target); !errors.As(err, &step) || step.Step != port.StepTCP {
		t.Errorf("nobody listens: %v", err)
	}
	target.Host = "no-such-host.invalid"
	if _, err := dialer().Dial(deadline(t), target); !errors.As(err, &step) || step.Step != port.StepDNS {
		t.Errorf("no such host: %v", err)
	}
}

func TestDialCanceled(t *testing.T) {
	s := upstreamtest.New(t, "! silent")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := dialer().Dial(ctx, s.Target()); !fault.Is(err, fault.Canceled) {
		t.Errorf("%v", err)
	}
}

// certificate returns a server's certificate for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func TestTLS(t *testing.T) {
	cfg, pool := certificate(t)
	const start = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\nC: s STARTTLS\n"
	const inside = `! tls
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR
S: c OK
C: l AUTHENTICATE PLAIN AHUAcA==
S: l OK [CAPABILITY IMAP4rev1] in`
	for _, tc := range []struct {
		name, script string
		mode         account.TLSMode
		trusted, ok  bool
		text         string
	}{
		{"implicit", script("IDLE", ""), account.TLSImplicit, true, true, ""},
		{"untrusted", "", account.TLSImplicit, false, false, "certificate"},
		{"STARTTLS", start + "S: s OK go\n" + inside, account.TLSStart, true, true, ""},
		{"STARTTLS without saying so", "S: * OK hi\nC: s STARTTLS\nS: s OK go\n" + inside, account.TLSStart, true, true, ""},
		{"STARTTLS refused", start + "S: s NO not now", account.TLSStart, true, false, "not now"},
		{"STARTTLS not offered", "S: * OK [CAPABILITY IMAP4rev1] hi\n! may-end\nC: never x", account.TLSStart, true, false,
			"does not offer"},
		{"PREAUTH instead", "S: * PREAUTH hi\n! may-end\nC: never x", account.TLSStart, true, false, "without TLS"},
		{"injection", start + "S- s OK go\\r\\n* CAPABILITY IMAP4rev1 EVIL\\r\\n\n! silent", account.TLSStart, true, false, "injection"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := upstreamtest.NewTLS(t, cfg, tc.mode == account.TLSImplicit, tc.script)
			d := dialer()
			if tc.trusted {
				d.Roots = pool
			}
			target := s.Target()
			target.TLS = tc.mode
			conn, err := d.Dial(deadline(t), target)
			if tc.ok {
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
				return
			}
			var step *port.StepError
			if !errors.As(err, &step) || step.Step != port.StepTLS || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("%v", err)
			}
		})
	}
}

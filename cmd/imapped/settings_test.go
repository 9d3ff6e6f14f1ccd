package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"imapped/app/auth"
	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// configOf is what an environment configures.
func configOf(t *testing.T, environ ...string) *config.Config {
	t.Helper()
	conf, err := config.Load(config.Sources{Environ: environ, ReadFile: readFile, Refused: refused()})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// heard is a log handler that tells the addresses that a server listens on.
type heard struct {
	slog.Handler
	addresses chan string
}

func (h heard) Enabled(context.Context, slog.Level) bool { return true }

func (h heard) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if (r.Message == "listening" || r.Message == "serving HTTP") && a.Key == "address" {
			h.addresses <- a.Value.String()
		}
		return true
	})
	return nil
}

// startRun runs "run" with an environment, which listens on as many addresses as binds says. It returns the addresses,
// and what ends it.
func startRun(t *testing.T, binds int, environ ...string) (addresses []string, stop func()) {
	t.Helper()
	h := heard{slog.DiscardHandler, make(chan string, binds)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- runCmd{}.serve(ctx, configOf(t, environ...), slog.New(h)) }()
	for range binds {
		select {
		case a := <-h.addresses:
			addresses = append(addresses, a)
		case err := <-ended:
			cancel()
			t.Fatalf("run ends: %v", err)
		case <-time.After(time.Minute):
			cancel()
			t.Fatal("run does not listen")
		}
	}
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run ends with %v", err)
		}
	}
	t.Cleanup(func() { stop() })
	return addresses, stop
}

// certificate writes a certificate for this machine and its key, and returns their paths.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServerSettings: what clients see of the settings, from the environment and a file to the wire.
func TestServerSettings(t *testing.T) {
	cert, key := certificate(t)
	data, blobs, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(t.TempDir(), "imapped.toml")
	write(t, file, "max_literal_size_bytes = 8192\nmax_message_size_bytes = 5000\nimap_plaintext_bind = \"127.0.0.1:0\"\napp_base_url = \"https://mail.example.org\"\n"+
		"imap_tls_bind = \"nonsense\"\nbootstrap_imap_username = \"demo\"\n")
	environ := []string{
		"APP_CONFIG_PATH=" + file, "IMAPPED_DATA=" + data, "OBJECT_STORE_PATH=" + blobs, "IMAP_TLS_BIND=127.0.0.1:0", "IMAP_TLS_CERT_PATH=" + cert,
		"IMAP_TLS_KEY_PATH=" + key, "LOGIN_RATE_LIMIT_FAILURES=2", "LOGIN_RATE_LIMIT_LOCKOUT_SECONDS=3600",
	}
	addresses, stop := startRun(t, 2, append(environ, "BOOTSTRAP_IMAP_PASSWORD=demo")...)

	plain := dialMail(t, addresses[0], "")
	if caps := plain.ok("CAPABILITY"); !strings.Contains(caps, "APPENDLIMIT=5000") {
		t.Errorf("CAPABILITY is answered %q", caps)
	}
	if id := plain.ok("ID NIL"); !strings.Contains(id, "https://mail.example.org") {
		t.Errorf("ID is answered %q", id)
	}
	if _, answer := plain.do("APPEND INBOX {5001}"); !strings.Contains(answer, "[TOOBIG]") {
		t.Errorf("a message that is too large is answered %q", answer)
	}
	for size, large := range map[int]bool{8192: false, 8193: true} {
		_, answer := plain.do("LIST \"\" {%d}\n%s", size, strings.Repeat("x", size))
		if strings.Contains(answer, "[TOOBIG]") != large {
			t.Errorf("a literal of %d is answered %q", size, answer)
		}
	}
	stranger, err := net.Dial("tcp", addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if line, err := bufio.NewReader(stranger).ReadString('\n'); err != nil || !strings.Contains(line, "STARTTLS") {
		t.Errorf("the greeting is %q, %v", line, err)
	}
	conn, err := tls.Dial("tcp", addresses[1], &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its certificate is the test's
	if err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "* OK" {
		t.Errorf("the greeting over TLS begins %q, %v", greeting, err)
	}
	conn.Close()

	for range 2 {
		if answer := loginAt(t, addresses[0], "wrong"); !strings.Contains(answer, "AUTHENTICATIONFAILED") {
			t.Errorf("a wrong password is answered %q", answer)
		}
	}
	if answer := loginAt(t, addresses[0], demoName); !regexp.MustCompile(`^NO .*try again in 3[56]\d\d seconds`).MatchString(answer) {
		t.Errorf("the right password after two wrong ones is answered %q", answer)
	}
	if entries, err := os.ReadDir(blobs); err != nil || len(entries) == 0 {
		t.Errorf("%s holds %v, %v", blobs, entries, err)
	}
	if _, err := os.Stat(filepath.Join(data, "blobs")); !os.IsNotExist(err) {
		t.Errorf("there are messages in the data directory too: %v", err)
	}
	stop()

	// The user is there: the password that is configured now is nothing to them. And nobody is locked out any more.
	addresses, stop = startRun(t, 1, "IMAPPED_DATA="+data, "IMAP_PLAINTEXT_BIND=127.0.0.1:0", "LOGIN_RATE_LIMIT_FAILURES=0",
		"BOOTSTRAP_IMAP_USERNAME=demo", "BOOTSTRAP_IMAP_PASSWORD=another")
	for range 7 {
		if answer := loginAt(t, addresses[0], "another"); !strings.Contains(answer, "AUTHENTICATIONFAILED") {
			t.Errorf("the other password is answered %q", answer)
		}
	}
	if answer := loginAt(t, addresses[0], demoName); !strings.Contains(answer, "OK") {
		t.Errorf("the first password is answered %q", answer)
	}
	stop()
}

// loginAt tries to log in on a connection of its own, and returns the answer.
func loginAt(t *testing.T, addr, password string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "a LOGIN "+demoName+" "+password+"\r\n"); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for line := make([]byte, 512); !bytes.Contains(all, []byte("\r\na ")); {
		n, err := conn.Read(line)
		if all = append(all, line[:n]...); err != nil {
			t.Fatalf("%v after %q", err, all)
		}
	}
	return string(all[bytes.Index(all, []byte("\r\na "))+4:])
}

// TestAccountQuotaSetting: an upstream's mail comes in beyond the quota, and what a client would add is refused, here and
// upstream.
func TestAccountQuotaSetting(t *testing.T) {
	up := startUpstream(t)
	m := startMirrorWith(t, configOf(t, "DEFAULT_ACCOUNT_QUOTA_BYTES=3000").In(filepath.Join(t.TempDir(), "data")), up)
	c := dialMail(t, m.addr, "INBOX")
	root := regexp.QuoteMeta(demoName + "@127.0.0.1")
	told := c.ok("GETQUOTAROOT INBOX")
	if !regexp.MustCompile(`^\* QUOTAROOT INBOX ` + root + `\r\n\* QUOTA ` + root + ` \(STORAGE \d\d+ 3\)\r\n$`).MatchString(told) {
		t.Errorf("GETQUOTAROOT is answered %q", told)
	}
	for _, command := range []string{"APPEND Drafts {1}", "COPY 1 Drafts"} {
		if _, answer := c.do("%s", command); !strings.HasPrefix(answer, "NO [OVERQUOTA]") {
			t.Errorf("%s is answered %q", command, answer)
		}
	}
	c.ok("MOVE 1 Drafts")
	dialMail(t, up.addr, "Drafts").eventually(func(s string) bool { return found(s) > 0 }, "SEARCH ALL")
	if told := dialMail(t, up.addr, "").ok("GETQUOTAROOT INBOX"); told != "* QUOTAROOT INBOX\r\n" {
		t.Errorf("without a quota GETQUOTAROOT is answered %q", told)
	}
}

// TestFirstUserByHash: the hash of a password is as good as the password.
func TestFirstUserByHash(t *testing.T) {
	hash, err := auth.New(auth.Config{}).Hash(demoName)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hash")
	write(t, path, hash+"\n")
	addresses, _ := startRun(t, 1, "IMAPPED_DATA="+filepath.Join(t.TempDir(), "data"), "IMAP_PLAINTEXT_BIND=127.0.0.1:0",
		"BOOTSTRAP_IMAP_USERNAME="+demoName, "BOOTSTRAP_IMAP_PASSWORD_HASH_FILE="+path)
	dialMail(t, addresses[0], "")
}

func TestLogSettings(t *testing.T) {
	log := logger(configOf(t, "LOG_LEVEL=error"))
	if log.Enabled(t.Context(), slog.LevelWarn) || !log.Enabled(t.Context(), slog.LevelError) {
		t.Error("LOG_LEVEL=error does not log errors only")
	}
	for environ, want := range map[string]bool{"LOG_FORMAT=json": true, "LOG_FORMAT=text": false} {
		if _, json := logger(configOf(t, environ)).Handler().(*slog.JSONHandler); json != want {
			t.Errorf("%s: JSON is %v", environ, json)
		}
	}
}

// TestConfigCommands runs config show and config check, and others with a configuration that is not in order.
func TestConfigCommands(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	command := func(want int, environ []string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := runIn(t.Context(), args, environ, &out); got != want {
			t.Errorf("%v with %v: exit status %d, want %d; %s", args, environ, got, want, out.String())
		}
		return out.String()
	}
	secret := "ENCRYPTION_MASTER_KEY=geheim-geheim-abc-1"
	text := command(0, []string{secret, "S3_REGION=auto", "SYNC_CONCURRENCY=9"}, "config", "show", "--data", data, "--imap-plaintext-bind", "",
		"--imap-tls-bind", ":993", "--imap-tls-cert-path", "c", "--imap-tls-key-path", "k", "--periodic-sync-interval", "90s")
	for _, want := range []string{"environment (S3_REGION)", "flag --data", "sha256:", "flag --imap-plaintext-bind"} {
		if !strings.Contains(text, want) {
			t.Errorf("config show lacks %q: %s", want, text)
		}
	}
	if strings.Contains(text, "geheim") {
		t.Errorf("config show shows the key: %s", text)
	}
	var shown shownConfig
	decode(t, command(0, []string{"SYNC_CONCURRENCY=9"}, "config", "show", "--json", "--sync-concurrency", "11", "--periodic-sync-interval", "90s"), &shown)
	seen := map[string]string{}
	for _, v := range shown.Settings {
		seen[v.Key] = v.Text + " " + string(v.Source) + " " + v.Name
	}
	for key, want := range map[string]string{
		"SYNC_CONCURRENCY": "11 flag --sync-concurrency", "PERIODIC_SYNC_INTERVAL_SECONDS": "90 flag --periodic-sync-interval", "LOG_LEVEL": "info default ",
	} {
		if seen[key] != want {
			t.Errorf("%s is shown as %q, want %q", key, seen[key], want)
		}
	}
	if text := command(0, nil, "config", "check"); !strings.Contains(text, "in order") {
		t.Errorf("config check says %q", text)
	}
	decode(t, command(2, []string{"LOG_LEVEL=loud", "SYNC_CONCURRENCY=0", "IMAP_TLS_CERT_PATH=missing", "IMAP_TLS_KEY_PATH=missing"}, "config", "check", "--json"), &shown)
	if len(shown.Troubles) != 3 {
		t.Errorf("config check finds %+v, want 3 troubles", shown.Troubles)
	}
	if text := command(2, []string{"LOG_LEVEL=loud", "SYNC_CONCURRENCY=0"}, "config", "check"); strings.Count(text, "\n") != 2 {
		t.Errorf("config check says %q, want a line for each", text)
	}
	if text := command(2, []string{"LOG_LEVEL=loud"}, "config", "show"); !strings.Contains(text, "(wrong)") {
		t.Errorf("config show says %q", text)
	}
	for key := range refused() { // each is refused by name while nothing uses it
		value := map[string]string{"DATABASE_URL": "postgres://db/mail", "REDIS_URL": "redis://cache",
			"R2_ENDPOINT": "https://s3.example.org", "R2_BUCKET": "mail", "HTTP_BIND": ":8080", "METRICS_BIND": ":9090"}[key]
		if value == "" {
			value = "something"
		}
		if text := command(2, []string{key + "=" + value}, "config", "check"); !strings.Contains(text, key+": this version") {
			t.Errorf("%s is answered %q", key, text)
		}
	}
	command(2, []string{"APP_ENV=production"}, "list-users", "--data", data)
	command(0, []string{"APP_ENV=production"}, "version")
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a command that was refused made a data directory: %v", err)
	}
	cert, _ := certificate(t)
	_, key := certificate(t)
	conf := configOf(t, "IMAP_TLS_CERT_PATH="+cert, "IMAP_TLS_KEY_PATH="+key)
	if _, err := conf.TLS(readFile); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "IMAP_TLS_KEY_PATH") {
		t.Errorf("a certificate with another's key: %v", err)
	}
}

package config_test

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// hash is an Argon2id hash that is well-formed.
const hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"

// key and oldKey are master keys as a person makes them.
const (
	key    = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
	oldKey = "8f1c3a5e7d9b0246813579bdf02468ace13579bdf02468ac8f1c3a5e7d9b0246"
)

// keyTest is what a setting takes and what it refuses.
type keyTest struct {
	key    string
	right  string
	got    func(c *config.Config) any // what right becomes
	want   any
	wrong  []string
	with   []string // what else must be set
	secret bool
	bare   bool // stands in the file without quotes
	alias  string
}

func keyTests() []keyTest {
	s3 := []string{"R2_ENDPOINT=https://s3.example.org", "R2_BUCKET=mail", "R2_ACCESS_KEY_ID=id", "R2_SECRET_ACCESS_KEY=geheim"}
	tls := []string{"IMAP_TLS_CERT_PATH=cert.pem", "IMAP_TLS_KEY_PATH=key.pem"}
	binds := []string{"nowhere", "127.0.0.1", "127.0.0.1:http2", "127.0.0.1:65536", "a b:1", ":-1"}
	urls := []string{"s3.example.org", "ftp://s3.example.org", "https://", "https://u:p@s3.example.org", "https://s3.example.org/?a=b", ":"}
	long := strings.Repeat("x", 5000)
	return []keyTest{
		{key: "APP_ENV", right: "production", got: func(c *config.Config) any { return c.Production }, want: true,
			with: []string{"ENCRYPTION_MASTER_KEY=" + key}, wrong: []string{"prod", "Production"}},
		{key: "APP_BASE_URL", right: "https://mail.example.org/imap", got: func(c *config.Config) any { return c.BaseURL },
			want: "https://mail.example.org/imap", wrong: urls},
		{key: "LOG_LEVEL", right: "warn", got: func(c *config.Config) any { return c.LogLevel }, want: slog.LevelWarn, wrong: []string{"trace", "info+2"}},
		{key: "LOG_FORMAT", right: "json", got: func(c *config.Config) any { return c.LogFormat }, want: "json", wrong: []string{"xml"}},
		{key: "IMAPPED_DATA", right: "/srv/mail", got: func(c *config.Config) any { return c.Data + " " + c.ObjectStorePath },
			want: "/srv/mail /srv/mail/blobs", wrong: []string{"a\x01b", long}},
		{key: "ENCRYPTION_MASTER_KEY", secret: true, right: key, got: func(c *config.Config) any { return c.MasterKey.Reveal() }, want: key,
			wrong: []string{"gehgeh", strings.Repeat("xy", 40)}},
		{key: "ENCRYPTION_MASTER_KEY_PREVIOUS", secret: true, right: oldKey, got: func(c *config.Config) any { return c.PreviousMasterKey.Reveal() },
			want: oldKey, wrong: []string{"gehgeh"}},
		{key: "IMAP_PLAINTEXT_BIND", right: ":143", got: func(c *config.Config) any { return c.IMAPPlaintextBind }, want: ":143", wrong: binds},
		{key: "IMAP_TLS_BIND", right: "[::1]:993", got: func(c *config.Config) any { return c.IMAPTLSBind }, want: "[::1]:993", wrong: binds, with: tls},
		{key: "IMAP_TLS_CERT_PATH", right: "chain.pem", got: func(c *config.Config) any { return c.IMAPTLSCertPath }, want: "chain.pem",
			wrong: []string{long}, with: tls[1:]},
		{key: "IMAP_TLS_KEY_PATH", right: "secret.pem", got: func(c *config.Config) any { return c.IMAPTLSKeyPath }, want: "secret.pem",
			wrong: []string{long, "-----BEGIN PRIVATE KEY-----\ngeheim\n"}, with: tls[:1]},
		{key: "ALLOW_PLAIN_AUTH", bare: true, right: "true", got: func(c *config.Config) any { return c.AllowPlainAuth }, want: true,
			wrong: []string{"yes", "TRUE", "1"}},
		{key: "HTTP_BIND", right: "0.0.0.0:8080", got: func(c *config.Config) any { return c.HTTPBind }, want: "0.0.0.0:8080", wrong: binds},
		{key: "METRICS_BIND", right: "localhost:9090", got: func(c *config.Config) any { return c.MetricsBind }, want: "localhost:9090", wrong: binds},
		{key: "DATABASE_URL", secret: true, right: "postgres://u:geheim@db/mail", got: func(c *config.Config) any { return c.DatabaseURL.Reveal() },
			want: "postgres://u:geheim@db/mail", wrong: []string{"mysql://u:geheim@db/mail", "host=db", "postgres:?", "postgres://a b/%zz", "postgres://u:geheim@db/mail?sslmode=bogus"}},
		{key: "APPLY_MIGRATIONS", bare: true, right: "true", got: func(c *config.Config) any { return c.ApplyMigrations }, want: true,
			wrong: []string{"yes", "1"}},
		{key: "BLOB_CACHE_SIZE_BYTES", bare: true, right: "20000000", got: func(c *config.Config) any { return c.BlobCache }, want: int64(20_000_000),
			wrong: []string{"0", "1000", "1GB"}},
		{key: "REDIS_URL", secret: true, right: "rediss://:geheim@cache:6380/0", got: func(c *config.Config) any { return c.RedisURL.Reveal() },
			want: "rediss://:geheim@cache:6380/0", wrong: []string{"http://cache", "cache:6379", "redis://:geheim@cache/notanumber"}, with: []string{"DATABASE_URL=postgres://db/mail"}},
		{key: "OBJECT_STORE_PATH", right: "/srv/blobs", got: func(c *config.Config) any { return c.ObjectStorePath }, want: "/srv/blobs", wrong: []string{long}},
		{key: "SEARCH_INDEX_PATH", right: "/srv/index", got: func(c *config.Config) any { return c.SearchIndexPath }, want: "/srv/index", wrong: []string{long}},
		{key: "R2_ENDPOINT", alias: "S3_ENDPOINT", right: "http://127.0.0.1:9000", got: func(c *config.Config) any { return c.S3.Endpoint },
			want: "http://127.0.0.1:9000", wrong: urls, with: s3[1:]},
		{key: "R2_BUCKET", alias: "S3_BUCKET", right: "my-mail.2", got: func(c *config.Config) any { return c.S3.Bucket }, want: "my-mail.2",
			wrong: []string{"ab", "My-Mail", "-mail", "a/b", strings.Repeat("x", 64)}, with: slices.Concat(s3[:1], s3[2:])},
		{key: "R2_ACCESS_KEY_ID", alias: "S3_ACCESS_KEY_ID", secret: true, right: "AKIA1", got: func(c *config.Config) any { return c.S3.AccessKeyID.Reveal() },
			want: "AKIA1", wrong: []string{" AKIA1", strings.Repeat("x", 256)}, with: slices.Concat(s3[:2], s3[3:])},
		{key: "R2_SECRET_ACCESS_KEY", alias: "S3_SECRET_ACCESS_KEY", secret: true, right: "geheim/1+2",
			got: func(c *config.Config) any { return c.S3.SecretAccessKey.Reveal() }, want: "geheim/1+2", wrong: []string{"geheim "}, with: s3[:3]},
		{key: "R2_REGION", alias: "S3_REGION", right: "eu-central-1", got: func(c *config.Config) any { return c.S3.Region }, want: "eu-central-1",
			wrong: []string{" eu"}, with: s3},
		{key: "S3_ENCRYPT", bare: true, right: "true", got: func(c *config.Config) any { return c.S3.Encrypt }, want: true,
			wrong: []string{"yes", "TRUE", "1", "aes"}, with: append(slices.Clip(s3), "ENCRYPTION_MASTER_KEY="+key)},
		{key: "MAX_LITERAL_SIZE_BYTES", bare: true, right: "200000000", got: func(c *config.Config) any { return c.MaxLiteralSize },
			want: int64(200_000_000), wrong: []string{"4095", "1073741825", "64MiB", "1e6", "99999999999999999999"}},
		{key: "MAX_MESSAGE_SIZE_BYTES", bare: true, right: "50000", got: func(c *config.Config) any { return c.MaxMessageSize }, want: int64(50_000),
			wrong: []string{"1023", "1073741825", "50 MB"}},
		{key: "DEFAULT_ACCOUNT_QUOTA_BYTES", bare: true, right: "5000000000", got: func(c *config.Config) any { return c.AccountQuota },
			want: int64(5_000_000_000), wrong: []string{"-1", "5GB"}},
		{key: "LOGIN_RATE_LIMIT_FAILURES", bare: true, right: "0", got: func(c *config.Config) any { return c.LoginFailures }, want: 0,
			wrong: []string{"-1", "1000001", "many"}},
		{key: "LOGIN_RATE_LIMIT_LOCKOUT_SECONDS", bare: true, right: "900", got: func(c *config.Config) any { return c.LoginLockout },
			want: 15 * time.Minute, wrong: []string{"0", "86401", "-5s", "soon"}},
		{key: "SYNC_CONCURRENCY", bare: true, right: "16", got: func(c *config.Config) any { return c.SyncConcurrency }, want: 16,
			wrong: []string{"0", "10001", "-1", "4.5"}},
		{key: "UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT", bare: true, right: "1", got: func(c *config.Config) any { return c.UpstreamConnections }, want: 1,
			wrong: []string{"0", "101"}},
		{key: "PERIODIC_SYNC_INTERVAL_SECONDS", bare: true, right: "30", got: func(c *config.Config) any { return c.PeriodicSync },
			want: 30 * time.Second, wrong: []string{"0", "86401", "25h", "NaN", "5m"}},
		{key: "KEEP_REMOVED", right: "36h", got: func(c *config.Config) any { return c.KeepRemoved }, want: 36 * time.Hour,
			wrong: []string{"7", "-1h", "a week", "100000h"}},
		{key: "BOOTSTRAP_IMAP_USERNAME", right: "ann", got: func(c *config.Config) any { return c.Bootstrap.Username }, want: "ann",
			wrong: []string{" ann", strings.Repeat("x", 256), "a\tb"}, with: []string{"BOOTSTRAP_IMAP_PASSWORD=geheim"}},
		{key: "BOOTSTRAP_IMAP_PASSWORD", secret: true, right: "geheim", got: func(c *config.Config) any { return c.Bootstrap.Password.Reveal() },
			want: "geheim", wrong: []string{strings.Repeat("x", 1025)}, with: []string{"BOOTSTRAP_IMAP_USERNAME=ann"}},
		{key: "BOOTSTRAP_IMAP_PASSWORD_HASH", secret: true, right: hash, got: func(c *config.Config) any { return c.Bootstrap.PasswordHash.Reveal() },
			want: hash, wrong: []string{"geheim", "$2y$10$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NTY3"},
			with: []string{"BOOTSTRAP_IMAP_USERNAME=ann"}},
	}
}

// files is a ReadFile over texts by path.
type files map[string]string

func (f files) read(path string) ([]byte, error) {
	text, ok := f[path]
	if !ok {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return []byte(text), nil
}

// load loads an environment and, where text is not empty, a file.
func load(text string, environ ...string) (*config.Config, error) {
	src := config.Sources{Environ: environ, ReadFile: files{"imapped.toml": text}.read}
	if text != "" {
		src.Environ = append(slices.Clone(environ), "APP_CONFIG_PATH=imapped.toml")
	}
	return config.Load(src)
}

// line returns a setting as a line of the file.
func (k keyTest) line(name, text string) string {
	if !k.bare {
		text = strconv.Quote(text)
	}
	return fmt.Sprintf("%s = %s\n", strings.ToLower(name), text)
}

func find(t *testing.T, c *config.Config, key string) config.Value {
	t.Helper()
	for _, v := range c.Values() {
		if v.Key == key {
			return v
		}
	}
	t.Fatalf("%s is no setting", key)
	return config.Value{}
}

// refusal checks that err is about the name, whoever else it is about, and does not show the hidden text.
func refusal(t *testing.T, err error, name, hidden string) {
	t.Helper()
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name+": ") {
		t.Errorf("%s: error %v, want it refused with its name", name, err)
	} else if hidden != "" && strings.Contains(err.Error(), hidden) {
		t.Errorf("%s: the error shows the value: %v", name, err)
	}
}

func TestEveryKey(t *testing.T) {
	tested := map[string]bool{"APP_CONFIG_PATH": true} // TestFilePath
	for _, k := range keyTests() {
		tested[k.key] = true
		t.Run(k.key, func(t *testing.T) { k.test(t) })
	}
	for _, v := range config.Default().Values() {
		if !tested[v.Key] {
			t.Errorf("%s is not tested", v.Key)
		}
	}
}

func (k keyTest) test(t *testing.T) {
	shown := k.right
	if k.secret {
		shown = config.NewSecret(k.right).String()
	}
	taken := func(how string, layer config.Layer, name string, c *config.Config, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", how, err)
			return
		}
		if got := k.got(c); got != k.want {
			t.Errorf("%s: %v, want %v", how, got, k.want)
		}
		if v := find(t, c, k.key); v.Source != layer || v.Name != name || v.Text != shown || v.Secret != k.secret || !v.Valid {
			t.Errorf("%s is shown as %+v", how, v)
		}
	}
	names := []string{k.key}
	if k.alias != "" {
		names = append(names, k.alias)
	}
	for _, name := range names {
		c, err := load("", append(slices.Clip(k.with), name+"="+k.right)...)
		taken("environment", config.FromEnvironment, name, c, err)
		c, err = load(k.line(name, k.right), k.with...)
		taken("file", config.FromFile, strings.ToLower(name), c, err)
	}
	// The environment beats the file, whatever each calls it; a flag beats both.
	last := names[len(names)-1]
	c, err := load(k.line(k.key, k.right), append(slices.Clip(k.with), last+"="+k.right)...)
	taken("environment over file", config.FromEnvironment, last, c, err)
	src := config.Sources{
		Flags:   map[string]config.Flag{k.key: {Name: "--flag", Text: k.right}},
		Environ: append(slices.Clip(k.with), k.key+"="+k.wrong[0]),
	}
	c, err = config.Load(src)
	taken("flag over environment", config.FromFlag, "--flag", c, err)

	for _, wrong := range k.wrong {
		hidden := ""
		if k.secret {
			hidden = wrong
		}
		for _, name := range names {
			c, err := load("", append(slices.Clip(k.with), name+"="+wrong)...)
			refusal(t, err, name, hidden)
			if v := find(t, c, k.key); v.Valid || v.Text != "" {
				t.Errorf("the wrong value %q is shown as %+v", wrong, v)
			}
			line := k.line(name, wrong)
			if k.bare && strings.ContainsAny(wrong, " smhMGBTeyU") {
				line = fmt.Sprintf("%s = %q\n", strings.ToLower(name), wrong) // no TOML without the quotes
			}
			_, err = load(line, k.with...)
			refusal(t, err, strings.ToLower(name), hidden)
		}
	}
	k.testFiles(t, names)

	// A TOML value of the wrong type.
	other := k
	other.bare = !k.bare
	if k.bare {
		_, err = load(other.line(k.key, k.right), k.with...)
	} else {
		_, err = load(other.line(k.key, "12"), k.with...)
	}
	refusal(t, err, strings.ToLower(k.key), "")
}

// testFiles tests the _FILE variants of a secret, and that others have none.
func (k keyTest) testFiles(t *testing.T, names []string) {
	for _, name := range names {
		name += "_FILE"
		read := files{"there": k.right + "\n", "wrong": k.wrong[0] + "\n", "empty": "\n"}.read
		loadFile := func(path string) (*config.Config, error) {
			return config.Load(config.Sources{Environ: append(slices.Clip(k.with), name+"="+path), ReadFile: read})
		}
		c, err := loadFile("there")
		if !k.secret {
			refusal(t, err, name, "")
			continue
		}
		if err != nil || k.got(c) != k.want {
			t.Errorf("%s: %v", name, err)
		} else if v := find(t, c, k.key); v.Name != name || v.From() != "environment ("+name+")" {
			t.Errorf("%s is shown as %+v", name, v)
		}
		for _, path := range []string{"missing", "wrong", "empty"} {
			_, err := loadFile(path)
			refusal(t, err, name, k.wrong[0])
		}
	}
}

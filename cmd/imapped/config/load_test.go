package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// TestFilePath: the file is found through the environment and through a flag, and what is wrong with it is said.
func TestFilePath(t *testing.T) {
	read := files{"a.toml": "sync_concurrency = 7\n", "b.toml": "sync_concurrency = 8\n"}.read
	c, err := config.Load(config.Sources{Environ: []string{"APP_CONFIG_PATH=a.toml"}, ReadFile: read})
	if err != nil || c.SyncConcurrency != 7 || c.File() != "a.toml" {
		t.Errorf("from the environment: %d of %q, %v", c.SyncConcurrency, c.File(), err)
	}
	flags := map[string]config.Flag{"APP_CONFIG_PATH": {Name: "--config", Text: "b.toml"}}
	c, err = config.Load(config.Sources{Flags: flags, Environ: []string{"APP_CONFIG_PATH=a.toml"}, ReadFile: read})
	if v := find(t, c, "APP_CONFIG_PATH"); err != nil || c.SyncConcurrency != 8 || v.From() != "flag --config" || v.FileKey != "" {
		t.Errorf("from the flag: %d, %+v, %v", c.SyncConcurrency, v, err)
	}
	_, err = config.Load(config.Sources{Environ: []string{"APP_CONFIG_PATH=missing.toml"}, ReadFile: read})
	refusal(t, err, "APP_CONFIG_PATH", "")
	_, err = load("app_config_path = \"other.toml\"\n")
	refusal(t, err, "app_config_path", "")
}

func TestDefaults(t *testing.T) {
	c, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Values() {
		if v.Source != config.FromDefault || v.From() != "default" || v.Name != "" {
			t.Errorf("%+v", v)
		}
	}
	// An empty variable is as good as none, but for the address that can be switched off.
	var environ []string
	for _, v := range c.Values() {
		if v.Key != "IMAP_PLAINTEXT_BIND" {
			environ = append(environ, v.Key+"=")
		}
	}
	if c, err = load("", append(environ, "R2_REGION=auto")...); err != nil || c.SyncConcurrency != 4 {
		t.Errorf("empty variables: %v", err)
	}
	c, err = load("", "IMAP_PLAINTEXT_BIND=", "IMAP_TLS_BIND=:993", "IMAP_TLS_CERT_PATH=a", "IMAP_TLS_KEY_PATH=b")
	if err != nil || c.IMAPPlaintextBind != "" {
		t.Errorf("plain connections switched off: %q, %v", c.IMAPPlaintextBind, err)
	}
}

// TestTogether: what does not go together names the keys that do not.
func TestTogether(t *testing.T) {
	s3 := []string{"R2_ENDPOINT=https://s3.example.org", "R2_BUCKET=mail", "R2_ACCESS_KEY_ID=id", "R2_SECRET_ACCESS_KEY=geheim"}
	production := []string{"APP_ENV=production", "ENCRYPTION_MASTER_KEY=" + key}
	for _, tt := range []struct {
		name    string
		environ []string
		keys    []string // that the error names; none: it is in order
	}{
		{"only a certificate", []string{"IMAP_TLS_CERT_PATH=a"}, []string{"IMAP_TLS_CERT_PATH", "IMAP_TLS_KEY_PATH"}},
		{"only a key", []string{"IMAP_TLS_KEY_PATH=a"}, []string{"IMAP_TLS_CERT_PATH", "IMAP_TLS_KEY_PATH"}},
		{"TLS without a certificate", []string{"IMAP_TLS_BIND=:993"}, []string{"IMAP_TLS_BIND", "IMAP_TLS_CERT_PATH", "IMAP_TLS_KEY_PATH"}},
		{"STARTTLS only", []string{"IMAP_TLS_CERT_PATH=a", "IMAP_TLS_KEY_PATH=b"}, nil},
		{"nowhere to listen", []string{"IMAP_PLAINTEXT_BIND="}, []string{"IMAP_PLAINTEXT_BIND", "IMAP_TLS_BIND"}},
		{"one address twice", []string{"IMAP_PLAINTEXT_BIND=:143", "HTTP_BIND=:143"}, []string{"IMAP_PLAINTEXT_BIND", "HTTP_BIND"}},
		{"one listener for both", []string{"HTTP_BIND=:80", "METRICS_BIND=:80"}, nil},
		{"any port twice", []string{"HTTP_BIND=:0", "IMAP_PLAINTEXT_BIND=:0"}, nil},
		{"all of S3", s3, nil},
		{"S3 without a bucket", slices.Concat(s3[:1], s3[2:]), []string{"R2_ENDPOINT", "R2_BUCKET"}},
		{"S3 without credentials", s3[:2], []string{"R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"}},
		{"only a secret", s3[3:], []string{"R2_SECRET_ACCESS_KEY", "R2_ENDPOINT", "R2_BUCKET", "R2_ACCESS_KEY_ID"}},
		{"only a region", []string{"S3_REGION=eu"}, []string{"S3_REGION", "R2_ENDPOINT"}},
		{"encryption without a store", []string{"S3_ENCRYPT=true", "ENCRYPTION_MASTER_KEY=" + key}, []string{"S3_ENCRYPT", "R2_ENDPOINT"}},
		{"encryption without a master key", append(slices.Clip(s3), "S3_ENCRYPT=true"), []string{"S3_ENCRYPT", "ENCRYPTION_MASTER_KEY"}},
		{"encryption without anything", []string{"S3_ENCRYPT=true"}, []string{"S3_ENCRYPT", "R2_ENDPOINT", "ENCRYPTION_MASTER_KEY"}},
		{"no encryption", []string{"S3_ENCRYPT=false"}, nil},
		{"both names, the same", append(slices.Clip(s3), "S3_BUCKET=mail"), nil},
		{"both names, different", append(slices.Clip(s3), "S3_BUCKET=other"), []string{"R2_BUCKET", "S3_BUCKET"}},
		{"both names of a secret", append(slices.Clip(s3), "S3_SECRET_ACCESS_KEY=other"), []string{"R2_SECRET_ACCESS_KEY", "S3_SECRET_ACCESS_KEY"}},
		{"Redis alone", []string{"REDIS_URL=redis://cache"}, []string{"REDIS_URL", "DATABASE_URL"}},
		{"a message larger than a literal", []string{"MAX_LITERAL_SIZE_BYTES=5000", "MAX_MESSAGE_SIZE_BYTES=5001"},
			[]string{"MAX_MESSAGE_SIZE_BYTES", "MAX_LITERAL_SIZE_BYTES"}},
		{"a user without a password", []string{"BOOTSTRAP_IMAP_USERNAME=ann"},
			[]string{"BOOTSTRAP_IMAP_USERNAME", "BOOTSTRAP_IMAP_PASSWORD", "BOOTSTRAP_IMAP_PASSWORD_HASH"}},
		{"a password without a user", []string{"BOOTSTRAP_IMAP_PASSWORD=geheim"}, []string{"BOOTSTRAP_IMAP_PASSWORD", "BOOTSTRAP_IMAP_USERNAME"}},
		{"a hash without a user", []string{"BOOTSTRAP_IMAP_PASSWORD_HASH=" + hash}, []string{"BOOTSTRAP_IMAP_PASSWORD_HASH", "BOOTSTRAP_IMAP_USERNAME"}},
		{"password and hash", []string{"BOOTSTRAP_IMAP_USERNAME=ann", "BOOTSTRAP_IMAP_PASSWORD=geheim", "BOOTSTRAP_IMAP_PASSWORD_HASH=" + hash},
			[]string{"BOOTSTRAP_IMAP_PASSWORD", "BOOTSTRAP_IMAP_PASSWORD_HASH"}},
		{"the same key twice", []string{"ENCRYPTION_MASTER_KEY=" + key, "ENCRYPTION_MASTER_KEY_PREVIOUS=" + key},
			[]string{"ENCRYPTION_MASTER_KEY_PREVIOUS", "ENCRYPTION_MASTER_KEY"}},

		{"production", production, nil},
		{"production without a key", production[:1], []string{"ENCRYPTION_MASTER_KEY"}},
		{"production with an example's key", []string{production[0], "ENCRYPTION_MASTER_KEY=change-me-in-production"}, []string{"ENCRYPTION_MASTER_KEY"}},
		{"production with a counted key", []string{production[0], "ENCRYPTION_MASTER_KEY=" + strings.Repeat("0123456789abcdef", 4)}, []string{"ENCRYPTION_MASTER_KEY"}},
		{"development with an example's key", []string{"ENCRYPTION_MASTER_KEY=change-me-in-production"}, nil},
		{"production in the clear", append(slices.Clip(production), "IMAP_PLAINTEXT_BIND=:143"), []string{"IMAP_PLAINTEXT_BIND", "IMAP_TLS_CERT_PATH"}},
		{"production with STARTTLS", append(slices.Clip(production), "IMAP_PLAINTEXT_BIND=:143", "IMAP_TLS_CERT_PATH=a", "IMAP_TLS_KEY_PATH=b"), nil},
		{"production behind a proxy", append(slices.Clip(production), "IMAP_PLAINTEXT_BIND=:143", "ALLOW_PLAIN_AUTH=true"), nil},
		{"production on http", append(slices.Clip(production), "APP_BASE_URL=http://mail.example.org"), []string{"APP_BASE_URL"}},
		{"production on https", append(slices.Clip(production), "APP_BASE_URL=https://mail.example.org"), nil},
		{"production, first user", append(slices.Clip(production), "BOOTSTRAP_IMAP_USERNAME=ann", "BOOTSTRAP_IMAP_PASSWORD=hunter22!"), nil},
		{"production, first user as in an example", append(slices.Clip(production), "BOOTSTRAP_IMAP_USERNAME=ann", "BOOTSTRAP_IMAP_PASSWORD=password123"),
			[]string{"BOOTSTRAP_IMAP_PASSWORD"}},
	} {
		_, err := load("", tt.environ...)
		if tt.keys == nil && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, k := range tt.keys {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), k) {
				t.Errorf("%s: %v, want it refused with %s", tt.name, err, k)
			}
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: a secret is shown: %v", tt.name, err)
		}
	}
}

func TestUnknown(t *testing.T) {
	for file, name := range map[string]string{
		"sync_concurency = 4\n":        "sync_concurency", // with the right one in the text
		"LOG_LEVEL = \"warn\"\n":       "LOG_LEVEL",
		"colour = \"red\"\n":           "colour",
		"[imap]\nplaintext_bind = 1\n": "imap",
		"log_level_file = \"x\"\n":     "log_level_file",
		"\"a\\u001Bb\" = 1\n":          `"a\x1bb"`,
	} {
		_, err := load(file)
		refusal(t, err, name, "")
	}
	if _, err := load("sync_concurency = 4\n"); !strings.Contains(err.Error(), "is sync_concurrency meant") {
		t.Errorf("%v, want a suggestion", err)
	}
	for _, name := range []string{
		"SYNC_CONCURENCY", "R2_ENDPONT", "DATABASE_URI", "ENCRYPTION_MASTERKEY", "ENCRYPTION_MASTER_KEY_OLD", "IMAP_TLS_CERT", "BOOTSTRAP_IMAP_USER",
		"LOG_LEVEL_FILE", "R2_BUCKET_FILE", "LOGIN_RATE_LIMIT_WINDOW", "DATABASE_URL_FILES",
		"MAX_MESSAGE_SIZE", "S3_ACCESS_KEY", "R2_BUCKET_NAME", "BLOB_CACHE_BYTES",
	} {
		_, err := load("", name+"=geheim")
		refusal(t, err, name, "geheim")
	}
	// What other programs have in the environment is theirs.
	others := []string{
		"PATH", "HOME", "LANG", "SHLVL", "PWD", "_", "EDITOR", "HOSTNAME", "TZ", "http_proxy", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
		"REDIS_PORT", "REDIS_SERVICE_HOST", "DATABASE_HOST", "DB_URL", "APP_NAME", "IMAP_HOST", "IMAP_PASSWORD", "R2_ACCOUNT_ID", "S3_KEY", "HTTP_PORT",
		"IMAPPED_SEED", "IMAPPED_E2E_KILLS", "SSL_CERT_FILE", "LOG_DIR", "log_levl",
	}
	for i := range others {
		others[i] += "=x"
	}
	if _, err := load("", others...); err != nil {
		t.Error(err)
	}
}

// TestAllTroubles: one run tells everything that is wrong.
func TestAllTroubles(t *testing.T) {
	_, err := load("sync_concurrency = 0\ncolour = 1\n", "LOG_LEVEL=loud", "S3_BUCKET=mail", "APP_ENV=production", "LOG_LEVELS=x")
	e, ok := errors.AsType[*config.Error](err)
	if !ok {
		t.Fatalf("%v", err)
	}
	for _, key := range []string{"sync_concurrency", "colour", "LOG_LEVEL", "S3_BUCKET", "ENCRYPTION_MASTER_KEY", "LOG_LEVELS"} {
		if !slices.ContainsFunc(e.Troubles, func(t config.Trouble) bool { return t.Key == key }) {
			t.Errorf("nothing about %s in %v", key, err)
		}
	}
}

// TestBrokenFile: a file that is no TOML is refused with the line, without what stands there.
func TestBrokenFile(t *testing.T) {
	for _, text := range []string{
		"log_level = \"info\"\nencryption_master_key = geheim-geheim\n", "log_level = \"info\"\ngeheim", "a = 1\n\"geheim\" = \"geheim\n",
		"log_level = \"info\"\nlog_level = \"geheim\"\n", "\x00geheim",
	} {
		_, err := load(text)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "line ") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		environ          []string
		literal, message int64
	}{
		{nil, 128 << 20, 100 << 20},
		{[]string{"MAX_LITERAL_SIZE_BYTES=9000"}, 9000, 9000},
		{[]string{"MAX_MESSAGE_SIZE_BYTES=500000000"}, 500_000_000, 500_000_000},
		{[]string{"MAX_MESSAGE_SIZE_BYTES=9000"}, 128 << 20, 9000},
	} {
		c, err := load("", tt.environ...)
		if err != nil || c.MaxLiteralSize != tt.literal || c.MaxMessageSize != tt.message {
			t.Errorf("%v: literals %d, messages %d, %v", tt.environ, c.MaxLiteralSize, c.MaxMessageSize, err)
		}
		if v := find(t, c, "MAX_MESSAGE_SIZE_BYTES"); v.Text != fmt.Sprint(tt.message) {
			t.Errorf("%v: shown as %+v", tt.environ, v)
		}
	}
	if c, _ := load("", "APP_ENV=production", "ENCRYPTION_MASTER_KEY="+key); c.LogFormat != "json" || find(t, c, "LOG_FORMAT").Text != "json" {
		t.Errorf("production logs %s", c.LogFormat)
	}
}

// TestRefused: what nothing uses is refused, unless it is set to what it is anyway.
func TestRefused(t *testing.T) {
	why := map[string]string{"R2_BUCKET": "not here", "DEFAULT_ACCOUNT_QUOTA_BYTES": "no quota"}
	read := files{}.read
	_, err := config.Load(config.Sources{Environ: []string{"DEFAULT_ACCOUNT_QUOTA_BYTES=0"}, ReadFile: read, Refused: why})
	if err != nil {
		t.Error(err)
	}
	c, err := config.Load(config.Sources{Environ: []string{"DEFAULT_ACCOUNT_QUOTA_BYTES=1", "S3_BUCKET=mail"}, ReadFile: read, Refused: why})
	if v := find(t, c, "DEFAULT_ACCOUNT_QUOTA_BYTES"); v.Valid {
		t.Errorf("shown as valid: %+v", v)
	}
	for _, want := range []string{"DEFAULT_ACCOUNT_QUOTA_BYTES: no quota", "S3_BUCKET: not here"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

// TestWrongValuesStaySecret: what is refused is not shown where it may be a secret in the wrong place.
func TestWrongValuesStaySecret(t *testing.T) {
	for name, text := range map[string]string{
		"R2_ENDPOINT":                "https://AKIA:geheim@store.example.org",
		"HTTP_BIND":                  "geheim\t:8080",
		"LOG_LEVEL":                  "-----BEGIN PRIVATE KEY-----geheim",
		"IMAP_TLS_KEY_PATH":          "-----BEGIN PRIVATE KEY-----\ngeheim\n-----END PRIVATE KEY-----\n",
		"ENCRYPTION_MASTER_KEY_FILE": "geheim-geheim-geheim", // the key itself
		"DATABASE_URL":               "postgres://u:geheim@db/mail?sslmode=bogus",
		"REDIS_URL":                  "redis://:geheim@cache/notanumber",
	} {
		c, err := load("", name+"="+text)
		refusal(t, err, name, "geheim")
		if all := fmt.Sprint(c.Values()); strings.Contains(all, "geheim") {
			t.Errorf("%s: shown in %s", name, all)
		}
	}
}

// TestSecretsStaySecret prints a Config with every secret set in every way that a program prints.
func TestSecretsStaySecret(t *testing.T) {
	c, err := load("", "ENCRYPTION_MASTER_KEY=geheim-geheim-abc-1", "DATABASE_URL=postgres://u:geheim@db/mail", "REDIS_URL=redis://:geheim@cache",
		"R2_ENDPOINT=https://s3.example.org", "R2_BUCKET=mail", "R2_ACCESS_KEY_ID=geheim", "R2_SECRET_ACCESS_KEY=geheim",
		"BOOTSTRAP_IMAP_USERNAME=ann", "BOOTSTRAP_IMAP_PASSWORD=geheim")
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&all, verb+"\n", *c)
		fmt.Fprintf(&all, verb+"\n", c.MasterKey)
	}
	slog.New(slog.NewTextHandler(&all, nil)).Info("start", "config", c, "key", c.MasterKey)
	slog.New(slog.NewJSONHandler(&all, nil)).Info("start", "config", c, "key", c.MasterKey)
	for _, v := range []any{c, c.Values()} {
		if err := json.NewEncoder(&all).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, hidden := range []string{"geheim", fmt.Sprintf("%x", "geheim"), fmt.Sprintf("%X", "geheim")} {
		if strings.Contains(all.String(), hidden) {
			t.Errorf("a secret is printed as %s in %s", hidden, all.String())
		}
	}
	shown := c.MasterKey.String()
	if len(shown) != len("sha256:")+8 || !strings.Contains(all.String(), shown) || shown != config.NewSecret("geheim-geheim-abc-1").String() {
		t.Errorf("fingerprint %q", shown)
	}
	if config.NewSecret("a").String() == config.NewSecret("b").String() || config.NewSecret("").String() != "" {
		t.Error("fingerprints do not tell secrets apart")
	}
}

// FuzzFile: no file makes Load panic, and none makes it show what a secret holds.
func FuzzFile(f *testing.F) {
	for _, text := range []string{"", "log_level = \"info\"\n", "[a]\n", "a = [1, {b = 2}]\n", "r2_bucket = 1979-05-27\n", "sync_concurrency = 1e400\n", "é = inf"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const hidden = "ungeheuerlich-geheim"
		c, err := load(text+"\nencryption_master_key = \""+hidden+"\"\n", "DATABASE_URL="+hidden)
		if all := fmt.Sprint(err, c.Values(), *c); strings.Contains(all, hidden) {
			t.Errorf("the secret is shown: %s", all)
		}
	})
}

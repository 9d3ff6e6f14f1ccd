package config

import (
	"time"

	"imapped/adapters/postgres"
	"imapped/adapters/redis"
)

// setting is a row of the table of settings.
type setting struct {
	key    string
	alias  string // another name of the same setting, or ""
	def    string // "": none; see also Config.derive
	unit   string // for people: what a value is
	help   string // what it does, for the documentation
	note   string // when a change of it takes effect, where that is not at the next start
	secret bool   // has a _FILE variant, prints as a fingerprint
	bare   bool   // stands in the file as a TOML integer or boolean, not as a string
	empty  bool   // an empty value means something; elsewhere it is as good as none
	nofile bool   // cannot stand in the file

	// set parses a text that is not empty, or may be, into c. Its error says what the text should be.
	set func(c *Config, text string) error
}

// pathKey names the configuration file.
const pathKey = "APP_CONFIG_PATH"

// settings returns the table of all settings, in the order of the documentation.
func settings() []setting {
	const octets, address, path = "bytes", "host:port", "path"
	return []setting{
		{key: pathKey, unit: path, nofile: true, help: "The TOML file with settings; the flag `--config` does the same. Only in the environment.",
			set: str(func(c *Config) *string { return &c.file }, free)},
		{key: "APP_ENV", def: "development", unit: "development, production", set: appEnv,
			help: "`production` refuses to start with what is unsafe (see below) and logs JSON."},
		{key: "APP_BASE_URL", unit: "URL", set: str(func(c *Config) *string { return &c.BaseURL }, webURL),
			help: "The address of this service for people. It is told to clients that ask with ID, as `support-url` (RFC 2971)."},
		{key: "LOG_LEVEL", def: "info", unit: "debug, info, warn, error", set: logLevel, help: "Log from this level on, to standard error."},
		{key: "LOG_FORMAT", unit: "text, json", set: str(func(c *Config) *string { return &c.LogFormat }, oneOf("text", "json")),
			help: "How log records look. Default: `text`, in production `json`."},
		{key: "IMAPPED_DATA", def: "./imapped-data", unit: path, set: str(func(c *Config) *string { return &c.Data }, free),
			help: "The data directory: database, messages, key file, locks; with `DATABASE_URL` and `R2_*` only what is local: the cache of messages, " +
				"the control socket. Each process has its own."},
		{key: "ENCRYPTION_MASTER_KEY", secret: true, unit: "key", set: secret(func(c *Config) *Secret { return &c.MasterKey }, masterKey),
			help: "Seals the passwords of upstream accounts, and the data keys of `S3_ENCRYPT`: 32 random bytes in base64 or hex " +
				"(`openssl rand -base64 32`), or a passphrase of " +
				"at least 16 characters. Without it the file `key` in the data directory is the key, and is made where it is missing."},
		{key: "ENCRYPTION_MASTER_KEY_PREVIOUS", secret: true, unit: "key",
			set:  secret(func(c *Config) *Secret { return &c.PreviousMasterKey }, masterKey),
			help: "The key before the present one. It opens what `rotate-key` has not sealed anew yet; take it away afterwards."},

		{key: "IMAP_PLAINTEXT_BIND", def: "127.0.0.1:1143", unit: address, empty: true,
			set:  str(func(c *Config) *string { return &c.IMAPPlaintextBind }, bind),
			help: "Where `run` listens for plain connections, with STARTTLS when there is a certificate. Empty: nowhere."},
		{key: "IMAP_TLS_BIND", unit: address, set: str(func(c *Config) *string { return &c.IMAPTLSBind }, bind),
			help: "Where `run` listens for TLS connections; needs a certificate."},
		{key: "IMAP_TLS_CERT_PATH", unit: path, set: str(func(c *Config) *string { return &c.IMAPTLSCertPath }, free),
			help: "The certificate chain, PEM; goes with `IMAP_TLS_KEY_PATH`."},
		{key: "IMAP_TLS_KEY_PATH", unit: path, set: str(func(c *Config) *string { return &c.IMAPTLSKeyPath }, free),
			help: "The certificate's private key, PEM."},
		{key: "ALLOW_PLAIN_AUTH", def: "false", unit: "true, false", bare: true, set: boolean(func(c *Config) *bool { return &c.AllowPlainAuth }),
			help: "Let clients log in without TLS from other machines too; for a proxy in front that does TLS."},
		{key: "HTTP_BIND", unit: address, set: str(func(c *Config) *string { return &c.HTTPBind }, bind),
			help: "Where `/healthz` (the process lives) and `/readyz` (what of it fails) are served."},
		{key: "METRICS_BIND", unit: address, set: str(func(c *Config) *string { return &c.MetricsBind }, bind),
			help: "Where `/metrics` is served, for Prometheus; it may be the address of `HTTP_BIND`."},

		{key: "DATABASE_URL", secret: true, unit: "URL", set: secret(func(c *Config) *Secret { return &c.DatabaseURL }, schemes(postgres.CheckURL, "postgres", "postgresql")),
			help: "The PostgreSQL database that holds the metadata (`postgres://user:password@host/database`); any number of nodes share it. It goes " +
				"with `R2_*` or `OBJECT_STORE_PATH`. Without it: SQLite in the data directory."},
		{key: "APPLY_MIGRATIONS", def: "false", unit: "true, false", bare: true, set: boolean(func(c *Config) *bool { return &c.ApplyMigrations }),
			help: "Bring the database of `DATABASE_URL` up to date at the start. Without it a database that is behind is refused, and `run-migrations` " +
				"applies what is missing. SQLite is always brought up to date."},
		{key: "REDIS_URL", secret: true, unit: "URL", set: secret(func(c *Config) *Secret { return &c.RedisURL }, schemes(redis.CheckURL, "redis", "rediss", "unix")),
			help: "The Redis server that carries hints between nodes and counts their failed logins; needs `DATABASE_URL`. Without it, hints go " +
				"through the database, and each node counts for itself."},
		{key: "OBJECT_STORE_PATH", unit: path, set: str(func(c *Config) *string { return &c.ObjectStorePath }, free),
			help: "The directory that messages are kept in; not with `R2_*`. It belongs to one database alone, the first that uses it: what that " +
				"does not name is deleted there, and another one is refused. With `DATABASE_URL` all nodes must see the same directory, on a " +
				"file system whose `flock` holds for all of them (not NFS). Default: `blobs` in the data directory. `demo` keeps its own."},
		{key: "SEARCH_INDEX_PATH", unit: path, set: str(func(c *Config) *string { return &c.SearchIndexPath }, free),
			help: "Refused by this version: there is no search index on disk."},
		{key: "R2_ENDPOINT", alias: "S3_ENDPOINT", unit: "URL", set: str(func(c *Config) *string { return &c.S3.Endpoint }, webURL),
			help: "The S3-compatible object store that messages are kept in. It goes with the bucket and the two keys."},
		{key: "R2_BUCKET", alias: "S3_BUCKET", unit: "name", set: str(func(c *Config) *string { return &c.S3.Bucket }, bucket),
			help: "The bucket in it. It belongs to one database alone, the first that uses it: what that does not name is deleted there, " +
				"and another one is refused."},
		{key: "R2_ACCESS_KEY_ID", alias: "S3_ACCESS_KEY_ID", secret: true, unit: "text",
			set: secret(func(c *Config) *Secret { return &c.S3.AccessKeyID }, word), help: "The access key's name."},
		{key: "R2_SECRET_ACCESS_KEY", alias: "S3_SECRET_ACCESS_KEY", secret: true, unit: "text",
			set: secret(func(c *Config) *Secret { return &c.S3.SecretAccessKey }, word), help: "The access key's secret."},
		{key: "R2_REGION", alias: "S3_REGION", def: "auto", unit: "name", set: str(func(c *Config) *string { return &c.S3.Region }, word),
			help: "The region that requests are signed for."},
		{key: encryptKey, def: "false", unit: "true, false", bare: true, set: boolean(func(c *Config) *bool { return &c.S3.Encrypt }),
			note: "never for a bucket that holds messages: it is refused",
			help: "Encrypt messages before they go into the bucket of `R2_*`, each user's under a key of their own, which `ENCRYPTION_MASTER_KEY` seals: " +
				"whoever owns the bucket reads nothing. It needs both."},
		{key: "BLOB_CACHE_SIZE_BYTES", def: "1073741824", unit: octets, bare: true,
			set:  size(16<<20, 1<<50, func(c *Config) *int64 { return &c.BlobCache }),
			help: "How much of the object store of `R2_*` is kept in `cache` in the data directory, at most; what was used longest ago goes first."},

		{key: "MAX_LITERAL_SIZE_BYTES", def: "134217728", unit: octets, bare: true,
			set: size(4096, 1<<30, func(c *Config) *int64 { return &c.MaxLiteralSize }),
			help: "The largest literal that a client may send, of any kind; what is not a message is bounded by 65536 in any case. " +
				"Follows `MAX_MESSAGE_SIZE_BYTES` where only that is set, and larger."},
		{key: "MAX_MESSAGE_SIZE_BYTES", def: "104857600", unit: octets, bare: true,
			set: size(1024, 1<<30, func(c *Config) *int64 { return &c.MaxMessageSize }),
			help: "The largest message that a client may append, told as APPENDLIMIT (RFC 7889). Messages from the upstream are mirrored " +
				"whatever their size. Follows `MAX_LITERAL_SIZE_BYTES` where only that is set, and smaller."},
		{key: "DEFAULT_ACCOUNT_QUOTA_BYTES", def: "0", unit: octets, bare: true, set: size(0, 1<<60, func(c *Config) *int64 { return &c.AccountQuota }),
			help: "How much mail an account may hold, by the sizes of its messages; 0: any. A client's message that would go beyond it is " +
				"refused with OVERQUOTA (RFC 9208); mail from the upstream always comes in, and counts."},
		{key: "LOGIN_RATE_LIMIT_FAILURES", def: "5", unit: "logins", bare: true, set: number(0, 1_000_000, func(c *Config) *int { return &c.LoginFailures }),
			help: "How many wrong passwords a user may have at an IP address before both are locked out; 0: any number. " +
				"An address alone may have 10 times as many, a user alone 20 times."},
		{key: "LOGIN_RATE_LIMIT_LOCKOUT_SECONDS", def: "60", unit: "seconds", bare: true,
			set:  seconds(1, 86_400, func(c *Config) *time.Duration { return &c.LoginLockout }),
			help: "For how long, since the last wrong password."},

		{key: "SYNC_CONCURRENCY", def: "4", unit: "accounts", bare: true, set: number(1, 10_000, func(c *Config) *int { return &c.SyncConcurrency }),
			help: "How many accounts are synchronised at the same time."},
		{key: "UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT", def: "7", unit: "connections", bare: true,
			set: number(1, 100, func(c *Config) *int { return &c.UpstreamConnections }),
			help: "Connections to one account's upstream, at most, at any time, on the node that has the account. One each is for rounds, for changes " +
				"made here and for bodies that clients wait for; the rest listens, to INBOX first, then to mailboxes that clients have open. " +
				"3: nothing listens, the upstream is polled. 2 and 1: the three take turns, which costs a login each time."},
		{key: "PERIODIC_SYNC_INTERVAL_SECONDS", def: "300", unit: "seconds", bare: true,
			set:  seconds(0.1, 86_400, func(c *Config) *time.Duration { return &c.PeriodicSync }),
			help: "How often to look at the upstream where it does not push."},
		{key: "KEEP_REMOVED", def: "168h", unit: "duration (`12h`)", set: keepRemoved,
			help: "How long `restore` can put removed messages back; 0: not at all."},

		{key: "BOOTSTRAP_IMAP_USERNAME", unit: "text", note: "at the next start, while there is no such user",
			set:  str(func(c *Config) *string { return &c.Bootstrap.Username }, word),
			help: "`run` creates this user at the start where there is none of the name. One that exists is left as it is, its password too."},
		{key: "BOOTSTRAP_IMAP_PASSWORD", secret: true, unit: "text", note: "at the next start, while there is no such user",
			set:  secret(func(c *Config) *Secret { return &c.Bootstrap.Password }, password),
			help: "The password of that user; either this or the hash."},
		{key: "BOOTSTRAP_IMAP_PASSWORD_HASH", secret: true, unit: "text", note: "at the next start, while there is no such user",
			set:  secret(func(c *Config) *Secret { return &c.Bootstrap.PasswordHash }, passwordHash),
			help: "Its Argon2id hash in the PHC string format (`$argon2id$v=19$m=19456,t=2,p=1$...`)."},
	}
}

// fileKey returns the name of the setting in the file.
func (s setting) fileKey() string {
	if s.nofile {
		return ""
	}
	return lower(s.key)
}

// names returns every name that the setting has in the environment, its own first.
func (s setting) names() []string {
	names := []string{s.key}
	if s.alias != "" {
		names = append(names, s.alias)
	}
	if s.secret {
		for _, n := range names {
			names = append(names, n+fileSuffix)
		}
	}
	return names
}

// fileSuffix makes the name of a secret the name of a file that holds it.
const fileSuffix = "_FILE"

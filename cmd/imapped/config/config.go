package config

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"imapped/domain/fault"
)

// Config is the settings of a process. Each field is the setting of the table in settings.go that sets it; the unit of a
// size is the octet.
type Config struct {
	Production bool   // APP_ENV
	BaseURL    string // APP_BASE_URL; "" when there is none
	LogLevel   slog.Level
	LogFormat  string // "text" or "json"

	Data            string // IMAPPED_DATA
	ObjectStorePath string // never ""
	SearchIndexPath string
	DatabaseURL     Secret
	ApplyMigrations bool
	RedisURL        Secret
	S3              S3
	BlobCache       int64 // BLOB_CACHE_SIZE_BYTES

	MasterKey         Secret // ENCRYPTION_MASTER_KEY
	PreviousMasterKey Secret // ENCRYPTION_MASTER_KEY_PREVIOUS

	IMAPPlaintextBind string // "": none
	IMAPTLSBind       string // "": none
	IMAPTLSCertPath   string
	IMAPTLSKeyPath    string
	AllowPlainAuth    bool
	HTTPBind          string
	MetricsBind       string

	MaxLiteralSize int64
	MaxMessageSize int64 // at most MaxLiteralSize
	AccountQuota   int64 // DEFAULT_ACCOUNT_QUOTA_BYTES; 0: none
	LoginFailures  int   // LOGIN_RATE_LIMIT_FAILURES; 0: not counted
	LoginLockout   time.Duration

	SyncConcurrency     int
	UpstreamConnections int // UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT
	PeriodicSync        time.Duration
	KeepRemoved         time.Duration // 0: not at all

	Bootstrap Bootstrap

	file   string
	values []Value
	stores troubles // see Stores
}

// S3 is an S3-compatible object store. All of it is set, or none.
type S3 struct {
	Endpoint, Bucket, Region     string
	AccessKeyID, SecretAccessKey Secret
	Encrypt                      bool // S3_ENCRYPT; then there is a MasterKey
}

// Bootstrap is the user to create at the start. With a Username there is either a Password or a PasswordHash.
type Bootstrap struct {
	Username     string
	Password     Secret
	PasswordHash Secret // Argon2id in the PHC string format
}

// Value is one setting as Load found it.
type Value struct {
	Key     string `json:"key"`
	FileKey string `json:"file_key,omitempty"` // "" for what cannot stand in the file
	Text    string `json:"value"`              // of a secret its fingerprint; of a wrong value nothing
	Secret  bool   `json:"secret,omitempty"`
	Source  Layer  `json:"source"`
	Name    string `json:"name,omitempty"` // as what Source has it: a key, an alias, a *_FILE or a flag; "" for a default
	Valid   bool   `json:"valid"`
}

// From says in words where the value came from: "environment", "environment (S3_BUCKET)", "flag --data".
func (v Value) From() string {
	switch {
	case v.Source == FromDefault:
		return string(v.Source)
	case v.Source == FromFlag:
		return "flag " + v.Name
	case strings.EqualFold(v.Name, v.Key):
		return string(v.Source)
	}
	return fmt.Sprintf("%s (%s)", v.Source, v.Name)
}

// Layer is where a value comes from.
type Layer string

// The layers, the weakest first.
const (
	FromDefault     Layer = "default"
	FromFile        Layer = "file"
	FromEnvironment Layer = "environment"
	FromFlag        Layer = "flag"
)

// Values returns every setting, in the order of the documentation.
func (c *Config) Values() []Value { return c.values }

// In returns the same settings for a data directory of its own, which holds everything.
func (c *Config) In(dir string) *Config {
	other := *c
	other.Data, other.ObjectStorePath = dir, filepath.Join(dir, "blobs")
	other.DatabaseURL, other.RedisURL, other.S3, other.stores = Secret{}, Secret{}, S3{}, nil
	return &other
}

// Stores says whether metadata and messages are kept in places that go together; run-migrations, which needs the database
// alone, does not ask. An error is like Load's.
func (c *Config) Stores() error { return c.stores.err() }

// File returns the path of the configuration file, or "".
func (c *Config) File() string { return c.file }

// Trouble is something wrong with one setting.
type Trouble struct {
	Key  string `json:"key"` // as it stands where it is wrong; "" when it is about the whole file
	Text string `json:"text"`
}

// Error is everything that is wrong with a configuration; its kind is fault.Invalid.
type Error struct{ Troubles []Trouble }

// String returns the key and the text.
func (t Trouble) String() string {
	if t.Key == "" {
		return t.Text
	}
	return t.Key + ": " + t.Text
}

// Error returns the only trouble, or a line for each.
func (e *Error) Error() string {
	if len(e.Troubles) == 1 {
		return e.Troubles[0].String()
	}
	var text strings.Builder
	for _, t := range e.Troubles {
		text.WriteString("\n  " + t.String())
	}
	return text.String()
}

// troubles collects what is wrong.
type troubles []Trouble

func (ts *troubles) add(key, format string, args ...any) {
	*ts = append(*ts, Trouble{key, fmt.Sprintf(format, args...)})
}

// err returns what was collected as an error, or nil.
func (ts troubles) err() error {
	if len(ts) == 0 {
		return nil
	}
	return fault.As(fault.Invalid, "read the configuration", &Error{ts})
}

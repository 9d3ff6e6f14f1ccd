package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"imapped/adapters/seal"
	"imapped/app/auth"
)

// The functions here check one text each. What they return as an error completes the sentence "the value ...": it never
// holds the text itself, which may be a secret.

func lower(s string) string { return strings.ToLower(s) }

func str(field func(*Config) *string, check func(string) error) func(*Config, string) error {
	return func(c *Config, text string) error {
		*field(c) = text
		return check(text)
	}
}

func secret(field func(*Config) *Secret, check func(string) error) func(*Config, string) error {
	return func(c *Config, text string) error {
		*field(c) = NewSecret(text)
		return check(text)
	}
}

// whole reads a decimal number between both bounds.
func whole(text string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("is not a whole number from %d to %d", low, high)
	}
	return n, nil
}

func size(low, high int64, field func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, text string) (err error) {
		*field(c), err = whole(text, low, high)
		return err
	}
}

func number(low, high int64, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := whole(text, low, high)
		*field(c) = int(n)
		return err
	}
}

// seconds reads a number of seconds between both bounds; it may have a fraction.
func seconds(low, high float64, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= low && n <= high) { // neither holds for what is not a number
			return fmt.Errorf("is not a number of seconds from %v to %v", low, high)
		}
		*field(c) = time.Duration(n * float64(time.Second))
		return nil
	}
}

func boolean(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, text string) error {
		*field(c) = text == "true"
		return oneOf("true", "false")(text)
	}
}

func oneOf(words ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("is none of %s", strings.Join(words, ", "))
		}
		return nil
	}
}

func appEnv(c *Config, text string) error {
	c.Production = text == "production"
	return oneOf("development", "production")(text)
}

func logLevel(c *Config, text string) error {
	text = lower(text)
	if err := oneOf("debug", "info", "warn", "error")(text); err != nil {
		return err
	}
	return c.LogLevel.UnmarshalText([]byte(text))
}

func keepRemoved(c *Config, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 10*365*24*time.Hour {
		return errors.New("is not a duration from 0s to ten years, such as 168h")
	}
	c.KeepRemoved = d
	return nil
}

// maxText bounds every value that has no narrower bound, in octets.
const maxText = 4096

func free(text string) error {
	if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("is longer than %d bytes, or holds control characters", maxText)
	}
	return nil
}

// word is text that begins and ends with something visible.
func word(text string) error {
	if strings.TrimSpace(text) != text || len(text) > 255 {
		return errors.New("begins or ends with a space, or is longer than 255 bytes")
	}
	return free(text)
}

func bind(text string) error {
	if text == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /@\t") {
		return errors.New("is not an address as 127.0.0.1:1143, [::1]:1143 or :1143 (all interfaces)")
	}
	return free(text)
}

// webURL reads the address of a server: nothing but scheme, host and path.
func webURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not a URL as https://mail.example.org, without user, query and fragment")
	}
	return free(text)
}

// schemes reads a URL that may hold a password; check is that of the driver that is to use it.
func schemes(check func(string) error, allowed ...string) func(string) error {
	return func(text string) error {
		u, err := url.Parse(text)
		if err != nil || !slices.Contains(allowed, u.Scheme) || u.Host == "" && u.Path == "" && u.RawQuery == "" {
			return fmt.Errorf("is not a URL that begins with %s:// and names a server", strings.Join(allowed, ":// or "))
		}
		if err := free(text); err != nil {
			return err
		}
		return explained(check(text), "is a URL that the driver refuses: look at its port, its path and what is behind the question mark")
	}
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func bucket(text string) error {
	if !bucketName.MatchString(text) {
		return errors.New("is not the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens")
	}
	return nil
}

// explained is an error about the text, without what the packages that made it say they were doing.
func explained(err error, text string) error {
	if err == nil {
		return nil
	}
	return errors.New(text)
}

func masterKey(text string) error {
	return explained(seal.Check(text), `is too short or too simple: at least 32 random bytes in base64 ("openssl rand -base64 32") or a `+
		"passphrase of at least 16 characters")
}

func password(text string) error {
	if len(text) > 1024 {
		return errors.New("is longer than 1024 bytes")
	}
	return nil
}

func passwordHash(text string) error {
	return explained(auth.CheckHash(text), "is not an Argon2id hash in the PHC string format ($argon2id$v=19$m=...,t=...,p=...$salt$key)")
}

// betrays says whether a wrong text may hold a secret, though it was given for what is none: a URL with a password, a key in PEM.
func betrays(text string) bool {
	return strings.Contains(text, "@") || strings.Contains(text, "-----BEGIN") || strings.ContainsFunc(text, unicode.IsControl)
}

// valueText returns how a value that is no secret is shown.
func valueText(text string) string {
	if text == "" {
		return ""
	}
	q := strconv.Quote(text)
	if len(q) > 200 {
		q = q[:200] + `..."`
	}
	return q
}

// level returns a level's name as LOG_LEVEL takes it.
func level(l slog.Level) string { return lower(l.String()) }

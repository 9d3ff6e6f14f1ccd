package s3

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"imapped/domain/fault"
)

// The defaults of Config.
const (
	DefaultTimeout     = 20 * time.Second
	DefaultConnections = 32
)

// attempts is how often a request is made, as long as its deadline allows: with backoff, for some 6 seconds.
const attempts = 8

// backoff is how long to wait before the attempt n is repeated, n counted from 0: from 50 ms on, doubling up to 5 s, less a
// random part.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 10), 5*time.Second)
	return d/2 + rand.N(d/2)
}

// Config says where the bucket is.
type Config struct {
	// Endpoint is the store's URL, addressed path-style; empty for AWS itself.
	Endpoint string
	Bucket   string
	// Region is the bucket's; "auto" where the store has none. AWS needs one.
	Region          string
	AccessKeyID     string
	SecretAccessKey string
	// Prefix begins the name of every object; empty, or as an operator shares a bucket: "mail/".
	Prefix string
	// SpoolDir is where a blob lies while it is written in pieces; empty: the system's folder for temporary files.
	SpoolDir string
	// Timeout is how long the store may be silent; 0: DefaultTimeout.
	Timeout time.Duration
	// Connections bounds the requests that a Store makes at a time to write, to look and to delete; 0: DefaultConnections.
	Connections int
	// Transport carries the requests; nil: a transport of the Store's own.
	Transport http.RoundTripper
}

// withDefaults checks the configuration; fault.Invalid names the part that is wrong.
func (c Config) withDefaults() (Config, error) {
	const op = "configure the object store"
	for _, need := range []struct{ name, value string }{
		{"bucket", c.Bucket}, {"access key id", c.AccessKeyID}, {"secret access key", c.SecretAccessKey},
	} {
		if need.value == "" {
			return c, fault.Newf(fault.Invalid, op, "the %s is missing", need.name)
		}
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return c, fault.New(fault.Invalid, op, "the endpoint is not a URL such as https://s3.example.org")
		}
		if c.Region == "" || c.Region == "auto" {
			// R2 takes this name for its own "auto", and stores without regions expect it unless told otherwise.
			c.Region = "us-east-1"
		}
	} else if c.Region == "" || c.Region == "auto" {
		return c, fault.New(fault.Invalid, op, "without an endpoint the region must be one of AWS")
	}
	if strings.HasPrefix(c.Prefix, "/") {
		return c, fault.New(fault.Invalid, op, "the prefix begins with a slash")
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Connections == 0 {
		c.Connections = DefaultConnections
	}
	if c.Timeout < 0 || c.Connections < 0 {
		return c, fault.New(fault.Invalid, op, "the timeout and the number of connections are positive")
	}
	if c.SpoolDir == "" {
		c.SpoolDir = os.TempDir()
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: c.Timeout / 2, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          2 * c.Connections,
			MaxIdleConnsPerHost:   2 * c.Connections,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   c.Timeout / 2,
			ResponseHeaderTimeout: c.Timeout,
			ExpectContinueTimeout: time.Second,
			DisableCompression:    true,
		}
	}
	return c, nil
}

// client makes the SDK's client. Checksums that newer SDKs add are left out where the protocol does not demand them,
// because not every store knows them: bodies are signed instead, so the store still refuses damaged ones.
func (c Config) client() *awss3.Client {
	credentials := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, Source: "configuration"}
	o := awss3.Options{
		Region: c.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return credentials, nil
		}),
		HTTPClient: &http.Client{
			Transport:     c.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
				return backoff(max(attempt-1, 0)), nil
			})
		}),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if c.Endpoint != "" {
		o.BaseEndpoint, o.UsePathStyle = aws.String(c.Endpoint), true
	}
	return awss3.New(o)
}

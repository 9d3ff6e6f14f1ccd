package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

const (
	maxText       = 300 // octets of a server's text that are kept
	maxRetry      = 24 * time.Hour
	retryThrottle = 10 * time.Second // [THROTTLED] and the like, without a number
	retryQuota    = 10 * time.Minute // a bandwidth quota that is used up
)

// refusal returns the error for a NO, BAD or BYE, with its kind. login says that it answers a login, where a refusal
// without a code means the credentials.
func refusal(op string, r *syntax.Response, login bool) error {
	ref := &upstream.Refusal{
		Status: r.Status.String(), Code: strings.ToUpper(printable(r.Code.Name)), Text: printable(r.Text),
	}
	kind, vague := refusalKind(r.Status, r.Code.ID, strings.ToLower(ref.Text), login)
	ref.Vague = vague
	if kind == fault.Unavailable {
		ref.Retry = retryHint(r.Code.ID, strings.ToLower(ref.Text))
	}
	return fault.As(kind, op, ref)
}

// refusalKind classifies a refusal by its code (RFC 5530 and others), or by words that servers use; vague says that it
// has neither.
func refusalKind(status syntax.StatusKind, code syntax.CodeID, text string, login bool) (kind fault.Kind, vague bool) {
	if status == syntax.StatusBYE {
		return fault.Unavailable, false
	}
	if kind, known := codeKind(code, text); known {
		return kind, false
	}
	switch {
	case says(text, busyWords), strings.Contains(text, "authenticated but not connected"): // Exchange's
		return fault.Unavailable, false
	case login:
		return fault.Denied, false
	case says(text, missingWords):
		return fault.NotFound, false
	case says(text, existsWords):
		return fault.Exists, false
	case says(text, limitWords):
		return fault.Limit, false
	case status == syntax.StatusBAD:
		return fault.Invalid, false
	}
	return fault.Unavailable, true
}

// codeKind returns what a response code means.
func codeKind(code syntax.CodeID, text string) (kind fault.Kind, known bool) {
	switch code {
	case syntax.CodeAuthenticationFailed, syntax.CodeAuthorizationFailed, syntax.CodeExpired, syntax.CodeContactAdmin:
		if says(text, busyWords) { // a temporary failure under a final code, as some servers answer bursts of logins
			return fault.Unavailable, true
		}
		return fault.Denied, true
	case syntax.CodeUnavailable, syntax.CodeInUse, syntax.CodeServerBug, syntax.CodeThrottled, syntax.CodeExpungeIssued:
		return fault.Unavailable, true
	case syntax.CodeNonExistent, syntax.CodeTryCreate:
		return fault.NotFound, true
	case syntax.CodeAlreadyExists:
		return fault.Exists, true
	case syntax.CodeNoPerm, syntax.CodePrivacyRequired:
		return fault.Forbidden, true
	case syntax.CodeOverQuota:
		if says(text, []string{"bandwidth", "command", "rate"}) {
			return fault.Unavailable, true
		}
		return fault.Limit, true
	case syntax.CodeLimit, syntax.CodeTooBig:
		return fault.Limit, true
	case syntax.CodeCannot, syntax.CodeClientBug, syntax.CodeParse, syntax.CodeBadCharset, syntax.CodeUnknownCTE,
		syntax.CodeUseAttr:
		return fault.Invalid, true
	case syntax.CodeHasChildren:
		return fault.Conflict, true
	case syntax.CodeCorruption:
		return fault.Corrupt, true
	}
	return 0, false
}

var busyWords = []string{
	"throttl", "backoff", "too many", "try again", "temporar", "unavailable", "rate limit", "overload", "server error",
	"internal error", "timed out", "busy",
}

var missingWords = []string{
	"doesn't exist", "does not exist", "not exist", "no such mailbox", "unknown mailbox", "nonexistent", "not found",
	"no such folder", "unknown folder", "invalid mailbox", "invalid folder", "can't open", "cannot open", "noselect",
	"not selectable",
}

var existsWords = []string{"already exist", "mailbox exists", "folder exists", "duplicate folder"}

var limitWords = []string{
	"over quota", "overquota", "quota exceeded", "exceeds quota", "exceeded quota", "mailbox full", "mailbox is full",
	"too large", "too big", "size limit", "maximum size", "maximum message size",
}

func says(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

var hint = regexp.MustCompile(
	`(?:backoff time|retry after|again in|wait)\D{0,20}?(\d{1,12})\s*(milliseconds?|ms|minutes?|min|hours?|h\b|seconds?|sec|s\b)?`)

// retryHint returns how long the server asks to wait: the number in its text, or a default for those that only say
// that they slow the client down.
func retryHint(code syntax.CodeID, text string) time.Duration {
	if m := hint.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		unit := time.Second
		switch {
		case strings.HasPrefix(m[2], "mil"), m[2] == "ms":
			unit = time.Millisecond
		case strings.HasPrefix(m[2], "min"):
			unit = time.Minute
		case strings.HasPrefix(m[2], "h"):
			unit = time.Hour
		}
		switch {
		case err != nil || n > int64(maxRetry/unit):
			return maxRetry
		default:
			return time.Duration(n) * unit
		}
	}
	switch {
	case code == syntax.CodeOverQuota, strings.Contains(text, "bandwidth"):
		return retryQuota
	case code == syntax.CodeThrottled, says(text, []string{"throttl", "too many", "rate limit"}):
		return retryThrottle
	}
	return 0
}

// printable makes a server's text safe to show and to log: valid UTF-8 without control characters, bounded.
func printable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 && s.Len() < maxText {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		s.WriteRune(r)
	}
	if len(b) > 0 {
		s.WriteString("...")
	}
	return s.String()
}

// lost classifies the error that ended a connection.
func lost(op string, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Unavailable, op, "the server closed the connection")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.Unavailable, op, "the server did not answer in time")
	case errors.Is(err, net.ErrClosed):
		return fault.New(fault.Unavailable, op, "the connection is closed")
	}
	return fault.As(fault.Unavailable, op, err)
}

func asRefusal(err error) (*upstream.Refusal, bool) {
	var r *upstream.Refusal
	return r, errors.As(err, &r)
}

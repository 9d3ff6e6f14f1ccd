// Package fault names the kinds of failure that the whole program agrees on.
//
// Invariants:
//  1. A kind is decided where a failure is understood, once, and is mapped to an answer (a response code, an exit
//     status, an HTTP status) at each edge, once.
//  2. An error's text is safe to show to the person who caused it and to log: it never holds a secret, a message's
//     content or SQL.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what class of failure an error is.
type Kind uint8

// The kinds. Internal is the zero value: an error that nobody classified.
const (
	Internal    Kind = iota // a bug or a broken machine
	NotFound                // the thing named does not exist
	Exists                  // the thing to be made exists already
	Invalid                 // the request makes no sense, whatever the state
	Denied                  // wrong name or password
	Forbidden               // right name, no permission (a read-only mailbox, a disabled user)
	Unavailable             // cannot be done now; the same request may succeed later
	Limit                   // over a rate or a size
	Conflict                // somebody else changed it first, or the lease is lost
	Corrupt                 // stored data failed its own check
	Canceled                // the caller went away or its deadline passed
	OverQuota               // the account would hold more than it may
	Uncertain               // perhaps done and perhaps not: who knows cannot be asked any more
)

var names = [...]string{
	"internal", "not found", "exists", "invalid", "denied", "forbidden", "unavailable", "limit", "conflict",
	"corrupt", "canceled", "over quota", "uncertain",
}

// String returns the kind's name in lower case, fit for a log field or a metric label.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is a failure with its kind and what was being done.
type Error struct {
	Kind Kind
	Op   string // what was being done, for example "open mailbox"
	Text string // what went wrong, for a person; may be empty when Err says it
	Err  error  // the cause; may be nil
}

// Error returns "op: text: cause", without the parts that are empty.
func (e *Error) Error() string {
	s := e.Op
	for _, part := range []string{e.Text, errText(e.Err)} {
		switch {
		case part == "":
		case s == "":
			s = part
		default:
			s += ": " + part
		}
	}
	if s == "" {
		return e.Kind.String()
	}
	return s
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the kind, without a cause.
func New(kind Kind, op, text string) error { return &Error{Kind: kind, Op: op, Text: text} }

// Newf is New with a formatted text.
func Newf(kind Kind, op, format string, args ...any) error {
	return &Error{Kind: kind, Op: op, Text: fmt.Sprintf(format, args...)}
}

// Wrap adds what was being done to err and keeps err's own kind. It returns nil for nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Op: op, Err: err}
}

// As gives err the kind and says what was being done. It returns nil for nil.
func As(kind Kind, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Op: op, Err: err}
}

// KindOf returns the kind of the outermost *Error in err's chain, Canceled for a bare context error, and Internal
// for everything else.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	}
	return Internal
}

// Is says whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

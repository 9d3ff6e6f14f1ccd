// Package audit is the port to the record of who did what: logins, and what operators do.
//
// Invariants:
//  1. A record holds no secret and nothing of a message.
//  2. Recording does not wait for a network and does not fail what is recorded: a log that cannot be written is seen by
//     its own means.
package audit

import (
	"context"

	"imapped/domain/fault"
)

// Record is one act. Strings that do not apply are empty; what comes from outside is at most MaxText octets of it.
type Record struct {
	Action  string // what was done, or tried: "log in", "create user", "delete account", ...
	Actor   string // who did it: the name somebody logs in with, or the operator's
	Subject string // to whom or what: a user, an account's address, a change
	Remote  string // from which address
	Session string // in which session, as in the log
	Outcome string // "ok", or the kind of the failure (domain/fault)
}

// MaxText is how many octets of a text from outside a record holds.
const MaxText = 256

// Clip bounds a text from outside.
func Clip(s string) string { return s[:min(len(s), MaxText)] }

// Outcome returns what a Record says of how an act ended.
func Outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return fault.KindOf(err).String()
}

// Log keeps records.
type Log interface {
	Record(context.Context, Record)
}

package admin

import (
	"context"

	"imapped/ports/audit"
	"imapped/ports/clock"
	"imapped/ports/metadata"
	"imapped/ports/secrets"
	"imapped/ports/upstream"
)

// Config is what a Service works on.
type Config struct {
	Users    metadata.Users
	Accounts metadata.Accounts
	Statuses metadata.Statuses
	Mirror   metadata.Mirror
	Queue    metadata.Queue
	Sealer   secrets.Sealer
	Dialer   upstream.Dialer
	Hash     func(password string) (string, error) // of a user's password
	Clock    clock.Clock
	// Audit gets a record of everything that changes something, whether it succeeded or not, with Actor as who did it. nil:
	// nobody does.
	Audit audit.Log
	Actor string
}

// Service does what operators ask for. Its methods may be called from several goroutines.
type Service struct{ c Config }

// New returns a Service; every field of c is needed but Audit and Actor.
func New(c Config) *Service { return &Service{c: c} }

// word returns what an act is called that switches something.
func word(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}

// record tells the audit log how an act ended. It is deferred with a pointer to the act's error.
func (s *Service) record(ctx context.Context, action, subject string, err *error) {
	if s.c.Audit == nil {
		return
	}
	s.c.Audit.Record(ctx, audit.Record{
		Action: action, Actor: s.c.Actor, Subject: audit.Clip(subject), Outcome: audit.Outcome(*err),
	})
}
